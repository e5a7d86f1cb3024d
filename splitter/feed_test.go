package splitter

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"weir/proxy"
	"weir/proxy/proxytest"
	"weir/proxy/wire"
)

// A lost source is tried at once, then every 250 ms or so for ten seconds, then
// ever more seldom.
func TestBackoff(t *testing.T) {
	f := func(try, herd int, away, least, most time.Duration) {
		t.Helper()
		for range 200 {
			if d := backoff(try, herd, away, 15*time.Second); d < least || d > most {
				t.Errorf("backoff(%d, %d, %v) = %v, want %v to %v", try, herd, away, d, least, most)
			}
		}
	}
	const ms, s = time.Millisecond, time.Second
	f(0, 0, 0, 0, 0)
	f(0, 0, time.Hour, 0, 0)
	f(1, 1, 0, 200*ms, 300*ms)
	f(40, 1, redialFast, 200*ms, 300*ms)
	f(41, 1, redialFast+1, 400*ms, 600*ms)
	f(42, 1, redialFast+2*s, 1600*ms, 2400*ms)
	f(43, 1, redialFast+4*s, 3200*ms, 4800*ms)
	f(99, 1, time.Hour, 6400*ms, 9600*ms)
	f(0, 10, 0, 160*ms, 240*ms) // behind ten others
	f(1, 12, 0, 200*ms, 300*ms)
	f(1, 100, 0, 1600*ms, 2400*ms)
	f(0, 600, 0, 9600*ms, 14400*ms)
	f(1, 600, 0, 9600*ms, 14400*ms)
	f(0, 100000, 0, 0, 18000*ms)
	f(1, 100000, 0, 12000*ms, 18000*ms)
}

// However many feeds lose an origin, their first tries are spread evenly.
func TestTriesOfALargeHerd(t *testing.T) {
	f := func(feeds, most int) {
		t.Helper()
		var tries [20]int // by the second
		for i := range feeds {
			tries[int(backoff(0, i, 0, 15*time.Second)/time.Second)]++
		}
		if n := slices.Max(tries[:]); n > most {
			t.Errorf("%d feeds: %d tries in one second, want %d at most: %d", feeds, n, most, tries)
		}
	}
	f(700, 90) // fifty, and chance
	f(1000, 110)
	f(3000, 280)
}

// upFeed makes a feed that has played, and has lost its source.
func upFeed(t *testing.T, o Options, up proxy.Upstream) *feed {
	t.Helper()
	s := newTestSplitter(t, o)
	f := feedOf(s, newCamera(t, avSDP), avSDP, t)
	f.pull.upstream = up
	return f
}

// A source that stays away is given up after the wait, and has been asked as
// often as the schedule says.
func TestGivesUpAfterTheWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newFakeOrigin()
		o.down = true
		f := upFeed(t, Options{Wait: 30 * time.Second}, o.upstream())
		f.join(&session{})
		start := time.Now()
		if pl := f.reopen(t.Context()); pl != nil {
			t.Error("a pull of an origin that is down")
		}
		if took := time.Since(start); took != 30*time.Second {
			t.Errorf("gave up after %v", took)
		}
		fast := 0
		for i, at := range o.dials {
			d := at.Sub(start)
			if d <= redialFast {
				fast++
			}
			if i == 0 && d != 0 {
				t.Errorf("the first try came after %v", d)
			} else if i > 0 && at.Sub(o.dials[i-1]) > redialMax*6/5 {
				t.Errorf("%v between two tries", at.Sub(o.dials[i-1]))
			}
		}
		if slow := len(o.dials) - fast; fast < 34 || fast > 51 || slow < 4 || slow > 10 {
			t.Errorf("%d tries in the first ten seconds, %d after that", fast, slow)
		}
	})
}

// Nobody waits: a source is not waited for.
func TestGivesUpWhenNobodyWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := upFeed(t, Options{Linger: 3 * time.Second}, &proxytest.Upstream{})
		s := &session{}
		f.join(s)
		start := time.Now()
		time.AfterFunc(5*time.Second, func() { f.leave(s) })
		if f.reopen(t.Context()) != nil || time.Since(start) != 8*time.Second {
			t.Errorf("gave up after %v, want the linger after the last viewer left", time.Since(start))
		}
	})
}

// unwanted returns how long it takes until nobody wants a feed any more.
func unwanted(f *feed) time.Duration {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	start := time.Now()
	go f.waitUnwanted(ctx, cancel, done)
	<-ctx.Done()
	<-done
	return time.Since(start)
}

// A feed outlives its last viewer by the linger, and an asker by the grace.
func TestWanted(t *testing.T) {
	f := func(what string, linger, want time.Duration, play func(f *feed)) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			f := upFeed(t, Options{Linger: linger}, &proxytest.Upstream{})
			go play(f)
			synctest.Wait()
			if got := unwanted(f); got != want {
				t.Errorf("%s: unwanted after %v, want %v", what, got, want)
			}
		})
	}
	a, b := &session{}, &session{}
	const s = time.Second
	f("nobody ever", 10*s, 0, func(*feed) {})
	f("asked for", 10*s, grace, func(f *feed) { f.touch() })
	f("asked for again", 10*s, 1*s+grace, func(f *feed) { f.touch(); <-time.After(s); f.touch() })
	f("watched", 10*s, 30*s, func(f *feed) { f.join(a); <-time.After(20 * s); f.leave(a) })
	f("watched for hours", 10*s, 5*time.Hour+10*s, func(f *feed) { f.join(a); <-time.After(5 * time.Hour); f.leave(a) })
	f("the last one counts", 10*s, 25*s, func(f *feed) {
		f.join(a)
		f.join(b)
		<-time.After(5 * s)
		f.leave(a)
		<-time.After(10 * s)
		f.leave(b)
	})
	f("somebody else comes in time", 10*s, 35*s, func(f *feed) {
		f.join(a)
		<-time.After(5 * s)
		f.leave(a)
		<-time.After(9 * s)
		f.join(b)
		<-time.After(11 * s)
		f.leave(b)
	})
	f("no linger", time.Nanosecond, 5*s+time.Nanosecond, func(f *feed) { f.join(a); <-time.After(5 * s); f.leave(a) })
	f("asked for while lingering", 1*s, 5*s+500*time.Millisecond+grace, func(f *feed) {
		f.join(a)
		<-time.After(5 * s)
		f.leave(a)
		<-time.After(500 * time.Millisecond)
		f.touch()
	})
}

func TestJoinAfterTheEnd(t *testing.T) {
	f := upFeed(t, Options{}, &proxytest.Upstream{})
	s := &session{}
	if !f.join(s) || f.is("ended") {
		t.Error("a feed that is up takes no viewer")
	}
	f.leave(s)
	f.end(t.Context(), false)
	if f.join(s) || !f.is("ended") {
		t.Error("a feed that has ended takes viewers")
	}
}

// live runs a feed of an origin until stop is called.
func live(t *testing.T, o *fakeOrigin, opt Options) (f *feed, stop func()) {
	t.Helper()
	s := newTestSplitter(t, opt)
	s.env.Upstream = o.upstream()
	f = newFeed("/cam", s)
	f.touch()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); f.run(ctx) }()
	return f, func() { cancel(); <-done; o.close() }
}

func stateOf(f *feed) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.state
}

// Who waited for a slow origin is given the same time to come back as others.
func TestSlowOriginIsKeptForItsViewer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newFakeOrigin()
		o.delay = 900 * time.Millisecond
		f, stop := live(t, o, Options{Timeout: 2 * time.Second})
		defer stop()
		<-f.opened
		<-time.After(grace / 2)
		synctest.Wait()
		if f.err != nil || stateOf(f) != "up" {
			t.Errorf("%v after it was opened the feed is %s (%v)", grace/2, stateOf(f), f.err)
		}
		<-time.After(grace)
		synctest.Wait()
		if stateOf(f) != "ended" || o.count("TEARDOWN") != 1 {
			t.Errorf("nobody came: the feed is %s, TEARDOWN was said %d times", stateOf(f), o.count("TEARDOWN"))
		}
	})
}

// A source that comes back in time goes on: same SSRC, next number, later time.
func TestSourceComesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newFakeOrigin()
		o.sdp = head + h264
		f, stop := live(t, o, Options{})
		defer stop()
		<-f.opened
		f.join(&session{})
		defer clear(f.sessions)
		at := *f.in.ring.head.Load()
		<-time.After(time.Second)
		synctest.Wait()
		before := seen(&at, 0)
		o.kill(true)
		synctest.Wait()
		if stateOf(f) != "away" || len(o.fails) != 1 {
			t.Errorf("the source is gone: the feed is %s, the link was blamed %d times", stateOf(f), len(o.fails))
		}
		if _, waits := f.in.ring.start(); !waits {
			t.Error("a viewer starts at the picture of a source that is gone")
		}
		<-time.After(3 * time.Second)
		o.kill(false)
		<-time.After(time.Second)
		synctest.Wait()
		after := seen(&at, 0)
		if stateOf(f) != "up" || len(before) < 20 || len(after) < 10 {
			t.Fatalf("the feed is %s, %d pictures before and %d after", stateOf(f), len(before), len(after))
		}
		last, first := before[len(before)-1], after[0]
		gap := time.Duration(first.ts-last.ts) * time.Second / 90000
		if first.seq != last.seq+1 || first.ssrc != last.ssrc || gap < 3*time.Second || gap > 4*time.Second {
			t.Errorf("goes on with number %d after %d, SSRC %x after %x, %v later", first.seq, last.seq, first.ssrc, last.ssrc, gap)
		}
	})
}

// An origin that takes every pull and soon drops it is not back: it is not dialled
// without a pause, and viewers are let go after the wait all the same.
func TestSourceNeverStays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newFakeOrigin()
		o.sdp = head + h264
		f, stop := live(t, o, Options{Wait: 20 * time.Second})
		defer stop()
		<-f.opened
		s := &session{}
		f.join(s)
		start := time.Now()
		for !f.is("ended") && time.Since(start) < time.Minute {
			<-time.After(100 * time.Millisecond)
			o.kill(false)
			synctest.Wait()
			if time.Since(start) > 19*time.Second {
				f.leave(s) // end would close it
			}
		}
		if took := time.Since(start); took < 19*time.Second || took > 22*time.Second {
			t.Errorf("let go after %v", took)
		}
		if n := len(o.dials); n < 25 || n > 60 {
			t.Errorf("%d dials in 20 s", n)
		}
	})
}

// A source that comes back as something else ends the feed.
func TestSourceComesBackChanged(t *testing.T) {
	f := func(what string, change func(o *fakeOrigin)) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			o := newFakeOrigin()
			f := upFeed(t, Options{}, o.upstream())
			f.join(&session{})
			change(o)
			start := time.Now()
			if pl := f.reopen(t.Context()); pl != nil || time.Since(start) > time.Second {
				t.Errorf("%s: taken back, or tried for %v", what, time.Since(start))
			}
			o.close()
		})
	}
	f("another codec", func(o *fakeOrigin) { o.sdp = strings.Replace(avSDP, "H264", "H265", 1) })
	f("no sound any more", func(o *fakeOrigin) { o.sdp = head + h264 })
	f("a recording", func(o *fakeOrigin) { o.sdp = strings.Replace(avSDP, "a=control:*", "a=range:npt=0-60", 1) })
}

func TestOpen(t *testing.T) {
	f := func(what string, set func(o *fakeOrigin), check func(err error) bool) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			o := newFakeOrigin()
			set(o)
			f, stop := live(t, o, Options{})
			<-f.opened
			if !check(f.err) || f.err != nil && stateOf(f) != "ended" {
				t.Errorf("%s: %v, the feed is %s", what, f.err, stateOf(f))
			}
			stop()
			if stateOf(f) != "ended" {
				t.Errorf("%s: at last the feed is %s", what, stateOf(f))
			}
		})
	}
	is := func(want proxy.Reason) func(error) bool {
		return func(err error) bool {
			var r *proxy.Refusal
			return errors.As(err, &r) && r.Reason == want
		}
	}
	f("live", func(*fakeOrigin) {}, func(err error) bool { return err == nil })
	f("a recording", func(o *fakeOrigin) { o.sdp = strings.Replace(avSDP, "a=control:*", "a=range:npt=0-60", 1) },
		func(err error) bool { return errors.Is(err, errStored) })
	f("nobody there", func(o *fakeOrigin) { o.down = true }, is(proxy.OriginDown))
	f("not known there", func(o *fakeOrigin) { o.codes["DESCRIBE"] = 404 }, is(proxy.NotFound))
	f("never answers", func(o *fakeOrigin) { o.codes["OPTIONS"], o.codes["DESCRIBE"] = -1, -1 }, is(proxy.OriginSlow))
	f("does not play", func(o *fakeOrigin) { o.codes["PLAY"] = 500 }, is(proxy.OriginBad))
}

// However long somebody watches, only the newest part of the stream is kept.
func TestLongWatchedStaysSmall(t *testing.T) {
	o := newFakeOrigin()
	o.sdp, o.mute = head+h264, true
	s := newTestSplitter(t, Options{})
	s.env.Upstream = o.upstream()
	ctx, cancel := context.WithCancel(context.Background())
	ran := make(chan error, 1)
	go func() { ran <- s.Run(ctx) }()
	defer func() { cancel(); <-ran; o.close() }()

	viewer := watchTCP(t, s)
	f := s.list()[0]
	var slabs slabCount
	payload := append([]byte{0x65}, make([]byte, 4000)...)
	for n := range uint32(4000) { // 16 MB
		b := append([]byte{'$', 0, byte((12 + len(payload)) >> 8), byte(12 + len(payload))}, keyFrame(n)[4:16]...)
		if _, err := o.conn().Write(append(b, payload...)); err != nil {
			t.Fatal(err)
		}
		if _, err := viewer.Next(); err != nil {
			t.Fatal(err)
		}
		f.in.mu.Lock()
		slabs.look(f.in.ring)
		f.in.mu.Unlock()
	}
	proxytest.Eventually(t, 3*time.Second, "what nobody needs is collected", func() bool {
		runtime.GC()
		return slabs.live.Load() <= 4
	})
}

// conn is the newest connection to the origin.
func (o *fakeOrigin) conn() io.Writer {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.conns[len(o.conns)-1]
}

// watchTCP plays the first track of /cam, and returns what comes after PLAY.
func watchTCP(t *testing.T, s *Splitter) *wire.Reader {
	t.Helper()
	const url = "rtsp://edge/cam"
	client, rc := proxytest.RTSPConn(t, "DESCRIBE "+url+" RTSP/1.0\r\nCSeq: 1\r\n\r\n")
	done := make(chan struct{})
	go func() { defer close(done); s.ServeRTSP(t.Context(), rc) }()
	t.Cleanup(func() { client.Close(); <-done })
	client.SetReadDeadline(time.Now().Add(20 * time.Second)) //nolint:errcheck // the reads say it
	r := wire.NewReader(bufio.NewReader(client))
	session := ""
	for i, req := range []string{
		"", "SETUP " + url + "/trackID=0 RTSP/1.0\r\nTransport: RTP/AVP/TCP;unicast;interleaved=0-1\r\n", "PLAY " + url + " RTSP/1.0\r\n",
	} {
		if req != "" {
			fmt.Fprintf(client, "%sCSeq: %d\r\n%s\r\n", req, i+1, session)
		}
		m, err := r.Next()
		res, ok := m.(*wire.Response)
		if err != nil || !ok || res.Code != 200 {
			t.Fatalf("%q: %v, %v", req, m, err)
		}
		if id, _, _ := strings.Cut(res.Header.Get("Session"), ";"); id != "" {
			session = "Session: " + id + "\r\n"
		}
	}
	return r
}

// A session at rest keeps nothing of the stream.
func TestPausedKeepsNothing(t *testing.T) {
	r := newRig(t, line{})
	r.cam.picture(true, 8, time.Now())
	r.play()
	r.view.rest("paused")
	if r.view.at != (cursor{}) {
		t.Error("a session at rest keeps the ring alive")
	}
	if !slices.Equal(r.view.feed.out.shares[0].all(), nil) {
		t.Error("it is still served")
	}
}

// What a feed found out is known before it is noted: nobody asks the origin again
// between the two.
func TestRefusedFeedIsAsked(t *testing.T) {
	s := newTestSplitter(t, Options{})
	f := newFeed("/vod", s)
	f.err = errStored
	f.setState("ended", "")
	close(f.opened)
	s.feeds["/vod"] = f
	if _, err := s.find(t.Context(), "/vod", false); !errors.Is(err, errStored) {
		t.Errorf("lookup = %v, want that it is stored", err)
	}
}
