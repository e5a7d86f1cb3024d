package passthrough

import (
	"slices"
	"time"

	"weir/proxy/rtp"
)

// A ref says at what time of a clock that an origin's tracks share one of a
// track's time stamps is.
type ref struct {
	known bool
	at    time.Time
	ts    uint32
}

// seams are those of one session.
type seams struct {
	list []*seam
	wall time.Duration // added to the present origin's wall clock
	tied bool          // wall is known
	push time.Duration // by how much the present gap is longer than it was by the clock
}

// depart prepares the tracks of a session for another origin's media. Tracks of
// which nothing has come yet go on as that one numbers them.
func (s *session) depart(now time.Time) {
	tracks := s.list()
	if s.seams == nil {
		s.seams = &seams{}
	}
	for _, t := range tracks {
		if t.seam == nil && (!t.last.at.IsZero() || !t.promise.at.IsZero() || t.ssrc != 0) {
			t.seam = s.seams.add(t, now)
		}
	}
	for _, j := range s.seams.list {
		j.settle()
	}
	s.seams.agree()
	s.seams.tied, s.seams.push = false, 0
	for _, j := range s.seams.list {
		j.reset(now)
		j.info, j.report = ref{}, ref{}
	}
}

// add makes the seam of a track that has not moved yet.
func (a *seams) add(t *track, now time.Time) *seam {
	last := t.last
	if high, ok := t.pace.High(); ok && int32(high-last.ts) > 0 {
		last.ts = high
	}
	if last.at.IsZero() { // nothing has come of what the viewer was told
		last = sample{at: t.promise.at, ssrc: t.ssrc, seq: t.promise.seq - 1, ts: t.promise.ts}
		if last.at.IsZero() { // of its SSRC only
			last.at = now
		}
	}
	j := &seam{all: a, rate: t.medium.ClockRate, kind: t.medium.PayloadType, num: rtp.Numbering{SSRC: last.ssrc}, pace: &t.pace, in: last.ssrc, arrived: last.at, report: t.reported, line: t.reported}
	if j.rate <= 0 {
		j.rate = 90000 // only differences are off where the description does not say
	}
	if t.medium.Type == "video" && !slices.ContainsFunc(a.list, func(o *seam) bool { return o.lead }) {
		j.codec = rtp.CodecOf(t.medium.Encoding)
		j.lead = j.codec != rtp.Other
	}
	j.num.Begin(last.seq+1, last.ts, last.ts)
	j.begun, j.heard = true, true
	a.list = append(a.list, j)
	return j
}

// agree has the anchors of all tracks where the origin's reports put them, if it
// has related them all: they may have come one after another.
func (a *seams) agree() {
	var lead *seam
	for _, j := range a.list {
		if !j.begun || !j.report.known {
			return
		}
		if lead == nil || j.arrived.After(lead.arrived) {
			lead = j
		}
	}
	if lead == nil {
		return
	}
	at := func(j *seam) time.Time { return j.report.at.Add(j.time(j.anchored - j.num.Out(j.report.ts))) }
	moved := make([]time.Time, len(a.list))
	for i, j := range a.list {
		moved[i] = lead.anchor.Add(at(j).Sub(at(lead)))
		if moved[i].Sub(j.anchor).Abs() > plausible {
			return
		}
	}
	for i, j := range a.list {
		j.anchor = moved[i]
	}
}

// tie takes a sender report. Players go by the newest one, and would be brought back or
// forth by the clock of another origin, and by as much as the time stamps go on too late or
// too soon after a move: so the first report is moved to where the last origin's would be
// now, and those that follow go back to what the clocks say, if these agree, so slowly that
// nobody sees it.
func (j *seam) tie(at time.Time, out uint32) {
	a := j.all
	switch {
	case !a.tied && j.line.known:
		a.tied, a.wall = true, j.line.at.Add(j.time(out-j.line.ts)).Sub(at)
	case j == a.list[0] && a.wall.Abs() < clockError:
		a.wall -= min(max(a.wall, -slewStep), slewStep)
	}
	j.tell()
	j.line = ref{true, at.Add(a.wall), out}
}
