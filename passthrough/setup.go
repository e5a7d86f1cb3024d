package passthrough

import (
	"context"
	"crypto/rand"
	"fmt"
	"time"

	"go.uber.org/zap"

	"weir/proxy"
	"weir/proxy/sdp"
	"weir/proxy/wire"
)

// maxTracks bounds what one place can take of ports and channels.
const maxTracks = 16

// A setup is a SETUP on its way.
type setup struct {
	leg    *leg
	t      transport // of the viewer's offers
	track  *track
	ticket proxy.Ticket // for a session to be made; nil if there is one
}

// offer is the one transport that the origin is offered: interleaved always. It
// needs no ports there, passes every NAT, and its end is seen at once.
func (su *setup) offer() string { return su.t.forOrigin(su.track.way.Load().channels) }

// drop gives back what a SETUP that came to nothing had taken.
func (su *setup) drop() {
	if su.track != nil {
		su.track.free()
	}
	if su.ticket != nil {
		su.ticket.Close()
	}
}

// prepare takes what a SETUP needs before the origin is asked: a way to the
// viewer, and his place.
func (l *leg) prepare(ctx context.Context, ex *exchange) error {
	c := ex.conn
	t, err := chooseTransport(ex.req.Header.Get("Transport"), c.viewerIP(), l.r.ports != nil && !c.secure())
	if err != nil {
		return err
	}
	if s := ex.session; s != nil && t.tcp == s.udp() {
		return &proxy.Refusal{Reason: proxy.BadTransport, Err: fmt.Errorf("session %s has another", s.id)}
	}
	if s := ex.session; s != nil && s.count() >= maxTracks {
		return &proxy.Refusal{Reason: proxy.TooMany, Err: fmt.Errorf("session %s has %d tracks", s.id, maxTracks)}
	}
	ex.setup = &setup{leg: l, t: t}
	if ex.session == nil {
		err = l.admit(ctx, ex)
	}
	if err == nil {
		ex.setup.track, err = l.newTrack(c, t)
	}
	if err != nil {
		ex.dropSetup()
		return err
	}
	ex.offer = ex.setup.offer()
	return nil
}

// admit reserves a viewer's place.
func (l *leg) admit(ctx context.Context, ex *exchange) error {
	ticket, err := l.r.env.Gate.Admit(ctx, l.conn.rc.Viewer)
	if err != nil {
		return err
	}
	ex.setup.ticket = ticket
	return ticket.Declare(l.bitRate())
}

// bitRate is what the stream says it needs, 0 if it does not.
func (l *leg) bitRate() proxy.BitRate {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.sdp == nil {
		return 0
	}
	return proxy.BitRate(l.sdp.BitRate())
}

// learn remembers a description.
func (l *leg) learn(body []byte) {
	s, err := sdp.Parse(body)
	if err != nil {
		l.log.Debug("description passed on unread", zap.Error(err))
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sdp = s
}

// setUp takes an origin's answer to a SETUP: the track and, with the first one,
// the session are there from now on. It returns the viewer's Transport.
func (l *leg) setUp(ex *exchange, res *wire.Response) (string, error) {
	su := ex.setup
	ex.setup = nil
	if res.Code != 200 {
		su.drop()
		return "", nil
	}
	id, timeout, ok := parseSession(res.Header.Get("Session"))
	agreed := interleaved(res.Header.Get("Transport"), su.track.way.Load().channels)
	if !ok || agreed == nil {
		su.drop()
		if ok && ex.session == nil { // the origin has a session of which nobody else knows
			l.disown(id)
		}
		return "", &proxy.Refusal{Reason: proxy.OriginBad, Err: fmt.Errorf("SETUP answered with Session %.40q, Transport %.80q",
			res.Header.Get("Session"), res.Header.Get("Transport"))}
	}
	if err := l.join(ex, su, id, timeout); err != nil {
		su.drop()
		return "", err
	}
	if su.ticket != nil { // it was for a session that has one
		su.ticket.Close()
	}
	su.track.asks, su.track.wants = keepRequest(ex.req), su.t
	var types *sdp.Types
	su.track.index, su.track.medium, types = l.medium(ex.req.URL)
	su.track.ssrc = agreed.ssrc()
	if !l.install(ex.session, su.track, agreed.interleaved, types) {
		return "", &proxy.Refusal{Reason: proxy.NoSession}
	}
	if su.t.tcp {
		return su.t.answerTCP(*agreed, su.track.viewer), nil
	}
	return su.t.answerUDP(*agreed, [2]int{su.track.pair.Port(), su.track.pair.Port() + 1}), nil
}

// interleaved is the transport that an origin has agreed to; nil if it is not
// what it was offered. Some leave out the channels, and mean those.
func interleaved(header string, offered [2]int) *transport {
	for _, t := range parseTransports(header) {
		if !t.tcp {
			continue
		}
		if t.interleaved == none {
			t.interleaved = offered
		}
		return &t
	}
	return nil
}

// join finds the session that a SETUP was for, or makes it. Some origins have one
// for a connection, whether a SETUP names it or not.
func (l *leg) join(ex *exchange, su *setup, origin string, timeout time.Duration) error {
	if ex.session != nil {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.sessions[origin]
	switch {
	case l.err != nil: // nobody would end it
		return l.err
	case s == nil:
		s = l.newSession(origin, timeout, su.ticket)
		su.ticket = nil // the session's from now on
		l.sessions[origin] = s
		l.r.addSession(s)
	case s.udp() == su.t.tcp:
		return &proxy.Refusal{Reason: proxy.BadTransport, Err: fmt.Errorf("session %s has another", s.id)}
	}
	ex.session = s
	return nil
}

func (l *leg) newSession(origin string, timeout time.Duration, ticket proxy.Ticket) *session {
	if timeout <= 0 || timeout > defaultTimeout {
		timeout = defaultTimeout
	}
	now := time.Now()
	s := &session{id: rand.Text(), conn: l.conn, ticket: ticket, timeout: timeout, began: now,
		log: l.log, done: make(chan struct{})}
	s.at.Store(&berth{l, origin})
	s.lastly.Store(now.UnixNano())
	s.asked.Store(now.UnixNano())
	return s
}

// agree notes the channels that an origin has chosen for a track, and its payload types;
// l.mu is held.
func (l *leg) agree(t *track, agreed [2]int, types *sdp.Types) {
	if w := t.way.Load(); agreed != w.channels || types != nil {
		releasePair(&l.channels, w.channels)
		t.way.Store(&way{leg: l, channels: agreed, types: types})
		l.channels[byte(agreed[0])], l.channels[byte(agreed[1])] = true, true
	}
}

// install lets a track's media pass. It reports false, and keeps nothing, if the
// session has ended meanwhile.
func (l *leg) install(s *session, t *track, agreed [2]int, types *sdp.Types) bool {
	t.s = s
	l.mu.Lock()
	l.agree(t, agreed, types)
	l.routes.Store(l.routes.Load().with(t))
	l.mu.Unlock()
	if !s.add(t) {
		l.mu.Lock()
		l.routes.Store(l.routes.Load().without(s))
		l.mu.Unlock()
		t.free()
		return false
	}
	if t.pair != nil {
		s.conn.work.Go(func() { t.hear(t.pair.RTP, 0) })
		s.conn.work.Go(func() { t.hear(t.pair.RTCP, 1) })
	}
	return true
}
