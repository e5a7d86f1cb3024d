//go:build !linux

package udp

import "net"

// cuts: no other system is known to cut messages into datagrams.
func cuts(*net.UDPConn) bool { return false }

func cut(oob []byte, _ int) []byte { return oob }
