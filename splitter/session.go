package splitter

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/bluenviron/gortsplib/v4"
	"go.uber.org/zap"

	"weir/proxy"
)

// A session is an RTSP session: a viewer of one feed. Its data plane (at, and
// what depends on it) belongs to its connection, under the connection's lock, or
// to its udp target, under that one's.
type session struct {
	feed   *feed
	conn   *conn         // that made it; over TCP also the one that carries the media
	viewer *proxy.Viewer // as the gate admitted him
	rtsp   *gortsplib.ServerSession
	ticket proxy.Ticket
	udp    *udpTarget // nil over TCP
	since  time.Time

	stream  *gortsplib.ServerStream // what gortsplib thinks it reads from
	release func()                  // gives stream back

	// By track. Written by SETUP, before any PLAY.
	channels []int    // interleaved channel of RTP; -1: not set up
	urls     []string // as SETUP wrote them, for RTP-Info
	unmapped bool     // the viewer wants what stands in the ring: no copy, no other channels

	at     cursor
	waits  bool     // for a key frame; at is nowhere meanwhile
	after  int64    // bytes of the ring before a key frame that will not do; -1: any will
	burst  *burst   // he is in it; nil: no more
	jumped bool     // nothing was written since the last jump
	info   string   // RTP-Info of the last PLAY; the RTSP session's goroutine's
	claims []string // on UDP addresses; likewise
	heeded int      // tracks set up over UDP whose reports come; likewise
	remove func()   // takes it out of the fan-out; nil while it does not play

	bytes atomic.Uint64
	jumps atomic.Uint64

	mu        sync.Mutex
	state     string    // "ready", "playing", "paused"
	reason    string    // why it ended, if the edge ended it
	listening time.Time // when it began to play last
	heard     []hearing // by track; nil: nothing yet
}

func newSession(f *feed, c *conn, ss *gortsplib.ServerSession, t proxy.Ticket) *session {
	s := &session{feed: f, conn: c, viewer: c.viewer, rtsp: ss, ticket: t, since: time.Now(), state: "ready",
		channels: make([]int, len(f.sdp.Media)), urls: make([]string, len(f.sdp.Media))}
	for i := range s.channels {
		s.channels[i] = -1
	}
	return s
}

// setUp adds a track.
func (s *session) setUp(track, channel int, url string) {
	s.channels[track], s.urls[track] = channel, url
	s.unmapped = true
	for i, m := range s.feed.sdp.Media {
		if s.channels[i] != 2*i && !m.BackChannel {
			s.unmapped = false
		}
	}
}

// tracks is how many have been set up.
func (s *session) tracks() (n int) {
	for _, ch := range s.channels {
		if ch >= 0 {
			n++
		}
	}
	return n
}

// begin gives the session to the fan-out; its 200 has been written.
func (s *session) begin(o *opening) {
	s.setState("playing")
	if s.udp != nil {
		s.udp.begin(o)
		return
	}
	s.enter(s.conn)
	s.conn.kick() // what was published before the fan-out knew us
}

func (s *session) enter(r receiver) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state == "playing" && s.remove == nil {
		s.remove = s.feed.out.add(r)
	}
}

// rest takes the session out of the fan-out.
func (s *session) rest(state string) {
	s.setState(state)
	s.mu.Lock()
	remove := s.remove
	s.remove = nil
	s.mu.Unlock()
	if remove != nil {
		remove()
	}
	s.conn.rest(s)
	if s.udp != nil {
		s.udp.rest()
	}
}

// goodbye ends what a session that plays is sent, with a goodbye of each track. It does
// not wait.
func (s *session) goodbye(now time.Time) {
	if !s.playing() {
		return
	}
	in := s.feed.in
	in.mu.Lock()
	byes := in.goodbyes(now)
	in.mu.Unlock()
	if s.udp == nil {
		b := s.appendReports(nil, byes) // while it plays: no track is set up meanwhile
		s.rest("ended")
		s.conn.write(b)
		return
	}
	s.rest("ended")
	b := s.conn.s.batches.Get().(*batch)
	s.udp.report(b, byes)
	b.send()
	s.conn.s.batches.Put(b)
}

// close ends the session from the edge's side. It does not wait.
func (s *session) close() { s.rtsp.Close() }

// served reports whether all that the ring has is written, or never will be.
func (s *session) served() bool {
	if s.udp != nil {
		return s.udp.served()
	}
	return s.conn.served(s)
}

// told reports whether its goodbye is on its way, or never will be.
func (s *session) told() bool { return s.udp != nil || s.conn.told() }

// ended frees all that the session holds; gortsplib has done with it.
func (s *session) ended(err error) {
	s.rest("ended")
	s.feed.leave(s)
	s.release()
	s.ticket.Close()
	reason := s.why()
	if reason == "" && err != nil {
		reason = err.Error() // gortsplib's word for how it ended
	}
	s.conn.log.Debug("viewer left", s.fields(zap.String("reason", reason))...)
}

func (s *session) fields(more ...zap.Field) []zap.Field {
	return append([]zap.Field{zap.String("path", s.feed.path), zap.Uint64("bytes", s.bytes.Load()),
		zap.Uint64("jumps", s.jumps.Load()), zap.Duration("duration", time.Since(s.since))}, more...)
}

func (s *session) setState(state string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state != "ended" {
		s.state = state
	}
}

func (s *session) playing() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state == "playing"
}

func (s *session) setReason(r string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reason = r
}

func (s *session) why() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.reason
}

// What follows is called with the data plane's lock held.

// catchUp moves a viewer who is far behind to the newest key frame, at a packet
// boundary, so that he keeps little alive. The picture he was in stays cut.
func (s *session) catchUp() {
	r := s.feed.in.ring
	if s.waits || r.head.Load().offset()-s.at.offset() <= maxBehind {
		return
	}
	to, waits := r.start()
	if !waits && to.offset() <= s.at.offset() {
		return // he is in the newest group
	}
	s.at, s.waits, s.burst = to, waits, nil
	if !s.jumped { // two jumps with nothing seen between them are one to him
		s.jumped = true
		s.jumps.Add(1)
		s.feed.met.jumps.Inc()
	}
}

// starts reports whether the session has a place in the ring. One who waits for a
// key frame gets it here.
func (s *session) starts() bool {
	if s.waits {
		at, waits := s.feed.in.ring.start()
		if waits || at.offset() <= s.after {
			return false
		}
		s.at, s.waits = at, false
	}
	return true
}

// sent counts bytes of media.
func (s *session) sent(n int) {
	s.bytes.Add(uint64(n))
	s.ticket.Sent(n)
	s.feed.met.sent.Add(uint64(n))
}

// advance moves on by n bytes of the ring, and returns the rest of a packet in
// which they end.
func (s *session) advance(n int) (rest []byte) {
	s.jumped = s.jumped && n == 0
	c, _ := s.at.settle()
	off := c.s.start(c.i) + n
	i := c.s.find(off) // packets that end at or before off
	if start := c.s.start(i); start < off {
		rest = c.s.buf[off:c.s.ends[i]]
		i++
	}
	s.at = cursor{c.s, i}
	return rest
}

// mapped reports whether what the viewer gets differs from what stands in the ring.
func (s *session) mapped() bool { return !s.unmapped || s.burst != nil }

// appendMapped appends what the ring has for a viewer who chose other channels,
// or some of the tracks only, or who is in his burst; about maxBurst bytes at most.
func (s *session) appendMapped(b []byte) []byte {
	for len(b) < maxBurst {
		if pkt, ch, _ := s.at.packet(); pkt != nil {
			s.maybeLive(pkt, ch)
		}
		if !s.mapped() {
			break // the next packet is the first that he gets as it stands in the ring
		}
		pkt, ch, squeezed := s.next()
		if pkt == nil {
			break
		}
		b = append(b, '$', byte(s.channels[ch/2])+ch%2, byte(len(pkt)>>8), byte(len(pkt)))
		b = append(b, pkt...)
		if squeezed {
			s.burst.rewrite(b[len(b)-len(pkt):])
		}
	}
	return b
}

// appendReports appends RTCP, by track.
func (s *session) appendReports(b []byte, reports [][]byte) []byte {
	for i, r := range reports {
		if out := s.channels[i]; out >= 0 && r != nil {
			b = append(b, '$', byte(out)+1, byte(len(r)>>8), byte(len(r)))
			b = append(b, r...)
		}
	}
	return b
}
