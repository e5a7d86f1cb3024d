//go:build !linux

package udp

import (
	"errors"
	"net"
	"os"
	"syscall"

	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
)

// A socket sends messages by x/net.
type socket struct {
	pc interface {
		WriteBatch([]ipv4.Message, int) (int, error)
	}
	ms []ipv4.Message
}

func newSender(c syscall.Conn, v6 bool) sender {
	s := &socket{}
	if u := c.(*net.UDPConn); v6 {
		s.pc = ipv6.NewPacketConn(u)
	} else {
		s.pc = ipv4.NewPacketConn(u)
	}
	return s
}

// send implements sender.
func (s *socket) send(parts []part) (int, error) {
	s.ms = s.ms[:0]
	for _, p := range parts {
		s.ms = append(s.ms, ipv4.Message{Buffers: p.bufs, Addr: p.to})
	}
	defer clear(s.ms) // they keep packets alive
	n, err := s.pc.WriteBatch(s.ms, dontWait)
	return max(n, 0), err
}

// cuts: no other system is known to cut messages into datagrams.
func cuts(syscall.Conn) bool { return false }

// quiet: no other system is known to need one.
func quiet(*net.UDPConn) (*os.File, error) { return nil, errors.ErrUnsupported }
