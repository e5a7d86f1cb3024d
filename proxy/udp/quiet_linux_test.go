package udp

import (
	"net"
	"testing"
	"time"
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
