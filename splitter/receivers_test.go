package splitter

import (
	"math"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pion/rtcp"
	"github.com/prometheus/client_golang/prometheus"

	"weir/proxy"
	"weir/proxy/proxytest"
	"weir/proxy/rtp"
	"weir/proxy/wire"
)

// says is a viewer's report of tracks, as it comes over the wire.
func says(t testing.TB, blocks ...rtcp.ReceptionReport) []byte {
	t.Helper()
	b, err := rtcp.Marshal([]rtcp.Packet{&rtcp.ReceiverReport{SSRC: 99, Reports: blocks}, rtcp.NewCNAMESourceDescription(99, "player")})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// lastReport is the newest sender report of a track behind at, as a receiver names
// it.
func lastReport(at cursor, track int) (name uint32) {
	for _, p := range seen(&at, uint8(2*track+1)) {
		name = rtp.Short(uint64(be32(p.bytes[8:]))<<32 | uint64(be32(p.bytes[12:])))
	}
	return name
}

func be32(b []byte) uint32 {
	return uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])
}

// settled plays into the camera's ring until reports have gone out, and returns
// when that was.
func (c *camera) settled(from time.Time) (at time.Time) {
	for at = from; !c.clock.settled; at = at.Add(40 * time.Millisecond) {
		c.picture(at.Equal(from), 1, at)
		c.hear(at)
	}
	return at.Add(-40 * time.Millisecond)
}

// What a viewer says of his tracks is kept, summed up, and counted.
func TestHear(t *testing.T) {
	r := newRig(t, line{})
	start := time.Now().Add(-time.Minute)
	ring := r.cam.ring.here()
	reported := r.cam.settled(start)
	r.view.listening = start
	ssrc := [2]uint32{r.cam.tracks[0].num.SSRC, r.cam.tracks[1].num.SSRC}
	hear := func(at time.Time, blocks ...rtcp.ReceptionReport) *ReceptionStatus {
		for b := range rtp.Receptions(says(t, blocks...)) {
			r.view.hear(b, at)
		}
		return r.view.reception(at)
	}
	if st := hear(start, rtcp.ReceptionReport{SSRC: 12345, FractionLost: 9}); st != nil {
		t.Errorf("a report of an unknown source: %+v", st)
	}

	at := reported.Add(3 * time.Second)
	st := hear(at,
		rtcp.ReceptionReport{SSRC: ssrc[0], FractionLost: 64, TotalLost: 10, Jitter: 900, LastSenderReport: lastReport(ring, 0), Delay: 65536 * 29 / 10},
		rtcp.ReceptionReport{SSRC: ssrc[1], FractionLost: 8, TotalLost: 3, Jitter: 4800})
	if st == nil || st.LossRatio != 0.25 || st.Lost != 13 || st.JitterS != 0.1 || st.AgeS != 0 || math.Abs(st.RoundTripS-0.1) > 0.001 {
		t.Errorf("reception %+v, want a loss of 0.25, 13 lost, jitter 0.1, 0.1 there and back", st)
	}
	// Too often: neither kept nor counted.
	if st = hear(at.Add(hearEvery/2), rtcp.ReceptionReport{SSRC: ssrc[0], FractionLost: 255}); st.LossRatio != 0.25 {
		t.Errorf("a report too many was kept: %+v", st)
	}
	// What cannot be is not kept.
	if st = hear(at.Add(2*hearEvery), rtcp.ReceptionReport{SSRC: ssrc[0], Jitter: math.MaxUint32}); st.JitterS > 1 {
		t.Errorf("hours of jitter: %+v", st)
	}
	if st = hear(at.Add(3*hearEvery), rtcp.ReceptionReport{SSRC: ssrc[0], TotalLost: 0xffffff}, rtcp.ReceptionReport{SSRC: ssrc[1]}); st.Lost != -1 || st.LossRatio != 0 {
		t.Errorf("one packet twice: %+v", st)
	}
	for _, name := range []string{"viewer_loss_ratio", "viewer_jitter_seconds"} {
		if n := observations(t, r.s, name); n != 4 {
			t.Errorf("%s has %d observations, want 4", name, n)
		}
	}
	if n := observations(t, r.s, "viewer_rtt_seconds"); n != 1 {
		t.Errorf("viewer_rtt_seconds has %d observations, want 1", n)
	}
}

// observations is how often one of the splitter's histograms was given something.
func observations(t testing.TB, s *Splitter, name string) uint64 {
	t.Helper()
	families, err := s.env.Metrics.(*prometheus.Registry).Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == "weir_splitter_"+name {
			if len(f.GetMetric()) != 1 || len(f.GetMetric()[0].GetLabel()) != 0 {
				t.Errorf("%s has labels", name)
			}
			return f.GetMetric()[0].GetHistogram().GetSampleCount()
		}
	}
	t.Fatalf("no metric %s", name)
	return 0
}

// Only an answer to a report that the viewer was sent while it played tells how
// far away it is.
func TestRoundTrip(t *testing.T) {
	start := time.Now()
	c := newCamera(t, avSDP)
	c.source(start)
	ring := c.ring.here()
	reported := c.settled(start)
	first := lastReport(ring, 0)
	later := reported
	for later.Sub(reported) < 20*time.Second { // four more reports
		later = later.Add(40 * time.Millisecond)
		c.picture(false, 1, later)
	}
	f := func(what string, name uint32, delay time.Duration, since, now time.Time, want time.Duration) {
		t.Helper()
		got := c.roundTrip(rtp.Reception{Last: name, Delay: delay}, since, now)
		if (got - want).Abs() > 100*time.Microsecond {
			t.Errorf("%s: %v, want %v", what, got, want)
		}
	}
	after := func(d time.Duration) time.Time { return reported.Add(d) }
	f("no report heard", 0, 0, start, after(time.Second), 0)
	f("at once", first, 0, start, after(30*time.Millisecond), 30*time.Millisecond)
	f("kept for long", first, 19*time.Second, start, after(19*time.Second+80*time.Millisecond), 80*time.Millisecond)
	f("on this machine", first, 2*time.Second, start, after(2*time.Second), 0)
	f("a bit too long", first, 2*time.Second+20*time.Microsecond, start, after(2*time.Second), 0)
	f("kept for longer than since it was sent", first, 3*time.Second, start, after(2*time.Second), 0)
	f("came with the start burst", first, 0, after(time.Second), after(2*time.Second), 0)
	f("made up", first+1<<20, 0, start, after(2*time.Second), 0)
	f("made up", first-1<<30, 0, start, after(2*time.Second), 0)
	f("the newest", lastReport(ring, 0), 0, start, c.reported.Add(50*time.Millisecond), 50*time.Millisecond)
}

// What viewers send over TCP costs no memory and holds nobody up, whatever it is.
func TestHeardAllocatesNothing(t *testing.T) {
	r := newRig(t, line{})
	r.cam.settled(time.Now())
	r.play()
	b := says(t, rtcp.ReceptionReport{SSRC: r.cam.tracks[0].num.SSRC, Jitter: 5})
	r.heard(b)
	if n := testing.AllocsPerRun(100, func() { r.heard(b) }); n > 0 {
		t.Errorf("%v allocations for each report", n)
	}
	r.heard(make([]byte, 65535))
	r.heard(append(make([]byte, maxReport), b...))
	r.heard(nil)
	if r.view.heard[0].jitter == 0 || r.view.heard[1].at != (time.Time{}) {
		t.Errorf("heard %+v", r.view.heard)
	}
}

// A viewer's reports find their way through the connection to the session that
// plays over it.
func TestReportsAreRead(t *testing.T) {
	r := newRig(t, line{})
	r.cam.settled(time.Now())
	r.play()
	b := says(t, rtcp.ReceptionReport{SSRC: r.cam.tracks[1].num.SSRC, FractionLost: 128})
	if _, err := r.client.Write(append([]byte{'$', 3, 0, byte(len(b))}, b...)); err != nil {
		t.Fatal(err)
	}
	if err := r.conn.next(); err != nil {
		t.Fatal(err)
	}
	if st := r.view.status(); st.Reception == nil || st.Reception.LossRatio != 0.5 {
		t.Errorf("status %+v", st)
	}
}

// The status of a feed names so many viewers at most: those with trouble first.
func TestStatusIsBounded(t *testing.T) {
	s := newTestSplitter(t, Options{})
	c := newCamera(t, avSDP)
	f := feedOf(s, c, avSDP, t)
	_, server := slowPair(t)
	rc := proxy.NewRTSPConn(server, &wire.Request{}, &proxy.Viewer{}, nil, func(int) {})
	cn := newConn(t.Context(), s, rc)
	for i := range 3 * maxReported {
		v := newSession(f, cn, nil, &proxytest.Ticket{})
		v.since = time.Now().Add(-time.Duration(i) * time.Minute)
		if i == 250 {
			v.heard = []hearing{{at: time.Now(), loss: 0.01}}
		}
		if i == 260 {
			v.jumps.Store(3)
		}
		f.join(v)
	}
	st := f.status()
	if st.Watching != 3*maxReported || len(st.Viewers) != maxReported {
		t.Fatalf("%d watching, %d named, want %d and %d", st.Watching, len(st.Viewers), 3*maxReported, maxReported)
	}
	if v := st.Viewers; v[0].Reception == nil || v[1].Jumps != 3 || v[2].SinceS > 30 || v[maxReported-1].SinceS > 60*maxReported {
		t.Errorf("first %+v, %+v, %+v", v[0], v[1], v[2])
	}
	for v := range f.sessions {
		f.leave(v)
	}
}

// The histograms are known by these names.
func TestHeardMetrics(t *testing.T) {
	s := newTestSplitter(t, Options{})
	for _, name := range strings.Fields("viewer_loss_ratio viewer_jitter_seconds viewer_rtt_seconds") {
		if n := observations(t, s, name); n != 0 {
			t.Errorf("%s: %d", name, n)
		}
	}
}

func BenchmarkHeard(b *testing.B) {
	s := newTestSplitter(b, Options{})
	c := newCamera(b, avSDP)
	f := feedOf(s, c, avSDP, b)
	c.settled(time.Now())
	v := newSession(f, &conn{}, nil, &proxytest.Ticket{})
	pkt := says(b, rtcp.ReceptionReport{SSRC: c.tracks[0].num.SSRC}, rtcp.ReceptionReport{SSRC: c.tracks[1].num.SSRC})
	now := time.Now()
	b.ReportAllocs()
	for b.Loop() {
		now = now.Add(hearEvery)
		for r := range rtp.Receptions(pkt) {
			v.hear(r, now)
		}
	}
}

// Reports come every five seconds also where media seldom does, and while a source
// is away; after the goodbye nothing comes.
func TestReportsWithoutMedia(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCamera(t, avSDP)
		start := time.Now()
		c.source(start)
		c.picture(true, 1, start)
		at := c.ring.here()
		var times []time.Duration
		for time.Since(start) < 30*time.Second {
			<-time.After(10 * time.Millisecond)
			synctest.Wait()
			for range seen(&at, 1) {
				times = append(times, time.Since(start))
			}
			if time.Since(start) == 15*time.Second {
				c.away()
			}
		}
		last := -4 * time.Second // the first within one
		for _, d := range times {
			if d-last > 5*time.Second+10*time.Millisecond {
				t.Fatalf("reports after %v", times)
			}
			last = d
		}
		if len(times) != 6 {
			t.Errorf("reports after %v, want six", times)
		}
		c.bye(time.Now())
		c.stop()
		if n := len(seen(&at, 1)); n != 1 {
			t.Errorf("%d packets of RTCP at the end, want 1", n)
		}
		<-time.After(time.Minute)
		synctest.Wait()
		if n := len(seen(&at)); n != 0 {
			t.Errorf("%d packets after the end", n)
		}
	})
}

// Viewers who take nothing hold the end of a feed up for a second at most.
func TestStuckViewerAndGoodbye(t *testing.T) {
	r := newRig(t, line{lag: time.Minute})
	now := r.cam.settled(time.Now())
	r.play()
	r.fill()
	start := time.Now()
	r.cam.bye(now)
	if r.view.served() {
		t.Fatal("a viewer who reads nothing has been sent all")
	}
	byeWait(t.Context(), []*session{r.view}, (*session).served)
	if d := time.Since(start); d < byeTime || d > 10*byeTime {
		t.Errorf("waited for %v, want %v", d, byeTime)
	}
	r.view.rest("ended")
	if !r.view.served() {
		t.Error("a session that does not play is waited for")
	}
}
