package passthrough

import (
	"net"
	"testing"
	"testing/synctest"
	"time"

	"weir/proxy/udp"
)

// TestPortsRest: a port that was used is left alone for a while; what is still on
// its way to it is not for the next one.
func TestPortsRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPorts(20001, 20004)
		if p.first != 20002 || p.count != 1 {
			t.Fatalf("pairs from %d, %d of them, want one at 20002", p.first, p.count)
		}
		f := func(want bool) {
			t.Helper()
			if got := p.take(20002); got != want {
				t.Errorf("taken: %v, want %v", got, want)
			}
		}
		f(true)
		f(false)
		if n := p.inUse(); n != 1 {
			t.Errorf("%d in use, want 1", n)
		}
		p.give(20002, time.Now().Add(resting))
		if n := p.inUse(); n != 0 {
			t.Errorf("%d in use, want 0", n)
		}
		f(false)
		time.Sleep(resting - time.Millisecond)
		f(false)
		time.Sleep(time.Millisecond)
		f(true)
	})
}

// TestPortsTaken: what another program has is passed over, and asked for again
// later.
func TestPortsTaken(t *testing.T) {
	other, err := udp.Listen(net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	p := newPorts(other.Port(), other.Port()+1)
	at := &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)}
	if pair, err := p.listen(at); err == nil {
		pair.Close()
		t.Fatal("two have the same ports")
	}
	if n := p.inUse(); n != 0 {
		t.Errorf("%d in use", n)
	}
	other.Close()
	pair, err := p.listen(at)
	if err != nil {
		t.Fatal(err)
	}
	if got := pair.RTP.LocalAddr().(*net.UDPAddr); !got.IP.Equal(at.IP) || got.Port != p.first {
		t.Errorf("bound to %s", got)
	}
	p.free(pair)
	if _, err := p.listen(at); err == nil {
		t.Error("given out again at once")
	}
}

func TestPortsNone(t *testing.T) {
	if _, err := newPorts(20001, 20002).listen(&net.TCPAddr{}); err == nil {
		t.Error("a pair of an odd and an even port")
	}
	if n := (*ports)(nil).inUse(); n != 0 {
		t.Errorf("%d in use of none", n)
	}
}
