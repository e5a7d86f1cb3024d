package splitter

import (
	"sync"

	"github.com/bluenviron/gortsplib/v4"
	"github.com/bluenviron/gortsplib/v4/pkg/description"
)

// A sharedStream is what gortsplib believes all sessions of a feed over TCP read
// from. It never carries a packet. It costs a goroutine for each track, which is
// why sessions share it; over UDP one that is shared races (server_stream.go:178).
type sharedStream struct {
	mu    sync.Mutex
	st    *gortsplib.ServerStream // nil while users is 0
	users int
}

// hold returns the stream, made for desc if need be. release must be called once
// by each who got it; the last one closes it.
func (s *sharedStream) hold(server *gortsplib.Server, desc *description.Session) (st *gortsplib.ServerStream, release func(), err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.st == nil {
		if s.st, err = newStream(server, desc); err != nil {
			s.st = nil
			return nil, nil, err
		}
	}
	s.users++
	return s.st, s.release, nil
}

func (s *sharedStream) release() {
	s.mu.Lock()
	st := s.st
	if s.users--; s.users > 0 {
		st = nil
	} else {
		s.st = nil
	}
	s.mu.Unlock()
	if st != nil {
		st.Close()
	}
}

func newStream(server *gortsplib.Server, desc *description.Session) (*gortsplib.ServerStream, error) {
	st := &gortsplib.ServerStream{Server: server, Desc: desc}
	return st, st.Initialize()
}
