package udp

import (
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// quiet returns a second socket on the port of c, which only sends. With the one
// that is read from, each datagram that leaves it wakes Go's poller, because
// there is room to write again: at thousands a second that costs as much as the
// sending.
//
// Both sockets are of one group (SO_REUSEPORT), whose program gives all that
// comes in to the first one. c was bound without the option: a port in use was
// refused.
func quiet(c *net.UDPConn) (*os.File, error) {
	rc, err := c.SyscallConn()
	if err != nil {
		return nil, err
	}
	var f *os.File
	controlErr := rc.Control(func(fd uintptr) { f, err = sibling(int(fd)) })
	if controlErr != nil {
		return nil, controlErr
	}
	return f, err
}

func sibling(first int) (*os.File, error) {
	to, err := unix.Getsockname(first)
	if err != nil {
		return nil, os.NewSyscallError("getsockname", err)
	}
	family := unix.AF_INET
	if _, ok := to.(*unix.SockaddrInet6); ok {
		family = unix.AF_INET6
	}
	fd, err := unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0) // blocking: the poller takes no notice of it
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	if err := join(first, fd, family, to); err != nil {
		unix.Close(fd) //nolint:errcheck // it was never used
		return nil, err
	}
	return os.NewFile(uintptr(fd), "udp"), nil
}

// join binds fd beside first. Where it cannot, first shares its port with nobody.
func join(first, fd, family int, to unix.Sockaddr) (err error) {
	defer func() {
		if err != nil {
			unix.SetsockoptInt(first, unix.SOL_SOCKET, unix.SO_REUSEPORT, 0) //nolint:errcheck // it has none that it was not given here
		}
	}()
	if family == unix.AF_INET6 { // one for all addresses takes IPv4, too, or not
		only, err := unix.GetsockoptInt(first, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY)
		if err != nil {
			return os.NewSyscallError("getsockopt IPV6_V6ONLY", err)
		}
		if err := unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, only); err != nil {
			return os.NewSyscallError("setsockopt IPV6_V6ONLY", err)
		}
	}
	for _, fd := range []int{first, fd} {
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1); err != nil {
			return os.NewSyscallError("setsockopt SO_REUSEPORT", err)
		}
	}
	unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, sendBuffer) //nolint:errcheck // less than that works too
	if err := unix.Bind(fd, to); err != nil {
		return os.NewSyscallError("bind", err)
	}
	return allToFirst(fd)
}

// allToFirst gives all that comes in for the group of fd to its first socket.
func allToFirst(fd int) error {
	program := unix.SockFprog{Len: 1, Filter: &unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: 0}}
	err := unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_REUSEPORT_CBPF, &program)
	return os.NewSyscallError("setsockopt SO_ATTACH_REUSEPORT_CBPF", err) // nil for nil
}
