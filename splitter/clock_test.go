package splitter

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"weir/proxy/rtp"
)

// A lifeOf is one track of one life of a source, as its packets arrive.
type lifeOf struct {
	c    *mediaClock
	t    *track
	seq  uint16
	ts   uint32    // of the packet at zero
	zero time.Time // when that one arrives
}

// newLife makes a life with numbers of its own; some wrap around soon.
func newLife(c *mediaClock, t *track, zero time.Time) *lifeOf {
	l := &lifeOf{c: c, t: t, seq: uint16(rand.Uint32()), ts: rand.Uint32(), zero: zero}
	if rand.IntN(2) == 0 {
		l.seq, l.ts = 65530, math.MaxUint32-uint32(rand.IntN(1000))
	}
	return l
}

// packet arrives at a time, with the time stamp that belongs to it, and returns
// the outgoing one. It does to the clock what ingest does.
func (l *lifeOf) packet(now time.Time) uint32 {
	ticks := uint32(int64(math.Round(now.Sub(l.zero).Seconds() * float64(l.t.rate))))
	b := binary.BigEndian.AppendUint16([]byte{0x80, 96}, l.seq)
	b = binary.BigEndian.AppendUint32(b, l.ts+ticks)
	b = append(b, 0, 0, 0, 0)
	l.seq++
	if !l.t.begun {
		l.c.begin(l.t, b, now)
	}
	l.t.num.Apply(b)
	l.t.pace.Note(rtp.Timestamp(b))
	l.t.arrived = now
	l.t.packets++
	return rtp.Timestamp(b)
}

func newClock(rates ...int) *mediaClock {
	c := &mediaClock{}
	for _, r := range rates {
		c.tracks = append(c.tracks, newTrack(r))
	}
	return c
}

// near reports whether a difference of time stamps is d long, to some ticks.
func near(ticks uint32, d time.Duration, rate, tolerance int) bool {
	return math.Abs(float64(int32(ticks))-d.Seconds()*float64(rate)) <= float64(tolerance)
}

// Intervals of two tracks: such as are a whole number of ticks, and others.
var (
	even = [2]time.Duration{40 * time.Millisecond, 20 * time.Millisecond}
	odd  = [2]time.Duration{time.Second * 1001 / 30000, time.Second * 1024 / 44100}
)

// play lets both tracks of a clock run for d, and returns when the last packet of
// each came, and its time stamp.
func play(c *mediaClock, from time.Time, d time.Duration, every [2]time.Duration) (last [2]time.Time, ts [2]uint32) {
	next := [2]time.Time{from, from.Add(7 * time.Millisecond)}
	var lives [2]*lifeOf
	for i := range lives {
		lives[i] = newLife(c, c.tracks[i], next[i])
	}
	for next[0].Before(from.Add(d)) {
		i := 0
		if next[1].Before(next[0]) {
			i = 1
		}
		last[i], ts[i] = next[i], lives[i].packet(next[i])
		next[i] = next[i].Add(every[i])
	}
	return last, ts
}

// A source that is back at once begins where the last packet of each track ends, and its
// tracks stay together.
func TestNoTrackBeginsTooSoon(t *testing.T) {
	for range 50 {
		c := newClock(90000, 48000)
		last, ts := play(c, time.Now(), 3*time.Second, even)
		now := last[0]
		if last[1].After(now) {
			now = last[1]
		}
		c.source()
		var moved [2]time.Duration // of what the clock says
		for i, tr := range c.tracks {
			first := newLife(c, tr, now).packet(now)
			if !near(first-ts[i], max(even[i], now.Sub(last[i])), tr.rate, 2) && i == 0 {
				t.Errorf("track %d goes on after %d ticks, want %v at %d", i, int32(first-ts[i]), even[i], tr.rate)
			}
			moved[i] = tr.ticks(first-ts[i]) - now.Sub(last[i])
		}
		if d := moved[0] - moved[1]; d.Abs() > time.Millisecond {
			t.Errorf("the tracks have moved apart by %v", d)
		}
	}
}

// The gap between two lives is as long on every track's clock as on the wall's.
func TestTracksGoOnAfterTheSameGap(t *testing.T) {
	f := func(gap time.Duration, every [2]time.Duration, unit time.Duration, tolerance int) {
		t.Helper()
		c := newClock(90000, 48000)
		last, ts := play(c, time.Now(), 3*time.Second, every)
		for range 4 { // more lives
			c.source()
			from := last[rand.IntN(2)].Add(gap)
			start := [2]time.Time{from.Add(time.Duration(rand.IntN(30)) * unit), from.Add(time.Duration(rand.IntN(30)) * unit)}
			order := []int{0, 1} // either track may be the first to come
			if start[1].Before(start[0]) {
				order = []int{1, 0}
			}
			for _, i := range order {
				first := newLife(c, c.tracks[i], start[i]).packet(start[i])
				rate, want := c.tracks[i].rate, start[i].Sub(last[i])
				if !near(first-ts[i], want, rate, tolerance) {
					t.Errorf("gap of %v: track %d goes on after %d ticks, want %v at %d", gap, i, int32(first-ts[i]), want, rate)
				}
				last[i], ts[i] = start[i], first
			}
		}
	}
	for range 50 {
		for _, gap := range []time.Duration{90 * time.Millisecond, 301 * time.Millisecond, 7 * time.Second, 29 * time.Second, time.Hour} {
			f(gap, even, time.Millisecond, 1)
			f(gap, odd, 777*time.Microsecond, 4) // a tick of sound is two of video, and the test rounds too
		}
	}
}

// Two packets that belong to one moment do so in the next life too.
func TestTracksStayTogether(t *testing.T) {
	now := time.Now()
	c := newClock(90000, 48000)
	for life := range 5 {
		c.source()
		last, ts := play(c, now, 2*time.Second, odd)
		v, a := c.tracks[0].media(ts[0]), c.tracks[1].media(ts[1])
		if d := v.Sub(a) - last[0].Sub(last[1]); d.Abs() > 50*time.Microsecond {
			t.Errorf("life %d: tracks are %v apart", life, d)
		}
		now = last[0].Add(rand.N(5 * time.Second))
	}
}

// Time stamps and sequence numbers never go back, however short the gap.
func TestTimeNeverGoesBack(t *testing.T) {
	now := time.Now()
	f := func(gap time.Duration) {
		t.Helper()
		c := newClock(90000, 48000)
		last, ts := play(c, now, time.Second, odd)
		c.source()
		for i, tr := range c.tracks {
			seq, _ := tr.num.Last()
			if got := newLife(c, tr, last[i].Add(gap)).packet(last[i].Add(gap)); int32(got-ts[i]) <= 0 {
				t.Errorf("gap %v, track %d: time stamp goes from %d to %d", gap, i, ts[i], got)
			}
			if next, _ := tr.num.Last(); next != seq+1 {
				t.Errorf("gap %v, track %d: sequence goes from %d to %d", gap, i, seq, next)
			}
		}
	}
	f(0)
	f(time.Microsecond)
	f(-10 * time.Second) // the wall clock was set
	f(100 * time.Hour)   // more than half of the time stamps there are
}

// Sequence numbers and time stamps pass through zero as through any number.
func TestWrapAround(t *testing.T) {
	now := time.Now()
	c := newClock(90000)
	l := &lifeOf{c: c, t: c.tracks[0], seq: 65000, ts: math.MaxUint32 - 90000, zero: now}
	before := l.packet(now)
	at := c.tracks[0].media(before)
	for n := range 2000 {
		now = now.Add(40 * time.Millisecond)
		ts := l.packet(now)
		if ts-before != 3600 {
			t.Fatalf("packet %d: time stamp goes from %d to %d", n, before, ts)
		}
		if d := c.tracks[0].media(ts).Sub(at); d != 40*time.Millisecond*time.Duration(n+1) {
			t.Fatalf("packet %d: media time goes by %v", n, d)
		}
		before = ts
	}
}

func TestStampIsTheInverseOfMedia(t *testing.T) {
	for _, rate := range []int{90000, 48000, 44100, 8000, 1000} {
		tr := newTrack(rate)
		tr.at, tr.ts = time.Now(), rand.Uint32()
		for range 500 {
			ts := tr.ts + rand.Uint32()
			if got := tr.stamp(tr.media(ts)); got != ts && got != ts-1 && got != ts+1 {
				t.Fatalf("rate %d: stamp(media(%d)) = %d, anchor %d", rate, ts, got, tr.ts)
			}
		}
	}
}

// reports sets the origin's reports of both tracks; the second one puts its track
// off by this much.
func reports(c *mediaClock, origin time.Time, off time.Duration) {
	for i, t := range c.tracks {
		_, last := t.num.Last()
		t.srRTP = last - t.num.Out(0)
		t.srTime = origin.Add(time.Duration(i) * off)
	}
}

// Whose clock it is, is decided once: the origin's if it says what can be true
// within the first second, else that of arrival.
func TestClockSettles(t *testing.T) {
	zero := time.Now()
	origin := time.Date(2001, 2, 3, 4, 5, 6, 0, time.UTC) // cameras seldom know the date
	f := func(what string, after time.Duration, reported func(*mediaClock), settled, theirs bool) {
		t.Helper()
		c := newClock(90000, 48000)
		last, ts := play(c, zero, 400*time.Millisecond, odd)
		reported(c)
		if got := c.settle(zero.Add(after)); got != settled {
			t.Errorf("%s: settled %v, want %v", what, got, settled)
		}
		v := c.tracks[0].media(ts[0])
		if got := v.Equal(origin); got != theirs {
			t.Errorf("%s: the last picture is of %v, arrived %v, reported %v", what, v, last[0], origin)
		}
	}
	none := func(*mediaClock) {}
	good := func(c *mediaClock) { reports(c, origin, 0) }
	f("nothing reported", 500*time.Millisecond, none, false, false)
	f("nothing reported for long", settleTime, none, true, false)
	f("all reported", 500*time.Millisecond, good, true, true)
	f("sound a bit late", 500*time.Millisecond, func(c *mediaClock) { reports(c, origin, 3*time.Second) }, true, true)
	f("sound hours late", 500*time.Millisecond, func(c *mediaClock) { reports(c, origin, 3*time.Hour) }, false, false)
	f("sound hours early", 500*time.Millisecond, func(c *mediaClock) { reports(c, origin, -3*time.Hour) }, false, false)
	f("sound hours late for long", settleTime, func(c *mediaClock) { reports(c, origin, 3*time.Hour) }, true, false)
	f("one track reported", 500*time.Millisecond, func(c *mediaClock) { good(c); c.tracks[1].srTime = time.Time{} }, false, false)
	f("one track silent", 500*time.Millisecond, func(c *mediaClock) { good(c); c.tracks[1].begun = false }, false, false)
	f("the second life", 500*time.Millisecond, func(c *mediaClock) { good(c); c.lives = 2 }, true, false)

	c := newClock(90000)
	if c.settle(zero.Add(time.Hour)) {
		t.Error("settled without a packet")
	}
}

// Once settled, a clock never changes over, and a new source follows it.
func TestClockStays(t *testing.T) {
	now := time.Now()
	origin := now.Add(-1000 * time.Hour)
	c := newClock(90000, 48000)
	last, ts := play(c, now, 400*time.Millisecond, odd)
	reports(c, origin, 0)
	c.settle(last[0])
	reports(c, now.Add(time.Hour), 0)
	c.settle(last[0].Add(time.Minute))
	if got := c.tracks[0].media(ts[0]); !got.Equal(origin) {
		t.Errorf("changed over to %v, want %v", got, origin)
	}

	c.source()
	if c.tracks[0].srTime != (time.Time{}) || !c.settled {
		t.Error("a new life keeps the old reports, or is not settled")
	}
	at := last[0].Add(3 * time.Second)
	video := newLife(c, c.tracks[0], at).packet(at)
	audio := newLife(c, c.tracks[1], at).packet(at)
	v, a := c.tracks[0].media(video), c.tracks[1].media(audio)
	if d := v.Sub(a); d.Abs() > 30*time.Microsecond {
		t.Errorf("packets of one moment are %v apart after a change of source", d)
	}
	if d := v.Sub(origin); (d - 3*time.Second).Abs() > 30*time.Millisecond {
		t.Errorf("the origin's clock went on by %v in 3 s", d)
	}
}

// A report says which time stamp the media time of now has.
func TestReport(t *testing.T) {
	now := time.Now()
	c := newClock(90000, 48000)
	last, ts := play(c, now, 10*time.Second, even)
	for i, tr := range c.tracks {
		tr.octets = 12345
		at := last[0].Add(13 * time.Millisecond)
		b := c.report(tr, at).Append(nil, "weir")
		be := binary.BigEndian
		if b[1] != 200 || be.Uint32(b[4:]) != tr.num.SSRC || be.Uint32(b[20:]) != tr.packets || be.Uint32(b[24:]) != 12345 {
			t.Errorf("track %d: report % x", i, b)
		}
		wall, stamp := rtp.FromNTP(be.Uint64(b[8:])), be.Uint32(b[16:])
		if d := wall.Sub(at); d.Abs() > 50*time.Microsecond {
			t.Errorf("track %d: report of %v, want %v", i, wall, at)
		}
		if !near(stamp-ts[i], at.Sub(last[i]), tr.rate, 1) {
			t.Errorf("track %d: time stamp %d ticks behind the last packet, want %v", i, stamp-ts[i], at.Sub(last[i]))
		}
		if d := tr.media(stamp).Sub(wall); d.Abs() > time.Second/time.Duration(tr.rate)+time.Microsecond {
			t.Errorf("track %d: report relates times that are %v apart", i, d)
		}
	}
}

// The anchor follows the time stamps for hours without losing time, also where a
// viewer joins with every picture.
func TestAnchorKeepsTime(t *testing.T) {
	const pictures = 10 * 3600 * 30000 / 1001 // ten hours
	start := time.Now()
	c := newClock(90000)
	tr := c.tracks[0]
	l := &lifeOf{c: c, t: tr, ts: math.MaxUint32 - 1000, zero: start}
	l.packet(start)
	tr.at, tr.ts = start, math.MaxUint32-1000
	b := make([]byte, rtp.HeaderLen)
	b[0] = 0x80
	for n := uint32(1); n <= pictures; n++ {
		binary.BigEndian.PutUint32(b[4:], l.ts+3003*n)
		tr.num.Apply(b)
		if n%3 == 0 {
			tr.anchor()
		}
	}
	_, last := tr.num.Last()
	want := time.Duration(pictures) * 3003 * time.Second / 90000
	if d := tr.media(last).Sub(start) - want; d.Abs() > time.Millisecond {
		t.Errorf("after %v the clock is off by %v", want, d)
	}
}
