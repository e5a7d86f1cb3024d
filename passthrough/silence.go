package passthrough

import (
	"slices"
	"time"

	"weir/proxy"
)

// listen looks, now and then, whether an origin that plays has gone silent, or wants
// its sessions to go elsewhere; if so it wakes up the leg's goroutine.
func (l *leg) listen(now time.Time) {
	if now.UnixNano() < l.patient.Load() || !l.silent(now) && !l.sentAway() {
		return
	}
	if l.conn.holds() || !slices.ContainsFunc(l.list(), func(s *session) bool { return s.playing.Load() }) {
		return
	}
	l.patient.Store(now.Add(quietLimit).UnixNano())
	l.gather.nudge()
}

// sentAway reports whether the origin drains, and it is this leg's turn.
func (l *leg) sentAway() bool {
	select {
	case <-l.link.Leave:
		return true
	default:
		return false
	}
}

// silent reports whether media that should come has not for long, or for some time from
// an origin that is believed to be dead.
func (l *leg) silent(now time.Time) bool {
	heard, usual := l.heard.Load(), time.Duration(l.usual.Load())
	if heard == 0 {
		return false
	}
	limit, least := quietFirst, quietLimit
	if usual > 0 {
		limit, least = max(quietLimit, quietShare*usual), max(goneLimit, goneShare*usual)
	}
	switch d := time.Duration(now.UnixNano() - heard); {
	case d >= limit:
		return true
	case d < least:
		return false
	}
	up, knows := proxy.Face[interface{ Gone(origin string) bool }](l.r.env.Upstream)
	return knows && up.Gone(l.link.Origin)
}

// begins notes that media is to come from now on.
func (l *leg) begins(now time.Time) {
	l.wish.gaps, l.wish.usual = 0, 0
	l.usual.Store(0)
	l.heard.Store(now.UnixNano())
}

// hears notes that media has come.
func (l *leg) hears(now time.Time) {
	at, w := now.UnixNano(), &l.wish
	had := l.heard.Swap(at)
	if w.gaps++; w.gaps == 1 || had == 0 {
		w.since = now
		return
	}
	if w.usual = max(at-had, w.usual-w.usual/32); w.gaps > quietKnown {
		l.usual.Store(w.usual)
	}
}

// rest is how long the next origin is left alone though it be silent, where the
// present one is left for that.
func (w *wish) rest(heard int64) time.Duration {
	if !w.since.IsZero() && time.Unix(0, heard).Sub(w.since) >= steady {
		return 0
	}
	return min(max(quietFirst, 2*w.wait), seekRarely)
}
