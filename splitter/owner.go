package splitter

import "strings"

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
		s.owners[id] = d.conn
	}
}

// unname forgets it.
func (s *Splitter) unname(d *userData) {
	s.mu.Lock()
	defer s.mu.Unlock()
	d.ended = true
	delete(s.owners, d.id)
}

// mayName reports whether a connection may name a session in a request. What
// nobody has gortsplib refuses.
func (s *Splitter) mayName(c *conn, field string) bool {
	id, _, _ := strings.Cut(field, ";")
	s.mu.Lock()
	owner := s.owners[strings.TrimSpace(id)]
	s.mu.Unlock()
	if owner == nil || owner == c {
		return true
	}
	owner.mu.Lock()
	gone := owner.gone
	owner.mu.Unlock()
	if !gone || !c.viewer.Same(owner.Viewer) {
		return false
	}
	owner.lives()
	return true
}
