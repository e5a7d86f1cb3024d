package splitter

import (
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// endStuck has the kernel end a connection whose far end has acknowledged nothing of
// what there is for it for so long, or has had no room for it: a socket takes megabytes
// before it is full, and of a camera's pictures that is a minute. It says ETIMEDOUT then.
func endStuck(raw syscall.RawConn, lag time.Duration) {
	if raw == nil {
		return
	}
	raw.Control(func(fd uintptr) { //nolint:errcheck // where it cannot be had, a full socket is what tells
		unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(lag.Milliseconds())) //nolint:errcheck // likewise
	})
}
