//go:build !unix

package splitter

import (
	"errors"
	"net"
	"syscall"
)

// rawConn is nil here: every viewer is served by a goroutine that may wait.
func rawConn(*net.TCPConn) syscall.RawConn { return nil }

func writeSocket(uintptr, []byte) (int, error) { return 0, errors.ErrUnsupported }
