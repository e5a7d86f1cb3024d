package splitter

import (
	"cmp"
	"errors"
	"io"
	"slices"
	"strings"
	"syscall"

	"go.uber.org/zap"

	"weir/proxy"
	"weir/proxy/wire"
)

// errMoved closes a connection whose viewer asks for what another rung serves:
// a connection has one rung, and players dial again.
var errMoved = errors.New("path belongs to another rung")

// errURL is a URL that is not absolute, or not for RTSP (RFC 2326 §3.2).
var errURL = errors.New("not a URL for RTSP")

// maxCSeq bounds what is said again in every answer, in bytes.
const maxCSeq = 64

// methods are those that are answered.
var methods = strings.Split(proxy.RTSPMethods, ", ")

// maxGuesses is how many requests of a connection may be refused for what they show
// or for how they are written: players try a handful of credentials, as they may
// before the first rung, and not for ever.
const maxGuesses = 8

// Read gives gortsplib one request after another. It reads more strictly than
// gortsplib does, asks the gate about every path, and waits for feeds here,
// where nobody else is held up: gortsplib's sessions share a goroutine.
func (c *conn) Read(b []byte) (int, error) {
	for len(c.pending) == 0 {
		if err := c.next(); err != nil {
			return 0, err
		}
	}
	n := copy(b, c.pending)
	c.pending = c.pending[n:]
	return n, nil
}

func (c *conn) next() error {
	m, err := c.in.Next()
	switch {
	case errors.Is(err, wire.ErrMalformed):
		c.log.Debug("malformed request", zap.String("error", unquoted(err)))
		c.offend()
		code, phrase := wire.Code(err)
		c.answer(&wire.Response{Code: code, Phrase: phrase})
		return err
	case errors.Is(err, syscall.ETIMEDOUT):
		c.fail(err)
		return err
	case err != nil:
		return err
	}
	if f, ok := m.(*wire.Frame); ok {
		c.heard(f.Payload)
	}
	req, ok := m.(*wire.Request)
	if !ok {
		return nil // answers to nothing, too
	}
	c.request, c.feed, c.about = req, nil, nil
	if err := c.vet(req); err != nil {
		if errors.Is(err, errMoved) {
			c.log.Debug("connection closed", zap.Error(err))
			return io.EOF
		}
		return c.refused(req, proxy.Refused(err))
	}
	c.pending = c.forGortsplib().Append(nil)
	return nil
}

// unquoted is an error without what it quotes: credentials may stand anywhere in a
// malformed request.
func unquoted(err error) string {
	text, _, _ := strings.Cut(err.Error(), `"`)
	return strings.TrimSpace(text)
}

// refused answers, and ends the connection of a viewer who goes on guessing.
func (c *conn) refused(req *wire.Request, r *proxy.Refusal) error {
	c.answer(c.refuse(req, r))
	switch r.Reason {
	case proxy.Unauthorized, proxy.Forbidden, proxy.BadRequest:
		c.guesses++
	}
	if c.guesses < maxGuesses {
		return nil
	}
	c.log.Debug("connection closed", zap.String("error", "too many requests were refused"))
	return io.EOF
}

// offend tells the gate of what nobody can make sense of.
func (c *conn) offend() { c.s.env.Gate.Offend(c.viewer.Addr.Addr(), proxy.BadRequest) }

// vet looks at a request before gortsplib does, which answers most of what is wrong
// with 400 and hangs up. It asks the gate about a path that it has not been asked
// about, and finds what the request is about: session, feed, track, transport.
func (c *conn) vet(req *wire.Request) error {
	if n := len(req.Header.Get("CSeq")); req.Header.Count("CSeq") != 1 || n == 0 || n > maxCSeq || req.Header.Count("Session") > 1 {
		return c.unreadable(nil)
	}
	switch req.Method {
	case "ANNOUNCE", "RECORD":
		return &proxy.Refusal{Reason: proxy.ReadOnly}
	}
	if !slices.Contains(methods, req.Method) { // gortsplib looks for one it knows anywhere in what it reads
		return &proxy.Refusal{Reason: proxy.BadMethod}
	}
	if req.Header.Count("Require")+req.Header.Count("Proxy-Require") > 0 {
		return &proxy.Refusal{Reason: proxy.UnknownFeature}
	}
	var err error
	if c.about, err = c.s.named(c, sessionID(req)); err != nil {
		return err
	}
	switch req.Method {
	case "DESCRIBE":
		return c.vetPath(req)
	case "SETUP":
		if err := c.vetPath(req); err != nil {
			return err
		}
		return c.vetSetup(req)
	case "PLAY", "PAUSE":
		return c.vetPlay(req)
	case "TEARDOWN":
		if c.about == nil {
			return &proxy.Refusal{Reason: proxy.NoSession}
		}
	}
	return nil
}

// unreadable refuses what nobody can make sense of, and tells the gate.
func (c *conn) unreadable(err error) error {
	c.offend()
	return &proxy.Refusal{Reason: proxy.BadRequest, Err: err}
}

// vetPath finds the feed that a DESCRIBE or SETUP is about.
func (c *conn) vetPath(req *wire.Request) error {
	if !absolute(req) {
		return c.unreadable(errURL)
	}
	v, err := c.Viewer.Asking(req)
	if err != nil {
		c.offend()
		return err
	}
	if v.Path != c.viewer.Path {
		if err := c.s.env.Gate.Check(c.ctx, v); err != nil {
			return err
		}
		c.viewer = v
	}
	if c.feed, err = c.s.lookup(c.ctx, v); errors.Is(err, errStored) {
		return errMoved
	}
	return err
}

// vetSetup finds the track and the transport.
func (c *conn) vetSetup(req *wire.Request) error {
	track, named, err := trackOf(req)
	if err != nil {
		return err
	}
	if !named {
		if track, err = c.feed.onlyTrack(); err != nil {
			return err
		}
	}
	if track >= len(c.feed.sdp.Media) || c.feed.sdp.Media[track].BackChannel {
		return &proxy.Refusal{Reason: proxy.NotFound}
	}
	can := choice{tcp: true, udp: c.s.udp != nil && !c.Viewer.Secure && !c.feed.in.large.Load()} // under TLS no media leaves in the clear
	if d := cmp.Or(c.about, c.setUp); d != nil {
		s := d.session
		switch {
		case s.feed != c.feed:
			return &proxy.Refusal{Reason: proxy.NotFound} // or its feed has ended and begun anew
		case d.conn != c, s.playing(), s.channels[track] >= 0:
			return &proxy.Refusal{Reason: proxy.WrongState}
		}
		can.tcp, can.udp, can.used = s.udp == nil, can.udp && s.udp != nil, s.channels
	}
	c.track = track
	c.offer, err = can.take(joined(req, "Transport"))
	return err
}

// vetPlay refuses what is about another presentation than the session's, or about
// one of its tracks only (RFC 2326 §10.5, §10.6).
func (c *conn) vetPlay(req *wire.Request) error {
	if c.about == nil {
		return &proxy.Refusal{Reason: proxy.NoSession}
	}
	path, _, err := proxy.RequestTarget(&wire.Request{Method: "SETUP", URL: req.URL}) // without a track's name
	if err != nil {
		return c.unreadable(err)
	}
	track, named, err := trackOf(req)
	if err != nil {
		return err
	}
	s := c.about.session
	switch {
	case path != s.feed.path, named && (track >= len(s.channels) || s.channels[track] < 0):
		return &proxy.Refusal{Reason: proxy.NotFound}
	case named && s.tracks() > 1:
		return &proxy.Refusal{Reason: proxy.OnlyAggregate}
	}
	return nil
}

// refuse is the answer to a request that gortsplib is not to see.
func (c *conn) refuse(req *wire.Request, r *proxy.Refusal) *wire.Response {
	c.s.met.refused.WithLabelValues(string(r.Reason)).Inc()
	c.log.Debug("request refused", zap.String("method", req.Method), zap.Error(r))
	res := r.Response(req)
	if r.Reason == proxy.UnknownFeature {
		res.Header.Add("Unsupported", strings.Trim(req.Header.Get("Require")+", "+req.Header.Get("Proxy-Require"), ", "))
	}
	return res
}

// answer answers a request that gortsplib never sees.
func (c *conn) answer(res *wire.Response) {
	res.Header.Add("Server", serverName)
	c.Write(res.Append(nil)) //nolint:errcheck // a dead connection shows at the next read
}
