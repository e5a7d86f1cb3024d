package udp

import (
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// All that is sent to a pair comes in at the sockets that are read from, whatever
// else has the port; and what a lane sends has that port.
func TestQuiet(t *testing.T) {
	f := func(at, from net.IP) {
		t.Helper()
		p, err := Listen(net.UDPAddr{IP: at})
		if err != nil {
			t.Skip(err) // no IPv6
		}
		defer p.Close()
		p.Quiet()
		if p.quiet == nil {
			t.Fatalf("%v: no quiet socket", at)
		}
		if other, err := Listen(net.UDPAddr{IP: at, Port: p.Port()}); err == nil {
			other.Close()
			t.Errorf("%v: the pair is free for others", at)
		}
		lane, _ := p.Lanes()
		b := make([]byte, 100)
		for i := range byte(50) {
			c, err := net.ListenUDP("udp", &net.UDPAddr{IP: from})
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			deadline := time.Now().Add(5 * time.Second)
			c.SetReadDeadline(deadline)     //nolint:errcheck // the read says it
			p.RTP.SetReadDeadline(deadline) //nolint:errcheck // the read says it
			if _, err := c.WriteToUDP([]byte{i}, &net.UDPAddr{IP: from, Port: p.Port()}); err != nil {
				t.Fatal(err)
			}
			n, viewer, err := p.RTP.ReadFromUDP(b)
			if err != nil || n != 1 || b[0] != i {
				t.Fatalf("%v: datagram %d came as % x, %v", at, i, b[:n], err)
			}
			lane.Add([]byte{i, i}, viewer)
			if lost := lane.Send(); lost != 0 {
				t.Errorf("%v: %d lost", at, lost)
			}
			n, edge, err := c.ReadFromUDP(b)
			if err != nil || n != 2 || edge.Port != p.Port() {
				t.Fatalf("%v: % x from %v, %v", at, b[:n], edge, err)
			}
		}
	}
	loopback := net.IPv4(127, 0, 0, 1)
	f(loopback, loopback)
	f(net.IPv4zero, loopback)
	f(nil, loopback)
	f(net.IPv6unspecified, net.IPv6loopback)
	f(net.IPv6loopback, net.IPv6loopback)
}

// A socket that could not be given a sibling shares its port with nobody.
func TestJoinRefused(t *testing.T) {
	c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	other, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(other)
	rc, err := c.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	another, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer another.Close()
	taken := &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}, Port: another.LocalAddr().(*net.UDPAddr).Port}
	err = rc.Control(func(fd uintptr) {
		if err := join(int(fd), other, unix.AF_INET, taken); err == nil {
			t.Error("bound to a port in use")
		}
		if shares, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT); err != nil || shares != 0 {
			t.Errorf("SO_REUSEPORT is %d, %v", shares, err)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
}
