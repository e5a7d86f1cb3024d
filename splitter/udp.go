package splitter

import (
	"errors"
	"fmt"
	"net"
	"sync"
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

// batchSize is how many datagrams one system call sends.
const batchSize = 64

// udpSockets are the two ports that all viewers over UDP are served from: an
// even one for RTP and the next for RTCP. gortsplib reads them; writing is ours.
type udpSockets struct {
	rtp, rtcp *net.UDPConn
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
	return &udpSockets{first, second}, nil
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
// calls. It is for one goroutine. The zero batch of a splitter without UDP is
// never asked to send.
type batch struct {
	pc interface {
		WriteBatch([]ipv4.Message, int) (int, error)
	}
	ms   []ipv4.Message
	bufs [batchSize][1][]byte
	n    int
	rtcp *net.UDPConn
}

func newBatch(u *udpSockets) *batch {
	b := &batch{}
	if u == nil {
		return b
	}
	b.rtcp = u.rtcp
	b.ms = make([]ipv4.Message, batchSize)
	if u.rtp.LocalAddr().(*net.UDPAddr).IP.To4() != nil {
		b.pc = ipv4.NewPacketConn(u.rtp)
	} else {
		b.pc = ipv6.NewPacketConn(u.rtp)
	}
	return b
}

// add takes a datagram of RTP; pkt is used until the next send.
func (b *batch) add(pkt []byte, to *net.UDPAddr) {
	b.bufs[b.n][0] = pkt
	b.ms[b.n].Buffers = b.bufs[b.n][:]
	b.ms[b.n].Addr = to
	if b.n++; b.n == batchSize {
		b.send()
	}
}

// send sends what was added. A datagram that cannot be sent is lost, as
// datagrams may be; the others go on.
func (b *batch) send() {
	for ms := b.ms[:b.n]; len(ms) > 0; {
		n, err := b.pc.WriteBatch(ms, 0)
		if err != nil || n <= 0 {
			n = max(n, 0) + 1 // the one that failed
		}
		ms = ms[min(n, len(ms)):]
	}
	b.n = 0
}

// A udpTarget is where a session's datagrams go.
type udpTarget struct {
	rtp, rtcp []*net.UDPAddr // by track; nil: not set up

	mu      sync.Mutex
	s       *session // while it plays
	pacing  bool     // a goroutine of its own is catching up
	tooLong uint64
	stop    chan struct{} // closed to end the pacing
}

func newUDPTarget(tracks int) *udpTarget {
	return &udpTarget{rtp: make([]*net.UDPAddr, tracks), rtcp: make([]*net.UDPAddr, tracks)}
}

// begin sends the start burst at its own pace and then joins the fan-out.
func (u *udpTarget) begin(s *session) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.s != nil {
		return
	}
	u.s, u.pacing, u.stop = s, true, make(chan struct{})
	s.conn.hold() // a session's work keeps its connection's end waiting
	go u.pace(s, u.stop)
}

// pace owns the cursor until it has caught up; it ends with rest at the latest.
func (u *udpTarget) pace(s *session, stop <-chan struct{}) {
	defer s.conn.release()
	b := newBatch(s.conn.s.udp)
	for i, t := range s.open.tracks {
		if u.rtcp[i] != nil && t.report != nil {
			b.rtcp.WriteToUDP(t.report, u.rtcp[i]) //nolint:errcheck // a lost report is followed by another
		}
	}
	tick := time.NewTicker(paceEvery)
	defer tick.Stop()
	for {
		u.mu.Lock()
		if u.s != s {
			u.mu.Unlock()
			return
		}
		if u.some(b, paceBurst) {
			u.pacing = false
			u.mu.Unlock()
			s.enter(u)
			u.flush(b) // what was published before the fan-out knew us
			b.send()
			return
		}
		b.send()
		u.mu.Unlock()
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
		u.s = nil
		close(u.stop)
	}
}

// flush implements receiver.
func (u *udpTarget) flush(b *batch) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.s != nil && !u.pacing {
		u.some(b, slabPkts)
	}
}

// some adds at most n packets to b, and reports whether none are left.
func (u *udpTarget) some(b *batch, n int) bool {
	s := u.s
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
			b.rtcp.WriteToUDP(pkt, u.rtcp[ch/2]) //nolint:errcheck // as above
		case len(pkt) > maxDatagram || !rtp.Valid(pkt):
			u.tooLong++
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
