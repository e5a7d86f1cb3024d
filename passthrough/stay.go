package passthrough

import (
	"errors"
	"fmt"

	"go.uber.org/zap"

	"weir/proxy"
)

// A stay is why sessions do not move. Reasons are a small fixed set.
type stay struct {
	reason string
	err    error // what happened; may be nil
}

// Error implements error.
func (s *stay) Error() string {
	if s.err == nil {
		return s.reason
	}
	return fmt.Sprintf("%s: %v", s.reason, s.err)
}

// Unwrap returns what happened.
func (s *stay) Unwrap() error { return s.err }

// Reasons for which sessions do not move.
const (
	stayOff         = "off"         // not wished for such streams
	stayUnknown     = "unknown"     // what was asked for has not been seen, or is too long to be kept
	stayCredentials = "credentials" // the viewer's own, which hold for one origin
	stayEncrypted   = "encrypted"   // nobody here can renumber the packets
	stayBackChannel = "back-channel"
	stayPosition    = "position"    // unknown, or not at normal speed
	stayEnded       = "ended"       // the stream
	stayNoOrigin    = "no-origin"   // no other one can be reached
	stayDescription = "description" // it has another stream
	stayRefused     = "refused"     // it does not want to
	staySlow        = "slow"
	stayGone        = "gone" // the viewer, meanwhile
)

// stays is why the leg's sessions cannot move, "" if they can; mu is held.
func (l *leg) stays() string {
	kind := "live"
	if l.sdp != nil && l.sdp.Stored() {
		kind = "vod"
	}
	switch {
	case !l.r.opt.Failover.Has(kind):
		return stayOff
	case l.sdp == nil || l.asks == nil:
		return stayUnknown
	case l.sdp.BackChannel():
		return stayBackChannel
	case l.digest && !l.own:
		return stayCredentials
	}
	for _, s := range l.sessions {
		if why := s.stays(); why != "" {
			return why
		}
	}
	return ""
}

// length is what the description says of where the stream begins and ends.
func (l *leg) length() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.sdp == nil {
		return ""
	}
	return l.sdp.Range()
}

// strand lets the viewer go, whose sessions are nowhere, so that he knows.
func (l *leg) strand(err error) {
	l.mu.Lock()
	waiting, sessions, cause := l.parked, len(l.sessions), l.err
	l.parked, l.moving = nil, false
	l.mu.Unlock()
	for _, ex := range waiting {
		if ex.session != nil && sessions == 0 {
			cause = &proxy.Refusal{Reason: proxy.NoSession} // it has been ended
		}
		l.give(ex, outcome{err: cause})
	}
	if sessions == 0 {
		return
	}
	var s *stay
	if errors.As(err, &s) && s.reason != stayGone {
		l.r.met.stayed(s.reason)
		l.log.Info("sessions end with their origin", zap.NamedError("cause", cause), zap.NamedError("why", err), zap.Int("sessions", sessions))
	}
	l.conn.hangUp("the origin's connection has ended")
	l.endSessions("the origin's connection has ended")
}
