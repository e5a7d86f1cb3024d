package splitter

import (
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"

	"weir/proxy/rtp"
)

// A start burst is paced: a network card drops what loopback takes.
const (
	paceBurst = 64
	paceEvery = 5 * time.Millisecond
)

// maxDatagram is the largest payload that passes an Ethernet in one piece over
// IPv4; larger packets are for TCP.
const maxDatagram = 1472

// maxFlush is how many packets a worker sends one viewer before it turns to the
// next; some bursts' worth.
const maxFlush = 256

// batchSize is how many datagrams one system call sends.
const batchSize = 64

// udpSockets are the two ports that all viewers over UDP are served from: an
// even one for RTP and the next for RTCP. gortsplib reads them; writing is ours.
type udpSockets struct {
	rtp, rtcp *net.UDPConn
	lost      atomic.Uint64 // datagrams that a socket did not take
	tooLong   atomic.Uint64 // packets over maxDatagram
}

// listenUDP binds the pair. Port 0 finds a free one.
func listenUDP(addr string) (*udpSockets, error) {
	a, err := net.ResolveUDPAddr("udp", addr)
	if err != nil {
		return nil, fmt.Errorf("-splitter.udp %s: %w", addr, err)
	}
	for try := 0; ; try++ {
		s, err := listenPair(*a)
		if err == nil || a.Port != 0 || try == 20 {
			return s, err
		}
	}
}

func listenPair(a net.UDPAddr) (*udpSockets, error) {
	first, err := listenOne(a)
	if err != nil {
		return nil, err
	}
	a.Port = first.LocalAddr().(*net.UDPAddr).Port
	if a.Port%2 != 0 {
		first.Close()
		return nil, fmt.Errorf("-splitter.udp %s: the port must be even", a.String())
	}
	a.Port++
	second, err := listenOne(a)
	if err != nil {
		first.Close()
		return nil, err
	}
	return &udpSockets{rtp: first, rtcp: second}, nil
}

func listenOne(a net.UDPAddr) (*net.UDPConn, error) {
	c, err := net.ListenUDP("udp", &a)
	if err != nil {
		return nil, fmt.Errorf("listen for UDP on %s: %w (choose another pair with -splitter.udp)", a.String(), errors.Unwrap(err))
	}
	c.SetWriteBuffer(4 << 20) //nolint:errcheck // less than that works too
	return c, nil
}

func (u *udpSockets) close() {
	if u != nil {
		u.rtp.Close()
		u.rtcp.Close()
	}
}

// A batch gathers datagrams for many viewers and sends them with few system
// calls. It is for one goroutine. That of a splitter without UDP is never added
// to.
type batch struct {
	rtp, rtcp lane
}

func newBatch(u *udpSockets) *batch {
	if u == nil {
		return &batch{}
	}
	return &batch{newLane(u.rtp, u), newLane(u.rtcp, u)}
}

// add takes a datagram of RTP; pkt is used until the next send.
func (b *batch) add(pkt []byte, to *net.UDPAddr) { b.rtp.add(pkt, to) }

// report takes a datagram of RTCP likewise.
func (b *batch) report(pkt []byte, to *net.UDPAddr) { b.rtcp.add(pkt, to) }

// send sends what was added.
func (b *batch) send() {
	b.rtp.send()
	b.rtcp.send()
}

// A lane is the datagrams of a batch that leave by one socket.
type lane struct {
	pc interface {
		WriteBatch([]ipv4.Message, int) (int, error)
	}
	u    *udpSockets
	ms   []ipv4.Message
	bufs [batchSize][1][]byte
	n    int
}

func newLane(c *net.UDPConn, u *udpSockets) lane {
	l := lane{u: u, ms: make([]ipv4.Message, batchSize)}
	if c.LocalAddr().(*net.UDPAddr).IP.To4() != nil {
		l.pc = ipv4.NewPacketConn(c)
	} else {
		l.pc = ipv6.NewPacketConn(c)
	}
	return l
}

func (l *lane) add(pkt []byte, to *net.UDPAddr) {
	l.bufs[l.n][0] = pkt
	l.ms[l.n].Buffers = l.bufs[l.n][:]
	l.ms[l.n].Addr = to
	if l.n++; l.n == batchSize {
		l.send()
	}
}

// send does not wait for a full socket: what it does not take is lost, as
// datagrams may be. One that cannot be sent does not stop the others.
func (l *lane) send() {
	for ms := l.ms[:l.n]; len(ms) > 0; {
		n, err := l.pc.WriteBatch(ms, dontWait)
		n = max(n, 0)
		switch {
		case errors.Is(err, syscall.EAGAIN):
			l.u.lost.Add(uint64(len(ms) - n))
			n = len(ms)
		case err != nil || n == 0:
			l.u.lost.Add(1)
			n++
		}
		ms = ms[min(n, len(ms)):]
	}
	l.n = 0
}

// A udpTarget is where a session's datagrams go.
type udpTarget struct {
	rtp, rtcp []*net.UDPAddr // by track; nil: not set up

	mu     sync.Mutex
	s      *session      // while it plays
	pacing bool          // a goroutine of its own is catching up
	stop   chan struct{} // closed to end the pacing
}

func newUDPTarget(tracks int) *udpTarget {
	return &udpTarget{rtp: make([]*net.UDPAddr, tracks), rtcp: make([]*net.UDPAddr, tracks)}
}

// begin sends the start burst at its own pace and then joins the fan-out.
func (u *udpTarget) begin(o *opening) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.s != nil {
		return // by a PLAY on another connection
	}
	s := o.of
	s.at, s.waits = o.at, o.waits
	u.s, u.pacing, u.stop = s, true, make(chan struct{})
	s.conn.hold() // a session's work keeps its connection's end waiting
	go u.pace(s, o.tracks, u.stop)
}

// pace owns the cursor until it has caught up; it ends with rest at the latest.
func (u *udpTarget) pace(s *session, tracks []trackOpening, stop <-chan struct{}) {
	defer s.conn.release()
	b := newBatch(s.conn.s.udp)
	for i, t := range tracks {
		if u.rtcp[i] != nil && t.report != nil {
			b.report(t.report, u.rtcp[i])
		}
	}
	s.enter(u) // while it paces, the workers pass it by
	tick := time.NewTicker(paceEvery)
	defer tick.Stop()
	for {
		u.mu.Lock()
		if u.stop != stop { // s may play again by now, with a pacing of its own
			u.mu.Unlock()
			return
		}
		u.pacing = !u.some(b, paceBurst)
		done := !u.pacing
		b.send() // with mu held: nothing may overtake it
		u.mu.Unlock()
		if done {
			return
		}
		select {
		case <-stop:
		case <-tick.C:
		}
	}
}

// rest stops sending. A packet being sent may still arrive.
func (u *udpTarget) rest() {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.s != nil {
		u.s.at, u.s.waits = cursor{}, false // one left behind keeps all that follows alive
		close(u.stop)
		u.s, u.stop = nil, nil
	}
}

// bye sends each track its last packet, if the session plays.
func (u *udpTarget) bye(byes [][]byte) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.s == nil {
		return
	}
	b := newBatch(u.s.conn.s.udp)
	for i, to := range u.rtcp {
		if to != nil {
			b.report(byes[i], to)
		}
	}
	b.send()
}

// flush implements receiver.
func (u *udpTarget) flush(b *batch) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.s != nil && !u.pacing {
		u.some(b, maxFlush)
	}
}

// some adds at most n packets to b, and reports whether none are left.
func (u *udpTarget) some(b *batch, n int) bool {
	s := u.s
	if s.starts() {
		s.catchUp() // workers may be behind; a worker's round must not grow with it
	}
	if !s.starts() {
		return true
	}
	for range n {
		pkt, ch, after := s.at.packet()
		if pkt == nil {
			return true
		}
		s.at = after
		switch to := u.rtp[ch/2]; {
		case to == nil:
			continue
		case ch%2 == 1:
			b.report(pkt, u.rtcp[ch/2])
		case len(pkt) > maxDatagram || !rtp.Valid(pkt):
			s.conn.s.udp.tooLong.Add(1)
			continue
		default:
			b.add(pkt, to)
		}
		s.sent(len(pkt))
		s.conn.Sent(len(pkt))
	}
	pkt, _, _ := s.at.packet()
	return pkt == nil
}
