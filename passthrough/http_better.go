package passthrough

import (
	"net/http"
	"strings"
	"time"

	"go.uber.org/zap"
)

// mostOthers is how many other origins are asked for a newer playlist; one if they
// may hold the answer back.
const mostOthers = 3

// better returns the answer of o, or that of another origin that is better: of
// one that has what o has not, or has come further.
func (t *trip) better(o *origin, res *http.Response, origins []*origin) (*origin, *http.Response) {
	if t.stream == nil {
		return o, res
	}
	if t.b.missed(res) {
		if o, res = t.lookElsewhere(o, res, origins); t.b.missed(res) {
			res = t.later(o, res)
		}
	}
	if _, ok := scanOf(res); ok {
		o, res = t.newest(o, res, origins)
	}
	if res.StatusCode < http.StatusBadRequest {
		t.b.memory.had(t.stream.pool, t.stream.path, time.Now())
	}
	return o, res
}

// newest lets a playlist pass unless its viewer has seen a newer one. Who gave
// that is asked again, then the others, and their requests go there from now on.
// If nobody has it and the best is only a little behind, the viewer gets what he has
// seen already, until somebody has caught up; else the best passes: a player bears a
// step back better than an error, and the stream has begun anew.
func (t *trip) newest(o *origin, res *http.Response, origins []*origin) (*origin, *http.Response) {
	s, m, now := t.stream, t.b.memory, time.Now()
	best, _ := scanOf(res)
	if !s.behind(best, now) {
		t.pass(o, res, best, now)
		return o, res
	}
	looks := now.Sub(m.mark(s.playlist).barren) >= barrenFor
	if looks {
		o, res = t.search(o, res, origins)
		best, _ = scanOf(res)
		m.hold(s.stick, o.name, time.Now())
	}
	switch now = time.Now(); {
	case !s.behind(best, now):
		m.withheld.Add(1)
	case t.again(res, best):
		m.withheld.Add(1)
		return o, res
	default:
		t.wentBack(o, best, looks, now)
	}
	t.pass(o, res, best, now)
	return o, res
}

// pass takes note of a playlist that is passed on.
func (t *trip) pass(o *origin, res *http.Response, p scan, now time.Time) {
	s, m := t.stream, t.b.memory
	m.passed(s.playlist, p, o.name, now)
	if body, ok := res.Body.(*scannedBody); ok && !strings.Contains(strings.ToLower(res.Header.Get("Cache-Control")), "no-store") {
		m.keep(s, last{s.stick, o.name, p, body.text, now})
	}
}

// behind reports whether the viewer may have seen a newer playlist.
func (s *stream) behind(p scan, now time.Time) bool {
	return s.mark.holds(now) && p.before(s.mark.position)
}

// search asks others for a playlist that is not behind, and returns the newest
// there is.
func (t *trip) search(o *origin, res *http.Response, origins []*origin) (*origin, *http.Response) {
	s := t.stream
	best, _ := scanOf(res)
	usable, most := t.b.usable(origins), mostOthers
	if s.blocks {
		most = 1
	}
	for _, other := range t.unasked(firstOf(usable, usable, s.mark.origin), most) {
		found, err := t.aside(other)
		if err != nil {
			continue // it has been counted against the origin
		}
		p, ok := scanOf(found)
		if !ok || !best.before(p.position) {
			found.Body.Close() //nolint:errcheck // nobody reads it
			continue
		}
		if o, res, best = other, found, p; !s.behind(best, time.Now()) {
			break
		}
	}
	return o, res
}

// wentBack takes note of a playlist that is passed on for want of a newer one.
func (t *trip) wentBack(o *origin, p scan, looked bool, now time.Time) {
	s, m := t.stream, t.b.memory
	m.back.Add(1)
	if looked && m.barren(s.playlist, now) {
		t.b.log.Warn("playlist goes back: no origin has one as new as before", zap.String("path", s.path), zap.String("origin", o.name),
			zap.Uint64("sequence", p.first), zap.Uint64("before", s.mark.first))
	}
}
