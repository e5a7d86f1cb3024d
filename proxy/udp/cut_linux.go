package udp

import (
	"encoding/binary"
	"net"
	"unsafe"

	"golang.org/x/sys/unix"
)

// cuts reports whether the kernel cuts messages into datagrams (Linux 4.18).
func cuts(c *net.UDPConn) bool {
	rc, err := c.SyscallConn()
	if err != nil {
		return false
	}
	var getErr error
	err = rc.Control(func(fd uintptr) { _, getErr = unix.GetsockoptInt(int(fd), unix.SOL_UDP, unix.UDP_SEGMENT) })
	return err == nil && getErr == nil
}

// cut appends the control message that says how long the datagrams of a message
// are (udp(7)).
func cut(oob []byte, size int) []byte {
	const length = unix.SizeofCmsghdr + 2
	h := unix.Cmsghdr{Level: unix.SOL_UDP, Type: unix.UDP_SEGMENT}
	h.SetLen(length)
	oob = append(oob, (*[unix.SizeofCmsghdr]byte)(unsafe.Pointer(&h))[:]...)
	oob = binary.NativeEndian.AppendUint16(oob, uint16(size))
	for range unix.CmsgSpace(2) - length {
		oob = append(oob, 0)
	}
	return oob
}
