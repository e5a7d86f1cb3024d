package passthrough

import (
	"encoding/binary"
	"net"
	"net/netip"
	"sync/atomic"
	"time"

	"weir/proxy/udp"
)

// moveEvery is how often a viewer's address may change: his router has given him
// another port.
const moveEvery = 5 * time.Second

// bind opens the ports of a track whose viewer wants UDP.
func (t *track) bind(l *leg, client [2]int) error {
	local, _ := t.conn.rc.LocalAddr().(*net.TCPAddr)
	if local == nil {
		local = &net.TCPAddr{}
	}
	pair, err := l.r.ports.listen(local)
	if err != nil {
		return err
	}
	t.pair = pair
	for kind, c := range []*net.UDPConn{pair.RTP, pair.RTCP} {
		t.lanes[kind] = udp.NewLane(c)
		t.to[kind] = newLatch(t.conn.rc.RemoteAddr(), client[kind])
	}
	l.mu.Lock()
	t.talks = l.sdp != nil && l.sdp.BackChannel()
	l.mu.Unlock()
	return nil
}

// hear reads what the viewer sends to a track's port: reports, media of a back
// channel, and packets that are only to open the way through his router.
func (t *track) hear(c *net.UDPConn, kind byte) {
	size := 2 << 10 // reports are short
	if t.talks {
		size = 64 << 10
	}
	b := make([]byte, 4+size) // room for the header of a frame
	for {
		n, from, err := c.ReadFromUDPAddrPort(b[4:])
		if err != nil { // closed: its track has ended
			return
		}
		pkt := b[4 : 4+n]
		if !t.to[kind].from(from, pkt, time.Now()) {
			continue
		}
		t.s.seen()
		// Before PLAY a player's packets only open the way, and some origins close a
		// connection on which there is data too early.
		if !t.s.playing.Load() || kind == 1 && !isRTCP(pkt) || kind == 0 && (!t.talks || n < 12) {
			continue
		}
		w := t.way.Load()
		b[0], b[1], b[2], b[3] = '$', byte(w.channels[kind]), byte(n>>8), byte(n)
		w.seam.back(kind, pkt)
		w.leg.write(b[:4+n])
	}
}

func isRTCP(b []byte) bool { return len(b) >= 8 && b[0]>>6 == 2 && b[1] >= 192 && b[1] <= 223 }

// A latch is where the packets of one port go: first where the viewer said, then
// where his first packet came from (a router may have changed the port), which
// must be the address that his requests come from. After that only a report of
// the same sender moves it, now and then. hear's goroutine writes it.
type latch struct {
	ip     netip.Addr
	addr   atomic.Pointer[net.UDPAddr]
	fixed  bool      // a packet has come
	ssrc   uint32    // of its sender
	at     time.Time // when it moved
	origin netip.AddrPort
}

func newLatch(viewer net.Addr, port int) *latch {
	a, ok := viewer.(*net.TCPAddr)
	if !ok {
		return &latch{}
	}
	l := &latch{ip: addrOf(viewer)}
	l.addr.Store(&net.UDPAddr{IP: a.IP, Port: port, Zone: a.Zone})
	return l
}

// from takes a packet, and reports whether it is the viewer's.
func (l *latch) from(a netip.AddrPort, pkt []byte, now time.Time) bool {
	a = netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
	if a.Addr().WithZone("") != l.ip.WithZone("") {
		return false
	}
	ssrc := sender(pkt)
	switch {
	case !l.fixed:
		l.fixed, l.ssrc = true, ssrc
	case a == l.origin:
		return true
	case !isRTCP(pkt) || ssrc != l.ssrc || now.Sub(l.at) < moveEvery:
		return false
	}
	l.origin, l.at = a, now
	l.addr.Store(net.UDPAddrFromAddrPort(a))
	return true
}

// sender is who says it sends a packet, 0 if it says nothing.
func sender(pkt []byte) uint32 {
	switch {
	case isRTCP(pkt):
		return binary.BigEndian.Uint32(pkt[4:])
	case len(pkt) >= 12:
		return binary.BigEndian.Uint32(pkt[8:])
	}
	return 0
}
