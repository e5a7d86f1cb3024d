package passthrough

import (
	"net"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"weir/proxy/proxytest"
)

// TestAgentCounts: connections to the origin's ports are counted, those of both
// families, and the agent's own are not.
func TestAgentCounts(t *testing.T) {
	rtsp, web := newMum(t), newMum(t)
	o := quickAgent()
	o.RTSP, o.HTTP, o.Fall = rtsp.Addr().String(), web.Addr().String(), 1000
	o.Probes = words{"rtsp=rtsp", "http=http:/"} // which nobody answers: they stay
	ear := newEar()
	a := runAgent(t, o, ear)
	proxytest.Eventually(t, agentPatience, "two probes under way", func() bool {
		a.own.mu.Lock()
		defer a.own.mu.Unlock()
		open := 0
		for _, closed := range a.own.closed {
			if closed.IsZero() {
				open++
			}
		}
		return open == 2
	})
	ear.await(t, "nobody counted", func(r Report) bool { return r.Sessions == 0 && !r.Uncounted })
	var viewers []net.Conn
	for i := range 15 {
		c, err := net.Dial("tcp", []string{o.RTSP, o.HTTP}[i%3/2])
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		viewers = append(viewers, c)
	}
	ear.await(t, "15 viewers told", func(r Report) bool { return r.Sessions == 15 })
	if s := a.Status().(AgentStatus); s.Services[0].Sessions != 10 || s.Services[1].Sessions != 5 {
		t.Errorf("services %+v", s.Services)
	}
	for _, c := range viewers[3:] {
		c.Close()
	}
	ear.await(t, "3 viewers told", func(r Report) bool { return r.Sessions == 3 })
}

// TestEstablished sees connections by IPv6 and by IPv4 to a listener for both.
func TestEstablished(t *testing.T) {
	l, err := net.Listen("tcp", ":0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	port := l.Addr().(*net.TCPAddr).AddrPort().Port()
	for _, host := range []string{"127.0.0.1", "::1"} {
		c, err := net.Dial("tcp", netip.AddrPortFrom(netip.MustParseAddr(host), port).String())
		if err != nil {
			t.Skipf("no %s here: %v", host, err)
		}
		defer c.Close()
		there, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer there.Close()
		found := 0
		err = established(func(p uint16, remote netip.AddrPort) {
			if p == port && remote == c.LocalAddr().(*net.TCPAddr).AddrPort() {
				found++
			}
		})
		if err != nil || found != 1 {
			t.Errorf("%s: seen %d times, %v", host, found, err)
		}
	}
}

// TestOwnConnsAreRemembered: a probe that ends while the kernel is asked is not
// counted, and is forgotten by the next time.
func TestOwnConnsAreRemembered(t *testing.T) {
	l := newMum(t)
	var own ownConns
	c, err := own.dial(t.Context(), "tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	at := c.LocalAddr().(*net.TCPAddr).AddrPort()
	began := time.Now()
	c.Close()
	own.forget(began)
	if !own.has(at) {
		t.Error("forgotten by the measurement during which it ended")
	}
	own.forget(time.Now().Add(time.Second))
	if own.has(at) {
		t.Error("not forgotten by the next one")
	}
}

func TestParseCPU(t *testing.T) {
	f := func(text string, want cpuTime, ok bool) {
		t.Helper()
		if got, err := parseCPU(text); got != want || (err == nil) != ok {
			t.Errorf("parseCPU(%q) = %v, %v", text, got, err)
		}
	}
	f("cpu  10 1 5 100 4 2 3 7 50 50\ncpu0 1 1 1 1\n", cpuTime{28, 132}, true)
	f("cpu 10 1 5 100", cpuTime{16, 116}, true)
	f("cpu0 10 1 5 100", cpuTime{}, false)
	f("cpu 10 1 5", cpuTime{}, false)
	f("cpu 10 1 5 -1", cpuTime{}, false)
	f("", cpuTime{}, false)
}

func TestParseSent(t *testing.T) {
	const text = `Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo: 1 1 0 0 0 0 0 0 1000 1 0 0 0 0 0 0
  eth0: 7 1 0 0 0 0 0 0 20 1 0 0 0 0 0 0
eth1:7 1 0 0 0 0 0 0 3 1 0 0 0 0 0 0
`
	f := func(text, iface string, want uint64, ok bool) {
		t.Helper()
		if got, err := parseSent(text, iface); got != want || (err == nil) != ok {
			t.Errorf("parseSent for %q = %d, %v", iface, got, err)
		}
	}
	f(text, "", 23, true)
	f(text, "eth0", 20, true)
	f(text, "lo", 1000, true)
	f(text, "eth", 0, false)
	f("eth0: 1 2 3", "", 0, false)
	f("", "", 0, true)
}

func TestParsePressure(t *testing.T) {
	f := func(text string, want float64, ok bool) {
		t.Helper()
		if got, err := parsePressure(text); got != want || (err == nil) != ok {
			t.Errorf("parsePressure(%q) = %v, %v", text, got, err)
		}
	}
	f("some avg10=25.00 avg60=5.85 avg300=6.18 total=7732760577\nfull avg10=1.00 avg60=0.00 avg300=0.00 total=0\n", 0.25, true)
	f("some avg10=0.00 avg60=1.00", 0, true)
	f("some avg10=NaN avg60=1.00", 0, false)
	f("some avg10=101 avg60=1.00", 0, false)
	f("full avg10=1.00", 0, false)
	f("", 0, false)
}

// TestReadMachine reads the real one.
func TestReadMachine(t *testing.T) {
	c, err := readMachine("lo")
	if err != nil || c.cpu.total == 0 || !c.hasSent {
		t.Errorf("%+v, %v", c, err)
	}
}

// FuzzKernel: whatever the kernel says, nothing breaks.
func FuzzKernel(f *testing.F) {
	socket := make([]byte, diagHeader+diagAnswer)
	socket[0], socket[4], socket[diagHeader] = byte(len(socket)), unix.SOCK_DIAG_BY_FAMILY, unix.AF_INET6
	f.Add(socket)
	f.Add(diagAsk(unix.AF_INET))
	f.Add([]byte{20, 0, 0, 0, unix.NLMSG_ERROR, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xfe, 0xff, 0xff, 0xff})
	f.Add([]byte{16, 0, 0, 0, unix.NLMSG_DONE, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0})
	f.Add([]byte("cpu  10 1 5 100 4 2 3 7\neth0: 7 1 0 0 0 0 0 0 20 1\nsome avg10=25.00 avg60=5"))
	f.Fuzz(func(t *testing.T, b []byte) {
		sockets := 0
		diagRead(b, func(uint16, netip.AddrPort) { sockets++ }) //nolint:errcheck // most make no sense
		if sockets > len(b)/(diagHeader+diagAnswer) {
			t.Errorf("%d sockets in %d bytes", sockets, len(b))
		}
		if c, _ := parseCPU(string(b)); c.busy > c.total && c.total > 0 {
			t.Logf("numbers ran over in %q", b)
		}
		parseSent(string(b), "") //nolint:errcheck // likewise
		if p, _ := parsePressure(string(b)); p < 0 || p > 1 {
			t.Errorf("pressure %v", p)
		}
	})
}

// BenchmarkEstablished is what counting costs each second.
func BenchmarkEstablished(b *testing.B) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	for range 1000 {
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			b.Fatal(err)
		}
		defer c.Close()
		there, err := l.Accept()
		if err != nil {
			b.Fatal(err)
		}
		defer there.Close()
	}
	b.ReportAllocs()
	for b.Loop() {
		if err := established(func(uint16, netip.AddrPort) {}); err != nil {
			b.Fatal(err)
		}
	}
}
