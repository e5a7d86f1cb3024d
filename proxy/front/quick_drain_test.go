package front

import (
	"context"
	"io"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"weir/proxy"
)

// From the drain's notice on nothing is answered quickly; when net/http is shut
// down, those who wait for nothing are let go at once.
func TestQuickDrain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &echo{}
		d := openPipes(t, ladder{}, handler(e))
		c := d.viaHTTP(t, get)
		for range 3 {
			c.response()
			synctest.Wait()
			c.send(get)
		}
		c.response()
		if n := e.hits.Load(); n != 3 {
			t.Fatalf("%d quick answers, want 3", n)
		}
		d.Drain()
		c.send(get)
		c.response()
		pass(time.Second)
		if n := e.hits.Load(); n != 3 || d.http.open.Load() != 1 {
			t.Errorf("after the notice: %d quick answers, %d connections; want 3 and 1", n, d.http.open.Load())
		}
		start := time.Now()
		d.stop()
		if s := c.closed(); s != "" {
			t.Errorf("read %q", s)
		}
		<-d.done
		if took := time.Since(start); took > 100*time.Millisecond {
			t.Errorf("the end took %v with nobody served", took)
		}
	})
}

// Who is being answered when the front is to end is a viewer like others, though
// net/http takes the connection for idle.
func TestQuickDrainWaits(t *testing.T) {
	f := func(what string, timeout, pause time.Duration, viewers int, wantWhole bool, from, to time.Duration) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			e := &echo{size: 1000}
			d := openPipes(t, ladder{}, handler(e))
			d.SetDrainTimeout(timeout)
			var wg sync.WaitGroup
			defer wg.Wait()
			for range viewers {
				c := d.viaHTTP(t, get)
				c.response()
				synctest.Wait()
				c.send(get)
				wg.Go(func() {
					pass(pause)
					b, _ := io.ReadAll(c)
					if whole := len(b) > 1000; whole != wantWhole {
						t.Errorf("%s: read %d bytes", what, len(b))
					}
				})
			}
			synctest.Wait()
			start := time.Now()
			d.stop()
			<-d.done
			if took := time.Since(start); took < from || took > to {
				t.Errorf("%s: Run took %v, want %v to %v", what, took, from, to)
			}
			if g := d.gate.Count(); g.Leaves != viewers || len(d.viewers) != 0 {
				t.Errorf("%s: gate %+v, viewers %v", what, g, d.viewers)
			}
		})
	}
	f("reads", 100*time.Second, 20*time.Second, 3, true, 20*time.Second, 21*time.Second)
	f("does not read", 100*time.Second, 99*time.Second, 3, false, maxStall, maxStall)
	f("is too late", 10*time.Second, 9*time.Second+time.Millisecond, 1, false, 9*time.Second, 9*time.Second)
	f("are too late", 10*time.Second, 20*time.Second, 4, false, 9500*time.Millisecond, 10*time.Second)
	f("has no time", 0, time.Second, 2, false, 0, 0)
}

// A hook that takes its time does not keep the front from ending here either.
func TestQuickCheckEndsWithTheFront(t *testing.T) {
	gate := &waitingLater{Admitter: proxy.Open, asked: make(chan struct{}, 1)}
	d := open(t, ladder{}, handler(&echo{}), func(c *Config) { c.Gate, c.DrainTimeout = gate, 0 })
	c := d.viaHTTP(t, get)
	c.response()
	c.send(get)
	<-gate.asked
	d.stop()
	<-d.done
	c.closed()
}

// A waitingLater gate lets in who asks first.
type waitingLater struct {
	proxy.Admitter
	n     atomic.Int64
	asked chan struct{}
}

func (g *waitingLater) Check(ctx context.Context, v *proxy.Viewer) error {
	if g.n.Add(1) == 1 {
		return nil
	}
	return waiting{g.Admitter, g.asked}.Check(ctx, v)
}
