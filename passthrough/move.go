package passthrough

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"go.uber.org/zap"

	"weir/proxy/sdp"
	"weir/proxy/wire"
)

const (
	// moveLimit is how long a move may take once it has its turn, and turnLimit how long it
	// waits for that: players who get nothing for longer give up by themselves, and who is
	// cut comes back at once, with all the others who were.
	moveLimit = 10 * time.Second
	turnLimit = 30 * time.Second
	// stepLimit is how long one origin may take for all that a move asks of it, and
	// hastyLimit for its first answer, as long as there is yet another.
	stepLimit  = 3 * time.Second
	hastyLimit = time.Second
)

// userAgent is who asks for tracks of sessions that move: for GStreamer, some
// origins hold back the answer by a second for each.
const userAgent = "Weir"

// A move brings the sessions of a leg to another origin. It is of the leg's
// goroutine, as is all that is known of their media.
type move struct {
	old   *leg
	began time.Time
	avoid []string // origins that have been tried
	slow  []string // those of them who were given up in haste
	calm  bool     // nobody is any more
	next  *leg
	has   *sdp.Session // the stream there
	stand []*standing
	leave []func()      // of the queues
	cause error         // why an origin is left that is still there
	rest  time.Duration // for how long the next one's silence is none
	until time.Time     // for so long origins are tried; zero: it had no turn yet
	died  bool          // one that was tried has died meanwhile
	twice bool          // those that were tried are tried again
	last  error         // why an origin would not do
	err   error         // why none would
}

func (l *leg) newMove() *move {
	return &move{old: l, began: time.Now(), avoid: []string{l.link.Origin}}
}

// move is called when the leg is over: it brings its sessions elsewhere, or lets
// them go. m has found another origin already, or is nil.
func (l *leg) move(ctx, life context.Context, m *move) {
	goes := l.departs()
	if !goes {
		l.abort()
	}
	if m == nil && l.wish.found != nil { // somebody looks
		m = <-l.wish.found
	}
	if m != nil && (m.err != nil || !goes || !m.holds() || !l.plays()) {
		m.drop()
		m = nil
	}
	if !goes {
		return
	}
	var err error
	if m == nil {
		err = l.await(ctx)
		m = l.newMove()
	}
	if err == nil {
		err = m.run(ctx, life)
	}
	if err != nil {
		l.strand(err)
	}
}

// plays reports whether a session does.
func (l *leg) plays() bool {
	return slices.ContainsFunc(l.list(), func(s *session) bool { return s.playing.Load() })
}

// await waits until there is something to move for: a session that plays, or a
// request.
func (l *leg) await(ctx context.Context) error {
	if l.plays() {
		return nil
	}
	select {
	case <-l.wake:
		return nil
	case <-ctx.Done():
		return &stay{stayGone, nil}
	}
}

// run has the sessions go on with an origin, or the next, as long as there is one.
func (m *move) run(ctx, life context.Context) error {
	if why := m.old.fixed(); why != "" {
		m.drop()
		return &stay{why, nil}
	}
	m.began, m.until = time.Now(), time.Time{} // whoever has looked so far had time of his own
	for {
		if m.next == nil {
			if err := m.find(ctx, life); err != nil {
				return err
			}
		}
		err := m.enter(ctx)
		if err == nil {
			m.release()
			m.told()
			return nil
		}
		m.last = err
		m.drop()
	}
}

// find tries origins until one has set up the sessions, or there is none.
func (m *move) find(ctx, life context.Context) error {
	for {
		err := m.seek(ctx, life)
		if err == nil {
			return nil
		}
		m.drop()
		var s *stay
		switch {
		case ctx.Err() != nil:
			return &stay{stayGone, nil}
		case !time.Now().Before(m.until): // or it has waited for its turn for too long
			return cmp.Or(m.last, error(&stay{staySlow, err}))
		case errors.As(err, &s) && s.reason == stayNoOrigin:
			if m.repeats() {
				continue
			}
			return cmp.Or(m.last, err) // who was there says more than that nobody is left
		}
		m.old.log.Debug("another origin does not take the sessions", zap.Error(err))
		m.last = err
	}
}

// repeats has those that were tried be tried again, where that is worth it.
func (m *move) repeats() bool {
	switch {
	case m.died && !m.twice && m.cause == nil: // the one before may be back
		m.twice, m.avoid, m.slow = true, nil, nil
	case len(m.slow) > 0: // better late than never
		m.avoid = slices.DeleteFunc(m.avoid, func(name string) bool { return slices.Contains(m.slow, name) })
		m.slow, m.calm = nil, true
	default:
		return false
	}
	return true
}

// drop gives up what an attempt has come to.
func (m *move) drop() {
	if m.next != nil {
		for _, st := range m.stand {
			if st.origin != "" {
				m.next.disown(st.origin)
			}
		}
		m.next.close() // its goroutine has had the media
	}
	m.next, m.stand = nil, nil
	m.release()
}

// told says that the sessions have moved.
func (m *move) told() {
	m.old.r.met.moves.Add(1)
	m.old.log.Info("sessions moved to another origin", zap.String("to", m.next.link.Origin), zap.NamedError("cause", m.old.cause()),
		zap.Duration("after", time.Since(m.began).Round(time.Millisecond)), zap.Int("sessions", len(m.stand)))
}

// disown ends a session that an origin has, and nobody knows.
func (l *leg) disown(origin string) {
	req := &wire.Request{Method: "TEARDOWN", URL: l.request}
	req.Header.Add("User-Agent", userAgent)
	req.Header.Add("CSeq", "")
	req.Header.Add("Session", "")
	l.send(&exchange{req: req, origin: origin, leg: l}) //nolint:errcheck // if it is over, so is the session
}
