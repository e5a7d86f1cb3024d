package splitter_test

import (
	"context"
	"net"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"weir/proxy/proxytest"

	"weir/proxy/origintest"
)

// The origin of a feed dies and there is another: nobody is disconnected, every
// track goes on, and packets come again soon.
func TestMovesToTheOtherOrigin(t *testing.T) {
	for _, transport := range []string{"tcp", "udp"} {
		t.Run(transport, func(t *testing.T) {
			origins := []*origintest.Origin{newOrigin(t, origintest.Options{}), newOrigin(t, origintest.Options{})}
			e := newEdge(t, edgeOptions(), balancer(t, origins[0].URL(), origins[1].URL()))
			watchers := crowd(t, 25, e.url+clock, transport)
			more(t, watchers, 0, 30)
			in := 0
			if origins[1].Counts().Pulls == 1 {
				in = 1
			}
			origins[in].Die()
			more(t, watchers, 0, 40)
			more(t, watchers, 1, 10)
			if n := origins[1-in].Counts().Pulls; n != 1 {
				t.Errorf("%d pulls from the other origin, want 1", n)
			}
			var picture, anything time.Duration
			for _, w := range watchers {
				if err := w.over(); err != nil {
					t.Errorf("viewer ended: %v", err)
				}
				picture = max(picture, silence(w.received(0)))
				anything = max(anything, silence(slices.Concat(w.received(0), w.received(1))))
				for track, rate := range []float64{90000, 48000} {
					continues(t, w.received(track), rate)
				}
			}
			t.Logf("%s: the longest time without a picture was %v, without any packet %v", transport, picture, anything)
			if picture > 4*time.Second { // half a group of pictures where the machine has nothing else to do
				t.Errorf("%s: %v without a picture", transport, picture)
			}
		})
	}
}

// silence is the longest time between two packets.
func silence(ps []packet) (longest time.Duration) {
	slices.SortFunc(ps, func(a, b packet) int { return a.at.Compare(b.at) })
	for i := range ps[1:] {
		longest = max(longest, ps[i+1].at.Sub(ps[i].at))
	}
	return longest
}

// An origin stops without a word, as one does whose machine hangs: viewers go on with
// another one. Where there is none, it is waited for.
func TestLeavesASilentOrigin(t *testing.T) {
	origins := []*origintest.Origin{newOrigin(t, origintest.Options{}), newOrigin(t, origintest.Options{})}
	opt := edgeOptions()
	opt.Timeout = time.Minute
	e := newEdge(t, opt, balancer(t, origins[0].URL(), origins[1].URL()))
	watchers := crowd(t, 10, e.url+clock, "tcp")
	more(t, watchers, 0, 30)
	left, other := origins[0], origins[1]
	if other.Counts().Pulls == 1 {
		left, other = other, left
	}
	alone := newEdge(t, opt, balancer(t, left.URL()))
	waiting := crowd(t, 1, alone.url+clock, "tcp")
	more(t, waiting, 0, 100) // for so long that pauses are known
	left.Mute(true)
	left.Stall(true)
	more(t, watchers, 0, 40)
	if n := other.Counts().Pulls; n != 1 {
		t.Errorf("%d pulls from the other origin, want 1", n)
	}
	var gap time.Duration
	for _, w := range watchers {
		gap = max(gap, silence(slices.Concat(w.received(0), w.received(1))))
		continues(t, w.received(0), 90000)
	}
	t.Logf("packets again after %v", gap)
	if gap < time.Second {
		t.Errorf("a pause of %v was none", gap)
	}
	left.Mute(false)
	left.Stall(false)
	more(t, waiting, 0, 20)
	if f := alone.feed(clock); f.Pulls != 1 {
		t.Errorf("the edge with one origin has pulled %d times, want 1", f.Pulls)
	}
}

// An origin takes connections and ends them, as a proxy does whose server is gone: the
// other one is asked at once, and viewers notice neither before the first packet nor later.
func TestOriginThatHangsUp(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var dials atomic.Int64
	background(t, func(ctx context.Context) error {
		defer context.AfterFunc(ctx, func() { l.Close() })()
		for {
			c, err := l.Accept()
			if err != nil {
				return nil
			}
			dials.Add(1)
			c.Close()
		}
	})
	good := newOrigin(t, origintest.Options{})
	o := edgeOptions()
	o.Linger = time.Millisecond
	e := newEdge(t, o, balancer(t, "rtsp://"+l.Addr().String(), good.URL()))
	for try := 0; dials.Load() == 0; try++ { // which one is asked first is drawn
		if try > 100 {
			t.Fatal("the bad origin is never asked")
		}
		w, err := open(e.url+clock, "tcp")
		if err != nil {
			t.Fatalf("the viewer is told of it: %v", err)
		}
		w.leave()
		proxytest.Eventually(t, 10*time.Second, "the feed's end", func() bool { return good.Counts().Playing == 0 })
	}
}
