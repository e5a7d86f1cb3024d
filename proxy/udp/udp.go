// Package udp is what the parts that send media over UDP share: pairs of ports
// for RTP and RTCP (RFC 3550 §11), and many datagrams with few system calls.
package udp

import (
	"errors"
	"fmt"
	"net"
	"syscall"

	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
)

// MaxPayload is the largest payload that passes an Ethernet in one piece over
// IPv4, in bytes.
const MaxPayload = 1472

// batchSize is how many datagrams one system call sends.
const batchSize = 64

// sendBuffer is asked for each socket, in bytes: a key frame for many.
const sendBuffer = 4 << 20

// A Pair is an even port for RTP and the next one for RTCP.
type Pair struct{ RTP, RTCP *net.UDPConn }

// Listen binds a pair. Port 0 finds a free one; another must be even.
func Listen(addr net.UDPAddr) (*Pair, error) {
	for try := 0; ; try++ {
		p, err := listenPair(addr)
		if err == nil || addr.Port != 0 || try == 20 {
			return p, err
		}
	}
}

func listenPair(a net.UDPAddr) (*Pair, error) {
	first, err := listenOne(a)
	if err != nil {
		return nil, err
	}
	a.Port = first.LocalAddr().(*net.UDPAddr).Port
	if a.Port%2 != 0 {
		first.Close()
		return nil, fmt.Errorf("port %d for RTP is not even", a.Port)
	}
	a.Port++
	second, err := listenOne(a)
	if err != nil {
		first.Close()
		return nil, err
	}
	return &Pair{RTP: first, RTCP: second}, nil
}

func listenOne(a net.UDPAddr) (*net.UDPConn, error) {
	c, err := net.ListenUDP("udp", &a)
	if err != nil {
		return nil, fmt.Errorf("listen for UDP on %s: %w", a.String(), errors.Unwrap(err))
	}
	c.SetWriteBuffer(sendBuffer) //nolint:errcheck // less than that works too
	return c, nil
}

// Port is that of RTP.
func (p *Pair) Port() int { return p.RTP.LocalAddr().(*net.UDPAddr).Port }

// Close closes both sockets; a nil Pair has none.
func (p *Pair) Close() {
	if p != nil {
		p.RTP.Close()
		p.RTCP.Close()
	}
}

// A Lane gathers datagrams that leave by one socket. It is for one goroutine.
type Lane struct {
	pc interface {
		WriteBatch([]ipv4.Message, int) (int, error)
	}
	ms   []ipv4.Message
	bufs [batchSize][1][]byte
	n    int
	lost int
}

// NewLane returns a Lane of a socket, which stays the caller's.
func NewLane(c *net.UDPConn) *Lane {
	l := &Lane{ms: make([]ipv4.Message, batchSize)}
	if c.LocalAddr().(*net.UDPAddr).IP.To4() != nil {
		l.pc = ipv4.NewPacketConn(c)
	} else {
		l.pc = ipv6.NewPacketConn(c)
	}
	return l
}

// Add takes a datagram; pkt is used until the next Send.
func (l *Lane) Add(pkt []byte, to *net.UDPAddr) {
	l.bufs[l.n][0] = pkt
	l.ms[l.n].Buffers = l.bufs[l.n][:]
	l.ms[l.n].Addr = to
	if l.n++; l.n == batchSize {
		l.flush()
	}
}

// Send sends what was added, and returns how many datagrams since the last call
// the socket did not take. It does not wait for a full socket, and one datagram
// that cannot be sent does not stop the others.
func (l *Lane) Send() (lost int) {
	l.flush()
	lost, l.lost = l.lost, 0
	return lost
}

func (l *Lane) flush() {
	for ms := l.ms[:l.n]; len(ms) > 0; {
		n, err := l.pc.WriteBatch(ms, dontWait)
		n = max(n, 0)
		switch {
		case errors.Is(err, syscall.EAGAIN):
			l.lost += len(ms) - n
			n = len(ms)
		case err != nil || n == 0:
			l.lost++
			n++
		}
		ms = ms[min(n, len(ms)):]
	}
	l.n = 0
}
