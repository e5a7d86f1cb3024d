package passthrough

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"weir/proxy"
	"weir/proxy/sdp"
	"weir/proxy/wire"
)

// A standing is a session as it stands at the next origin.
type standing struct {
	s        *session
	origin   string // its id there
	timeout  time.Duration
	tracks   []*track
	channels [][2]int
}

// seek finds an origin with the same stream, and has it set up the sessions. It
// plays nothing yet.
func (m *move) seek(ctx, life context.Context) error {
	c := m.old.conn
	ctx, cancel, err := m.turn(ctx)
	if err != nil {
		return err
	}
	defer cancel()
	link, nc, err := c.connect(ctx, proxy.Want{Path: c.rc.Viewer.Path, Avoid: m.avoid})
	if err != nil {
		return &stay{stayNoOrigin, err}
	}
	m.avoid = append(m.avoid, link.Origin)
	m.next = c.newLeg(link, nc, m.old.request, link.URL)
	m.next.from = m.old
	if m.rest > 0 {
		m.next.wish.wait, m.next.wish.next = m.rest, time.Now().Add(m.rest)
		m.next.patient.Store(m.next.wish.next.UnixNano())
	}
	c.begin(life, m.next)
	if err := m.queue(ctx, "to "+link.Origin); err != nil {
		return err
	}
	return m.prepare(ctx)
}

// turn waits until it is this move's turn to leave, and returns a context for all that
// follows.
func (m *move) turn(ctx context.Context) (context.Context, context.CancelFunc, error) {
	end := m.until
	if end.IsZero() {
		end = m.began.Add(turnLimit)
	}
	waits, cancel := context.WithDeadline(ctx, end)
	defer cancel()
	if err := m.queue(waits, "from "+m.old.link.Origin); err != nil {
		return nil, nil, err
	}
	if m.until.IsZero() {
		m.until = time.Now().Add(moveLimit)
	}
	ctx, cancel = context.WithDeadline(ctx, m.until)
	return ctx, cancel, nil
}

// prepare has the next origin describe the stream and set up the sessions.
func (m *move) prepare(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, stepLimit)
	defer cancel()
	if err := m.describe(ctx); err != nil {
		return err
	}
	for _, s := range m.old.list() {
		if err := m.setUp(ctx, s); err != nil {
			return err
		}
	}
	return nil
}

// ask sends a request to the next origin.
func (m *move) ask(ctx context.Context, ex *exchange) (*wire.Response, error) {
	ex.leg, ex.done = m.next, make(chan outcome, 1)
	if err := m.next.send(ex); err != nil {
		return nil, &stay{stayRefused, err}
	}
	res, err := ex.wait(ctx)
	switch {
	case err != nil && ctx.Err() != nil:
		if ctx.Err() == context.DeadlineExceeded { // those who come behind are not to wait, too
			m.next.link.Fail(fmt.Errorf("no answer to %s: %w", ex.req.Method, err))
		}
		return nil, &stay{staySlow, err}
	case err != nil:
		m.died = true
		return nil, &stay{stayRefused, err}
	case res.Code == 401:
		return nil, &stay{stayCredentials, nil}
	case res.Code != 200:
		return nil, &stay{stayRefused, fmt.Errorf("%s answered %d", ex.req.Method, res.Code)}
	}
	return res, nil
}

// hurry sends the first request to the next origin, who is not waited for as long as
// there is another.
func (m *move) hurry(ctx context.Context, ex *exchange) (*wire.Response, error) {
	up, ok := proxy.Face[interface {
		Others(path string, than ...string) bool
	}](m.old.r.env.Upstream)
	if m.calm || !ok || !up.Others(m.old.conn.rc.Viewer.Path, m.avoid...) {
		return m.ask(ctx, ex)
	}
	hasty, cancel := context.WithTimeout(ctx, hastyLimit)
	defer cancel()
	res, err := m.ask(hasty, ex)
	if hasty.Err() != nil && ctx.Err() == nil {
		m.slow = append(m.slow, m.next.link.Origin)
	}
	return res, err
}

// describe asks what the next origin has, and compares.
func (m *move) describe(ctx context.Context) error {
	m.old.mu.Lock()
	asks, told := m.old.asks, m.old.tells()
	m.old.mu.Unlock()
	res, err := m.hurry(ctx, &exchange{req: again(asks)})
	if err != nil {
		return err
	}
	if !isSDP(res) {
		return &stay{stayDescription, errors.New("none")}
	}
	m.next.described(res)
	m.next.forViewer(&exchange{req: asks}, res, responseChange{}) // learns names
	m.next.mu.Lock()
	m.next.asks, m.next.told = asks, told
	m.has = m.next.sdp
	has, had := m.has, told.sdp
	m.next.mu.Unlock()
	switch {
	case has == nil || !sdp.Same(had, has, m.old.r.opt.Strict):
		return &stay{stayDescription, errors.New("another stream")}
	case had.Stored() != has.Stored() || had.Stored() && had.Range() != has.Range():
		return &stay{stayDescription, errors.New("of another length")}
	case !m.renames(told, res):
		return &stay{stayDescription, errors.New("its tracks cannot be told by their names")}
	}
	return nil
}

// setUp makes a session at the next origin.
func (m *move) setUp(ctx context.Context, s *session) error {
	st := &standing{s: s, tracks: s.list()}
	m.stand = append(m.stand, st)
	for _, t := range st.tracks {
		m.next.mu.Lock()
		channels, ok := claimPair(&m.next.channels, t.way.Load().channels)
		m.next.mu.Unlock()
		if !ok {
			return &stay{stayRefused, errors.New("no channels")}
		}
		req := again(t.asks)
		set(&req.Header, "User-Agent", userAgent)
		res, err := m.ask(ctx, &exchange{req: req, origin: st.origin, offer: t.wants.forOrigin(channels)})
		if err != nil {
			return err
		}
		id, timeout, ok := parseSession(res.Header.Get("Session"))
		agreed := interleaved(res.Header.Get("Transport"), channels)
		if ok && st.origin == "" {
			st.origin, st.timeout = id, timeout
		}
		if !ok || agreed == nil || id != st.origin || m.taken(st) {
			return &stay{stayRefused, fmt.Errorf("SETUP answered with Session %.40q, Transport %.80q", res.Header.Get("Session"), res.Header.Get("Transport"))}
		}
		st.channels = append(st.channels, agreed.interleaved)
	}
	return nil
}

// taken reports whether another session has the same id at the next origin.
func (m *move) taken(st *standing) bool {
	return slices.ContainsFunc(m.stand, func(o *standing) bool { return o != st && o.origin == st.origin })
}

// alive is how often the next origin is to hear of a session, 0 if the viewer does
// that: he was told another time-out.
func (st *standing) alive() time.Duration {
	if st.timeout == 0 || st.timeout >= st.s.timeout {
		return 0
	}
	return max(st.timeout/2, time.Second)
}
