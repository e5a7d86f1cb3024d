package passthrough

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"weir/proxy"
	"weir/proxy/wire"
)

const (
	// quietEvery is how often legs are looked at for origins that have gone silent.
	quietEvery = 200 * time.Millisecond
	// quietLimit is how long an origin that plays may send nothing at least before
	// another is looked for, and quietShare for how many of the usual gaps; a first
	// packet may take quietFirst.
	quietLimit = time.Second
	quietShare = 5
	// goneLimit and goneShare are that for an origin that is believed to be dead.
	goneLimit  = 200 * time.Millisecond
	goneShare  = 2
	quietFirst = 5 * time.Second
	quietKnown = 8 // how many gaps say what is usual
	// steady is how long an origin must have played for its silence to be believed at
	// once: where all are silent, sessions would go round.
	steady = 2 * time.Second
	// seekAgain is how long a leg for which no other origin was found stays where it
	// is before another look; each time twice as long, up to seekRarely.
	seekAgain  = time.Second
	seekRarely = time.Minute
)

// Why sessions are to leave an origin that is still there.
var (
	errQuiet    = errors.New("the origin has gone silent")
	errMute     = fmt.Errorf("%w: it never played", errQuiet) // as it does where a stream has no publisher
	errRedirect = errors.New("the origin asks its viewers to leave")
	errEnded    = errors.New("the origin says that the stream has ended")
	errBusy     = errors.New("the origin is not available any more")
	errDrains   = errors.New("the origin drains")
)

// A wish is to leave an origin that is still there: another one is found first.
// It belongs to the goroutine of the leg.
type wish struct {
	why   error
	found chan *move // of who looks; nil: nobody does
	next  time.Time  // no other look before
	wait  time.Duration
	since time.Time   // the first media
	gaps  int         // so far
	usual int64       // the longest lately, ns
	byes  []heldBye   // what was kept from viewers
	held  []heldReply // likewise
}

// A heldBye is an RTCP packet that says that a track has ended: viewers believe
// it.
type heldBye struct {
	to  *route
	pkt []byte
}

// A heldReply is an answer that another origin may give better.
type heldReply struct {
	ex  *exchange
	res *wire.Response
}

// woken reports whether a read has ended only because somebody wants to be heard.
func woken(err error) bool { return errors.Is(err, os.ErrDeadlineExceeded) }

// turn is called when the leg's goroutine was woken up, or wants to leave. It
// returns the move that is to be made, nil to go on reading.
func (l *leg) turn(ctx, life context.Context) *move {
	l.gather.calm()
	w, now := &l.wish, time.Now()
	select {
	case m := <-w.found:
		w.found = nil
		if m.err == nil && m.holds() && (!errors.Is(m.cause, errQuiet) || l.silent(now)) && l.fixed() == "" {
			return m
		}
		l.resign(m)
		return nil
	default:
	}
	if w.why == nil && l.sentAway() && !now.Before(w.next) {
		w.why = errDrains
	}
	switch {
	case w.found != nil || w.why == nil && !l.silent(now):
	case now.Before(w.next):
		l.stay(w.next)
	case l.fixed() != "":
		l.stay(now.Add(seekRarely))
	default:
		l.sendScout(ctx, life)
	}
	return nil
}

// stay has the leg be where it is until then at least.
func (l *leg) stay(until time.Time) {
	l.patient.Store(until.UnixNano())
	l.resign(nil)
}

// sendScout has somebody look for another origin.
func (l *leg) sendScout(ctx, life context.Context) {
	w, m := &l.wish, l.newMove()
	switch {
	case w.why != nil:
		m.cause = w.why
	case w.since.IsZero():
		m.cause = errMute
	default:
		m.cause = errQuiet
	}
	w.why = m.cause
	if errors.Is(m.cause, errQuiet) {
		m.rest = w.rest(l.heard.Load())
	}
	w.found = make(chan *move, 1)
	l.conn.work.Go(func() { l.scout(ctx, life, m, w.found) })
}

// fixed is why the sessions cannot leave, "" if they can.
func (l *leg) fixed() string {
	l.mu.Lock()
	why, stored := l.stays(), l.sdp != nil && l.sdp.Stored()
	l.mu.Unlock()
	for _, s := range l.list() {
		if why == "" {
			why = s.fixed(stored)
		}
	}
	return why
}

// scout looks for another origin while the present one is read on.
func (l *leg) scout(ctx, life context.Context, m *move, found chan<- *move) {
	m.err = m.find(ctx, life)
	found <- m
	l.gather.nudge()
}

// resign goes on with the origin that there is: what was kept from viewers they
// get.
func (l *leg) resign(m *move) {
	w := &l.wish
	if m != nil {
		if m.err == nil {
			m.drop()
		}
		w.wait = min(max(seekAgain, 2*w.wait), seekRarely)
		w.next = time.Now().Add(w.wait)
		l.patient.Store(w.next.UnixNano())
	}
	for _, b := range w.byes {
		l.single(b.to, b.pkt)
	}
	for _, h := range w.held {
		if err := l.answered(h.ex, h.res); err != nil {
			h.ex.conn.refuse(h.ex, proxy.Refused(err))
		}
	}
	if len(w.byes) > 0 {
		l.settle(l.routes.Load(), nil)
	}
	w.byes, w.held, w.why = nil, nil, nil
}

// quit takes leave of an origin that is still there.
func (l *leg) quit(m *move) {
	if !errors.Is(m.cause, errQuiet) {
		for _, s := range l.list() {
			l.tell("TEARDOWN", s)
		}
	}
	l.fail(m.cause)
}

// release gives back the requests whose answers were kept, when the leg is over:
// they move, too, or fail.
func (l *leg) release() {
	for _, h := range l.wish.held {
		if _, waits := l.park(h.ex); !waits {
			l.give(h.ex, outcome{err: l.cause()})
		}
	}
	l.wish.held, l.wish.byes = nil, nil
}

// wants has the leg look for another origin.
func (l *leg) wants(why error) {
	l.wish.why = why
	l.gather.nudge()
}

// tries reports whether another origin may be looked for.
func (l *leg) tries() bool {
	return !time.Now().Before(l.wish.next) && l.busy() && l.fixed() == ""
}

// holds reports whether the sessions that a move has set up are still those that
// there are.
func (m *move) holds() bool {
	all := m.old.list()
	if len(all) != len(m.stand) {
		return false
	}
	for _, st := range m.stand {
		if !slices.Contains(all, st.s) || len(st.tracks) != st.s.count() {
			return false
		}
	}
	return true
}

// keeps takes an answer from which an origin seems about to go: the next may
// answer better.
func (l *leg) keeps(ex *exchange, res *wire.Response) bool {
	alive := ex.req.Method == "OPTIONS" || ex.req.Method == "GET_PARAMETER" || ex.req.Method == "SET_PARAMETER" && len(ex.req.Body) == 0
	if res.Code != 503 || ex.session == nil || !alive || !l.tries() {
		return false
	}
	if ex.conn != nil {
		l.wish.held = append(l.wish.held, heldReply{ex, res})
	}
	l.wants(fmt.Errorf("%w: %s answered 503", errBusy, ex.req.Method))
	return true
}

// ends takes what says that a track has ended, if another origin may go on with it.
func (l *leg) ends(to *route, pkt []byte) bool {
	if len(l.wish.byes) > maxTracks || !l.tries() {
		return false
	}
	l.wish.byes = append(l.wish.byes, heldBye{to, slices.Clone(pkt)})
	l.wants(errEnded)
	return true
}
