package passthrough

import (
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"weir/proxy"
	"weir/proxy/wire"
)

// Times of sessions (RFC 2326 §12.37).
const (
	defaultTimeout = 60 * time.Second // what viewers and origins are given
	grace          = 10 * time.Second // beyond what was said, for lines that lose a keep-alive
	orphanTimeout  = 15 * time.Second // for a sign of life over UDP from a viewer whose connection has gone: three reports of his
)

// A session is an RTSP session: the edge's towards the viewer, the origin's
// towards the origin.
type session struct {
	id      string // the viewer's
	at      atomic.Pointer[berth]
	conn    *conn // on which it was made
	ticket  proxy.Ticket
	timeout time.Duration // said to the viewer; no more than the origin's
	began   time.Time
	log     *zap.Logger

	bytes   atomic.Uint64 // of media towards the viewer
	lastly  atomic.Int64  // sign of life from the viewer, Unix ns
	asked   atomic.Int64  // request to the origin, Unix ns
	playing atomic.Bool
	orphan  atomic.Bool  // the viewer's connection has gone
	looked  atomic.Bool  // look is at work
	alive   atomic.Int64 // how often the origin is to hear of it from us, ns; 0: the viewer sees to that
	batch   int          // bytes of the media in hand; of the leg's goroutine

	mu      sync.Mutex
	target  string        // the URL it was last played by, as the viewer wrote it
	plays   *wire.Request // by which; nil: none, or too long to be kept
	several bool          // PLAYs, each for a track
	owes    string        // Range of the next PLAY that has none: it was paused at another origin
	tracks  []*track
	ended   bool          // and takes no more tracks
	done    chan struct{} // closed when it has ended
	seams   *seams        // of the leg's goroutine; nil: never moved
	tape    tape          // likewise
	once    sync.Once
}

// A berth is where a session is at an origin. It moves.
type berth struct {
	leg    *leg
	origin string // the session's id there
}

func (s *session) leg() *leg { return s.at.Load().leg }

// moves gives a session another berth, unless it has ended. What ends it sees the
// one or the other.
func (s *session) moves(to *berth) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.ended {
		s.at.Store(to)
	}
	return !s.ended
}

// end ends a session; only the first reason counts. It does not tell the origin.
func (s *session) end(reason string) {
	s.once.Do(func() {
		s.conn.r.removeSession(s)
		s.mu.Lock()
		s.ended = true
		tracks, at := s.tracks, s.at.Load()
		s.mu.Unlock()
		at.leg.forget(s, at.origin)
		for _, t := range tracks {
			t.free()
		}
		s.ticket.Close()
		close(s.done)
		s.log.Debug("viewer leaves", zap.Uint64("bytes", s.bytes.Load()), zap.Duration("after", time.Since(s.began).Round(time.Millisecond)), zap.String("reason", reason))
	})
}

// add takes a track, unless the session has ended.
func (s *session) add(t *track) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.ended {
		s.tracks = append(s.tracks, t)
	}
	return !s.ended
}

func (s *session) list() []*track {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.tracks)
}

// stays is why the session cannot move, "" if it can.
func (s *session) stays() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.playing.Load() && (s.plays == nil || s.several) {
		return stayUnknown
	}
	for _, t := range s.tracks {
		switch {
		case t.asks == nil || t.index < 0:
			return stayUnknown
		case strings.Contains(strings.ToUpper(t.wants.profile), "SAVP"), t.medium.Encrypted():
			return stayEncrypted
		}
	}
	return ""
}

func (s *session) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.tracks)
}

// udp reports whether the session's media goes past the viewer's connection.
func (s *session) udp() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.tracks) > 0 && s.tracks[0].pair != nil
}

// url is what the session as a whole is called, as the viewer says it.
func (s *session) url() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.target != "" {
		return s.target
	}
	return s.leg().request
}

// seen notes a sign of life from the viewer.
func (s *session) seen() { s.lastly.Store(time.Now().UnixNano()) }

// heard notes a request: the viewer lives, and has a connection to say so.
func (s *session) heard() {
	s.seen()
	s.orphan.Store(false)
}

// did follows what a request has made of the session.
func (s *session) did(l *leg, req *wire.Request, res *wire.Response) {
	if req.Method == "PLAY" {
		s.mu.Lock()
		s.several = s.several || s.playing.Load() && s.target != req.URL
		s.target = req.URL
		s.plays = keepRequest(req)
		s.owes = ""
		s.mu.Unlock()
		s.played(l, req, res, true)
		s.playing.Store(true)
		l.gather.media.Store(!s.udp()) // datagrams in lumps are lost, and some players mind their time
	}
}

// does follows a request on its way: data that an origin gets after a PAUSE makes
// some close the connection. It reports whether there will be none from now on.
func (s *session) does(method string) (paused bool) {
	s.asked.Store(time.Now().UnixNano())
	return method == "PAUSE" && s.playing.Swap(false)
}

// look is called now and then. A session over UDP whose viewer gives no sign of
// life is ended, and the origin told; for one who lives, but speaks by receiver
// reports only, the origin is kept alive by us.
func (s *session) look(now time.Time) {
	if every := s.alive.Load(); every > 0 && now.UnixNano()-s.asked.Load() > every {
		s.leg().tell("OPTIONS", s)
	}
	if !s.udp() {
		return // it ends with its connection, on which the front has an eye
	}
	limit := s.timeout + grace
	if s.orphan.Load() && s.playing.Load() {
		limit = min(limit, orphanTimeout)
	}
	switch {
	case now.Sub(time.Unix(0, s.lastly.Load())) > limit:
		s.leg().tell("TEARDOWN", s)
		s.end("no sign of life")
	case now.Sub(time.Unix(0, s.asked.Load())) > s.timeout/2:
		s.leg().tell("OPTIONS", s)
	}
}
