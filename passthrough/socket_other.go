//go:build !unix

package passthrough

import (
	"net"
	"syscall"
)

// rawConn is nil here: every read takes what comes first.
func rawConn(net.Conn) syscall.RawConn { return nil }

func readable(uintptr) bool { return true }

func setLowWater(uintptr, int) {}
