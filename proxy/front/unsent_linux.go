package front

import (
	"net"

	"golang.org/x/sys/unix"
)

// maxUnsent is how much the kernel takes of an answer beyond what it can send, in
// bytes. It wakes a writer when half of that has gone; without it, when a third of
// a send buffer has, which grows to megabytes: a viewer who steadily takes
// 400 kbit/s was cut by a write deadline of 30 s.
const maxUnsent = 512 << 10

// limitUnsent is a matter of slow viewers only: an error changes nothing for
// others.
func limitUnsent(c *net.TCPConn) {
	if raw, err := c.SyscallConn(); err == nil {
		raw.Control(func(fd uintptr) { //nolint:errcheck // see above
			unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, maxUnsent) //nolint:errcheck
		})
	}
}
