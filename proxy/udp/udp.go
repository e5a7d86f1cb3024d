// Package udp is what the parts that send media over UDP share: pairs of ports
// for RTP and RTCP (RFC 3550 §11), and many datagrams with few system calls.
package udp

import (
	"errors"
	"fmt"
	"net"
)

// MaxPayload is the largest payload that passes an Ethernet in one piece over
// IPv4, in bytes.
const MaxPayload = 1472

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
