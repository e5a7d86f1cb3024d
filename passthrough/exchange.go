package passthrough

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"go.uber.org/zap"

	"weir/proxy"
	"weir/proxy/wire"
)

// Bounds of what is tried for one request before there is a session.
const (
	maxTries     = 3
	maxRedirects = 3
)

// An exchange is a request on its way to an origin and back.
type exchange struct {
	conn    *conn                // who is to be answered; nil: nobody, it is our own
	req     *wire.Request        // as the viewer sent it
	session *session             // that it names; nil for none
	leg     *leg                 // that it goes by
	setup   *setup               // of a SETUP
	offer   string               // its Transport
	cseq    string               // ours, by which the origin's answer is known
	again   bool                 // sent once more, with credentials
	paused  bool                 // by a PAUSE that the origin may yet refuse
	origin  string               // the session's id at the origin, where session is not there yet
	heed    func(*wire.Response) // is told of the answer by the leg's goroutine; nil: nobody
	done    chan outcome         // who waits for the answer; nil: nobody does
	answer  []byte               // for the viewer, once there is one; conn.mu
}

// An outcome is what became of an exchange.
type outcome struct {
	res *wire.Response
	err error
}

// open brings a request to an origin before there is a session, and its answer
// back. An origin that fails before it has said anything makes room for the
// next, and a redirect is followed here: many viewers cannot, and none is to
// know where origins are.
func (c *conn) open(ctx context.Context, ex *exchange) error {
	want := proxy.Want{Path: c.rc.Viewer.Path}
	var target *url.URL // that a redirect names
	var suspects []*leg // that ended before they said anything
	for tries, redirects := 0, 0; ; {
		if err := c.reach(ctx, ex, want, target); err != nil {
			return err
		}
		l := ex.leg
		res, err := l.ask(ctx, ex)
		switch {
		case err == nil && !redirected(res):
			for _, s := range suspects { // where another answers, it was not the request
				s.link.Fail(s.cause())
			}
			return l.answered(ex, res)
		case err == nil:
			if redirects++; redirects > maxRedirects {
				return &proxy.Refusal{Reason: proxy.OriginBad, Err: errors.New("too many redirects")}
			}
			if target, err = location(res); err != nil {
				return err
			}
			want.Origin, want.Avoid = target.Host, nil
		case ctx.Err() != nil || !l.cut() || tries == maxTries:
			return err
		default:
			tries++
			c.log.Debug("next origin", zap.String("origin", l.link.Origin), zap.Error(err))
			if !l.spoke() {
				suspects = append(suspects, l)
				want.Avoid = append(want.Avoid, l.link.Origin)
			}
		}
		l.close()
		ex.dropSetup()
	}
}

// location is where a redirect points.
func location(res *wire.Response) (*url.URL, error) {
	u, err := url.Parse(res.Header.Get("Location"))
	if err != nil || u.Host == "" {
		return nil, &proxy.Refusal{Reason: proxy.OriginBad, Err: errors.New("redirected to nowhere")}
	}
	return u, nil
}

func redirected(res *wire.Response) bool {
	return res.Code >= 300 && res.Code < 400 && res.Code != 304 && res.Header.Get("Location") != ""
}

// reach makes sure that there is a leg. That it was there does not say that it
// still is: origins close what has been idle, or was not let in.
func (c *conn) reach(ctx context.Context, ex *exchange, want proxy.Want, target *url.URL) error {
	if l := c.leg.Load(); l != nil && !l.over() {
		ex.leg = l
		return nil
	}
	l, err := c.dial(ctx, ex.req.URL, want, target)
	switch {
	case err != nil && len(want.Avoid) > 0 && proxy.Refused(err).Err == nil: // nobody was left to be dialled
		return c.leg.Load().cause() // the last one that was there says why
	case err != nil && target != nil: // and to nobody who is not known
		return &proxy.Refusal{Reason: proxy.OriginBad, Err: fmt.Errorf("redirected to %s: %w", target.Host, err)}
	case err != nil:
		return err
	}
	c.leg.Store(l)
	ex.leg = l
	return nil
}

// ask sends a request and waits for its answer.
func (l *leg) ask(ctx context.Context, ex *exchange) (*wire.Response, error) {
	ex.done, ex.again = make(chan outcome, 1), false
	if err := l.forward(ctx, ex); err != nil {
		return nil, err
	}
	return ex.wait(ctx)
}

// wait waits for the answer to a request that has been sent with done.
func (ex *exchange) wait(ctx context.Context) (*wire.Response, error) {
	select {
	case o := <-ex.done:
		return o.res, o.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// forward sends a viewer's request. The answer comes by answered, from the leg's
// goroutine, unless somebody waits for it. While the leg's sessions move to
// another origin it waits, too.
func (l *leg) forward(ctx context.Context, ex *exchange) error {
	for {
		next, waits := l.park(ex)
		switch {
		case waits:
			return nil
		case next != nil:
			ex.leg = next
			return next.forward(ctx, ex)
		case ex.req.Method == "SETUP":
			if err := l.prepare(ctx, ex); err != nil {
				return err
			}
		}
		err := l.send(ex)
		if err == nil || !l.departs() || ex.done != nil {
			return err
		}
		ex.dropSetup() // the origin has gone meanwhile
		ex.offer = ""
	}
}

// answered passes an origin's answer on to the viewer, changed as he must see it,
// and does what it means.
func (l *leg) answered(ex *exchange, res *wire.Response) error {
	out := responseChange{session: l.sessionField(ex.session)}
	switch { // what has ended has done so before the viewer hears of it: he may ask on at once
	case redirected(res): // in the middle of a session: nobody can follow
		return &proxy.Refusal{Reason: proxy.OriginBad, Err: fmt.Errorf("redirected to %s", res.Header.Get("Location"))}
	case res.Code == 454 && ex.session != nil:
		ex.dropSetup()
		ex.session.end("the origin does not know it")
	case ex.req.Method == "SETUP":
		var err error
		if out.transport, err = l.setUp(ex, res); err != nil {
			return err
		}
		out.session = l.sessionField(ex.session)
	case ex.req.Method == "TEARDOWN" && ex.session != nil && res.Code == 200:
		ex.session.end("TEARDOWN")
	case res.Code != 200 && ex.paused:
		ex.session.playing.Store(true) // still
	case res.Code != 200:
	case ex.req.Method == "DESCRIBE":
		l.described(res)
		l.mu.Lock()
		l.asks, l.told = keepRequest(ex.req), nil
		l.mu.Unlock()
		l.urls.rename(nil)
	case ex.session != nil:
		ex.session.did(l, ex.req, res)
	}
	ex.conn.answer(ex, l.forViewer(ex, res, out))
	return nil
}

// forViewer is an origin's answer as the viewer may see it.
func (l *leg) forViewer(ex *exchange, res *wire.Response, f responseChange) *wire.Response {
	f.cseq, f.urls, f.credentials = ex.req.Header.Get("CSeq"), l.urls, l.own
	h := headerForViewer(res.Header, f)
	if ex.session != nil && h.Get("RTP-Info") != "" && ex.session.seams != nil { // what answers PLAY is of the leg's goroutine
		edit(h, "RTP-Info", ex.session.renumbered)
	}
	return &wire.Response{Code: res.Code, Phrase: res.Phrase, Header: h, Body: l.body(res)}
}

// headerForViewer is an origin's header as the viewer may see it. A session that
// is not ours to name is not named: some origins do before there is one, and
// players would bring that name back.
func headerForViewer(h wire.Header, f responseChange) wire.Header {
	if f.session == "" {
		h = without(h, "Session")
	}
	return responseHeader(h, f)
}

// described learns what a stream is, and makes its description the edge's.
func (l *leg) described(res *wire.Response) {
	if base := res.Header.Get("Content-Location"); base != "" {
		l.urls.learn(base)
	}
	if isSDP(res) {
		l.learn(res.Body)
	}
}

// body is an answer's body for the viewer.
func (l *leg) body(res *wire.Response) []byte {
	if isSDP(res) {
		return viewerSDP(res.Body, l.urls)
	}
	return res.Body
}

func isSDP(res *wire.Response) bool {
	kind, _, _ := strings.Cut(res.Header.Get("Content-Type"), ";")
	return strings.EqualFold(strings.TrimSpace(kind), "application/sdp")
}

func (ex *exchange) dropSetup() {
	if ex.setup != nil {
		ex.setup.drop()
		ex.setup = nil
	}
}
