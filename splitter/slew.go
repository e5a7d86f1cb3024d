package splitter

import "time"

// The clocks of a source run apart: its sound from its picture, and both from the
// wall clock. Time stamps stay as they come, so reports have to follow, or players
// lose their sync over hours. They follow slowly: a step is heard and seen.

// maxSlew is by how much a track's relation to media time may move between two
// reports: 0.5 ms a second, several times what quartz is off.
const maxSlew = 2500 * time.Microsecond

// A lateness is how much later than their media time packets arrive: the least of
// all since the last report, since waiting on the way only adds to it.
type lateness struct {
	since        time.Time // the first packet of a life
	least, usual time.Duration
	known, based bool
}

// note takes a packet.
func (l *lateness) note(d time.Duration, now time.Time) {
	if l.since.IsZero() {
		l.since = now
	}
	if !l.known || d < l.least {
		l.least, l.known = d, true
	}
}

// drift is by how much later packets come than in the beginning; the next
// interval begins. The beginning is as long as other intervals, however soon the
// first report is: many sources send some of their past at once.
func (l *lateness) drift(now time.Time) time.Duration {
	if !l.known || now.Sub(l.since) < reportTime {
		return 0
	}
	l.known = false
	if !l.based {
		l.usual, l.based = l.least, true
	}
	return l.least - l.usual
}

// slew moves the tracks towards where the origin's reports put them, or their
// arrival if there are none.
func (c *mediaClock) slew(now time.Time) {
	for _, t := range c.tracks {
		if !t.begun {
			continue
		}
		t.anchor() // differences must stay small
		off := t.late.drift(now)
		if c.theirs && !t.srTime.IsZero() {
			off = c.reportedOff(t)
		}
		t.at = t.at.Add(min(max(off, -maxSlew), maxSlew))
	}
}

// reportedOff is by how much the origin's newest report has a track later than
// media time has it. The first report of a life only says how far the origin's
// clock is from media time; so does one after that clock was set.
func (c *mediaClock) reportedOff(t *track) time.Duration {
	if !t.srNew {
		return 0
	}
	t.srNew = false
	said, is := t.srTime.Add(c.shift), t.media(t.num.Out(t.srRTP))
	off := said.Sub(is)
	switch {
	case c.shifted == c.lives && off.Abs() < plausible:
		return off
	case c.shifted == c.lives && t != c.leader(): // it is this track that is strange
		return 0
	}
	c.shift, c.shifted = is.Sub(t.srTime), c.lives
	return 0
}
