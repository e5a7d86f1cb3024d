package passthrough

import (
	"errors"
	"io"
	"maps"
	"slices"
	"time"

	"go.uber.org/zap"

	"weir/proxy"
	"weir/proxy/wire"
)

// errClosed is the cause of a leg that we have closed.
var errClosed = errors.New("closed")

// late is called when the oldest request has waited for too long. Whatever comes
// after that cannot be told from the answer that did not. While the viewer takes
// nothing, nothing of the origin's is read, and it is not to blame.
func (l *leg) late() {
	if l.conn.holds() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if len(l.pending) > 0 {
			l.patience.Reset(l.r.opt.Timeout)
		}
		return
	}
	l.fail(&proxy.Refusal{Reason: proxy.OriginSlow, RetryAfter: retryAfter, Err: errors.New("no answer")})
}

// An ending is what a leg that is over leaves behind.
type ending struct {
	sessions, answers int
	stays             string      // why the sessions do not move
	pending           []*exchange // what was on its way, of that
	failed            []*exchange // what fails with it
	settled           []*exchange // what is so already
	from              *leg        // whose sessions were coming, nil if none were
	back              []*exchange // what that one is to ask again
}

// fail ends the leg; only the first cause counts. Its sessions move to another
// origin; if they cannot, whoever waits is told, and the viewer is let go, so that
// he knows.
func (l *leg) fail(err error) {
	e, first := l.finish(err)
	if !first {
		return
	}
	l.nc.Close()
	if e.from != nil {
		e.from.parkAgain(e.back)
	}
	if err != errClosed && len(e.pending)+e.sessions > 0 { // else it has only closed what was idle
		l.log.Debug("origin's connection ends", zap.Int("answers", e.answers), zap.Error(err))
		l.blame(err, e.pending)
	}
	for _, ex := range e.settled {
		l.give(ex, outcome{res: &wire.Response{Code: 200, Phrase: "OK"}})
	}
	for _, ex := range e.failed {
		l.give(ex, outcome{err: l.err})
	}
	if e.stays != "" {
		l.strand(&stay{reason: e.stays})
	} else if e.sessions > 0 && !l.departs() {
		l.endSessions("the origin's connection has ended")
	}
}

// finish notes that the leg is over, unless it was.
func (l *leg) finish(err error) (e ending, first bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil {
		return e, false
	}
	l.err = cause(err)
	e = ending{sessions: len(l.sessions), answers: l.answers, pending: l.pending, failed: l.pending}
	l.pending = nil
	if err != errClosed && e.sessions > 0 {
		e.stays = l.stays()
		l.moving = e.stays == ""
	}
	if e.from = l.from; l.moving || e.from != nil {
		e.failed, e.settled = l.keep(e.failed)
	}
	if e.from != nil {
		l.parked, e.back = nil, l.parked
	}
	l.patience.Stop()
	l.idle.Stop()
	return e, true
}

// blame tells the upstream of a leg that has failed. Where a viewer's request was
// on its way, that may have been what the origin could not bear, and he shall not
// take it from others by asking so thrice; see open for what is made of it.
func (l *leg) blame(err error, waiting []*exchange) {
	if errors.Is(err, errRedirect) || errors.Is(err, errEnded) || errors.Is(err, errBusy) || errors.Is(err, errMute) {
		return // it has said so itself, or had nothing to say
	}
	slow := proxy.Refused(cause(err)).Reason == proxy.OriginSlow || errors.Is(err, errQuiet)
	if slow || !slices.ContainsFunc(waiting, func(ex *exchange) bool { return ex.conn != nil }) {
		l.link.Fail(err)
	}
}

// rest is called now and then: a leg without sessions, on which nothing has been
// said since, is closed. It would keep a place at the origin that no ticket is for.
func (l *leg) rest() {
	l.mu.Lock()
	idle := len(l.sessions) == 0 && len(l.pending) == 0 && l.answers == l.rested
	l.rested = l.answers
	if !idle && l.err == nil {
		l.idle.Reset(defaultTimeout)
	}
	l.mu.Unlock()
	if idle {
		l.fail(errClosed)
	}
}

// cause turns an error of the connection into what a viewer is told.
func cause(err error) error {
	var r *proxy.Refusal
	switch {
	case errors.As(err, &r):
		return r
	case errors.Is(err, wire.ErrMalformed):
		return &proxy.Refusal{Reason: proxy.OriginBad, Err: err}
	case errors.Is(err, io.EOF):
		err = io.ErrUnexpectedEOF
	}
	return &proxy.Refusal{Reason: proxy.OriginDown, RetryAfter: retryAfter, Err: err}
}

// cause is why the leg is over.
func (l *leg) cause() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

func (l *leg) over() bool { return l.cause() != nil }

// cut reports whether the connection ended before an answer, for a reason that
// another origin may not share. One that is slow has taken its time already.
func (l *leg) cut() bool {
	err := l.cause()
	return err != nil && proxy.Refused(err).Reason != proxy.OriginSlow
}

// spoke reports whether the origin has ever answered here.
func (l *leg) spoke() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.answers > 0
}

// busy reports whether there are sessions.
func (l *leg) busy() bool { return len(l.list()) > 0 }

func (l *leg) list() []*session {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Collect(maps.Values(l.sessions))
}

func (l *leg) endSessions(reason string) {
	for _, s := range l.list() {
		s.end(reason)
	}
}

// forget takes out a session that has ended. A leg that has only been moving its
// sessions is over without any.
func (l *leg) forget(s *session, origin string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.sessions[origin] == s {
		delete(l.sessions, origin)
	}
	l.routes.Store(l.routes.Load().without(s))
	if l.moving && len(l.sessions) == 0 {
		l.abort()
	}
}

// leave ends, when the viewer's connection has ended, what is left at origins. A
// leg whose sessions have moved meanwhile makes room for the next.
func (c *conn) leave() {
	for l := c.leg.Load(); l != nil; {
		l.outlive()
		l.close()
		next := c.leg.Load()
		if next == l {
			return
		}
		l = next
	}
}

// outlive waits, after the viewer's connection has ended, for the sessions whose
// media goes another way (RFC 2326 §1.1). The others end with it.
func (l *leg) outlive() {
	all := l.list()
	for _, s := range all {
		if s.udp() {
			s.orphan.Store(true)
		} else {
			l.dismiss(s)
		}
	}
	for _, s := range all {
		select {
		case <-s.done:
		case <-l.conn.hung:
		case <-l.done:
		}
	}
}

// dismiss ends a session and tells the origin.
func (l *leg) dismiss(s *session) {
	l.tell("TEARDOWN", s)
	s.end(l.conn.why())
}

// close takes leave of the origin, which is told what sessions have ended. A
// connection closed with media in it is reset, and what was said last may be
// lost with it: therefore the wait.
func (l *leg) close() {
	for _, s := range l.list() {
		l.dismiss(s)
	}
	t := time.NewTimer(farewell)
	defer t.Stop()
	select {
	case <-l.hush():
	case <-l.done:
	case <-t.C:
	}
	l.fail(errClosed)
	<-l.done
}

// hush returns a channel that is closed once no TEARDOWN of ours waits for its
// answer.
func (l *leg) hush() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	quiet := make(chan struct{})
	if slices.ContainsFunc(l.pending, func(ex *exchange) bool { return ex.conn == nil && ex.req.Method == "TEARDOWN" }) {
		l.quiet = quiet
	} else {
		close(quiet)
	}
	return quiet
}
