// Package udp is what the parts that send media over UDP share: pairs of ports
// for RTP and RTCP (RFC 3550 §11), and many datagrams with few system calls.
package udp

import (
	"errors"
	"fmt"
	"net"
	"os"
)

// MaxPayload is the largest payload that passes an Ethernet in one piece over
// IPv4, in bytes.
const MaxPayload = 1472

// sendBuffer is asked for each socket, in bytes: a key frame for many.
const sendBuffer = 4 << 20

// A Pair is an even port for RTP and the next one for RTCP.
type Pair struct {
	RTP, RTCP *net.UDPConn
	quiet     *os.File // sends for RTP; nil: that does so itself
}

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

// Quiet makes lanes of RTP use a socket of their own on the same port, where that is cheaper
// (Linux). It is for pairs that serve many viewers, and called before there are lanes.
func (p *Pair) Quiet() {
	f, err := quiet(p.RTP)
	if err == nil {
		p.quiet = f
	}
}

// Lanes returns lanes for RTP and RTCP, for one goroutine.
func (p *Pair) Lanes() (rtp, rtcp *Lane) {
	if p.quiet != nil {
		return newLane(p.quiet, isIPv6(p.RTP)), NewLane(p.RTCP)
	}
	return NewLane(p.RTP), NewLane(p.RTCP)
}

// Port is that of RTP.
func (p *Pair) Port() int { return p.RTP.LocalAddr().(*net.UDPAddr).Port }

// Close closes both sockets; a nil Pair has none.
func (p *Pair) Close() {
	if p != nil {
		p.RTP.Close()
		p.RTCP.Close()
		if p.quiet != nil {
			p.quiet.Close() //nolint:errcheck // only sent to
		}
	}
}
