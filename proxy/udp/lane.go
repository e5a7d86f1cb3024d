package udp

import (
	"errors"
	"net"
	"syscall"
)

const (
	// batchSize is how many messages one system call sends.
	batchSize = 64
	// maxSegments and maxMessage bound what the kernel cuts into datagrams by
	// itself (UDP_MAX_SEGMENTS, and a datagram's length).
	maxSegments = 64
	maxMessage  = 65000
	// recent is how many messages back a datagram still finds company: video and
	// sound of one viewer take turns.
	recent = 3
)

// A Lane gathers datagrams that leave by one socket. It is for one goroutine.
//
// Where the kernel can (segmentation offload, UDP_SEGMENT of Linux), datagrams of
// one length for one address travel through it as one message, which costs a
// third; the last one may be shorter, as that of a picture is. Their order for
// each address stays.
type Lane struct {
	out   sender
	parts [batchSize]part
	n     int
	lost  int
	whole bool // nothing is to be cut by the kernel
}

// A part is what a message is made of.
type part struct {
	to     *net.UDPAddr
	bufs   [][]byte
	size   int  // of the datagrams; the last one may be shorter
	length int  // in all
	closed bool // takes no more
}

// A sender sends messages by one socket, without waiting.
type sender interface {
	// send returns how many of the first have been sent. If that is none, err says why, if anything does.
	send(parts []part) (n int, err error)
}

// NewLane returns a Lane of a socket, which stays the caller's.
func NewLane(c *net.UDPConn) *Lane { return newLane(c, isIPv6(c)) }

func newLane(c syscall.Conn, v6 bool) *Lane {
	return &Lane{out: newSender(c, v6), whole: !cuts(c)}
}

func isIPv6(c *net.UDPConn) bool { return c.LocalAddr().(*net.UDPAddr).IP.To4() == nil }

// Add takes a datagram; pkt and to are used until the next Send. Datagrams share
// a message if to is the same pointer.
func (l *Lane) Add(pkt []byte, to *net.UDPAddr) {
	if !l.whole && l.join(pkt, to) {
		return
	}
	p := &l.parts[l.n]
	*p = part{to: to, bufs: append(p.bufs[:0], pkt), size: len(pkt), length: len(pkt)}
	if l.n++; l.n == batchSize {
		l.flush()
	}
}

// join adds a datagram to the last message for its address. Behind a shorter one
// there is none, and none that is longer than the first.
func (l *Lane) join(pkt []byte, to *net.UDPAddr) bool {
	for i := l.n - 1; i >= max(0, l.n-recent); i-- {
		p := &l.parts[i]
		if p.to != to {
			continue
		}
		if p.closed || len(pkt) > p.size || len(pkt) == 0 || len(p.bufs) == maxSegments || p.length+len(pkt) > maxMessage {
			return false
		}
		p.bufs, p.length, p.closed = append(p.bufs, pkt), p.length+len(pkt), len(pkt) < p.size
		return true
	}
	return false
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
	for at := 0; at < l.n; {
		n, err := l.out.send(l.parts[at:l.n])
		at += n
		switch {
		case n > 0:
		case errors.Is(err, syscall.EAGAIN):
			for _, p := range l.parts[at:l.n] {
				l.lost += len(p.bufs)
			}
			at = l.n
		default:
			l.single(&l.parts[at], err)
			at++
		}
	}
	l.forget()
}

// single sends the datagrams of a message that did not pass one by one, if it
// may be that they are what the kernel did not want to cut: a network card
// without checksums says EIO, and will again; too long for the route is EINVAL.
func (l *Lane) single(p *part, err error) {
	if len(p.bufs) == 1 {
		l.lost++
		return
	}
	l.whole = l.whole || errors.Is(err, syscall.EIO)
	for _, pkt := range p.bufs {
		if n, _ := l.out.send([]part{{to: p.to, bufs: [][]byte{pkt}}}); n != 1 {
			l.lost++
		}
	}
}

// forget lets go of the datagrams: a lane may rest for long, and packets keep
// what they are a part of.
func (l *Lane) forget() {
	for i := range l.n {
		clear(l.parts[i].bufs)
		l.parts[i].to = nil
	}
	l.n = 0
}
