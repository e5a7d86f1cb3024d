package front

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"weir/proxy"
	"weir/proxy/proxytest"
)

// stayers counts viewers and stays until told to go; it notes when that was.
type stayers struct {
	begun sync.WaitGroup // counts down as viewers arrive
	start time.Time      // of the drain

	mu   sync.Mutex
	told []time.Duration
}

func (s *stayers) stay(ctx context.Context) {
	s.begun.Done()
	<-ctx.Done()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.told = append(s.told, time.Since(s.start))
}

func (s *stayers) ladder() ladder {
	return ladder{
		rtsp: func(ctx context.Context, _ *proxy.RTSPConn) { s.stay(ctx) },
		http: func(_ http.ResponseWriter, r *http.Request) { s.stay(r.Context()) },
	}
}

// drain lets n RTSP and m HTTP viewers in, stops the front, and returns when
// they were told to go and when Run returned.
func drain(t *testing.T, n, m int, change ...func(*door)) (told []time.Duration, ran time.Duration) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := &stayers{}
		d := openPipes(t, s.ladder())
		s.begun.Add(n + m)
		for range n {
			d.viaRTSP(t, describe)
		}
		for range m {
			c := d.viaHTTP(t, get)
			go c.Read(make([]byte, 1)) //nolint:errcheck // a pipe's writes wait for it
		}
		s.begun.Wait()
		s.start = time.Now()
		for _, c := range change {
			c(d)
		}
		d.stop()
		<-d.done
		told, ran = s.told, time.Since(s.start)
	})
	return told, ran
}

// A herd that is sent away at once comes back at once: the last tenth of the
// timeout is for telling them one by one.
func TestDrainTellsOneByOne(t *testing.T) {
	f := func(rtsp, http int, want ...float64) {
		t.Helper()
		told, ran := drain(t, rtsp, http)
		var got []float64
		for _, d := range told {
			got = append(got, d.Seconds())
		}
		if !slices.Equal(got, want) {
			t.Errorf("%d RTSP and %d HTTP viewers were told to go after %v s, want %v", rtsp, http, got, want)
		}
		if ran > 101*time.Second {
			t.Errorf("Run returned after %v", ran)
		}
	}
	f(0, 0)
	f(1, 0, 90)
	f(5, 0, 90, 92, 94, 96, 98)
	f(0, 4, 90, 92.5, 95, 97.5)
	f(3, 2, 90, 92, 94, 96, 98)
}

func TestDrainTimeout(t *testing.T) {
	f := func(timeout time.Duration, first, ran time.Duration) {
		t.Helper()
		told, took := drain(t, 2, 1, func(d *door) { d.SetDrainTimeout(timeout) })
		if len(told) != 3 || told[0] != first || took > ran {
			t.Errorf("timeout %v: told to go after %v, Run took %v, want from %v, at most %v", timeout, told, took, first, ran)
		}
	}
	f(3*time.Second, 2700*time.Millisecond, 4*time.Second)
	f(0, 0, time.Second)
}

// Viewers who leave by themselves are not waited for.
func TestDrainEndsEarly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		end := make(chan struct{})
		d := openPipes(t, ladder{
			rtsp: func(ctx context.Context, c *proxy.RTSPConn) { drainReads(c) }, //nolint:errcheck // until the viewer leaves
			http: func(w http.ResponseWriter, r *http.Request) {
				<-end
				if r.Context().Err() != nil {
					t.Error("the request was cut")
				}
				io.WriteString(w, "whole") //nolint:errcheck // the client sees it
			},
		})
		r, h := d.viaRTSP(t, describe), d.viaHTTP(t, get)
		synctest.Wait()
		d.stop()
		synctest.Wait()
		for _, dial := range []func() (net.Conn, error){d.dialRTSP, d.dialHTTP} {
			if _, err := dial(); err == nil {
				t.Error("a new viewer came in while draining")
			}
		}
		if d.Ready() == nil {
			t.Error("ready while draining")
		}
		start := time.Now()
		pass(20 * time.Second)
		r.Close()
		pass(20 * time.Second)
		select {
		case <-d.done:
			t.Fatal("Run returned before the last viewer left")
		default:
		}
		close(end)
		if _, body := h.response(); body != "whole" {
			t.Errorf("read %q", body)
		}
		<-d.done
		if took := time.Since(start); took > 41*time.Second {
			t.Errorf("Run returned %v after the drain began, want just after 40s", took)
		}
	})
}

// Nobody holds the front up beyond its timeout: neither one who has only ever
// asked for OPTIONS, nor one who does not read while a handler writes.
func TestDrainCutsWhoNeverEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := openPipes(t, ladder{http: func(w http.ResponseWriter, _ *http.Request) {
			io.WriteString(w, strings.Repeat("x", 1<<20)) //nolint:errcheck // nobody reads it
		}})
		r := d.viaRTSP(t, options)
		r.answer()
		d.viaHTTP(t, get)
		synctest.Wait()
		start := time.Now()
		d.stop()
		<-d.done
		if took := time.Since(start); took < 90*time.Second || took > 101*time.Second {
			t.Errorf("Run returned after %v, want 1m30s to 1m40s", took)
		}
	})
}

// A connection taken over from net/http is a viewer like others.
func TestDrainWaitsForUpgrades(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ended := make(chan error, 1)
		d := openPipes(t, ladder{http: func(w http.ResponseWriter, r *http.Request) {
			c, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			<-r.Context().Done()
			ended <- r.Context().Err()
		}})
		d.viaHTTP(t, get)
		synctest.Wait()
		start := time.Now()
		d.stop()
		<-ended
		if got := time.Since(start); got != 90*time.Second {
			t.Errorf("cut after %v, want 1m30s", got)
		}
		<-d.done
	})
}

// Run does not return before the handlers have.
func TestRunWaitsForHandlers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var busy atomic.Int64
		slow := func(ctx context.Context) {
			busy.Add(1)
			<-ctx.Done()
			pass(time.Minute)
			busy.Add(-1)
		}
		d := openPipes(t, ladder{
			rtsp: func(ctx context.Context, _ *proxy.RTSPConn) { slow(ctx) },
			http: func(_ http.ResponseWriter, r *http.Request) { slow(r.Context()) },
		})
		d.viaRTSP(t, describe)
		h := d.viaHTTP(t, get)
		go h.Read(make([]byte, 1)) //nolint:errcheck // a pipe's writes wait for it
		synctest.Wait()
		d.SetDrainTimeout(time.Second)
		d.stop()
		<-d.done
		if n := busy.Load(); n != 0 {
			t.Errorf("%d handlers are at work after Run", n)
		}
	})
}

// A slow gate's Accept may end after the listener has closed.
type slowGate struct {
	*proxytest.Gate
	asked, open chan struct{}
}

func (g slowGate) Accept(a netip.Addr) (func(), error) {
	g.asked <- struct{}{}
	<-g.open
	return g.Gate.Accept(a)
}

// Who comes in at the last moment is served, or at least waited for.
func TestDrainAtTheMomentOfAccept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var gone atomic.Bool
		gate := slowGate{&proxytest.Gate{}, make(chan struct{}), make(chan struct{})}
		d := openPipes(t, ladder{rtsp: func(ctx context.Context, _ *proxy.RTSPConn) {
			<-ctx.Done()
			gone.Store(true)
		}}, func(c *Config) { c.Gate = gate })
		c := d.client(t, d.dialRTSP)
		<-gate.asked
		d.stop()
		pass(time.Second)
		close(gate.open)
		c.send(describe)
		<-d.done
		if n := gate.Count(); n.Accepts != 1 || n.Leaves != 1 || !gone.Load() {
			t.Errorf("gate %+v, handler ended %v, when Run returned", n, gone.Load())
		}
	})
}

// On real sockets: refused at once, status at any time, nothing left.
func TestDrainSockets(t *testing.T) {
	s := &stayers{}
	d := open(t, s.ladder(), func(c *Config) { c.DrainTimeout = time.Second })
	s.begun.Add(6)
	for range 3 {
		d.viaRTSP(t, describe)
		d.viaHTTP(t, get)
	}
	s.begun.Wait()
	s.start = time.Now()
	d.stop()
	for _, dial := range []func() (net.Conn, error){d.dialRTSP, d.dialHTTP} {
		proxytest.Eventually(t, 500*time.Millisecond, "new viewers are refused", func() bool {
			c, err := dial()
			if err == nil {
				c.Close() // it was quicker than the front
			}
			return err != nil
		})
	}
	for run := true; run; {
		if _, err := json.Marshal(d.Status()); err != nil {
			t.Fatal(err)
		}
		run = wait(time.Millisecond, d.done)
	}
	if first, last := s.told[0], s.told[5]; first < 900*time.Millisecond || last-first < 30*time.Millisecond {
		t.Errorf("told to go after %v, want spread over the last tenth of a second", s.told)
	}
	if g := d.gate.Count(); g.Leaves != g.Accepts || g.Accepts < 6 {
		t.Errorf("gate: %+v, want all given back", g)
	}
}
