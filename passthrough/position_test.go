package passthrough

import (
	"testing"
	"time"

	"weir/proxy/wire"
)

func TestParseStretch(t *testing.T) {
	f := func(in string, want string) {
		t.Helper()
		got := "-"
		if s, ok := parseStretch(in); ok {
			got = s.String()
		}
		if got != want {
			t.Errorf("parseStretch(%q) = %s, want %s", in, got, want)
		}
	}
	f("npt=0-", "npt=0.000-")
	f("npt=12.5-30.250", "npt=12.500-30.250")
	f("NPT = 1:02:03.5 - ", "npt=3723.500-")
	f("npt=7-8;time=19970123T153600Z", "npt=7.000-8")
	f("clock=20261108T143720.25Z-", "clock=20261108T143720.250Z-")
	f("clock=20261108T143720Z-20261108T150000Z", "clock=20261108T143720.000Z-20261108T150000Z")
	for _, in := range []string{"", "npt", "npt=", "npt=5", "npt=now-", "npt=-5", "npt=x-", "npt=1:2-", "npt=1:60:00-", "npt=1e300-",
		"npt=NaN-", "npt=+1-", "smpte=0:10:00-", "clock=yesterday-", "clock=00010101T000000Z-", "npt=1-2\r\nX: y", "npt=1-2,npt=3-4"} {
		f(in, "-")
	}
}

func TestFromNow(t *testing.T) {
	f := func(in string, want bool) {
		t.Helper()
		if got := fromNow(in); got != want {
			t.Errorf("fromNow(%q) = %v, want %v", in, got, want)
		}
	}
	f("", true)
	f("npt=now-", true)
	f("npt=0-", true)
	f("npt=0.000-", true)
	f("npt=0-10", false)
	f("npt=3-", false)
	f("clock=20261108T143720Z-", false)
	f("smpte=0:10:00-", false)
}

// TestTape: from where the position counts after an answer to PLAY.
func TestTape(t *testing.T) {
	var p tape
	f := func(asked, said, at, want string) {
		t.Helper()
		req, res := &wire.Request{Method: "PLAY"}, &wire.Response{Code: 200}
		for h, v := range map[*wire.Header]string{&req.Header: asked, &res.Header: said} {
			if v != "" {
				h.Add("Range", v)
			}
		}
		where, _ := parseStretch(at)
		if p.played(req, res, where, false); p.from.String() != want {
			t.Errorf("asked for %q, told %q, at %q: %s, want %s", asked, said, at, p.from, want)
		}
	}
	f("", "", "", "npt=0.000-")
	f("npt=10-20", "", "npt=3-", "npt=10.000-20")
	f("npt=10-20", "npt=8.5-20", "npt=3-", "npt=8.500-20")
	f("npt=10-20", "npt=8.5-", "npt=3-", "npt=8.500-20")
	f("", "", "npt=12-20", "npt=12.000-20")
	f("", "npt=11-20", "npt=12-20", "npt=11.000-20")
	f("clock=20261108T143720Z-", "npt=now-", "npt=12-", "clock=20261108T143720.000Z-")
}

func TestStretchOver(t *testing.T) {
	f := func(in string, at time.Duration, want bool) {
		t.Helper()
		if s, _ := parseStretch(in); s.over(at) != want {
			t.Errorf("%s is over at %v: %v, want %v", in, at, !want, want)
		}
	}
	f("npt=0-", time.Hour, false)
	f("npt=0-60", 58*time.Second, false)
	f("npt=0-60", 59500*time.Millisecond, true)
	f("clock=20261108T143720Z-20261108T143730Z", 0, false)
}

// TestPosition: the track that has come least far says where the viewer is, unless
// it is one on which nothing comes.
func TestPosition(t *testing.T) {
	now := time.Now()
	f := func(want time.Duration, ticks ...int64) {
		t.Helper()
		s := &session{tape: tape{known: true, from: stretch{at: time.Minute}}}
		for i, n := range ticks {
			tr := &track{}
			tr.medium.ClockRate = 1000 * (i + 1)
			tr.last = sample{at: now, ticks: n}
			if n < 0 {
				tr.last = sample{at: now.Add(-time.Minute), ticks: -n}
			}
			s.tracks = append(s.tracks, tr)
		}
		if got := s.position().at; got != want {
			t.Errorf("position after %d: %v, want %v", ticks, got, want)
		}
	}
	f(time.Minute)
	f(time.Minute+5*time.Second, 5000)
	f(time.Minute+4*time.Second, 5000, 8000)
	f(time.Minute+5*time.Second, 5000, -8000)
	f(time.Minute+40*time.Hour, 40*3600*1000)
}

// TestScale: stream time runs faster than the clock, slower, or backwards.
func TestScale(t *testing.T) {
	f := func(scale string, played, want time.Duration, over, odd bool) {
		t.Helper()
		var p tape
		req, res := &wire.Request{}, &wire.Response{}
		req.Header.Add("Range", "npt=60-120")
		if scale != "" {
			req.Header.Add("Scale", scale)
		}
		p.played(req, res, stretch{}, false)
		if p.odd != odd {
			t.Errorf("Scale %q is odd: %v", scale, p.odd)
		}
		if got := p.on(played).at; !odd && (got != want || p.over(got) != over) {
			t.Errorf("Scale %q, after %v: at %v, over %v; want %v, %v", scale, played, got, p.over(got), want, over)
		}
	}
	const s = time.Second
	f("", 10*s, 70*s, false, false)
	f("1.0", 59*s+s/2, 119*s+s/2, true, false)
	f("2", 10*s, 80*s, false, false)
	f("0.5", 10*s, 65*s, false, false)
	f("-4.0", 10*s, 20*s, false, false)
	f("-4", 16*s, 0, true, false)
	for _, v := range []string{"0", "fast", "NaN", "1e9", "-Inf"} {
		f(v, 0, 0, false, true)
	}
	var p tape
	req, res := &wire.Request{}, &wire.Response{}
	req.Header.Add("Scale", "8")
	res.Header.Add("Scale", "4") // as fast as it can
	if p.played(req, res, stretch{}, false); p.scale != 4 {
		t.Errorf("scale %v", p.scale)
	}
}

func FuzzParseStretch(f *testing.F) {
	for _, s := range []string{"npt=0-", "npt=1:02:03.5-7", "clock=20261108T143720.25Z-", "npt=7-8;time=1", "=-", "npt=99999999.999-"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, in string) {
		s, ok := parseStretch(in)
		if !ok {
			return
		}
		again, ok := parseStretch(s.String())
		if !ok || again.clock != s.clock || again.end != s.end || (again.at-s.at).Abs() > time.Millisecond {
			t.Errorf("%q is %s, and that is %s", in, s, again)
		}
		s.over(s.at)
	})
}

func FuzzParseRTPInfo(f *testing.F) {
	f.Add("url=rtsp://a/b/trackID=0;seq=1;rtptime=2,url=\"x\";seq=3")
	f.Add("seq=5;url=;rtptime=99999999999")
	f.Fuzz(func(t *testing.T, in string) {
		all := parseRTPInfo(in)
		if len(all) > maxTracks+1 {
			t.Fatalf("%d tracks", len(all))
		}
		formatRTPInfo(all)
	})
}
