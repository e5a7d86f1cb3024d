package passthrough

import (
	"bytes"
	"encoding/binary"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"

	"weir/proxy/proxytest"
	"weir/proxy/udp"
)

// receiverReport is an empty one (RFC 3550 §6.4.2).
func receiverReport(ssrc uint32) []byte {
	return binary.BigEndian.AppendUint32([]byte{0x80, 201, 0, 1}, ssrc)
}

// report sends a receiver report to a session's first track, and waits until it
// was taken for a sign of life.
func report(t testing.TB, from *net.UDPConn, e *edge, s *session) {
	t.Helper()
	before := s.lastly.Load()
	host, _, _ := net.SplitHostPort(e.addr)
	send(t, from, receiverReport(9), host, s.tracks[0].pair.Port()+1)
	proxytest.Eventually(t, soon, "the report is heard", func() bool { return s.lastly.Load() > before })
}

func send(t testing.TB, from *net.UDPConn, pkt []byte, host string, port int) {
	t.Helper()
	if _, err := from.WriteToUDPAddrPort(pkt, netip.AddrPortFrom(netip.MustParseAddr(host), uint16(port))); err != nil {
		t.Fatal(err)
	}
}

// wantDatagram fails the test unless the next datagram is that, from there.
func wantDatagram(t testing.TB, c *net.UDPConn, want []byte, ip string, port int) {
	t.Helper()
	b := make([]byte, 64<<10)
	n, from, err := c.ReadFromUDPAddrPort(b)
	if err != nil || !bytes.Equal(b[:n], want) {
		t.Fatalf("datagram %.20x of %d bytes, %v, want %.20x of %d", b[:n], n, err, want, len(want))
	}
	if from != netip.AddrPortFrom(netip.MustParseAddr(ip), uint16(port)) {
		t.Errorf("datagram is from %s, want %s:%d", from, ip, port)
	}
}

// serverPort is the first of the ports that an answer to SETUP names.
func serverPort(t testing.TB, transport string) int {
	t.Helper()
	_, rest, _ := strings.Cut(transport, "server_port=")
	first, second, _ := strings.Cut(strings.SplitN(rest, ";", 2)[0], "-")
	a, err1 := strconv.Atoi(first)
	b, err2 := strconv.Atoi(second)
	if err1 != nil || err2 != nil || a%2 != 0 || b != a+1 || a < 22000 || b > 22999 {
		t.Fatalf("Transport %s", transport)
	}
	return a
}

// TestUDPBothWays: packets are datagrams from the ports that were named, reports
// are interleaved at the origin, and nothing is before PLAY or while paused.
func TestUDPBothWays(t *testing.T) {
	f := newFake(t)
	e := newEdge(t, quick, f.url())
	pair, offer := udpPair(t, "127.0.0.1")
	p := e.dial("/cam")
	p.send("SETUP", "/trackID=0", "Transport", offer+";mode=play")
	l := f.accept()
	req := l.request("SETUP")
	if got := req.Header.Get("Transport"); got != "RTP/AVP/TCP;unicast;interleaved=0-1;mode=play" {
		t.Errorf("the origin is offered %s", got)
	}
	l.reply(req, 200, "", "Session", "77", "Transport", "RTP/AVP/TCP;unicast;interleaved=6-7;ssrc=ABCD")
	res := p.setUp(p.want(200))
	port := serverPort(t, res.Header.Get("Transport"))
	if got := res.Header.Get("Transport"); !strings.HasPrefix(got, offer+";") || !strings.HasSuffix(got, ";ssrc=ABCD") {
		t.Errorf("Transport %s", got)
	}
	s := e.only()
	report(t, pair.RTCP, e, s) // before PLAY it only opens the way
	p.send("PLAY", "")
	l.play()
	p.want(200)
	big := bytes.Repeat([]byte{7}, 2000)
	l.write(bytes.Join([][]byte{frameOf(6, []byte("one")), frameOf(9, []byte("nobody's")), frameOf(7, []byte("report")), frameOf(6, big)}, nil))
	wantDatagram(t, pair.RTP, []byte("one"), "127.0.0.1", port)
	wantDatagram(t, pair.RTP, big, "127.0.0.1", port)
	wantDatagram(t, pair.RTCP, []byte("report"), "127.0.0.1", port+1)
	send(t, pair.RTCP, []byte("no report at all"), "127.0.0.1", port+1)
	send(t, pair.RTP, make([]byte, 100), "127.0.0.1", port)
	report(t, pair.RTCP, e, s)
	if got := l.frame(); !bytes.Equal(got, append([]byte{7}, receiverReport(9)...)) {
		t.Errorf("the origin hears %x, want a report on channel 7", got)
	}
	p.send("PAUSE", "")
	l.reply(l.request("PAUSE"), 200, "")
	p.want(200)
	report(t, pair.RTCP, e, s)
	p.send("GET_PARAMETER", "")
	l.reply(l.request("GET_PARAMETER"), 200, "")
	p.want(200)
	if len(l.frames) > 0 {
		t.Errorf("the origin hears %x", l.frames)
	}
	if got := e.gate.Tickets()[0].Bytes(); got != len("one")+len("report")+len(big) {
		t.Errorf("the ticket is told of %d bytes", got)
	}
	if got := e.relay.met.tooLong.Load(); got != 1 {
		t.Errorf("%d packets too long, want 1", got)
	}
}

// TestUDPSource: datagrams come from the address that the viewer has asked, also
// where the front listens on all.
func TestUDPSource(t *testing.T) {
	f := newFake(t)
	e := edgeOver(t, quick, "0.0.0.0:0", balancer(t, "-origin", f.url()))
	_, port, _ := net.SplitHostPort(e.addr)
	pair, offer := udpPair(t, "127.0.0.1")
	p := e.dialed(&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)}}, "127.0.0.2:"+port, "/cam")
	p.send("SETUP", "/trackID=0", "Transport", offer)
	l := f.accept()
	l.setup("77")
	from := serverPort(t, p.setUp(p.want(200)).Header.Get("Transport"))
	p.send("PLAY", "")
	l.play()
	p.want(200)
	l.write(frameOf(0, []byte("one")))
	wantDatagram(t, pair.RTP, []byte("one"), "127.0.0.2", from)
}

// TestUDPLatch: where a router has given the viewer another port, media goes
// there, but never to another address.
func TestUDPLatch(t *testing.T) {
	f := newFake(t)
	e := newEdge(t, quick, f.url())
	said, offer := udpPair(t, "127.0.0.1")
	routed, _ := udpPair(t, "127.0.0.1")
	thief, _ := udpPair(t, "127.0.0.2")
	p, l := staged(e, f, "/cam", offer)
	s := e.only()
	port := s.tracks[0].pair.Port()
	l.write(frameOf(0, []byte("as said")))
	wantDatagram(t, said.RTP, []byte("as said"), "127.0.0.1", port)
	send(t, thief.RTP, []byte("mine"), "127.0.0.1", port)
	before := s.lastly.Load()
	send(t, routed.RTP, make([]byte, 12), "127.0.0.1", port)
	proxytest.Eventually(t, soon, "the packet is heard", func() bool { return s.lastly.Load() > before })
	send(t, thief.RTP, []byte("mine"), "127.0.0.1", port)
	send(t, said.RTP, []byte("late"), "127.0.0.1", port)
	p.send("GET_PARAMETER", "")
	l.reply(l.request("GET_PARAMETER"), 200, "")
	p.want(200)
	l.write(frameOf(0, []byte("where it is")))
	wantDatagram(t, routed.RTP, []byte("where it is"), "127.0.0.1", port)
}

// TestLatch: after the first packet only a report of the same sender moves it,
// now and then.
func TestLatch(t *testing.T) {
	now := time.Unix(1000, 0)
	l := newLatch(&net.TCPAddr{IP: net.IPv4(10, 0, 0, 1), Port: 40000}, 5000)
	f := func(from string, pkt []byte, after time.Duration, ok bool, to string) {
		t.Helper()
		now = now.Add(after)
		if got := l.from(netip.MustParseAddrPort(from), pkt, now); got != ok {
			t.Errorf("packet from %s: %v", from, got)
		}
		if got := l.addr.Load().String(); got != to {
			t.Errorf("after a packet from %s media goes to %s, want %s", from, got, to)
		}
	}
	f("10.0.0.2:5000", nil, 0, false, "10.0.0.1:5000")
	f("[::ffff:10.0.0.2]:5000", nil, 0, false, "10.0.0.1:5000")
	f("[::ffff:10.0.0.1]:6000", receiverReport(9), 0, true, "10.0.0.1:6000")
	f("10.0.0.1:7000", receiverReport(9), moveEvery-1, false, "10.0.0.1:6000")
	f("10.0.0.1:7000", receiverReport(8), time.Minute, false, "10.0.0.1:6000")
	f("10.0.0.1:7000", make([]byte, 12), 0, false, "10.0.0.1:6000")
	f("10.0.0.1:7000", nil, 0, false, "10.0.0.1:6000")
	f("10.0.0.2:7000", receiverReport(9), 0, false, "10.0.0.1:6000")
	f("10.0.0.1:7000", receiverReport(9), 0, true, "10.0.0.1:7000")
	f("10.0.0.1:6000", receiverReport(9), 0, false, "10.0.0.1:7000")
	f("10.0.0.1:7000", nil, 0, true, "10.0.0.1:7000")
}

// TestUDPBackChannel: where the stream has one, what the viewer sends reaches
// the origin.
func TestUDPBackChannel(t *testing.T) {
	f := newFake(t)
	e := newEdge(t, quick, f.url())
	pair, offer := udpPair(t, "127.0.0.1")
	p := e.dial("/cam")
	p.send("DESCRIBE", "")
	l := f.accept()
	l.reply(l.request("DESCRIBE"), 200, description(1)+"m=audio 0 RTP/AVP 0\r\na=sendonly\r\na=control:trackID=1\r\n", "Content-Type", "application/sdp")
	p.want(200)
	p.send("SETUP", "/trackID=1", "Transport", offer)
	l.setup("77")
	port := serverPort(t, p.setUp(p.want(200)).Header.Get("Transport"))
	p.send("PLAY", "")
	l.play()
	p.want(200)
	speech := append(make([]byte, 12), "hello"...)
	send(t, pair.RTP, speech, "127.0.0.1", port)
	if got := l.frame(); !bytes.Equal(got, append([]byte{0}, speech...)) {
		t.Errorf("the origin hears %q", got)
	}
}

// freePair is a range of one pair that nobody has.
func freePair(t *testing.T) string {
	t.Helper()
	pair, err := udp.Listen(net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer pair.Close()
	return strconv.Itoa(pair.Port()) + "-" + strconv.Itoa(pair.Port()+1)
}

// TestUDPExhausted: without a pair of ports the viewer is told to try TCP, and
// one that was used rests.
func TestUDPExhausted(t *testing.T) {
	o := quick
	o.UDP = freePair(t)
	f := newFake(t)
	e := newEdge(t, o, f.url())
	_, offer := udpPair(t, "127.0.0.1")
	p, l := staged(e, f, "/cam", offer)
	q := e.dial("/cam")
	q.ask(461, "SETUP", "/trackID=0", "Transport", offer)
	p.send("TEARDOWN", "")
	l.reply(l.request("TEARDOWN"), 200, "")
	p.want(200)
	q.ask(461, "SETUP", "/trackID=0", "Transport", offer)
	q.send("SETUP", "/trackID=0", "Transport", offer+","+overTCP)
	q.want(461)
	q.send("SETUP", "/trackID=0", "Transport", overTCP)
	f.accept().setup("77")
	q.want(200)
}

// TestUDPOff: TCP is left, also where it is not the first choice.
func TestUDPOff(t *testing.T) {
	o := quick
	o.UDP = ""
	f := newFake(t)
	e := newEdge(t, o, f.url())
	p := e.dial("/cam")
	p.ask(461, "SETUP", "/trackID=0", "Transport", "RTP/AVP;unicast;client_port=5000-5001")
	p.send("SETUP", "/trackID=0", "Transport", "RTP/AVP;unicast;client_port=5000-5001,"+overTCP)
	f.accept().setup("77")
	if got := p.want(200).Header.Get("Transport"); got != overTCP+";ssrc=00000001" {
		t.Errorf("Transport %s", got)
	}
}

// TestUDPMixed: one session has one kind of transport.
func TestUDPMixed(t *testing.T) {
	f := newFake(t)
	e := newEdge(t, quick, f.url())
	p, _ := staged(e, f, "/cam", overTCP)
	_, offer := udpPair(t, "127.0.0.1")
	p.ask(461, "SETUP", "/trackID=1", "Transport", offer)
	if n := e.relay.ports.inUse(); n != 0 {
		t.Errorf("%d pairs in use", n)
	}
}
