package passthrough

import (
	"cmp"
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"weir/proxy"
	"weir/proxy/auth"
	"weir/proxy/sdp"
	"weir/proxy/wire"
)

// readBuffer is what is read from an origin at once, in bytes: more than one
// interleaved frame can have (RFC 2326 §10.12).
const readBuffer = 72 << 10

// farewell is how long an origin may take to answer a last TEARDOWN.
const farewell = 500 * time.Millisecond

// A leg is the connection to an origin on behalf of one viewer's connection. Its
// read goroutine hands media on and answers out.
type leg struct {
	r    *Relay
	conn *conn // that dialled it, and is told when it fails
	link *proxy.Link
	nc   net.Conn // link, or TLS over it
	urls *urls
	log  *zap.Logger

	request string // the URL it was made for, as the viewer wrote it
	creds   auth.Client
	own     bool               // credentials are the edge's, not the viewer's
	abort   context.CancelFunc // ends a move
	gather  *gatherer
	in      *inbox // nil while there is nothing to read
	came    bool   // media, since settle has last looked
	routes  atomic.Pointer[routes]
	done    chan struct{} // closed when read has returned
	heard   atomic.Int64  // the last media, or the PLAY that it is waited for since, Unix ns; 0: none is
	usual   atomic.Int64  // how long it takes until there is more, ns; 0: not known
	patient atomic.Int64  // until when it is not found silent, Unix ns
	wish    wish

	mu       sync.Mutex // taken before Relay.mu and session.mu, and before that of the leg to which sessions move
	cseq     int
	pending  []*exchange // sent and not answered, in order
	patience *time.Timer // runs while there are any
	answers  int
	rested   int                 // answers when rest last looked
	idle     *time.Timer         // calls rest
	sessions map[string]*session // by the origin's id
	channels [256]bool           // interleaved channels in use
	sdp      *sdp.Session        // nil: not known
	quiet    chan struct{}       // not nil: by us it is over; closed when nothing is pending
	err      error               // why it is over
	from     *leg                // whose sessions are on their way here; nil: none are
	kept                         // for a move
}

// dial connects to an origin. target, if there is one, is the URL to ask for
// there in place of the upstream's.
func (c *conn) dial(ctx context.Context, request string, want proxy.Want, target *url.URL) (*leg, error) {
	link, nc, err := c.connect(ctx, want)
	if err != nil {
		return nil, proxy.Refused(err)
	}
	u := *link.URL
	if target != nil {
		u.Path, u.RawPath, u.RawQuery = target.Path, target.RawPath, target.RawQuery
	}
	l := c.newLeg(link, nc, request, &u)
	if old := c.leg.Load(); old != nil {
		l.inherit(old)
	}
	c.begin(ctx, l)
	return l, nil
}

// newLeg makes a leg of a connection to an origin that is asked for u.
func (c *conn) newLeg(link *proxy.Link, nc net.Conn, request string, u *url.URL) *leg {
	l := &leg{r: c.r, conn: c, link: link, nc: nc, urls: newURLs(request, c.rc.Viewer.Path, u), request: request,
		log: c.log.With(zap.String("origin", link.Origin)), gather: newGatherer(nc, c.r.opt.Beat, c.r.began), done: make(chan struct{}),
		sessions: map[string]*session{}, kept: kept{wake: make(chan struct{}, 1)}}
	if user := link.URL.User; user != nil {
		l.creds.User = user.Username()
		l.creds.Password, _ = user.Password()
		l.own = true
	}
	l.routes.Store(newRoutes())
	return l
}

// begin has a leg read; life is the connection's, and that of legs to which its
// sessions move.
func (c *conn) begin(life context.Context, l *leg) {
	ctx, abort := context.WithCancel(life)
	l.abort = abort
	l.patience = time.AfterFunc(time.Hour, l.late)
	l.patience.Stop()
	l.idle = time.AfterFunc(defaultTimeout, l.rest)
	c.work.Go(func() { l.read(ctx, life) })
}

// inherit takes over what was learnt of the stream by the leg before, if that was
// to the same place: origins close what is idle between DESCRIBE and SETUP.
func (l *leg) inherit(old *leg) {
	if l.urls.origin != old.urls.origin || l.urls.originPath != old.urls.originPath || l.urls.originQuery != old.urls.originQuery {
		return
	}
	old.mu.Lock()
	defer old.mu.Unlock()
	l.urls, l.request, l.sdp, l.asks, l.told = old.urls, old.request, old.sdp, old.asks, old.told
}

// connect goes as far as TLS, where there is any; who fails there makes room for
// the next.
func (c *conn) connect(ctx context.Context, want proxy.Want) (link *proxy.Link, nc net.Conn, err error) {
	ctx, cancel := context.WithTimeout(ctx, c.r.opt.Timeout)
	defer cancel()
	var failed error
	for range maxTries {
		if link, err = c.r.env.Upstream.DialRTSP(ctx, want); err != nil {
			return nil, nil, cmp.Or(failed, err) // who was there says more than that nobody is left
		}
		if nc, err = handshake(ctx, link, min(stepLimit, c.r.opt.Timeout/2)); err == nil {
			return link, nc, nil
		}
		link.Fail(err)
		link.Close()
		failed = err
		want.Avoid = append(slices.Clone(want.Avoid), link.Origin)
	}
	return nil, nil, failed
}

// handshake takes no longer than most, so that there is time for another origin.
func handshake(ctx context.Context, link *proxy.Link, most time.Duration) (net.Conn, error) {
	if link.TLS == nil {
		return link.Conn, nil
	}
	ctx, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	c := tls.Client(link.Conn, link.TLS)
	if err := c.HandshakeContext(ctx); err != nil {
		return nil, fmt.Errorf("TLS with origin %s: %w", link.Origin, err)
	}
	return c, nil
}

// send sends an exchange's request as the origin is to see it.
func (l *leg) send(ex *exchange) error {
	target, err := l.urls.toOrigin(ex.req.URL)
	if err != nil {
		return &proxy.Refusal{Reason: proxy.BadRequest, Err: err}
	}
	l.mu.Lock()
	if l.err != nil {
		l.mu.Unlock()
		return l.err
	}
	if ex.session != nil {
		ex.paused = ex.session.does(ex.req.Method)
		ex.req = ex.session.goesOn(ex.req)
	}
	l.meets(ex.req)
	l.cseq++
	ex.cseq = strconv.Itoa(l.cseq)
	if l.pending = append(l.pending, ex); len(l.pending) == 1 {
		l.patience.Reset(l.r.opt.Timeout)
	}
	l.mu.Unlock()
	out := &wire.Request{Method: ex.req.Method, URL: target, Body: ex.req.Body}
	out.Header = requestHeader(without(ex.req.Header, l.foreign(ex)...), l.change(ex, target))
	l.write(out.Append(nil))
	return nil
}

// foreign are the fields that are nothing to the origin unless the relay says
// what they mean there.
func (l *leg) foreign(ex *exchange) (names []string) {
	if ex.session == nil && ex.origin == "" {
		names = append(names, "Session")
	}
	if ex.offer == "" {
		names = append(names, "Transport")
	}
	return names
}

// change is what a request's header becomes.
func (l *leg) change(ex *exchange, target string) requestChange {
	c := requestChange{cseq: ex.cseq, via: l.r.id, credentials: l.own, urls: l.urls,
		authorization: l.creds.Authorization(ex.req.Method, target)}
	if c.session = ex.origin; c.session == "" && ex.session != nil {
		c.session = ex.session.at.Load().origin
	}
	c.transport = ex.offer
	return c
}

// write writes to the origin; whole calls come one after another. An origin that
// takes nothing is as good as dead.
func (l *leg) write(b []byte) {
	l.nc.SetWriteDeadline(time.Now().Add(l.r.opt.Timeout)) //nolint:errcheck // the write says it
	if _, err := l.nc.Write(b); err != nil {
		l.fail(err)
	}
}

// tell sends a request that no viewer has made.
func (l *leg) tell(method string, s *session) {
	req := &wire.Request{Method: method, URL: s.url()}
	req.Header.Add("User-Agent", "Weir")
	req.Header.Add("CSeq", "")
	req.Header.Add("Session", "")
	l.send(&exchange{req: req, session: s, leg: l}) //nolint:errcheck // if it is over, so is the session
}

// asked takes a request of the origin.
func (l *leg) asked(req *wire.Request) {
	switch {
	case req.Method == "REDIRECT": // it wants to drain; viewers would not understand
		l.log.Debug("origin asks its viewers to leave")
		if l.tries() {
			l.wants(errRedirect)
		}
	case l.conn.ask(l, req):
		return
	}
	res := &wire.Response{Code: 200, Phrase: "OK"}
	l.reply(res, req.Header.Get("CSeq"))
}

// reply answers a request of the origin's.
func (l *leg) reply(res *wire.Response, cseq string) {
	f := requestChange{cseq: cseq, via: l.r.id, urls: l.urls}
	if s := l.only(res.Header.Get("Session")); s != nil {
		f.session = s.at.Load().origin
	}
	out := &wire.Response{Code: res.Code, Phrase: res.Phrase, Header: requestHeader(res.Header, f), Body: res.Body}
	l.write(out.Append(nil))
}

// only returns the session of a viewer's id on this leg.
func (l *leg) only(header string) *session {
	id, _, _ := parseSession(header)
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range l.sessions {
		if s.id == id {
			return s
		}
	}
	return nil
}

// toViewer is the header of an origin's request as the viewer may see it.
func (l *leg) toViewer(h wire.Header, cseq string) wire.Header {
	f := responseChange{cseq: cseq, urls: l.urls}
	id, _, _ := parseSession(h.Get("Session"))
	l.mu.Lock()
	s := l.sessions[id]
	l.mu.Unlock()
	f.session = l.sessionField(s)
	return headerForViewer(h, f)
}

func (l *leg) sessionField(s *session) string {
	if s == nil {
		return ""
	}
	return formatSession(s.id, s.timeout)
}
