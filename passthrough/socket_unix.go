//go:build unix

package passthrough

import (
	"errors"
	"net"
	"syscall"
)

// rawConn is how to look at a connection's socket; nil if there is none.
func rawConn(c net.Conn) syscall.RawConn {
	s, ok := c.(syscall.Conn)
	if !ok {
		return nil
	}
	raw, err := s.SyscallConn()
	if err != nil {
		return nil // closed already: the ordinary way will say so
	}
	return raw
}

// readable reports whether a read would not have to wait: for bytes, the end, or
// an error.
func readable(fd uintptr) bool {
	var b [1]byte
	_, _, err := syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
	return !errors.Is(err, syscall.EAGAIN) && !errors.Is(err, syscall.EINTR)
}

// setLowWater sets how many bytes make a socket readable for those who wait for
// it. Where it cannot be set they are woken up more often than they need.
func setLowWater(fd uintptr, bytes int) {
	syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVLOWAT, bytes) //nolint:errcheck // as above
}
