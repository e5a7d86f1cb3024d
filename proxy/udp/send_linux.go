package udp

import (
	"encoding/binary"
	"net"
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A socket sends messages by system calls of its own.
type socket struct {
	raw  syscall.RawConn
	v6   bool
	zone zone
	ms   [batchSize]mmsghdr
	to   [batchSize]unix.RawSockaddrInet6 // or, for an IPv4 socket, the shorter one in its place
	iovs []unix.Iovec
	oobs [batchSize][unix.SizeofCmsghdr + 8]byte

	n     int // of this call: messages to send, then those that were sent
	errno syscall.Errno
	call  func(fd uintptr) // sendmmsg, made once
}

// mmsghdr is struct mmsghdr (sendmmsg(2)); the compiler pads it as C does.
type mmsghdr struct {
	hdr unix.Msghdr
	len uint32
}

// A zone is the interface that was named last, with its index: looking one up is a system call.
type zone struct {
	name  string
	index uint32
}

func newSender(c syscall.Conn, v6 bool) sender {
	raw, err := c.SyscallConn()
	if err != nil {
		return broken{err}
	}
	s := &socket{raw: raw, v6: v6}
	s.call = s.sendmmsg
	return s
}

// A broken sender sends nothing.
type broken struct{ err error }

func (b broken) send([]part) (int, error) { return 0, b.err }

// send implements sender.
func (s *socket) send(parts []part) (int, error) {
	s.iovs = s.iovs[:0]
	for i := range parts {
		for _, b := range parts[i].bufs {
			s.iovs = append(s.iovs, iovec(b))
		}
	}
	at := 0
	for i := range parts {
		p := &parts[i]
		h := &s.ms[i].hdr
		*h = unix.Msghdr{Name: (*byte)(unsafe.Pointer(&s.to[i])), Namelen: s.address(i, p.to), Iov: &s.iovs[at]}
		h.SetIovlen(len(p.bufs))
		at += len(p.bufs)
		if len(p.bufs) > 1 {
			h.Control = &s.oobs[i][0]
			h.SetControllen(cut(s.oobs[i][:], p.size))
		}
	}
	s.n, s.errno = len(parts), 0
	err := s.raw.Control(s.call)
	clear(s.iovs) // they keep packets alive
	for i := range parts {
		s.ms[i].hdr.Iov = nil // and may be others the next time
	}
	if err != nil {
		return 0, err
	}
	if s.errno != 0 {
		return 0, os.NewSyscallError("sendmmsg", s.errno)
	}
	return s.n, nil
}

// sendmmsg sends the first n messages without waiting, and sets n and errno.
func (s *socket) sendmmsg(fd uintptr) {
	for {
		n, _, errno := unix.Syscall6(unix.SYS_SENDMMSG, fd, uintptr(unsafe.Pointer(&s.ms[0])), uintptr(s.n), unix.MSG_DONTWAIT, 0, 0)
		if errno != unix.EINTR {
			s.n, s.errno = int(n), errno
			return
		}
	}
}

func iovec(b []byte) unix.Iovec {
	v := unix.Iovec{Base: unsafe.SliceData(b)}
	v.SetLen(len(b))
	return v
}

// address writes an address in place i, as the socket's family has it, and
// returns its length; 0 for one of another family, which the kernel refuses.
func (s *socket) address(i int, to *net.UDPAddr) uint32 {
	if to == nil {
		return 0
	}
	a := &s.to[i]
	if !s.v6 {
		ip := to.IP.To4()
		if ip == nil {
			return 0
		}
		a4 := (*unix.RawSockaddrInet4)(unsafe.Pointer(a))
		*a4 = unix.RawSockaddrInet4{Family: unix.AF_INET, Port: bigEndian(to.Port), Addr: [4]byte(ip)}
		return unix.SizeofSockaddrInet4
	}
	*a = unix.RawSockaddrInet6{Family: unix.AF_INET6, Port: bigEndian(to.Port), Scope_id: s.zone.of(to.Zone)}
	copy(a.Addr[:], to.IP.To16())
	return unix.SizeofSockaddrInet6
}

func bigEndian(port int) (n uint16) {
	binary.BigEndian.PutUint16((*[2]byte)(unsafe.Pointer(&n))[:], uint16(port))
	return n
}

func (z *zone) of(name string) uint32 {
	if name == "" {
		return 0
	}
	if name != z.name {
		*z = zone{name: name}
		if i, err := net.InterfaceByName(name); err == nil {
			z.index = uint32(i.Index)
		}
	}
	return z.index
}

// cuts reports whether the kernel cuts messages into datagrams (Linux 4.18).
func cuts(c syscall.Conn) bool {
	rc, err := c.SyscallConn()
	if err != nil {
		return false
	}
	var getErr error
	err = rc.Control(func(fd uintptr) { _, getErr = unix.GetsockoptInt(int(fd), unix.SOL_UDP, unix.UDP_SEGMENT) })
	return err == nil && getErr == nil
}

// cut writes the control message that says how long the datagrams of a message
// are (udp(7)), and returns its length.
func cut(oob []byte, size int) int {
	h := (*unix.Cmsghdr)(unsafe.Pointer(&oob[0]))
	h.Level, h.Type = unix.SOL_UDP, unix.UDP_SEGMENT
	h.SetLen(unix.CmsgLen(2))
	binary.NativeEndian.PutUint16(oob[unix.CmsgLen(0):], uint16(size))
	return unix.CmsgSpace(2)
}
