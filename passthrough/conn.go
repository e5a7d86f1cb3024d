package passthrough

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"

	"go.uber.org/zap"

	"weir/proxy"
	"weir/proxy/wire"
)

const (
	// maxUnanswered is how many requests of one connection may be on their way:
	// who asks faster is not read.
	maxUnanswered = 16
	// maxAsked is how many requests of an origin a viewer may owe an answer to.
	maxAsked = 16
)

// errMoved closes a connection whose viewer asks for another stream: a connection
// has one rung, chosen once, and players dial again.
var errMoved = errors.New("another stream")

// A conn is a viewer's connection. Requests are read by serve's goroutine; what
// goes to the viewer is written by it and by the goroutines of legs.
type conn struct {
	r        *Relay
	rc       *proxy.RTSPConn
	log      *zap.Logger
	in       *wire.Reader
	leg      atomic.Pointer[leg] // to the origin; nil before the first request; of serve's goroutine, and of one that moves
	slots    chan struct{}       // a token for each request not yet answered
	work     sync.WaitGroup
	gone     atomic.Bool  // the viewer's end is closed; sessions over UDP may live on
	frames   []byte       // scratch of serve's goroutine
	deadline atomic.Int64 // of writes, Unix ns
	writing  atomic.Int32 // how many are writing
	held     atomic.Int64 // the last write that had to wait, Unix ns

	cancel context.CancelFunc // of serve's context

	hung   chan struct{} // closed by hangUp
	once   sync.Once
	reason string // why; read it after hung

	mu       sync.Mutex
	queue    []*exchange // not yet answered, in the order in which they came
	flushing bool        // somebody writes answers
	flushed  *sync.Cond  // when he has; on mu
	cseq     int         // of our requests to the viewer
	asked    map[string]asking
	channels [256]bool // the viewer's interleaved channels that are in use
}

// An asking is a request of an origin that the viewer has not answered yet.
type asking struct {
	leg  *leg
	cseq string // the origin's
}

func newConn(r *Relay, rc *proxy.RTSPConn, cancel context.CancelFunc) *conn {
	c := &conn{r: r, rc: rc, cancel: cancel, log: r.log.With(zap.String("path", rc.Viewer.Path), zap.Stringer("viewer", rc.Viewer.Addr)),
		in: wire.NewReader(bufio.NewReaderSize(rc, 4096)), slots: make(chan struct{}, maxUnanswered),
		hung: make(chan struct{}), asked: map[string]asking{}}
	c.flushed = sync.NewCond(&c.mu)
	return c
}

// serve returns when the connection and the sessions made on it have ended. ctx
// is the one that c can cancel.
func (c *conn) serve(ctx context.Context) {
	defer context.AfterFunc(ctx, func() { c.hangUp("its time is over") })()
	if err := c.read(ctx); err != io.EOF {
		c.log.Debug("viewer's connection ends", zap.Error(err))
	}
	c.gone.Store(true)
	c.rc.Close()
	c.leave()
	c.hangUp("the viewer has gone")
	c.work.Wait()
}

// why is the reason for which the connection and its sessions end.
func (c *conn) why() string {
	select {
	case <-c.hung:
		return c.reason
	default:
		return "the viewer has gone"
	}
}

// hangUp ends the connection and all its sessions; only the first reason counts.
func (c *conn) hangUp(reason string) {
	c.once.Do(func() {
		c.reason = reason
		close(c.hung)
		c.cancel() // serve may be waiting for an origin
		c.rc.Close()
	})
}

func (c *conn) viewerIP() netip.Addr { return addrOf(c.rc.RemoteAddr()) }

// secure reports whether nothing may leave in the clear.
func (c *conn) secure() bool { return c.rc.Viewer.Secure }

func (c *conn) read(ctx context.Context) error {
	for {
		m, err := c.in.Next()
		switch {
		case errors.Is(err, wire.ErrMalformed):
			c.offend()
			code, phrase := wire.Code(err)
			c.write((&wire.Response{Code: code, Phrase: phrase}).Append(nil))
			return err
		case err != nil:
			return err
		}
		switch m := m.(type) {
		case *wire.Request:
			err = c.request(ctx, m)
		case *wire.Response:
			c.reply(m)
		case *wire.Frame:
			c.frame(m)
		}
		if err != nil {
			return err
		}
	}
}

// request takes one request; an error ends the connection.
func (c *conn) request(ctx context.Context, req *wire.Request) error {
	select {
	case c.slots <- struct{}{}:
	case <-c.hung:
		return io.EOF
	}
	c.rc.Viewer.Taken.StripRequest(req)
	ex := &exchange{conn: c, req: req}
	c.mu.Lock()
	c.queue = append(c.queue, ex)
	c.mu.Unlock()
	err := c.forward(ctx, ex)
	if err == nil || errors.Is(err, errMoved) {
		return err
	}
	refusal := proxy.Refused(err)
	c.refuse(ex, refusal)
	if refusal.Reason == proxy.BadRequest {
		c.offend()
		return err
	}
	return nil
}

// offend tells the gate of what nobody can make sense of. It has looked at
// credentials before the first rung, and is not asked again here: a connection has
// one stream.
func (c *conn) offend() { c.r.env.Gate.Offend(c.rc.Viewer.Addr.Addr(), proxy.BadRequest) }

// refuse answers a request that no origin answers.
func (c *conn) refuse(ex *exchange, r *proxy.Refusal) {
	ex.dropSetup()
	c.r.met.refused.WithLabelValues(string(r.Reason)).Inc()
	c.log.Debug("refused", zap.String("method", ex.req.Method), zap.Error(r))
	res := r.Response(ex.req)
	if r.Reason == proxy.UnknownFeature {
		res.Header.Add("Unsupported", strings.Join(unsupported(ex.req.Header), ", "))
	}
	c.answer(ex, res)
}

// forward brings a request to the origin, or answers it here.
func (c *conn) forward(ctx context.Context, ex *exchange) error {
	if err := c.vet(ex.req); err != nil {
		return err
	}
	if h := ex.req.Header.Get("Session"); h != "" {
		id, _, _ := parseSession(h)
		if ex.session = c.r.session(id, c); ex.session == nil {
			return &proxy.Refusal{Reason: proxy.NoSession}
		}
		ex.session.heard()
		ex.leg = ex.session.leg()
		if ex.req.Method == "SETUP" { // another stream's track in this session would be one the gate was not asked about
			if path, _, err := proxy.RequestTarget(ex.req); err != nil || !ex.leg.urls.owns(path) {
				return &proxy.Refusal{Reason: proxy.NotFound, Err: err}
			}
		}
		return ex.leg.forward(ctx, ex)
	}
	if ex.req.URL == "*" {
		return c.local(ex)
	}
	path, _, err := proxy.RequestTarget(ex.req)
	if err != nil {
		return &proxy.Refusal{Reason: proxy.BadRequest, Err: err}
	}
	l := c.leg.Load()
	if l != nil && !l.urls.owns(path) || l == nil && path != c.rc.Viewer.Path {
		return errMoved
	}
	if ex.leg = l; l != nil && l.busy() {
		return ex.leg.forward(ctx, ex)
	}
	return c.open(ctx, ex)
}

// vet refuses what never goes to an origin.
func (c *conn) vet(req *wire.Request) error {
	switch {
	case req.Header.Get("CSeq") == "", req.Header.Count("Session") > 1: // who reads the other one?
		return &proxy.Refusal{Reason: proxy.BadRequest}
	case req.Method == "ANNOUNCE" || req.Method == "RECORD":
		return &proxy.Refusal{Reason: proxy.ReadOnly}
	case len(unsupported(req.Header)) > 0:
		return &proxy.Refusal{Reason: proxy.UnknownFeature}
	case looped(req.Header, c.r.id):
		return &proxy.Refusal{Reason: proxy.Loop}
	}
	return nil
}

// local answers what names no stream: it is the edge that is asked.
func (c *conn) local(ex *exchange) error {
	if ex.req.Method != "OPTIONS" {
		return &proxy.Refusal{Reason: proxy.BadRequest}
	}
	res := &wire.Response{Code: 200, Phrase: "OK"}
	res.Header.Add("CSeq", ex.req.Header.Get("CSeq"))
	res.Header.Add("Public", proxy.RTSPMethods)
	c.answer(ex, res)
	return nil
}
