package splitter

import (
	"errors"
	"io"
	"strings"

	"go.uber.org/zap"

	"weir/proxy"
	"weir/proxy/wire"
)

// errMoved closes a connection whose viewer asks for what another rung serves:
// a connection has one rung, and players dial again.
var errMoved = errors.New("path belongs to another rung")

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
		c.log.Debug("malformed request", zap.Error(err))
		c.offend()
		code, phrase := wire.Code(err)
		c.answer(&wire.Response{Code: code, Phrase: phrase})
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
	c.request, c.feed = req, nil
	if err := c.vet(req); err != nil {
		if errors.Is(err, errMoved) {
			c.log.Debug("connection closed", zap.Error(err))
			return io.EOF
		}
		return c.refused(req, proxy.Refused(err))
	}
	c.viewer.Taken.StripRequest(req)
	c.pending = forGortsplib(req).Append(nil)
	return nil
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

// vet asks the gate about a path it has not been asked about, and finds the feed
// of a DESCRIBE or SETUP.
func (c *conn) vet(req *wire.Request) error {
	if req.Header.Get("CSeq") == "" {
		c.offend()
		return &proxy.Refusal{Reason: proxy.BadRequest}
	}
	if req.Header.Count("Require")+req.Header.Count("Proxy-Require") > 0 {
		return &proxy.Refusal{Reason: proxy.UnknownFeature}
	}
	if !c.s.mayName(c, req.Header.Get("Session")) {
		return &proxy.Refusal{Reason: proxy.NoSession}
	}
	switch req.Method {
	case "DESCRIBE", "SETUP":
	case "OPTIONS", "PLAY", "PAUSE", "TEARDOWN", "GET_PARAMETER", "SET_PARAMETER", "ANNOUNCE", "RECORD":
		return nil // about a session, or refused by gortsplib
	default: // gortsplib looks for a method it knows anywhere in what it reads
		return &proxy.Refusal{Reason: proxy.BadMethod}
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
	if c.feed, err = c.s.lookup(c.ctx, v.Path); errors.Is(err, errStored) {
		return errMoved
	}
	return err
}

// refuse is the answer to a request that gortsplib is not to see.
func (c *conn) refuse(req *wire.Request, r *proxy.Refusal) *wire.Response {
	c.s.met.refused.WithLabelValues(string(r.Reason)).Inc()
	res := r.Response(req)
	if r.Reason == proxy.UnknownFeature {
		res.Header.Add("Unsupported", strings.Trim(req.Header.Get("Require")+", "+req.Header.Get("Proxy-Require"), ", "))
	}
	return res
}

// forGortsplib is a request as gortsplib may see it. It holds up every SETUP of a
// player named GStreamer for a second (server_session.go:1225), and resolves
// host names that a viewer writes into Transport (pkg/headers/transport.go:203).
func forGortsplib(req *wire.Request) *wire.Request {
	r := &wire.Request{Method: req.Method, URL: req.URL, Body: req.Body}
	for _, f := range req.Header {
		switch {
		case strings.EqualFold(f.Name, "User-Agent"):
			continue
		case strings.EqualFold(f.Name, "Transport"):
			f.Value = plainTransport(f.Value)
		}
		r.Header = append(r.Header, f)
	}
	return r
}

func plainTransport(v string) string {
	var offers []string
	v = strings.ReplaceAll(v, `"`, "") // behind a quoted value gortsplib finds another name without a semicolon
	for offer := range strings.SplitSeq(v, ",") {
		var kept []string
		for p := range strings.SplitSeq(offer, ";") {
			k, _, _ := strings.Cut(strings.TrimSpace(p), "=")
			if k != "source" && k != "destination" {
				kept = append(kept, strings.TrimSpace(p))
			}
		}
		offers = append(offers, strings.Join(kept, ";"))
	}
	return strings.Join(offers, ",")
}

// answer answers a request that gortsplib never sees.
func (c *conn) answer(res *wire.Response) {
	res.Header.Add("Server", serverName)
	c.Write(res.Append(nil)) //nolint:errcheck // a dead connection shows at the next read
}
