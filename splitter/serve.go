package splitter

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"weir/proxy"
)

// ServeHTTP implements proxy.Handler: nothing of HTTP is ours yet.
func (s *Splitter) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.env.Next.ServeHTTP(w, r) }

// Hit implements proxy.Hitter for the rung to the right.
func (s *Splitter) Hit(p *proxy.Plain) *proxy.Hit {
	if next, ok := s.env.Next.(proxy.Hitter); ok {
		return next.Hit(p)
	}
	return nil
}

// ServeRTSP implements proxy.Handler. What is not live is left to the next rung.
func (s *Splitter) ServeRTSP(ctx context.Context, rc *proxy.RTSPConn) {
	if s.leaves(ctx, rc) {
		s.env.Next.ServeRTSP(ctx, rc)
		return
	}
	rc.First = nil // it is read again; a connection may be kept for days
	c := newConn(ctx, s, rc)
	if !s.conns.push(ctx, c) {
		rc.Close()
		return
	}
	select {
	case <-c.ended:
	case <-ctx.Done():
		c.shut()
		s.wait(c)
	case <-s.conns.closed:
		s.wait(c)
	}
	c.work.Wait()
}

// wait returns when gortsplib has done with a connection. When the splitter has
// stopped, so has gortsplib, and one that it never took is only ours to close.
func (s *Splitter) wait(c *conn) {
	select {
	case <-c.ended:
	case <-s.conns.closed:
		c.Close()
	}
}

// leaves reports whether the next rung is to have the connection: for a stored
// stream, one that is to be talked to (ONVIF streaming §5.3), or a session that
// is none of ours (RFC 2326 §1.1: it may have been made on another connection).
func (s *Splitter) leaves(ctx context.Context, rc *proxy.RTSPConn) bool {
	req := rc.First
	if strings.Contains(req.Header.Get("Require"), "backchannel") {
		return true
	}
	if req.Header.Get("Session") != "" {
		return !s.has(rc.Viewer.Path)
	}
	if req.Method != "DESCRIBE" && req.Method != "SETUP" {
		return false
	}
	_, err := s.lookup(ctx, rc.Viewer)
	return errors.Is(err, errStored)
}
