package splitter

import (
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"weir/proxy/rtp"
	"weir/proxy/udp"
)

// A start burst is paced: a network card drops what loopback takes.
const (
	paceBurst = 64
	paceEvery = 5 * time.Millisecond
)

// maxFlush is how many packets a worker sends one viewer before it turns to the
// next; some bursts' worth.
const maxFlush = 256

// udpSockets are the two ports that all viewers over UDP are served from.
// gortsplib reads them; writing is ours.
type udpSockets struct {
	*udp.Pair
	lost    atomic.Uint64 // datagrams that a socket did not take
	tooLong atomic.Uint64 // packets over udp.MaxPayload
}

// listenUDP binds the pair. Port 0 finds a free one.
func listenUDP(addr string) (*udpSockets, error) {
	a, err := net.ResolveUDPAddr("udp", addr)
	if err != nil {
		return nil, fmt.Errorf("-splitter.udp %s: %w", addr, err)
	}
	p, err := udp.Listen(*a)
	if err != nil {
		return nil, fmt.Errorf("%w (choose another pair with -splitter.udp)", err)
	}
	p.Quiet()
	return &udpSockets{Pair: p}, nil
}

func (u *udpSockets) close() {
	if u != nil {
		u.Close()
	}
}

// A batch gathers datagrams for many viewers and sends them with few system
// calls. It is for one goroutine. That of a splitter without UDP is never added
// to.
type batch struct {
	u         *udpSockets
	rtp, rtcp *udp.Lane
	own       []byte // packets that are not as they stand in the ring; empty after each send
}

func newBatch(u *udpSockets) *batch {
	if u == nil {
		return &batch{}
	}
	rtp, rtcp := u.Lanes()
	return &batch{u: u, rtp: rtp, rtcp: rtcp}
}

// copy returns a copy of a packet, which is the caller's until the next send.
func (b *batch) copy(pkt []byte) []byte {
	if len(b.own)+len(pkt) > cap(b.own) { // what is lent out already stays where it is
		b.own = make([]byte, 0, paceBurst*udp.MaxPayload)
	}
	from := len(b.own)
	b.own = append(b.own, pkt...)
	return b.own[from:]
}

// add takes a datagram of RTP; pkt is used until the next send.
func (b *batch) add(pkt []byte, to *net.UDPAddr) { b.rtp.Add(pkt, to) }

// report takes a datagram of RTCP likewise.
func (b *batch) report(pkt []byte, to *net.UDPAddr) { b.rtcp.Add(pkt, to) }

// send sends what was added. What a full socket does not take is lost, as
// datagrams may be.
func (b *batch) send() {
	if b.u != nil {
		b.u.lost.Add(uint64(b.rtp.Send() + b.rtcp.Send()))
		b.own = b.own[:0]
	}
}

// A udpTarget is where a session's datagrams go.
type udpTarget struct {
	mu        sync.Mutex
	rtp, rtcp []*net.UDPAddr // by track; nil: not set up
	s         *session       // while it plays
	pacing    bool           // a goroutine of its own is catching up
	stop      chan struct{}  // closed to end the pacing
}

func newUDPTarget(tracks int) *udpTarget {
	return &udpTarget{rtp: make([]*net.UDPAddr, tracks), rtcp: make([]*net.UDPAddr, tracks)}
}

// setUp names where a track goes. A pacing that has been told to end may still look.
func (u *udpTarget) setUp(track int, rtp, rtcp *net.UDPAddr) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.rtp[track], u.rtcp[track] = rtp, rtcp
}

// begin sends the start burst at its own pace and then joins the fan-out.
func (u *udpTarget) begin(o *opening) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.s != nil || !o.of.playing() {
		return // it began by a PLAY on another connection, or has ended meanwhile
	}
	s := o.of
	s.starting(o)
	u.s, u.pacing, u.stop = s, true, make(chan struct{})
	s.conn.hold() // a session's work keeps its connection's end waiting
	go u.pace(s, o.reports(), u.stop)
}

// pace owns the cursor until it has caught up; it ends with rest at the latest.
func (u *udpTarget) pace(s *session, reports [][]byte, stop <-chan struct{}) {
	defer s.conn.release()
	b := s.conn.s.batches.Get().(*batch)
	defer func() {
		b.send() // reports, if it was stopped at once: what comes next is another's
		s.conn.s.batches.Put(b)
	}()
	u.report(b, reports)
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

// report adds RTCP to b, by track.
func (u *udpTarget) report(b *batch, reports [][]byte) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for i, r := range reports {
		if u.rtcp[i] != nil && r != nil {
			b.report(r, u.rtcp[i])
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

// served reports whether all that the ring has is sent.
func (u *udpTarget) served() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.s == nil || !u.s.starts() {
		return true
	}
	pkt, _, _ := u.s.at.packet()
	return pkt == nil && !u.pacing
}

// flush implements receiver.
func (u *udpTarget) flush(b *batch) (left bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.s != nil && !u.pacing && !u.some(b, maxFlush)
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
		pkt, ch, squeezed := s.next()
		switch {
		case pkt == nil:
			return true
		case ch%2 == 1:
			b.report(pkt, u.rtcp[ch/2])
		case len(pkt) > udp.MaxPayload || !rtp.Valid(pkt):
			s.conn.s.udp.tooLong.Add(1)
			continue
		case squeezed:
			pkt = b.copy(pkt)
			s.burst.rewrite(pkt)
			b.add(pkt, u.rtp[ch/2])
		default:
			b.add(pkt, u.rtp[ch/2])
		}
		s.sent(len(pkt))
		s.conn.Sent(len(pkt))
	}
	pkt, _, _ := s.at.packet()
	return pkt == nil
}
