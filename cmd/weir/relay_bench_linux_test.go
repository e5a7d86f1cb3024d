package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"weir/proxy/proxytest"
)

const (
	relayViewers = 100
	relayRounds  = 3
	relayWarmUp  = 2 * time.Second
	relayFor     = 6 * time.Second
)

// BenchmarkRelayTCP measures what it costs to pass on RTSP over TCP: the CPU time
// of the relay's process alone for each packet delivered, of 100 viewers with a
// session each of 4 Mbit/s (see source). HAProxy passes on bytes and knows nothing
// of RTSP; it has its turn in the same run, round by round, since machines are
// noisy. The medians are reported, and the mean delay with them: a relay may well
// buy the one with the other. (Of the delay, 5 ms are the viewers' own: they read
// every 10 ms.) With -direct, the source serves the viewers by
// itself: what it costs then is what the rig costs, and no relay's doing.
func BenchmarkRelayTCP(b *testing.B) {
	source := startHelper(b, "source")
	addr := source.line(b)
	var relays []*relay
	if *direct {
		relays = []*relay{{name: "source", addr: addr, pid: source.pid}}
	} else {
		relays = []*relay{startHAProxy(b, addr), startWeir(b, addr)}
	}
	for b.Loop() {
		for range relayRounds {
			for _, r := range relays {
				r.round(b)
			}
		}
	}
	b.ReportMetric(0, "ns/op") // it is the length of the rounds, and nobody's speed
	for _, r := range relays {
		b.ReportMetric(median(r.costs), r.name+"-µs/packet")
		b.ReportMetric(median(r.delays), r.name+"-ms-delay")
	}
	if len(relays) == 2 {
		b.ReportMetric(median(relays[1].costs)/median(relays[0].costs), "weir/haproxy")
	}
}

// A relay is a process that is measured.
type relay struct {
	name   string
	addr   string
	pid    int
	costs  []float64 // µs per packet, by round
	delays []float64 // ms, by round
}

func median(x []float64) float64 { return slices.Sorted(slices.Values(x))[len(x)/2] }

// round lets the viewers play and notes what that cost.
func (r *relay) round(b *testing.B) {
	viewers := startHelper(b, "viewers", "RELAY_URL=rtsp://"+r.addr+"/live")
	defer viewers.end(b)
	if s := viewers.line(b); s != "playing" {
		b.Fatalf("viewers of %s: %s", r.name, s)
	}
	<-time.After(relayWarmUp)
	before, cpu, began := viewers.load(b), cpuTime(b, r.pid), time.Now()
	<-time.After(relayFor)
	got, spent, took := viewers.load(b), cpuTime(b, r.pid)-cpu, time.Since(began)
	packets := got.Packets - before.Packets
	// If the machine cannot keep up, it is the machine that is measured.
	rate, want := float64(8*(got.Bytes-before.Bytes))/took.Seconds()/relayViewers, 8.0*sourceRate
	if rate < 0.97*want || got.Lost > 0 {
		b.Fatalf("%s: %.2f Mbit/s for each viewer, want %.2f, and %d packets lost: too much for this machine", r.name, rate/1e6, want/1e6, got.Lost)
	}
	cost := float64(spent.Microseconds()) / float64(packets)
	delay := float64((got.Delay - before.Delay).Microseconds()) / float64(packets) / 1000
	b.Logf("%s: %.2f µs per packet, %.1f ms of delay, %.0f packets/s, %.1f %% of a core",
		r.name, cost, delay, float64(packets)/took.Seconds(), 100*spent.Seconds()/took.Seconds())
	r.costs, r.delays = append(r.costs, cost), append(r.delays, delay)
}

// cpuTime is what a process has spent so far, in steps of 10 ms (proc(5): utime
// and stime; the clock tick is 100 Hz on every Linux that Go runs on).
func cpuTime(b *testing.B, pid int) time.Duration {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		b.Fatal(err)
	}
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:])) // from the third field on
	var ticks int
	for _, f := range fields[11:13] {
		n, err := strconv.Atoi(f)
		if err != nil {
			b.Fatal(err)
		}
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond
}

// startHAProxy runs HAProxy until the benchmark ends, as it is by default but for
// what it must be told.
func startHAProxy(b *testing.B, origin string) *relay {
	if _, err := exec.LookPath("haproxy"); err != nil {
		b.Skip("haproxy is not installed (Debian: apt-get install haproxy)")
	}
	addr := proxytest.ClosedAddr(b)
	file := filepath.Join(b.TempDir(), "haproxy.cfg")
	config := fmt.Sprintf(`global
	maxconn 1000
defaults
	mode tcp
	timeout connect 5s
	timeout client 1m
	timeout server 1m
listen rtsp
	bind %s
	server origin %s
`, addr, origin)
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		b.Fatal(err)
	}
	return startRelay(b, "haproxy", addr, exec.Command("haproxy", "-db", "-f", file))
}

// startWeir builds Weir and runs it until the benchmark ends.
func startWeir(b *testing.B, origin string) *relay {
	binary := buildWeir(b)
	addr := proxytest.ClosedAddr(b)
	return startRelay(b, "weir", addr, exec.Command(binary, "-mode", "passthrough", "-origin", "rtsp://"+origin,
		"-rtsp", addr, "-http", "", "-admin", "127.0.0.1:0", "-log.level", "warn"))
}

// startRelay runs a relay that listens on addr.
func startRelay(b *testing.B, name, addr string, cmd *exec.Cmd) *relay {
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		cmd.Process.Kill() //nolint:errcheck // Wait tells
		cmd.Wait()         //nolint:errcheck // it was killed
	})
	proxytest.Eventually(b, 10*time.Second, name+" listens", func() bool {
		c, err := net.Dial("tcp", addr)
		if err == nil {
			c.Close()
		}
		return err == nil
	})
	return &relay{name: name, addr: addr, pid: cmd.Process.Pid}
}

// TestRelayHelper is no test but the source or the viewers of BenchmarkRelayTCP, or what BenchmarkSplit needs:
// each is a process of its own, so that the relay's CPU time is the relay's.
func TestRelayHelper(t *testing.T) {
	var err error
	switch os.Getenv("RELAY_HELPER") {
	case "source":
		err = sourceMain(os.Stdin, os.Stdout)
	case "viewers":
		err = loadMain(os.Getenv("RELAY_URL"), relayViewers, os.Stdin, os.Stdout)
	case "sinks":
		err = sinksMain(splitViewers, os.Stdin, os.Stdout)
	case "bare":
		err = bareMain(os.Getenv("BARE_TRANSPORT"), os.Getenv("BARE_TO"), splitViewers, os.Stdin, os.Stdout)
	default:
		t.Skip("only BenchmarkRelayTCP and BenchmarkSplit have a use for it")
	}
	if err != nil {
		t.Fatal(err)
	}
}

// A helper is a running TestRelayHelper.
type helper struct {
	cmd   *exec.Cmd
	pid   int
	stdin io.WriteCloser
	lines *bufio.Scanner
}

// startHelper runs one until the benchmark ends.
func startHelper(b *testing.B, name string, env ...string) *helper {
	self, err := os.Executable()
	if err != nil {
		b.Fatal(err)
	}
	cmd := exec.Command(self, "-test.run=^TestRelayHelper$")
	cmd.Env = append(append(os.Environ(), "RELAY_HELPER="+name), env...)
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	h := &helper{cmd, cmd.Process.Pid, stdin, bufio.NewScanner(stdout)}
	b.Cleanup(func() { h.end(b) })
	return h
}

// line returns the next line that the helper says.
func (h *helper) line(b *testing.B) string {
	if !h.lines.Scan() {
		b.Fatalf("%v says no more", h.cmd.Args)
	}
	return h.lines.Text()
}

// load asks viewers what they got.
func (h *helper) load(b *testing.B) (l relayLoad) {
	if _, err := fmt.Fprintln(h.stdin); err != nil {
		b.Fatal(err)
	}
	if err := json.Unmarshal([]byte(h.line(b)), &l); err != nil {
		b.Fatal(err)
	}
	return l
}

// end ends the helper; it may be called again.
func (h *helper) end(b *testing.B) {
	if h.cmd.ProcessState != nil {
		return
	}
	h.stdin.Close()
	if err := h.cmd.Wait(); err != nil && !b.Failed() {
		b.Errorf("%v: %v", h.cmd.Args, err)
	}
}
