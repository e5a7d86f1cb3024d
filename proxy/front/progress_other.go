//go:build !linux

package front

import "net"

// unacknowledged: other systems are not asked.
func unacknowledged(*net.TCPConn) (n int, ok bool) { return 0, false }
