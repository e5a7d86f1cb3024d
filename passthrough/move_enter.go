package passthrough

import (
	"context"
	"time"

	"weir/proxy"
	"weir/proxy/sdp"
	"weir/proxy/wire"
)

// enter has the next origin play, gives it what the viewers have asked meanwhile,
// and makes it the sessions' place. Media comes from the first PLAY on.
func (m *move) enter(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, moveLimit)
	defer cancel()
	now := time.Now()
	for _, st := range m.stand {
		st.s.depart(now)
		m.install(st)
	}
	for _, st := range m.stand {
		if !st.s.playing.Load() {
			st.s.owe(m.has.Stored())
			continue
		}
		if err := m.play(ctx, st); err != nil {
			return err
		}
	}
	return m.settle(ctx)
}

// play has a session go on.
func (m *move) play(ctx context.Context, st *standing) error {
	ctx, cancel := context.WithTimeout(ctx, stepLimit)
	defer cancel()
	st.s.mu.Lock()
	req := again(st.s.plays)
	st.s.mu.Unlock()
	if st.s.tape.known && st.s.positioned(m.has.Stored()) {
		set(&req.Header, "Range", st.s.position().String())
	}
	m.next.gather.media.Store(!st.s.udp())
	heed := func(res *wire.Response) {
		if res.Code == 200 {
			st.s.played(m.next, req, res, false)
		}
	}
	_, err := m.ask(ctx, &exchange{req: req, origin: st.origin, heed: heed})
	return err
}

// install lets the next origin's media pass to the viewer.
func (m *move) install(st *standing) {
	m.next.mu.Lock()
	defer m.next.mu.Unlock()
	rt := m.next.routes.Load()
	for i, t := range st.tracks {
		has := &m.has.Media[t.index]
		if t.seam != nil {
			t.seam.described(t.medium.Fmtp, has.Fmtp)
		}
		t.way.Store(&way{m.next, st.channels[i], t.seam, sdp.Translate(&t.medium, has)})
		m.next.channels[byte(st.channels[i][0])], m.next.channels[byte(st.channels[i][1])] = true, true
		rt = rt.with(t)
	}
	m.next.routes.Store(rt)
}

// settle ends the move: what has waited goes to the next origin first, in order.
func (m *move) settle(ctx context.Context) error {
	for {
		ex, err := m.publish()
		if ex == nil {
			return err
		}
		ex.dropSetup()
		ex.offer, ex.leg = "", m.next
		for _, st := range m.stand {
			if st.s == ex.session {
				ex.origin = st.origin
			}
		}
		switch err := m.next.forward(ctx, ex); {
		case err != nil && m.next.over():
			ex.dropSetup()
			m.old.parkAgain([]*exchange{ex})
			return &stay{stayRefused, err}
		case err != nil:
			ex.conn.refuse(ex, proxy.Refused(err))
		}
	}
}

// publish makes the next leg the sessions' place, unless something waits still,
// which it returns. What has ended meanwhile ends there, too.
func (m *move) publish() (*exchange, error) {
	ex, ended, err := m.swap()
	for _, origin := range ended {
		m.next.disown(origin)
	}
	return ex, err
}

func (m *move) swap() (waits *exchange, ended []string, err error) {
	m.old.mu.Lock()
	defer m.old.mu.Unlock()
	if len(m.old.parked) > 0 {
		waits, m.old.parked = m.old.parked[0], m.old.parked[1:]
		return waits, nil, nil
	}
	m.next.mu.Lock()
	defer m.next.mu.Unlock()
	if m.next.err != nil {
		return nil, nil, &stay{stayRefused, m.next.err}
	}
	for _, st := range m.stand {
		if st.s.moves(&berth{m.next, st.origin}) {
			m.next.sessions[st.origin] = st.s
			st.s.alive.Store(int64(st.alive()))
		} else {
			ended = append(ended, st.origin)
			m.next.routes.Store(m.next.routes.Load().without(st.s)) // its channels are others' now
		}
	}
	m.next.from = nil
	clear(m.old.sessions)
	m.old.moving, m.old.heir = false, m.next
	m.old.conn.leg.CompareAndSwap(m.old, m.next)
	return nil, ended, nil
}
