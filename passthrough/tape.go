package passthrough

import (
	"math"
	"slices"
	"time"

	"weir/proxy/wire"
)

// stale is for how long a track that brings nothing still says where the viewer is,
// while another does: text may come once a minute.
const stale = 2 * time.Second

// position is where the viewer is: where the track is that has come least far.
func (s *session) position() stretch {
	tracks := s.list()
	var newest time.Time
	for _, t := range tracks {
		if t.last.at.After(newest) {
			newest = t.last.at
		}
	}
	least := time.Duration(math.MaxInt64)
	for _, t := range tracks {
		if t.fresh || t.medium.ClockRate <= 0 || newest.Sub(t.last.at) > stale {
			continue
		}
		least = min(least, time.Duration(float64(t.last.ticks)/float64(t.medium.ClockRate)*float64(time.Second)))
	}
	if least == math.MaxInt64 {
		least = 0
	}
	return s.tape.on(max(least, 0))
}

// played takes an origin's answer to PLAY: the position from which time stamps
// count, and how they relate the tracks. told is whether the viewer gets it.
func (s *session) played(l *leg, req *wire.Request, res *wire.Response, told bool) {
	s.tape.played(req, res, s.position(), told && s.playing.Load())
	s.tape.ends(l.length())
	if told { // it is another matter now whether it may be left
		l.patient.Store(0)
	}
	infos := parseRTPInfo(res.Header.Get("RTP-Info"))
	tracks := s.list()
	for i, t := range tracks {
		t.fresh, t.base, t.due = true, ref{}, due{}
		f := infoOf(infos, i, len(tracks), func(url string) bool { return t.called(l.urls.toViewer(url)) })
		if f == nil || !f.tses {
			continue
		}
		t.due = due{f.seqs, f.seq}
		t.base = ref{known: true, ts: f.ts}
		if t.seam == nil {
			if t.promise = (promise{}); told && f.seqs {
				t.promise = promise{time.Now(), f.seq, f.ts}
			}
			continue
		}
		if t.seam.info = t.base; told && !t.seam.begun && f.seqs { // the viewer is told of these numbers: they count
			t.seam.begin(f.seq, f.ts, time.Now())
		}
	}
	l.begins(time.Now())
}

// infoOf finds what is said of a track: by its name, or by its place if all are
// spoken of.
func infoOf(infos []info, i, tracks int, is func(url string) bool) *info {
	if at := slices.IndexFunc(infos, func(f info) bool { return is(f.url) }); at >= 0 {
		return &infos[at]
	}
	if len(infos) == tracks {
		return &infos[i]
	}
	return nil
}

// renumbered is an RTP-Info as the viewer of a session that has moved may see it:
// with his numbers, which are not the origin's.
func (s *session) renumbered(value string) string {
	infos := parseRTPInfo(value)
	tracks := s.list()
	for i, t := range tracks {
		f := infoOf(infos, i, len(tracks), t.called)
		if f == nil || t.seam == nil {
			continue
		}
		if !t.seam.begun {
			f.seqs, f.tses = false, false
			continue
		}
		by := t.seam.num.Shift(t.seam.in)
		f.seq, f.ts = f.seq+by.Seq, f.ts+by.TS
	}
	return formatRTPInfo(infos)
}

// positioned reports whether it matters where in the stream the viewer is.
func (s *session) positioned(stored bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return stored || s.plays != nil && !fromNow(s.plays.Header.Get("Range"))
}

// fixed is why the session cannot go on from where it is, "" if it can. It is for
// the leg's goroutine.
func (s *session) fixed(stored bool) string {
	switch p := &s.tape; {
	case p.odd:
		return stayPosition
	case !p.known || !s.positioned(stored):
		return ""
	case p.queued:
		return stayPosition
	case p.over(s.position().at) && s.playing.Load():
		return stayEnded
	}
	return ""
}

// owe has the next PLAY go on from where the viewer has paused.
func (s *session) owe(stored bool) {
	if !s.tape.known || !s.positioned(stored) {
		return
	}
	at := s.position()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.owes = at.String()
}

// goesOn is a request as the origin is to have it: a PLAY of a session that was
// paused at another one says from where.
func (s *session) goesOn(req *wire.Request) *wire.Request {
	if req.Method != "PLAY" || req.Header.Get("Range") != "" {
		return req
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.owes == "" {
		return req
	}
	out := *req
	out.Header = without(req.Header)
	set(&out.Header, "Range", s.owes)
	return &out
}
