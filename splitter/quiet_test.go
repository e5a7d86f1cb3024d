package splitter

import (
	"context"
	"errors"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"weir/proxy"
	"weir/proxy/proxytest"
)

// A pause counts as silence when it is five times as long as usual, and a second.
func TestPulse(t *testing.T) {
	const ms = time.Millisecond
	f := func(what string, every []time.Duration, times int, least, want time.Duration) {
		t.Helper()
		var p pulse
		now := time.Unix(1000, 0)
		for range times {
			for _, d := range every {
				now = now.Add(d)
				p.beat(now.UnixNano())
			}
		}
		if _, ok := p.silent(now.Add(want-ms), least, quietTimes); ok {
			t.Errorf("%s: silent after less than %v", what, want)
		}
		if d, ok := p.silent(now.Add(want+ms), least, quietTimes); !ok || d != want+ms {
			t.Errorf("%s: not silent after %v", what, want)
		}
	}
	f("25 pictures a second", []time.Duration{40 * ms}, 1000, quietLeast, time.Second)
	f("behind an edge", []time.Duration{40 * ms}, 1000, quietEdge, 3*time.Second)
	f("one picture a second", []time.Duration{time.Second}, 100, quietLeast, 5*time.Second)
	f("lumps", append(make([]time.Duration, 200), 900*ms), 20, quietLeast, 4500*ms)
	f("slides of several packets", append(make([]time.Duration, 20), 3*time.Second), 2, quietLeast, 15*time.Second)
	var dead pulse
	for i := range int64(100) {
		dead.beat(time.Unix(1000, i*int64(40*ms)).UnixNano())
	}
	for gone, want := range map[bool]time.Duration{false: quietLeast, true: goneLeast} {
		pl := &pull{link: &proxy.Link{Origin: "a"}, upstream: &elsewhere{gone: gone}, pulse: &dead, another: func() bool { return true }}
		start, last := time.Unix(1000, 0), time.Unix(1000, 99*int64(40*ms))
		if pl.quiet(start, last.Add(want)) != nil || !errors.Is(pl.quiet(start, last.Add(want+ms)), errQuiet) {
			t.Errorf("believed to be dead %v: left after another time than %v", gone, want)
		}
	}
	var p pulse
	if _, ok := p.silent(time.Now(), quietLeast, quietTimes); ok {
		t.Error("silent before anything has come")
	}
	for range 100 { // many packets at once say nothing of the pauses to come
		p.beat(time.Unix(1000, 0).UnixNano())
	}
	if _, ok := p.silent(time.Unix(1000, 0).Add(quietUnknown), quietLeast, quietTimes); ok {
		t.Error("silent before pauses are known")
	}
}

// A long pause is forgotten, by half in half a minute.
func TestPulseForgets(t *testing.T) {
	var p pulse
	now := time.Unix(1000, 0)
	beat := func(after time.Duration) {
		now = now.Add(after)
		p.beat(now.UnixNano())
	}
	beat(0)
	beat(4 * time.Second)
	for range 30 * 25 {
		beat(40 * time.Millisecond)
	}
	if got := time.Duration(p.usual.Load()); got < 1900*time.Millisecond || got > 2100*time.Millisecond {
		t.Errorf("a pause of 4 s counts for %v after half a minute, want 2 s", got)
	}
}

// An origin that is about to go is left for another one, and not held for broken.
func TestLeavesWhoIsAboutToGo(t *testing.T) {
	f := func(what string, other bool, tell func(o *fakeOrigin, leave chan struct{}), want error) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			o := newFakeOrigin()
			o.sdp = head + h264
			p := o.puller()
			leave := make(chan struct{})
			p.upstream = &elsewhere{Upstream: &proxytest.Upstream{DialFunc: func(ctx context.Context, w proxy.Want) (*proxy.Link, error) {
				l, err := o.dial(ctx, w)
				l.Leave = leave
				return l, err
			}}, other: other}
			pl, err := p.describe(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			in := newIngest(pl.sdp, "weir", func() {})
			if err := pl.play(t.Context(), in); err != nil {
				t.Fatal(err)
			}
			time.AfterFunc(time.Second, func() { tell(o, leave) })
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
			defer cancel()
			if err := pl.watch(ctx); !errors.Is(err, want) {
				t.Errorf("%s: %v, want %v", what, err, want)
			}
			pl.close()
			in.stop()
			o.close()
		})
	}
	redirect := func(o *fakeOrigin, _ chan struct{}) {
		o.mu.Lock()
		defer o.mu.Unlock()
		io.WriteString(o.conns[0], "REDIRECT rtsp://origin/cam RTSP/1.0\r\nCSeq: 1\r\nLocation: rtsp://other/cam\r\n\r\n") //nolint:errcheck // seen by what follows
	}
	busy := func(o *fakeOrigin, _ chan struct{}) {
		o.mu.Lock()
		defer o.mu.Unlock()
		o.codes["OPTIONS"], o.codes["GET_PARAMETER"] = 503, 503
	}
	f("drains", false, func(_ *fakeOrigin, leave chan struct{}) { close(leave) }, errLeaves)
	f("REDIRECT", true, redirect, errLeaves)
	f("503 to a keep-alive", true, busy, errLeaves)
	f("503, and nobody else is there", false, busy, context.DeadlineExceeded)
}

// elsewhere knows whether there is another origin.
type elsewhere struct {
	proxy.Upstream
	other, gone bool
}

func (e *elsewhere) Gone(string) bool { return e.gone }

func (e *elsewhere) Others(string, ...string) bool { return e.other }
