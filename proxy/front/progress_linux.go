package front

import (
	"net"

	"golang.org/x/sys/unix"
)

// unacknowledged is how many bytes of the send buffer have not been acknowledged
// (SIOCOUTQ, tcp(7)).
func unacknowledged(c *net.TCPConn) (n int, ok bool) {
	raw, err := c.SyscallConn()
	if err != nil {
		return 0, false
	}
	var errno error
	err = raw.Control(func(fd uintptr) { n, errno = unix.IoctlGetInt(int(fd), unix.SIOCOUTQ) })
	return n, err == nil && errno == nil
}
