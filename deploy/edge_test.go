package deploy

import (
	"bytes"
	"context"
	"encoding/json"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"weir/proxy/origintest"
	"weir/proxy/proxytest"
	"weir/proxy/viewer"
)

func TestMain(m *testing.M) { proxytest.Main(m) }

// build makes the edge as it is shipped.
func build(t *testing.T) (weir string) {
	t.Helper()
	weir = filepath.Join(t.TempDir(), "weir")
	if out, err := exec.Command("go", "build", "-o", weir, "../cmd/weir").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return weir
}

// need skips a test where a program is missing. In CI its absence is a failure.
func need(t *testing.T, program, packages string) {
	t.Helper()
	if _, err := exec.LookPath(program); err != nil {
		missing(t, program, packages)
	}
}

func missing(t *testing.T, what, packages string) {
	t.Helper()
	if os.Getenv("CI") != "" {
		t.Fatalf("%s is not installed (%s)", what, packages)
	}
	t.Skipf("%s is not installed (Debian: apt-get install %s)", what, packages)
}

// startOrigin runs an origin in this process until the test ends.
func startOrigin(t *testing.T) *origintest.Origin {
	t.Helper()
	o, err := origintest.New(origintest.Options{Addr: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- o.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return o
}

// A process runs until the test ends.
type process struct {
	cmd *exec.Cmd

	mu     sync.Mutex
	output bytes.Buffer
}

// start runs a program, and shows what it said if the test has failed.
func start(t *testing.T, name string, args ...string) *process {
	t.Helper()
	p := &process{cmd: exec.Command(name, args...)}
	p.cmd.Stdout, p.cmd.Stderr = p, p
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.cmd.Process.Signal(syscall.SIGINT) //nolint:errcheck // it may have ended
		p.cmd.Wait()                         //nolint:errcheck // by that signal
		if t.Failed() {
			t.Logf("%s said:\n%s", filepath.Base(name), p.output.String())
		}
	})
	return p
}

// Write implements io.Writer.
func (p *process) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.output.Write(b)
}

func (p *process) said(text string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.Contains(p.output.String(), text)
}

// An edge is a process of ours.
type edge struct {
	*process
	rtsp, http, admin string // addresses
}

func startEdge(t *testing.T, weir, origin, notice string) *edge {
	t.Helper()
	e := &edge{rtsp: proxytest.ClosedAddr(t), http: proxytest.ClosedAddr(t), admin: proxytest.ClosedAddr(t)}
	e.process = start(t, weir, "-origin", origin, "-rtsp", e.rtsp, "-http", e.http, "-admin", e.admin,
		"-splitter.udp", "", "-drain.notice", notice, "-drain.timeout", "1m")
	proxytest.Eventually(t, 10*time.Second, "edge ready", func() bool {
		res, err := http.Get("http://" + e.admin + "/readyz")
		if err == nil {
			res.Body.Close()
		}
		return err == nil && res.StatusCode == http.StatusOK
	})
	return e
}

// viewers is how many the edge has.
func (e *edge) viewers(t *testing.T) int {
	t.Helper()
	res, err := http.Get("http://" + e.admin + "/status.json")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var status struct {
		Parts struct{ Splitter struct{ Viewers int } }
	}
	if err := json.NewDecoder(res.Body).Decode(&status); err != nil {
		t.Fatal(err)
	}
	return status.Parts.Splitter.Viewers
}

// An audience watches until the test ends.
type audience struct {
	url     string
	members []*viewer.Viewer
}

// join lets one more in and waits until media has come.
func (a *audience) join(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	v, err := viewer.Open(ctx, viewer.Options{URL: a.url})
	if err != nil {
		cancel()
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		v.Run(ctx) //nolint:errcheck // goOn sees it
	}()
	t.Cleanup(func() { cancel(); <-done })
	a.members = append(a.members, v)
	a.goOn(t)
}

// goOn waits until everybody has got more, and nobody has missed anything.
func (a *audience) goOn(t *testing.T) {
	t.Helper()
	for i, v := range a.members {
		had := v.Stats().Packets
		proxytest.Eventually(t, 5*time.Second, "more media", func() bool { return v.Stats().Packets > had+10 })
		if lost := v.Stats().Lost; lost > 0 {
			t.Errorf("viewer %d has missed %d packets", i, lost)
		}
	}
}

func refuses(addr string) bool {
	c, err := net.Dial("tcp", addr)
	if err == nil {
		c.Close()
	}
	return err != nil
}
