package cluster

import "net"

// A stream is a connection that the transport counts, and closes when it ends.
type stream struct {
	net.Conn
	t       *transport
	inbound bool
}

// track takes a connection in; nil if there are too many, or no more wanted.
func (t *transport) track(conn net.Conn, inbound bool) *stream {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed() || !inbound && t.dials.Err() != nil || inbound && t.inbound >= maxStreams {
		return nil
	}
	s := &stream{conn, t, inbound}
	t.open[s] = struct{}{}
	if inbound {
		t.inbound++
	}
	return s
}

// drop closes the connections that this node made, or all.
func (t *transport) drop(all bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for s := range t.open {
		if all || !s.inbound {
			s.Conn.Close() //nolint:errcheck // whoever uses it hears of it
		}
	}
}

// Read implements net.Conn.
func (s *stream) Read(b []byte) (int, error) {
	n, err := s.Conn.Read(b)
	s.t.tcpIn.Add(uint64(n))
	return n, err
}

// Write implements net.Conn.
func (s *stream) Write(b []byte) (int, error) {
	n, err := s.Conn.Write(b)
	s.t.tcpOut.Add(uint64(n))
	return n, err
}

// Close implements net.Conn.
func (s *stream) Close() error {
	s.t.mu.Lock()
	if _, ok := s.t.open[s]; ok {
		delete(s.t.open, s)
		if s.inbound {
			s.t.inbound--
		}
	}
	s.t.mu.Unlock()
	return s.Conn.Close()
}
