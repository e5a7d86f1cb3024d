package splitter

import (
	"math"
	"testing"
	"time"

	"weir/proxy/rtp"
)

// A drifting is a source whose sound runs fast or slow against its picture.
type drifting struct {
	*camera
	start time.Time
	off   float64 // of the clock of sound, as a share
	sr    bool    // the origin says so
	zero  time.Time
	lag   func(n int) time.Duration // on the way, of packet n
	last  time.Time                 // when the last packets came
}

// run lets it play for d and returns how far apart in media time the reports put
// packets of one moment at the end.
func (s *drifting) run(from, d time.Duration) (apart time.Duration) {
	const every = 200 * time.Millisecond
	for n, at := 0, from; at < from+d; n, at = n+1, at+every {
		arrives := s.start.Add(at)
		if s.lag != nil {
			arrives = arrives.Add(s.lag(n))
		}
		s.last = arrives
		sec := at.Seconds()
		s.ts[0] = uint32(int64(sec * 90000))
		s.ts[1] = uint32(int64(sec * 48000 * (1 + s.off)))
		if s.sr && n%25 == 0 {
			ntp := rtp.NTP(s.zero.Add(at))
			s.senderReport(0, ntp, s.ts[0])
			s.senderReport(1, ntp, s.ts[1])
		}
		s.send(0, arrives, true, 0x65, 1)
		s.send(1, arrives, true, 1, 2)
	}
	v, a := s.tracks[0], s.tracks[1]
	return v.media(v.num.Out(s.ts[0])).Sub(a.media(a.num.Out(s.ts[1])))
}

// The clocks of sound and picture drift apart by some ten parts in a million, a
// third of a second in an hour. What reports say follows, by steps that nobody
// notices.
func TestReportsFollowDrift(t *testing.T) {
	f := func(what string, off float64, sr bool, lag func(int) time.Duration) {
		t.Helper()
		s := &drifting{camera: newCamera(t, avSDP), start: time.Now(), off: off, sr: sr, lag: lag,
			zero: time.Date(2011, 1, 1, 0, 0, 0, 0, time.UTC)}
		s.source(s.start)
		apart := s.run(0, 2*time.Second)
		for d := 2 * time.Second; d < 2*time.Hour; d += 5 * time.Second {
			now := s.run(d, 5*time.Second)
			if step := now - apart; step.Abs() > 2*maxSlew+time.Millisecond {
				t.Fatalf("%s: a step of %v after %v", what, step, d)
			}
			if apart = now; apart.Abs() > 30*time.Millisecond {
				t.Fatalf("%s: the tracks are %v apart after %v", what, apart, d)
			}
		}
		if s.clock.theirs != sr {
			t.Errorf("%s: the clock is the origin's: %v", what, s.clock.theirs)
		}
		// Reports stay near what is played: players drop those that do not.
		o := s.opens(startBurst, s.last)
		for i, to := range o.tracks {
			_, _, ts := srOf(t, to.report)
			_, last := s.tracks[i].num.Last()
			if d := s.tracks[i].ticks(ts - last); d.Abs() > 500*time.Millisecond {
				t.Errorf("%s: track %d: the report is %v from the last packet", what, i, d)
			}
		}
	}
	jitter := func(n int) time.Duration { return time.Duration(n*7919%80) * time.Millisecond }
	f("as the origin says", 50e-6, true, nil)
	f("as the origin says, late", 50e-6, true, jitter)
	f("slow", -50e-6, true, nil)
	f("by arrival", 50e-6, false, nil)
	f("by arrival, slow", -50e-6, false, jitter)
	f("none", 0, false, jitter)
}

// An origin whose clock is set in the middle, or whose reports make no sense, moves
// nothing.
func TestReportsIgnoreLeaps(t *testing.T) {
	s := &drifting{camera: newCamera(t, avSDP), start: time.Now(), sr: true, zero: time.Unix(1e9, 0)}
	s.source(s.start)
	s.run(0, 10*time.Second)
	before := s.tracks[0].media(s.tracks[0].num.Out(0))
	s.zero = time.Unix(15e8, 0)
	if apart := s.run(10*time.Second, time.Minute); apart.Abs() > time.Millisecond {
		t.Errorf("the tracks are %v apart", apart)
	}
	if d := s.tracks[0].media(s.tracks[0].num.Out(0)).Sub(before); math.Abs(d.Seconds()) > 0.1 {
		t.Errorf("media time leapt by %v with the origin's clock", d)
	}
}

// A new life that reports another time of day goes on in the old one's.
func TestReportsFollowInANewLife(t *testing.T) {
	s := &drifting{camera: newCamera(t, avSDP), start: time.Now(), sr: true, zero: time.Unix(1e9, 0)}
	s.source(s.start)
	s.run(0, 10*time.Second)
	s.source(s.start.Add(11 * time.Second))
	s.zero, s.off = time.Unix(17e8, 0), 50e-6
	var apart time.Duration
	for d := 12 * time.Second; d < time.Hour; d += 5 * time.Second {
		if apart = s.run(d, 5*time.Second); apart.Abs() > 30*time.Millisecond {
			t.Fatalf("the tracks are %v apart after %v", apart, d)
		}
	}
	if at := s.clock.now(s.start.Add(time.Hour)); at.Sub(time.Unix(1e9, 0)).Round(time.Second) > time.Hour+time.Second {
		t.Errorf("media time changed over to %v", at)
	}
}

// A report amid the past that a source begins with is no measure of what follows:
// where nothing drifts, nothing moves.
func TestReportAmidAStartBurst(t *testing.T) {
	c := newCamera(t, avSDP)
	now := time.Now()
	c.source(now)
	live := func(d time.Duration) {
		for end := now.Add(d); now.Before(end); now = now.Add(40 * time.Millisecond) {
			c.picture(false, 1, now)
			c.hear(now)
			c.hear(now)
		}
	}
	apart := func() time.Duration {
		v, a := c.tracks[0], c.tracks[1]
		_, picture := v.num.Last()
		_, sound := a.num.Last()
		return v.media(picture).Sub(a.media(sound))
	}
	c.picture(true, 1, now)
	live(10 * time.Second)
	now = now.Add(2 * time.Second)
	c.again(now)
	c.reported = now.Add(-reportTime) // reports go on while it is away: one is due
	c.hear(now)
	for i := range 50 { // the past of pictures, not of sound
		c.picture(i == 0, 1, now)
	}
	live(time.Second)
	was := apart()
	live(5 * time.Minute)
	if d := apart() - was; d.Abs() > time.Millisecond {
		t.Errorf("sound and picture have moved apart by %v in five minutes", d)
	}
}
