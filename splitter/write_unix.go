//go:build unix

package splitter

import (
	"errors"
	"net"
	"syscall"
)

// rawConn is how to write to a socket without waiting; nil for none.
func rawConn(c *net.TCPConn) syscall.RawConn {
	if c == nil {
		return nil
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return nil // closed already: the ordinary way will say so
	}
	return raw
}

// writeSocket writes to a non-blocking socket. A short count without an error
// says that it is full.
func writeSocket(fd uintptr, b []byte) (int, error) {
	for {
		n, err := syscall.Write(int(fd), b)
		switch {
		case errors.Is(err, syscall.EINTR):
			continue
		case errors.Is(err, syscall.EAGAIN):
			return 0, nil
		case err != nil:
			return 0, err
		}
		return n, nil
	}
}
