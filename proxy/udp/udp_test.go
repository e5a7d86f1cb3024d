package udp

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"net"
	"os"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// The pair is an even port and the next.
func TestListen(t *testing.T) {
	loopback := net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)}
	for range 10 {
		p, err := Listen(loopback)
		if err != nil {
			t.Fatal(err)
		}
		a, b := p.Port(), p.RTCP.LocalAddr().(*net.UDPAddr).Port
		if a%2 != 0 || b != a+1 {
			t.Errorf("ports %d and %d", a, b)
		}
		if _, err := Listen(net.UDPAddr{IP: loopback.IP, Port: a}); err == nil {
			t.Error("the same pair twice")
		}
		p.Close()
	}
	if p, err := Listen(net.UDPAddr{IP: loopback.IP, Port: 20001}); err == nil {
		p.Close()
		t.Error("an odd port for RTP")
	}
}

// One datagram that cannot be sent does not stop the others.
func TestOneBadAddress(t *testing.T) {
	f := func(from, to net.IP) {
		t.Helper()
		p, err := Listen(net.UDPAddr{IP: from})
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close()
		c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		good, bad := c.LocalAddr().(*net.UDPAddr), &net.UDPAddr{IP: to} // nobody can send to port 0
		const n = batchSize*2 + 5
		l := NewLane(p.RTP)
		for i := range byte(n) {
			l.Add([]byte{i}, good)
			if i%3 == 0 {
				l.Add([]byte{i}, bad)
			}
		}
		if lost := l.Send(); lost != (n+2)/3 {
			t.Errorf("%v: %d counted as lost, want %d", from, lost, (n+2)/3)
		}
		b := make([]byte, 10)
		for i := range n {
			c.SetReadDeadline(time.Now().Add(time.Second)) //nolint:errcheck // the read says it
			if size, err := c.Read(b); err != nil || size != 1 || int(b[0]) != i {
				t.Fatalf("%v: datagram %d is % x, %v", from, i, b[:size], err)
			}
		}
	}
	f(net.IPv4(127, 0, 0, 1), net.IPv4(127, 0, 0, 1))
	f(net.IPv4(127, 0, 0, 1), net.IPv6loopback) // another family
	f(net.IPv6unspecified, net.IPv4(127, 0, 0, 1))
}

// TestCutMessages sends pictures and sound of several lengths to two viewers, and
// checks that each datagram arrives as it was added, in order.
func TestCutMessages(t *testing.T) {
	f := func(name string, change func(*Lane)) {
		t.Helper()
		p, err := Listen(net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close()
		l := NewLane(p.RTP)
		change(l)
		var to []*net.UDPAddr
		var sinks []*net.UDPConn
		for range 3 {
			c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			c.SetReadBuffer(4 << 20) //nolint:errcheck // a smaller one may do
			to, sinks = append(to, c.LocalAddr().(*net.UDPAddr)), append(sinks, c)
		}
		rnd := rand.New(rand.NewPCG(1, 2))
		want := make([][][]byte, len(to))
		for range 40 {
			for i := range 1 + rnd.IntN(30) {
				size := 1400
				switch rnd.IntN(8) {
				case 0:
					size = rnd.IntN(1400)
				case 1:
					size = 1472
				}
				pkt := make([]byte, size)
				for j := range pkt {
					pkt[j] = byte(rnd.Uint32())
				}
				n := 0
				if i%5 == 4 {
					n = rnd.IntN(len(to))
				}
				l.Add(pkt, to[n])
				want[n] = append(want[n], pkt)
			}
			if lost := l.Send(); lost != 0 {
				t.Errorf("%s: %d lost", name, lost)
			}
		}
		b := make([]byte, 2000)
		for n, c := range sinks {
			for i, pkt := range want[n] {
				c.SetReadDeadline(time.Now().Add(5 * time.Second)) //nolint:errcheck // the read says it
				if size, err := c.Read(b); err != nil || !bytes.Equal(b[:size], pkt) {
					t.Fatalf("%s: datagram %d for %d has %d bytes, %v, want %d", name, i, n, size, err, len(pkt))
				}
			}
		}
	}
	f("as the kernel can", func(*Lane) {})
	f("whole", func(l *Lane) { l.whole = true })
	f("where the card cannot", func(l *Lane) { l.out = &noChecksums{sender: l.out} })
}

// noChecksums is a network card that does not cut.
type noChecksums struct {
	sender
	refused int
}

func (c *noChecksums) send(parts []part) (int, error) {
	for i, p := range parts {
		if len(p.bufs) == 1 {
			continue
		}
		if i > 0 {
			return c.sender.send(parts[:i])
		}
		if c.refused++; c.refused > batchSize {
			return 0, errors.New("asked again and again to cut")
		}
		return 0, os.NewSyscallError("sendmmsg", syscall.EIO)
	}
	return c.sender.send(parts)
}

// A fullPipe takes some datagrams and then says what it is told to.
type fullPipe struct {
	room int
	err  error
	took int
}

func (p *fullPipe) send(parts []part) (int, error) {
	n := min(len(parts), p.room)
	if p.room -= n; n == 0 {
		return 0, p.err
	}
	p.took += n
	return n, nil
}

// A full socket loses what it does not take, at once; nobody waits for it.
func TestFullSocket(t *testing.T) {
	f := func(room int, err error, took, lost int) {
		t.Helper()
		p := &fullPipe{room: room, err: err}
		l := &Lane{out: p, whole: true}
		for i := range byte(batchSize / 2) {
			l.Add([]byte{i}, nil)
		}
		if n := l.Send(); p.took != took || n != lost {
			t.Errorf("room for %d, then %v: took %d, lost %d; want %d and %d", room, err, p.took, n, took, lost)
		}
		if n := l.Send(); n != 0 {
			t.Errorf("%d lost again", n)
		}
	}
	const all = batchSize / 2
	f(all, nil, all, 0)
	f(10, os.NewSyscallError("sendmmsg", syscall.EAGAIN), 10, all-10)
	f(0, os.NewSyscallError("sendmmsg", syscall.EAGAIN), 0, all)
	f(0, os.NewSyscallError("sendmmsg", syscall.EINVAL), 0, all)
	f(0, nil, 0, all)
}
