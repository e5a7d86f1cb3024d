package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"weir/proxy/proxytest"
)

// A lan is two networks of hosts, each a namespace of its own: one for media and one
// for gossip. It is made and removed by a test, and reaches nothing else.
type lan struct {
	t     *testing.T
	hub   string // the namespace of the bridges
	hosts map[string]*host
	key   string // a file with a key of the cluster
}

// A host is one of a lan.
type host struct {
	lan   *lan
	name  string
	space string // of network
	addr  string // its IP address
	talk  string // the one for gossip
	web   *http.Client
}

var lans atomic.Int64

// newLAN makes hosts of these names, 10.77.0.1 and 10.78.0.1 and so on. It skips where that cannot
// be done.
func newLAN(t *testing.T, names ...string) *lan {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("namespaces of the network are for root only")
	}
	if _, err := exec.LookPath("ip"); err != nil {
		t.Skip("no ip(8) here:", err)
	}
	l := &lan{t: t, hub: fmt.Sprintf("weir%d-%d", os.Getpid(), lans.Add(1)), hosts: map[string]*host{}}
	if out, err := exec.Command("ip", "netns", "add", l.hub).CombinedOutput(); err != nil {
		t.Skipf("no namespaces of the network here: %s", out)
	}
	t.Cleanup(func() { l.ip("netns", "del", l.hub) })
	for _, bridge := range []string{"media", "gossip", "apart"} {
		l.ip("-n", l.hub, "link", "add", bridge, "type", "bridge")
		l.ip("-n", l.hub, "link", "set", bridge, "up")
	}
	for i, name := range names {
		l.add(name, i+1)
	}
	l.key = filepath.Join(t.TempDir(), "keys")
	if err := os.WriteFile(l.key, []byte(strings.Repeat("5a", 32)), 0o600); err != nil {
		t.Fatal(err)
	}
	return l
}

func (l *lan) add(name string, i int) {
	h := &host{lan: l, name: name, space: l.hub + "-" + name, addr: fmt.Sprintf("10.77.0.%d", i), talk: fmt.Sprintf("10.78.0.%d", i)}
	l.ip("netns", "add", h.space)
	l.t.Cleanup(func() { l.ip("netns", "del", h.space) })
	l.ip("-n", h.space, "link", "set", "lo", "up")
	l.plug(h, name, "media", h.addr)
	l.plug(h, name+"-talk", "gossip", h.talk)
	transport := &http.Transport{DialContext: h.dial, DisableKeepAlives: true}
	h.web = &http.Client{Transport: transport, Timeout: 20 * time.Second}
	l.hosts[name] = h
}

// plug gives a host a line to a bridge.
func (l *lan) plug(h *host, line, bridge, addr string) {
	l.ip("-n", l.hub, "link", "add", line, "type", "veth", "peer", "name", bridge, "netns", h.space)
	l.ip("-n", l.hub, "link", "set", line, "master", bridge, "up")
	l.ip("-n", h.space, "addr", "add", addr+"/24", "dev", bridge)
	l.ip("-n", h.space, "link", "set", bridge, "up")
}

func (l *lan) ip(args ...string) {
	l.t.Helper()
	if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
		l.t.Fatalf("ip %s: %s", strings.Join(args, " "), out)
	}
}

// hears puts a host's line for gossip into another network, "gossip" or "apart".
func (h *host) hears(bridge string) {
	h.lan.ip("-n", h.lan.hub, "link", "set", h.name+"-talk", "master", bridge)
}

// in runs f where sockets that it makes are this host's.
func (h *host) in(f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // and not unlocked: the thread ends with the goroutine
		file, err := os.Open("/var/run/netns/" + h.space)
		if err == nil {
			defer file.Close()
			err = unix.Setns(int(file.Fd()), unix.CLONE_NEWNET)
		}
		if err != nil {
			h.lan.t.Errorf("%s: %v", h.space, err)
			return
		}
		f()
	}()
	<-done
}

// dial is a net.Dialer's DialContext from this host.
func (h *host) dial(ctx context.Context, network, addr string) (c net.Conn, err error) {
	h.in(func() { c, err = (&net.Dialer{}).DialContext(ctx, network, addr) })
	return c, err
}

// A process runs on a host.
type process struct {
	*host
	cmd  *exec.Cmd
	log  *logged
	done chan struct{}
}

// start runs a command until it is ended, or the test is.
func (h *host) start(args ...string) *process {
	t := h.lan.t
	t.Helper()
	p := &process{host: h, log: &logged{}, done: make(chan struct{})}
	p.cmd = exec.Command("ip", append([]string{"netns", "exec", h.space}, args...)...) // becomes the command
	p.cmd.Stdout, p.cmd.Stderr = p.log, p.log
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	started := make(chan error)
	go func() { // whatever becomes of the test, the process ends with this thread
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer close(p.done)
		err := p.cmd.Start()
		started <- err
		if err == nil {
			p.cmd.Wait() //nolint:errcheck // it is killed
		}
	}()
	if err := <-started; err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.kill()
		if t.Failed() {
			t.Logf("%s on %s said:\n%s", args[0], h.name, p.log.String())
		}
	})
	return p
}

func (p *process) kill() {
	p.cmd.Process.Kill() //nolint:errcheck // it may have ended
	<-p.done
}

func (p *process) signal(s os.Signal) {
	if err := p.cmd.Process.Signal(s); err != nil {
		p.lan.t.Fatal(err)
	}
}

// edge starts an edge of the cluster on a host.
func (h *host) edge(join *host, flags ...string) *process {
	args := []string{"weir", "-cluster.listen", h.talk + ":7946", "-cluster.name", h.name, "-cluster.key-file", h.lan.key,
		"-admin", "127.0.0.1:9090", "-rtsp", h.addr + ":8554", "-http", h.addr + ":8080", "-splitter.udp", "", "-passthrough.udp", ""}
	if join != nil {
		args = append(args, "-cluster.join", join.talk+":7946")
	}
	return h.start(append(args, flags...)...)
}

// agent starts an agent beside the RTSP server of a host.
func (h *host) agent(join *host, flags ...string) *process {
	return h.start(append([]string{"weir", "agent", "-rtsp", h.addr + ":554", "-probe", "rtsp=describe:/live/clock", "-cluster.listen", h.talk + ":7946",
		"-cluster.name", h.name, "-cluster.key-file", h.lan.key, "-cluster.join", join.talk + ":7946", "-drain.notice", "2s"}, flags...)...)
}

// origins are the origins as an edge sees them, "10.77.0.1:554 up ready".
func (h *host) origins() string {
	var s []string
	for _, o := range h.view().Origins.Origins {
		s = append(s, strings.TrimSpace(o.Name+" "+o.State+" "+o.Word))
	}
	slices.Sort(s)
	return strings.Join(s, ", ")
}

// ask gets a URL and reads the answer.
func (h *host) ask(url string) (code int, body []byte, err error) {
	res, err := h.web.Get(url)
	if err != nil {
		return 0, nil, err
	}
	defer res.Body.Close()
	body, err = io.ReadAll(res.Body)
	return res.StatusCode, body, err
}

// A clusterView is what a node's status says of the cluster and more.
type clusterView struct {
	Cluster struct {
		Nodes []struct{ Name, Role, State string }
	}
	Origins struct {
		Origins []struct{ Name, State, Word string }
	}
	Splitter struct {
		Feeds []feedView
	}
	Admission struct{ Viewers int }
}

type feedView struct {
	Path, State, Origin string
	Pulls, Watching     int
}

// view is a node's status.
func (h *host) view() (v clusterView) {
	_, b, err := h.ask("http://127.0.0.1:9090/status.json")
	if err == nil {
		whole := struct{ Parts *clusterView }{&v}
		err = json.Unmarshal(b, &whole)
	}
	if err != nil {
		v = clusterView{} // not there yet, or any more
	}
	return v
}

// states are the nodes as a node sees them, "a:alive b:draining".
func (h *host) states() string {
	var s []string
	for _, n := range h.view().Cluster.Nodes {
		s = append(s, n.Name+":"+n.State)
	}
	return strings.Join(s, " ")
}

// sees waits until a node sees exactly these.
func (h *host) sees(want string) {
	h.lan.t.Helper()
	proxytest.Eventually(h.lan.t, 40*time.Second, h.name+" sees "+want, func() bool { return h.states() == want })
}
