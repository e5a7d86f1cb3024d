package passthrough

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"weir/proxy"
	"weir/proxy/origintest"
	"weir/proxy/proxytest"
)

// A network is what tests dial instead of the real one. TCP probes are content
// with it.
type network struct {
	mu    sync.Mutex
	dead  map[string]bool // by address; they refuse
	dials map[string][]time.Time
}

func newNetwork() *network {
	return &network{dead: map[string]bool{}, dials: map[string][]time.Time{}}
}

func (n *network) dial(_ context.Context, _, addr string) (net.Conn, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.dials[addr] = append(n.dials[addr], time.Now())
	if n.dead[addr] {
		return nil, errors.New("connection refused")
	}
	c, far := net.Pipe()
	far.Close()
	return c, nil
}

func (n *network) kill(addr string, dead bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.dead[addr] = dead
}

// gaps returns the times between the dials of an address since the last call.
func (n *network) gaps(addr string) (gaps []time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	d := n.dials[addr]
	for i := 1; i < len(d); i++ {
		gaps = append(gaps, d[i].Sub(d[i-1]))
	}
	if len(d) > 0 {
		n.dials[addr] = d[len(d)-1:]
	}
	return gaps
}

func (n *network) dialed(addr string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.dials[addr]) > 0
}

// inBubble runs a test with a fake clock and a running balancer on a fake network.
func inBubble(t *testing.T, f func(t *testing.T, b *Balancer, n *network), args ...string) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		b, n := balancer(t, args...), newNetwork()
		b.dial, b.lookup = n.dial, (&nameServer{}).lookup
		run(t, b)
		synctest.Wait()
		f(t, b, n)
	})
}

func wantGaps(t *testing.T, what string, gaps []time.Duration, about time.Duration) {
	t.Helper()
	if len(gaps) == 0 {
		t.Errorf("%s: no probes", what)
	}
	for _, g := range gaps {
		if g < about*9/10 || g > about*11/10 {
			t.Errorf("%s: %v between two probes, want %v within 10 %%", what, g, about)
		}
	}
}

func TestProbesComeInTime(t *testing.T) {
	inBubble(t, func(t *testing.T, b *Balancer, n *network) {
		if s := status(b)[0]; s.State != "up" || s.Probes != 1 || s.Probe != "tcp" || s.LastProbeAt.IsZero() || s.Dials != 0 {
			t.Errorf("at the start: %+v, want one probe", s)
		}
		time.Sleep(30 * time.Second)
		wantGaps(t, "up", n.gaps("a:80"), 5*time.Second)
		n.kill("a:80", true)
		time.Sleep(5500 * time.Millisecond)
		n.gaps("a:80") // now it is known to fail
		time.Sleep(5 * time.Second)
		wantGaps(t, "down", n.gaps("a:80"), time.Second)
		if s := status(b)[0]; s.State != "down" || s.Reason != "tcp probe: connection refused" {
			t.Errorf("after its death: %+v", s)
		}
		n.kill("a:80", false)
		time.Sleep(2200 * time.Millisecond)
		if s := status(b)[0]; s.State != "up" || s.Reason != "" || s.LastError == "" {
			t.Errorf("two seconds after its return: %+v", s)
		}
	}, "-origin", "http://a")
}

func TestQuickCheckIsNeverSlower(t *testing.T) {
	inBubble(t, func(t *testing.T, b *Balancer, n *network) {
		n.kill("a:80", true)
		time.Sleep(time.Second)
		n.gaps("a:80")
		time.Sleep(time.Second)
		wantGaps(t, "down", n.gaps("a:80"), 100*time.Millisecond)
	}, "-origin", "http://a", "-origin.check", "100ms")
	inBubble(t, func(t *testing.T, b *Balancer, n *network) {
		n.kill("a:80", true)
		time.Sleep(2 * time.Second)
		n.gaps("a:80")
		time.Sleep(2 * time.Second)
		for _, g := range n.gaps("a:80") {
			if g < quickest || g > quickest*11/10 {
				t.Errorf("%v between two probes, want %v", g, quickest)
			}
		}
	}, "-origin", "http://a", "-origin.check", "500ms")
}

// A dial that fails takes the origin down at once: there is no other dial of a
// viewer until it is back, a probe comes at once, and rise good ones bring it
// back.
func TestKillAndReturn(t *testing.T) {
	inBubble(t, func(t *testing.T, b *Balancer, n *network) {
		a := b.all()[0]
		time.Sleep(time.Second)
		n.kill("a:80", true)
		before := status(b)[0].Probes
		if _, err := b.connect(t.Context(), a); err == nil {
			t.Fatal("dialed a dead origin")
		}
		synctest.Wait()
		if s := status(b)[0]; s.State != "down" || s.Probes != before+1 {
			t.Errorf("after the first dial: %+v, want down, and a probe at once", s)
		}
		for range 100 {
			if all, err := b.candidates(query{web: true, path: "/"}); err != nil || len(all) != 1 || all[0] == a {
				t.Fatalf("candidates = %v, %v, want b alone", all, err)
			}
		}
		n.kill("a:80", false)
		good := status(b)[0].Probes
		for status(b)[0].State != "up" {
			time.Sleep(100 * time.Millisecond)
		}
		if s := status(b)[0]; s.Probes-good != uint64(b.opts.Rise) || s.Failures != 1 {
			t.Errorf("back after %d probes and %d failed dials, want %d and 1", s.Probes-good, s.Failures, b.opts.Rise)
		}
	}, "-origin", "http://a", "-origin", "http://b")
}

// Viewers who try a dead camera all the time do not have it probed all the time.
func TestProbesAreBounded(t *testing.T) {
	inBubble(t, func(t *testing.T, b *Balancer, n *network) {
		n.kill("a:554", true)
		for range 1000 {
			_, err := b.DialRTSP(t.Context(), proxy.Want{Path: "/cam"})
			wantRefusal(t, err, proxy.OriginDown, 5*time.Second)
			time.Sleep(time.Millisecond)
		}
		if got := status(b)[0].Probes; got > 8 {
			t.Errorf("%d probes within a second, want at most one each 200 ms", got)
		}
	}, "-splitter.source", "/cam=rtsp://a#probe=tcp")
}

func TestEjectionEnds(t *testing.T) {
	inBubble(t, func(t *testing.T, b *Balancer, n *network) {
		for range strikesOut {
			b.failed(b.all()[0], errors.New("reset"))
		}
		f := func(want string) {
			t.Helper()
			synctest.Wait()
			if s := status(b)[0]; s.State != want || s.Ejections != 1 {
				t.Errorf("status = %+v, want %s", s, want)
			}
		}
		f("ejected") // and good probes do not change that
		time.Sleep(4900 * time.Millisecond)
		f("ejected")
		time.Sleep(200 * time.Millisecond)
		f("up")
		if got := b.all()[0].health.share(time.Now(), 30*time.Second); got > 0.2 {
			t.Errorf("it has %.2f of its weight at once", got)
		}
	}, "-origin", "http://a", "-origin", "http://b")
}

// After its return an origin gets a tenth of its share, and all of it later; at
// the start of the program it gets all at once.
func TestSlowStartOfReturned(t *testing.T) {
	inBubble(t, func(t *testing.T, b *Balancer, n *network) {
		share := func() float64 {
			got := 0
			for range 1000 {
				all, err := b.candidates(query{web: true, path: "/"})
				if err != nil {
					t.Fatal(err)
				}
				if all[0] == b.all()[0] {
					got++
				}
			}
			return float64(got) / 1000
		}
		f := func(what string, want float64) {
			t.Helper()
			if got := share(); got < want-0.02 || got > want+0.02 {
				t.Errorf("%s: %.3f of all, want %.3f", what, got, want)
			}
		}
		f("at the start", 0.5)
		n.kill("a:80", true)
		time.Sleep(10 * time.Second)
		f("while it is down", 0)
		n.kill("a:80", false)
		for status(b)[0].State != "up" {
			time.Sleep(10 * time.Millisecond)
		}
		f("at its return", 0.1/1.1)
		time.Sleep(15 * time.Second)
		f("half way", 0.55/1.55)
		time.Sleep(15 * time.Second)
		f("in the end", 0.5)
	}, inTurn, "-origin", "http://a", "-origin", "http://b", "-origin.slow-start", "30s")
}

func TestCheckOff(t *testing.T) {
	inBubble(t, func(t *testing.T, b *Balancer, n *network) {
		time.Sleep(time.Minute)
		n.kill("a:80", true)
		if _, err := b.connect(t.Context(), b.all()[0]); err == nil {
			t.Fatal("dialed a dead origin")
		}
		if s := status(b)[0]; s.Probes != 0 || s.Probe != "off" || s.State != "ejected" {
			t.Errorf("after a dial that failed: %+v", s)
		}
		if got := who(t, b, query{web: true, path: "/"}); fmt.Sprint(got) != "[a:80 b:80]" {
			t.Errorf("candidates = %v", got)
		}
		time.Sleep(5 * time.Second)
		if s := status(b)[0]; s.State != "up" {
			t.Errorf("5 s later: %+v", s)
		}
	}, "-origin", "http://a", "-origin", "http://b", "-origin.check", "0")
}

// A camera that takes one connection only has none taken by probes.
func TestProbeOff(t *testing.T) {
	inBubble(t, func(t *testing.T, b *Balancer, n *network) {
		time.Sleep(time.Minute)
		if s := status(b)[0]; s.Probes != 0 || s.Probe != "off" || n.dialed("a:554") {
			t.Errorf("after a minute: %+v", s)
		}
		n.kill("a:554", true)
		_, err := b.DialRTSP(t.Context(), proxy.Want{Path: "/cam"})
		wantRefusal(t, err, proxy.OriginDown, 5*time.Second)
		if s := status(b)[0]; s.State != "ejected" {
			t.Errorf("after a dial that failed: %+v, want that time brings it back", s)
		}
	}, "-splitter.source", "/cam=rtsp://a#probe=off,max=1")
}

// Real servers: one is killed under a running balancer and comes back.
func TestOriginDiesAndComesBack(t *testing.T) {
	first := startOrigin(t, origintest.Options{Addr: "127.0.0.1:0"})
	second := startOrigin(t, origintest.Options{Addr: "127.0.0.1:0"})
	b := balancer(t, "-origin", first.URL()+"#probe=describe:/live/clock", "-origin", second.URL(), "-origin.check", "50ms")
	run(t, b)
	state := func(i int, want string) {
		t.Helper()
		proxytest.Eventually(t, 5*time.Second, fmt.Sprintf("origin %d is %s", i, want), func() bool { return status(b)[i].State == want })
	}
	state(0, "up")
	state(1, "up")
	first.Die()
	state(0, "down")
	for range 20 {
		if got := dial(t, b, proxy.Want{Path: "/live/clock"}).Origin; got != b.all()[1].name {
			t.Fatalf("a viewer went to %s", got)
		}
	}
	if got := status(b)[0].Dials; got != 0 {
		t.Errorf("%d dials of the dead origin", got)
	}
	if err := first.Revive(); err != nil {
		t.Fatal(err)
	}
	state(0, "up")
}

func TestMuteOrigin(t *testing.T) {
	mute, _ := listen(t, "127.0.0.1")
	b := balancer(t, "-origin", "rtsp://"+mute, "-origin.timeout", "20ms", "-origin.check", "20ms")
	run(t, b)
	proxytest.Eventually(t, 5*time.Second, "a mute origin is down", func() bool { return status(b)[0].State == "down" })
	if got := status(b)[0].Reason; got != "no answer to the rtsp probe within 20ms" {
		t.Errorf("reason = %q", got)
	}
}

// A source is probed at its own URL, or at the probe's path instead.
func TestProbeURL(t *testing.T) {
	f := func(flag, value, want string) {
		t.Helper()
		o := balancer(t, flag, value).all()[0]
		if got := o.checker.url(Target{URL: o.probeURL()}).String(); got != want {
			t.Errorf("%s %s: probed at %s, want %s", flag, value, got, want)
		}
	}
	f("-splitter.source", "/cam=rtsp://u:p@cam/x%2Fy?z=1#probe=describe", "rtsp://cam/x%2Fy?z=1")
	f("-splitter.source", "/cam=rtsp://u:p@cam/x%2Fy?z=1#probe=describe:/status", "rtsp://cam/status")
	f("-origin", "rtsp://u:p@cam/base/#probe=describe:/a b", "rtsp://cam/base/a%20b")
	f("-origin", "http://cdn/base#probe=hls:/x.m3u8?y=1", "http://cdn/base/x.m3u8?y=1")
	f("-origin", "http://cdn#probe=http:/", "http://cdn/")
}

func TestRunEnds(t *testing.T) {
	mute, _ := listen(t, "127.0.0.1")
	b := balancer(t, "-origin", "rtsp://"+mute, "-origin", "http://"+mute+"#probe=http:/x")
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- b.Run(ctx) }()
	proxytest.Eventually(t, 5*time.Second, "the origins are probed", func() bool {
		b.mu.Lock()
		defer b.mu.Unlock()
		return b.probing
	})
	cancel()
	if err := <-done; err != nil {
		t.Errorf("Run = %v", err)
	}
	for _, s := range status(b) {
		if s.Probes != 0 || s.State != "idle" {
			t.Errorf("a probe that was broken off is counted: %+v", s)
		}
	}
}
