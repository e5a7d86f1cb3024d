package cluster

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/memberlist"
)

const (
	// maxDatagram bounds what is read of a datagram; no node sends longer ones.
	maxDatagram = 2048
	// maxStreams is how many connections others may have at once. Memberlist gives
	// each five seconds, and none of them has shown a key yet.
	maxStreams = 128
	// socketBuffer is asked for, in bytes; gossip comes in bursts.
	socketBuffer = 1 << 20
)

// A transport is memberlist's way to the network. Other than memberlist's own it is
// bound before anything runs, bounds connections and datagrams, counts bytes, and
// ends all that is open when it is closed.
//
// start begins to read; Shutdown, which is memberlist's to call, closes all and
// waits.
type transport struct {
	tcp       *net.TCPListener
	udp       *net.UDPConn
	advertise netip.AddrPort
	reject    func(reason)
	cut       func(to string) bool // a test's broken line; nil for none

	packets chan *memberlist.Packet
	streams chan net.Conn
	dials   context.Context // of all dials, since memberlist's interface has none
	hangUp  context.CancelFunc
	done    chan struct{}
	once    sync.Once
	wg      sync.WaitGroup

	udpOut, udpIn, tcpOut, tcpIn atomic.Uint64 // bytes

	mu      sync.Mutex
	open    map[*stream]struct{}
	inbound int
}

var _ memberlist.NodeAwareTransport = (*transport)(nil)

// bind opens the sockets, of the same port for UDP and TCP.
func bind(listen, advertise netip.AddrPort) (*transport, error) {
	t := &transport{
		packets: make(chan *memberlist.Packet), streams: make(chan net.Conn),
		done: make(chan struct{}), open: map[*stream]struct{}{}, reject: func(reason) {},
	}
	var ip net.IP // nil for all addresses, of whatever families there are
	if listen.Addr() != netip.IPv6Unspecified() {
		ip = listen.Addr().AsSlice()
	}
	var err error
	for range 10 { // a port that is free for TCP may be taken for UDP
		if err = t.bind(ip, int(listen.Port())); err == nil || listen.Port() != 0 {
			break
		}
	}
	if err != nil {
		return nil, fmt.Errorf("-cluster.listen: %w", err)
	}
	_ = t.udp.SetReadBuffer(socketBuffer) // less is no harm
	t.advertise = advertise
	if advertise.Port() == 0 {
		t.advertise = netip.AddrPortFrom(advertise.Addr(), t.tcp.Addr().(*net.TCPAddr).AddrPort().Port())
	}
	t.dials, t.hangUp = context.WithCancel(context.Background())
	return t, nil
}

func (t *transport) bind(ip net.IP, port int) (err error) {
	if t.tcp, err = net.ListenTCP("tcp", &net.TCPAddr{IP: ip, Port: port}); err != nil {
		return err
	}
	if t.udp, err = net.ListenUDP("udp", &net.UDPAddr{IP: ip, Port: t.tcp.Addr().(*net.TCPAddr).Port}); err != nil {
		t.tcp.Close() //nolint:errcheck // nobody was there
	}
	return err
}

func (t *transport) start() {
	t.wg.Go(t.readPackets)
	t.wg.Go(t.acceptStreams)
}

func (t *transport) readPackets() {
	buf := make([]byte, maxDatagram+1)
	for {
		n, from, err := t.udp.ReadFromUDPAddrPort(buf)
		if t.closed() {
			return
		}
		if err != nil { // of an ICMP message for what was sent; it passes
			continue
		}
		t.udpIn.Add(uint64(n))
		if n > maxDatagram {
			t.reject(oversize)
			continue
		}
		p := &memberlist.Packet{Buf: append([]byte{}, buf[:n]...), From: net.UDPAddrFromAddrPort(from), Timestamp: time.Now()}
		select {
		case t.packets <- p:
		case <-t.done:
			return
		}
	}
}

func (t *transport) acceptStreams() {
	for {
		conn, err := t.tcp.AcceptTCP()
		if t.closed() {
			if err == nil {
				conn.Close() //nolint:errcheck // nothing was sent
			}
			return
		}
		if err != nil { // out of file descriptors, most likely
			t.pause(50 * time.Millisecond)
			continue
		}
		s := t.track(conn, true)
		if s == nil {
			conn.Close() //nolint:errcheck // nothing was sent
			continue
		}
		select {
		case t.streams <- s:
		case <-t.done:
			s.Close() //nolint:errcheck // nothing was sent
			return
		}
	}
}

func (t *transport) pause(d time.Duration) {
	select {
	case <-time.After(d):
	case <-t.done:
	}
}

func (t *transport) closed() bool {
	select {
	case <-t.done:
		return true
	default:
		return false
	}
}

// FinalAdvertiseAddr implements memberlist.Transport.
func (t *transport) FinalAdvertiseAddr(string, int) (net.IP, int, error) {
	return t.advertise.Addr().AsSlice(), int(t.advertise.Port()), nil
}

// WriteTo implements memberlist.Transport.
func (t *transport) WriteTo(b []byte, addr string) (time.Time, error) {
	to, err := netip.ParseAddrPort(addr)
	if err != nil {
		return time.Time{}, err
	}
	if t.cut == nil || !t.cut(addr) {
		if _, err = t.udp.WriteToUDPAddrPort(b, to); err == nil {
			t.udpOut.Add(uint64(len(b)))
		}
	}
	return time.Now(), err
}

// WriteToAddress implements memberlist.NodeAwareTransport.
func (t *transport) WriteToAddress(b []byte, a memberlist.Address) (time.Time, error) {
	return t.WriteTo(b, a.Addr)
}

// DialTimeout implements memberlist.Transport.
func (t *transport) DialTimeout(addr string, timeout time.Duration) (net.Conn, error) {
	if t.cut != nil && t.cut(addr) {
		return nil, fmt.Errorf("dial %s: the line is cut", addr)
	}
	ctx, cancel := context.WithTimeout(t.dials, timeout)
	defer cancel()
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	if s := t.track(conn, false); s != nil {
		return s, nil
	}
	conn.Close() //nolint:errcheck // nothing was sent
	return nil, net.ErrClosed
}

// DialAddressTimeout implements memberlist.NodeAwareTransport.
func (t *transport) DialAddressTimeout(a memberlist.Address, timeout time.Duration) (net.Conn, error) {
	return t.DialTimeout(a.Addr, timeout)
}

// PacketCh implements memberlist.Transport.
func (t *transport) PacketCh() <-chan *memberlist.Packet { return t.packets }

// StreamCh implements memberlist.Transport.
func (t *transport) StreamCh() <-chan net.Conn { return t.streams }

// Shutdown implements memberlist.Transport.
func (t *transport) Shutdown() error {
	t.once.Do(func() {
		close(t.done)
		t.hangUp()
		t.tcp.Close() //nolint:errcheck // it ends
		t.udp.Close() //nolint:errcheck // it ends
		t.drop(true)
	})
	t.wg.Wait()
	return nil
}

// stopDialling ends the connections that this node made, and makes no more.
func (t *transport) stopDialling() {
	t.hangUp()
	t.drop(false)
}
