package passthrough

import (
	"errors"
	"fmt"
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
// after that cannot be told from the answer that did not.
func (l *leg) late() {
	l.fail(&proxy.Refusal{Reason: proxy.OriginSlow, RetryAfter: retryAfter, Err: errors.New("no answer")})
}

// fail ends the leg; only the first cause counts. Whoever waits is told, and a
// viewer who had sessions here is let go, so that he knows.
func (l *leg) fail(err error) {
	l.mu.Lock()
	if l.err != nil {
		l.mu.Unlock()
		return
	}
	l.err = cause(err)
	waiting, sessions, answers := l.pending, len(l.sessions), l.answers
	l.pending = nil
	l.patience.Stop()
	l.mu.Unlock()
	l.nc.Close()
	if err != errClosed && len(waiting)+sessions > 0 { // else it has only closed what was idle
		l.link.Fail(fmt.Errorf("after %d answers: %w", answers, err))
		l.log.Debug("origin's connection ends", zap.Error(err))
	}
	for _, ex := range waiting {
		l.give(ex, outcome{err: l.err})
	}
	if sessions > 0 {
		l.conn.hangUp("the origin's connection has ended")
		l.endSessions("the origin's connection has ended")
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

// outlive waits, after the viewer's connection has ended, for the sessions whose
// media goes another way (RFC 2326 §1.1).
func (l *leg) outlive() {
	for _, s := range l.list() {
		if !s.udp() {
			continue
		}
		s.orphan.Store(true)
		select {
		case <-s.done:
		case <-l.conn.hung:
		case <-l.done:
		}
	}
}

// close takes leave of the origin, which is told what sessions have ended. A
// connection closed with media in it is reset, and what was said last may be
// lost with it: therefore the wait.
func (l *leg) close() {
	if left := l.list(); len(left) > 0 {
		quiet := make(chan struct{})
		l.mu.Lock()
		l.quiet = quiet
		l.mu.Unlock()
		for _, s := range left {
			l.tell("TEARDOWN", s)
			s.end(l.conn.why())
		}
		t := time.NewTimer(farewell)
		defer t.Stop()
		select {
		case <-quiet:
		case <-l.done:
		case <-t.C:
		}
	}
	l.fail(errClosed)
	<-l.done
}
