package splitter

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"weir/proxy"
)

// several is an upstream of some origins, called 0, 1 and so on: who is asked is the first
// that is not down, nor to be avoided.
type several struct {
	proxy.Upstream
	origins []*fakeOrigin
	avoided [][]string // by each dial
}

func newSeveral(n int) *several {
	s := &several{}
	for range n {
		s.origins = append(s.origins, newFakeOrigin())
	}
	return s
}

func (s *several) DialRTSP(ctx context.Context, w proxy.Want) (*proxy.Link, error) {
	s.avoided = append(s.avoided, w.Avoid)
	for i, o := range s.origins {
		if name := strconv.Itoa(i); !o.isDown() && !slices.Contains(w.Avoid, name) {
			link, err := o.dial(ctx, w)
			link.Origin = name
			return link, err
		}
	}
	return nil, &proxy.Refusal{Reason: proxy.OriginDown}
}

// Others is as the balancer's.
func (s *several) Others(_ string, than ...string) bool {
	for i, o := range s.origins {
		if !o.isDown() && !slices.Contains(than, strconv.Itoa(i)) {
			return true
		}
	}
	return false
}

// playing is a feed of such an upstream, that is wanted until it is stopped.
func (s *several) playing(t *testing.T, opt Options) (f *feed, stop func()) {
	t.Helper()
	sp := newTestSplitter(t, opt)
	sp.env.Upstream = s
	f = newFeed("/cam", sp)
	f.keep = time.Now().Add(1000 * time.Hour)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); f.run(ctx) }()
	<-f.opened
	return f, func() {
		cancel()
		<-done
		for _, o := range s.origins {
			o.close()
		}
	}
}

// sayAll has all origins describe a stream, which they play this often.
func (s *several) sayAll(sdp string, every time.Duration) {
	for _, o := range s.origins {
		o.sdp, o.every = sdp, every
	}
}

func (o *fakeOrigin) isDown() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.down
}

// A feed goes on with the first source that will do: who has another stream now is passed
// over, and who does not answer soon is not waited for while there is yet another.
func TestReopen(t *testing.T) {
	f := func(what, want string, after time.Duration, change func(o []*fakeOrigin)) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			up := newSeveral(4)
			f := upFeed(t, Options{Timeout: 5 * time.Second}, up)
			f.pull.again, f.outage.origin = true, "0"
			up.origins[0].down = true
			f.join(&session{})
			change(up.origins)
			start := time.Now()
			pl, got := f.reopen(t.Context()), ""
			if pl != nil {
				got = pl.link.Origin
				pl.close()
			}
			if took := time.Since(start); got != want || took < after || took > after+redialEvery*3/2 {
				t.Errorf("%s: goes on with %q after %v, want %q after %v; avoided %q", what, got, took, want, after, up.avoided)
			}
			for _, o := range up.origins {
				o.close()
			}
		})
	}
	another := strings.Replace(avSDP, "H264", "H265", 1)
	f("all are well", "1", 0, func([]*fakeOrigin) {})
	f("the next has another stream", "2", 0, func(o []*fakeOrigin) { o[1].sdp = another })
	f("so have two", "3", 0, func(o []*fakeOrigin) { o[1].sdp, o[2].sdp = another, another })
	f("so have all", "", 0, func(o []*fakeOrigin) { o[1].sdp, o[2].sdp, o[3].sdp = another, another, another })
	f("so has the next, and the others are dead", "", 0, func(o []*fakeOrigin) { o[1].sdp, o[2].down, o[3].down = another, true, true })
	f("the next is mute", "2", hastily, func(o []*fakeOrigin) { o[1].codes["DESCRIBE"] = -1 })
	const slow = 700 * time.Millisecond // each of OPTIONS, DESCRIBE, two SETUP and PLAY
	f("the others are slow", "1", 2*hastily+5*slow, func(o []*fakeOrigin) { o[1].delay, o[2].delay, o[3].delay = slow, slow, slow })
}

// Two origins of a stream that comes slowly are no reason to go from one to the other.
func TestSlowStreamStays(t *testing.T) {
	for every, dials := range map[time.Duration]int{40 * time.Millisecond: 1, 900 * time.Millisecond: 1, 1500 * time.Millisecond: 1, 4 * time.Second: 1,
		6 * time.Second: 2, 14 * time.Second: 3} {
		synctest.Test(t, func(t *testing.T) {
			up := newSeveral(2)
			up.sayAll(head+h264, every)
			f, stop := up.playing(t, Options{Timeout: 20 * time.Second})
			defer stop()
			time.Sleep(3 * time.Minute)
			synctest.Wait()
			if n := len(up.avoided); n != dials || !f.is("up") {
				t.Errorf("a packet each %v: %d dials, want %d, the feed is %s", every, n, dials, stateOf(f))
			}
		})
	}
}

// An origin that only pauses is gone back to, if the other one has another stream; and is
// not left for that again.
func TestPauseEndsNoFeed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		up := newSeveral(2)
		up.sayAll(head+h264, 40*time.Millisecond)
		up.origins[1].sdp = head + h261
		f, stop := up.playing(t, Options{Timeout: 5 * time.Second})
		defer stop()
		time.Sleep(5 * time.Second)
		for range 5 {
			up.origins[0].pause(true)
			time.Sleep(2 * time.Second)
			up.origins[0].pause(false)
			time.Sleep(time.Second)
		}
		synctest.Wait()
		if n := len(up.avoided); n != 3 || !f.is("up") { // the first, the other one, back
			t.Errorf("%d dials, the feed is %s", n, stateOf(f))
		}
	})
}

// An origin that takes a pull and sends nothing, or stops to answer, is left for another one
// soon; and if there is none, it does not hold viewers for longer than the wait.
func TestMuteOrigins(t *testing.T) {
	f := func(what string, most time.Duration, harm func(o *fakeOrigin)) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			up := newSeveral(3)
			up.sayAll(head+h264, 40*time.Millisecond)
			harm(up.origins[1])
			f, stop := up.playing(t, Options{Timeout: 5 * time.Second})
			defer stop()
			time.Sleep(4 * time.Second)
			up.origins[0].kill(true)
			start := time.Now()
			for up.origins[2].count("PLAY") == 0 && time.Since(start) < time.Minute {
				time.Sleep(10 * time.Millisecond)
			}
			if d := time.Since(start); d > most || !f.is("up") {
				t.Errorf("%s: the third plays after %v, the feed is %s", what, d, stateOf(f))
			}
		})
	}
	f("it describes nothing", hastily+redialEvery, func(o *fakeOrigin) { o.codes["DESCRIBE"] = -1 })
	f("it sets up nothing", quickly+2*redialEvery, func(o *fakeOrigin) { o.codes["SETUP"] = -1 })
	f("it does not answer PLAY", quickly+2*redialEvery, func(o *fakeOrigin) { o.codes["PLAY"] = -1 })
	f("it plays nothing", quickly+2*redialEvery, func(o *fakeOrigin) { o.mute = true })

	for _, o := range []Options{{Timeout: 5 * time.Second}, {Wait: 5 * time.Second, Timeout: 5 * time.Second}, {Timeout: 15 * time.Second}} {
		synctest.Test(t, func(t *testing.T) {
			up := newSeveral(1)
			up.sayAll(head+h264, 40*time.Millisecond)
			f, stop := up.playing(t, o)
			defer stop()
			time.Sleep(4 * time.Second)
			up.origins[0].pause(true)
			up.origins[0].kill(false)
			start := time.Now()
			for !f.is("ended") && time.Since(start) < time.Hour {
				time.Sleep(100 * time.Millisecond)
			}
			if d := time.Since(start); d < f.opt.Wait || d > f.opt.Wait+2*f.opt.Timeout {
				t.Errorf("wait %v, timeout %v: let go after %v", f.opt.Wait, f.opt.Timeout, d)
			}
		})
	}
}
