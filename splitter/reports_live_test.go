package splitter_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/pion/rtcp"

	"weir/proxy/origintest"
	"weir/proxy/proxytest"
	"weir/proxy/wire"
	"weir/splitter"
)

// name is the canonical name that a compound packet of a sender gives.
func name(t *testing.T, compound []byte) string {
	t.Helper()
	ps, err := rtcp.Unmarshal(compound)
	if err != nil || len(ps) < 2 {
		t.Fatalf("%v, %v", ps, err)
	}
	d, ok := ps[1].(*rtcp.SourceDescription)
	if !ok || len(d.Chunks) != 1 || len(d.Chunks[0].Items) != 1 {
		t.Fatalf("no description: %v", ps)
	}
	return d.Chunks[0].Items[0].Text
}

// Viewers over TCP and UDP are told goodbye when their feed ends for good, before
// their connection closes, and all reports of a feed give one name.
func TestGoodbye(t *testing.T) {
	origin := newOrigin(t, origintest.Options{Live: []string{"/live/other"}})
	o := edgeOptions()
	o.Wait = 300 * time.Millisecond
	e := newEdge(t, o, balancer(t, origin.URL()))
	var feeds [][]*watcher
	for _, path := range []string{clock, "/live/other"} {
		ws := append(crowd(t, 5, e.url+path, "tcp"), crowd(t, 5, e.url+path, "udp")...)
		more(t, ws, 0, 40)
		feeds = append(feeds, ws)
	}
	origin.Die()
	names := map[string]int{}
	for _, ws := range feeds {
		told(t, ws, names)
	}
}

// Viewers of an edge that stops are told goodbye, whichever of its parts stops first.
func TestGoodbyeOfAnEdge(t *testing.T) {
	f := func(stop func(e *edge)) {
		t.Helper()
		origin := newOrigin(t, origintest.Options{})
		e := newEdge(t, edgeOptions(), balancer(t, origin.URL()))
		ws := append(crowd(t, 5, e.url+clock, "tcp"), crowd(t, 5, e.url+clock, "udp")...)
		more(t, ws, 0, 10)
		more(t, ws, 1, 10)
		stop(e)
		told(t, ws, map[string]int{})
	}
	f(func(e *edge) { e.stopSplitter() })
	f(func(e *edge) { e.stopFront() })
}

// told checks that each of ws ends with a goodbye of both tracks.
func told(t *testing.T, ws []*watcher, names map[string]int) {
	t.Helper()
	before := len(names)
	for i, w := range ws {
		proxytest.Eventually(t, 5*time.Second, "viewer let go", func() bool { return w.over() != nil })
		reports := w.reports()
		byes := map[uint32]bool{}
		for _, r := range reports {
			names[name(t, r)]++
			ps, _ := rtcp.Unmarshal(r)
			if len(ps) == 3 {
				_, sr := ps[0].(*rtcp.SenderReport)
				if bye, ok := ps[2].(*rtcp.Goodbye); ok && sr && len(bye.Sources) == 1 {
					byes[bye.Sources[0]] = true
				}
			}
		}
		if len(byes) != 2 || !byes[w.received(0)[0].ssrc] || !byes[w.received(1)[0].ssrc] {
			t.Errorf("viewer %d ended with goodbyes of %v, want both tracks (%d reports)", i, byes, len(reports))
		}
	}
	if n := len(names) - before; n != 1 {
		t.Errorf("a feed has %d names, want one of its own: %v", n, names)
	}
}

// A talker's report of the first track that it plays.
func report(ssrc uint32, loss uint8, lsr uint32) []byte {
	b, _ := rtcp.Marshal([]rtcp.Packet{&rtcp.ReceiverReport{SSRC: 5, Reports: []rtcp.ReceptionReport{
		{SSRC: ssrc, FractionLost: loss, TotalLost: 77, Jitter: 450, LastSenderReport: lsr}}}, rtcp.NewCNAMESourceDescription(5, "x")})
	return b
}

// What viewers report over TCP and UDP is in the status, with the time there and
// back, and garbage among it harms nobody.
func TestReceptionInStatus(t *testing.T) {
	origin := newOrigin(t, origintest.Options{})
	e := newEdge(t, edgeOptions(), balancer(t, origin.URL()))
	watch(t, e.url+clock, "tcp").more(t, 0, 40) // the clock has settled: reports come at once
	status := func(transport string) *splitter.ReceptionStatus {
		for _, v := range e.feed(clock).Viewers {
			if v.Transport == transport && v.Reception != nil {
				return v.Reception
			}
		}
		return nil
	}
	check := func(transport string) {
		t.Helper()
		proxytest.Eventually(t, 5*time.Second, transport+": reception in status", func() bool { return status(transport) != nil })
		r := status(transport)
		if r.LossRatio != 0.125 || r.Lost != 77 || r.JitterS != 0.005 || r.RoundTripS <= 0 || r.RoundTripS > 3 {
			t.Errorf("%s: %+v", transport, *r)
		}
	}
	lsr := func(b []byte) (ssrc, lsr uint32) {
		return binary.BigEndian.Uint32(b[4:]), binary.BigEndian.Uint32(b[10:])
	}

	tcp := talk(t, e)
	set := tcp.ask("SETUP", e.url+clock+"/trackID=0", overTCP)
	tcp.ask("PLAY", e.url+clock, sessionID(set))
	var sr []byte
	for sr == nil {
		m, err := tcp.r.Next()
		if err != nil {
			t.Fatal(err)
		}
		if f, ok := m.(*wire.Frame); ok && f.Channel == 1 {
			sr = bytes.Clone(f.Payload)
		}
	}
	ssrc, last := lsr(sr)
	frames := []byte("$\x01\x00\x03abc$\x07\x00\x00")
	rr := report(ssrc, 32, last)
	frames = append(append(frames, '$', 1, 0, byte(len(rr))), rr...)
	tcp.Write(frames) //nolint:errcheck
	check("tcp")

	sock, port := udpPair(t)
	udp := talk(t, e)
	set = udp.ask("SETUP", e.url+clock+"/trackID=0", overUDP(port))
	udp.ask("PLAY", e.url+clock, sessionID(set))
	buf := make([]byte, 2000)
	sock.SetReadDeadline(time.Now().Add(5 * time.Second)) //nolint:errcheck
	n, from, err := sock.ReadFrom(buf)
	if err != nil {
		t.Fatal(err)
	}
	ssrc, last = lsr(buf[:n])
	for _, b := range [][]byte{{}, {0x80}, []byte("garbage"), report(1, 1, 1), report(ssrc, 32, last)} {
		sock.WriteTo(b, from) //nolint:errcheck
	}
	check("udp")
	if n := e.counter(t, "weir_splitter_garbled_total"); n != 3 {
		t.Errorf("%v datagrams made no sense, want 3", n)
	}
	if res := udp.ask("OPTIONS", e.url+clock); res.Code != 200 {
		t.Errorf("answer %d after garbage", res.Code)
	}
}

// counter is the value of a counter of the edge.
func (e *edge) counter(t *testing.T, name string) float64 {
	t.Helper()
	families, err := e.reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			return f.GetMetric()[0].GetCounter().GetValue()
		}
	}
	t.Fatalf("no metric %s", name)
	return 0
}

// udpPair binds an RTCP port whose lower neighbour is free, and returns the lower.
func udpPair(t *testing.T) (rtcp *net.UDPConn, rtp int) {
	t.Helper()
	for range 100 {
		a, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if err != nil {
			t.Fatal(err)
		}
		port := a.LocalAddr().(*net.UDPAddr).Port
		b, err := net.ListenPacket("udp4", fmt.Sprintf("127.0.0.1:%d", port+1))
		if err != nil || port%2 == 1 {
			a.Close()
			if err == nil {
				b.Close()
			}
			continue
		}
		t.Cleanup(func() { a.Close(); b.Close() })
		return b.(*net.UDPConn), port
	}
	t.Fatal("no free pair of ports")
	return nil, 0
}
