package splitter

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// Fifty feeds lose one origin at once. They come back to it one after another,
// whether it is there at once or after a while, and all do.
func TestFeedsDoNotComeBackInAHerd(t *testing.T) {
	f := func(down time.Duration, least, most time.Duration, burst int) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			o := newFakeOrigin()
			o.sdp = head + h264
			s := newTestSplitter(t, Options{})
			s.env.Upstream = o.upstream()
			ctx, cancel := context.WithCancel(context.Background())
			var wg sync.WaitGroup
			feeds := make([]*feed, 50)
			for i := range feeds {
				feeds[i] = newFeed(fmt.Sprint("/cam/", i), s)
				feeds[i].touch()
				wg.Go(func() { feeds[i].run(ctx) })
				<-feeds[i].opened
				feeds[i].join(&session{})
			}
			defer func() {
				for _, f := range feeds {
					clear(f.sessions)
				}
				cancel()
				wg.Wait()
				o.close()
			}()
			<-time.After(10 * time.Second)
			o.dials = nil
			lost := time.Now()
			o.kill(down > 0)
			<-time.After(down)
			o.kill(false)
			<-time.After(most)
			synctest.Wait()
			for _, f := range feeds {
				if stateOf(f) != "up" {
					t.Fatalf("%s is %s %v after the origin is back", f.path, stateOf(f), most)
				}
			}
			o.mu.Lock()
			defer o.mu.Unlock()
			if len(o.dials) < 50 {
				t.Fatalf("%d dials", len(o.dials))
			}
			if d := o.dials[len(o.dials)-1].Sub(lost.Add(down)); d < least {
				t.Errorf("all were back within %v, want them spread over %v", d, least)
			}
			if n := densest(o.dials, 100*time.Millisecond); n > burst {
				t.Errorf("%d dials within 100 ms, want %d at most", n, burst)
			}
			if n := s.herd.size("one"); n != 0 {
				t.Errorf("%d feeds are thought away", n)
			}
		})
	}
	f(0, 700*time.Millisecond, 3*time.Second, 12)
	f(5*time.Second, 300*time.Millisecond, 3*time.Second, 15)
}

// densest is the most of times that lie within d.
func densest(times []time.Time, d time.Duration) (most int) {
	slices.SortFunc(times, time.Time.Compare)
	for i := range times {
		j := i
		for j < len(times) && times[j].Sub(times[i]) < d {
			j++
		}
		most = max(most, j-i)
	}
	return most
}

// One feed that loses its origin does not wait for its turn.
func TestLoneFeedIsBackAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newFakeOrigin()
		o.sdp = head + h264
		f, stop := live(t, o, Options{})
		defer stop()
		<-f.opened
		f.join(&session{})
		defer clear(f.sessions)
		<-time.After(10 * time.Second)
		o.kill(false)
		lost := time.Now()
		synctest.Wait()
		o.mu.Lock()
		defer o.mu.Unlock()
		if n := len(o.dials); n != 2 || o.dials[1].Sub(lost) > time.Millisecond {
			t.Errorf("%d dials, the last %v after the loss", n, o.dials[n-1].Sub(lost))
		}
	})
}

// A source that says goodbye is looked for at once, without waiting for silence.
func TestOriginSaysGoodbye(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newFakeOrigin()
		o.sdp = head + h264
		f, stop := live(t, o, Options{})
		defer stop()
		<-f.opened
		f.join(&session{})
		defer clear(f.sessions)
		<-time.After(2 * time.Second)
		o.mu.Lock()
		c := o.conns[0]
		o.mu.Unlock()
		at := time.Now()
		c.Write([]byte{'$', 1, 0, 16, 0x80, 201, 0, 1, 0, 0, 0, 42, 0x81, 203, 0, 1, 0, 0, 0, 42}) //nolint:errcheck
		synctest.Wait()
		o.mu.Lock()
		defer o.mu.Unlock()
		if n := len(o.dials); n != 2 || time.Since(at) > 0 {
			t.Errorf("%d dials %v after the goodbye, want a second one at once", n, time.Since(at))
		}
	})
}
