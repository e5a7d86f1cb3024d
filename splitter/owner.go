package splitter

import (
	"strings"

	"weir/proxy"
)

// gortsplib lets every connection from the same address have a session whose id it
// knows, and behind one address there may be many viewers. Here a session is its
// connection's, and when that has gone, as a session over UDP may outlive it, the
// same viewer's.

// name notes the id that a session was given, as the Session field has it.
func (s *Splitter) name(d *userData, field string) {
	id, _, _ := strings.Cut(field, ";")
	s.mu.Lock()
	defer s.mu.Unlock()
	if !d.ended {
		d.id = id
		s.owners[id] = d
	}
}

// unname forgets it.
func (s *Splitter) unname(d *userData) {
	s.mu.Lock()
	defer s.mu.Unlock()
	d.ended = true
	delete(s.owners, d.id)
}

// named returns the session that a connection names in a request, nil for "". One
// that there is not, or that is somebody else's, is refused alike.
func (s *Splitter) named(c *conn, id string) (*userData, error) {
	if id == "" {
		return nil, nil
	}
	s.mu.Lock()
	d := s.owners[id]
	s.mu.Unlock()
	switch {
	case d == nil || d.conn != c && !d.conn.leftTo(c.viewer):
		return nil, &proxy.Refusal{Reason: proxy.NoSession}
	case d.conn != c:
		c.carry(d.conn)
	}
	return d, nil
}

// leftTo reports whether a connection has gone, and v is its viewer.
func (c *conn) leftTo(v *proxy.Viewer) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.gone && v.Same(c.Viewer)
}

// claim gives a viewer's UDP address to a session. Another one that has it is of
// a viewer who has gone without a word: two cannot receive there.
func (s *Splitter) claim(addr string, to *session) {
	to.claims = append(to.claims, addr)
	s.mu.Lock()
	old := s.ports[addr]
	s.ports[addr] = to
	s.mu.Unlock()
	if old != nil && old != to {
		old.setReason("its port was taken over")
		old.close()
	}
}

// forget drops the claims of a session.
func (s *Splitter) forget(of *session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, a := range of.claims {
		if s.ports[a] == of {
			delete(s.ports, a)
		}
	}
}
