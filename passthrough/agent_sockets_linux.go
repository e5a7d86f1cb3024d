package passthrough

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"
)

// The kernel's messages about sockets (sock_diag(7)): a header of 16 bytes, then a
// request of 56 or an answer of at least 72, with attributes behind. Numbers are the
// machine's own, ports and addresses big endian.
const (
	diagHeader, diagRequest, diagAnswer = 16, 56, 72

	diagState    = 1 << 1 // a set of states: established
	diagPatience = 1      // s; the kernel answers at once
)

// established calls visit for each TCP connection of this network namespace, with its
// local port and where it leads to. It asks the kernel by netlink, which leaves out
// what is not established; to read /proc/net/tcp takes about twice as long.
func established(visit func(port uint16, remote netip.AddrPort)) error {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, unix.NETLINK_SOCK_DIAG)
	if err != nil {
		return fmt.Errorf("count connections: netlink: %w", err)
	}
	defer unix.Close(fd) //nolint:errcheck // nothing is left to be done about it
	err = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: diagPatience})
	for _, family := range []byte{unix.AF_INET, unix.AF_INET6} {
		if err == nil {
			err = dump(fd, family, visit)
		}
	}
	if err != nil {
		return fmt.Errorf("count connections: netlink: %w", err)
	}
	return nil
}

// dump asks for the connections of one family.
func dump(fd int, family byte, visit func(uint16, netip.AddrPort)) error {
	if err := unix.Sendto(fd, diagAsk(family), 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return err
	}
	buf := make([]byte, 64<<10) // the kernel fills 32 KiB at most
	for {
		n, _, err := unix.Recvfrom(fd, buf, 0)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return err
		}
		if done, err := diagRead(buf[:n], visit); done || err != nil {
			return err
		}
	}
}

// diagAsk is the request for all established TCP connections of a family.
func diagAsk(family byte) []byte {
	b := make([]byte, diagHeader+diagRequest)
	binary.NativeEndian.PutUint32(b, uint32(len(b)))
	binary.NativeEndian.PutUint16(b[4:], unix.SOCK_DIAG_BY_FAMILY)
	binary.NativeEndian.PutUint16(b[6:], unix.NLM_F_REQUEST|unix.NLM_F_DUMP)
	b[diagHeader], b[diagHeader+1] = family, unix.IPPROTO_TCP
	binary.NativeEndian.PutUint32(b[diagHeader+4:], diagState)
	return b
}

var errDiag = errors.New("an answer that makes no sense")

// diagRead reads the messages of one datagram; done is true after the last one.
func diagRead(b []byte, visit func(uint16, netip.AddrPort)) (done bool, err error) {
	for len(b) >= diagHeader {
		n := int(binary.NativeEndian.Uint32(b))
		if n < diagHeader || n > len(b) {
			return false, errDiag
		}
		body := b[diagHeader:n]
		switch binary.NativeEndian.Uint16(b[4:]) {
		case unix.NLMSG_DONE:
			return true, nil
		case unix.NLMSG_ERROR:
			if len(body) < 4 {
				return false, errDiag
			}
			if code := int32(binary.NativeEndian.Uint32(body)); code != 0 {
				return true, unix.Errno(-code)
			}
			return true, nil
		case unix.SOCK_DIAG_BY_FAMILY:
			if len(body) < diagAnswer {
				return false, errDiag
			}
			visit(diagSocket(body))
		}
		b = b[min((n+3)&^3, len(b)):]
	}
	return false, nil
}

// diagSocket reads the local port and the far end of an answer.
func diagSocket(b []byte) (port uint16, remote netip.AddrPort) {
	far := b[24:40]
	addr, _ := netip.AddrFromSlice(far[:4])
	if b[0] == unix.AF_INET6 {
		addr, _ = netip.AddrFromSlice(far)
	}
	return binary.BigEndian.Uint16(b[4:]), netip.AddrPortFrom(addr.Unmap(), binary.BigEndian.Uint16(b[6:]))
}
