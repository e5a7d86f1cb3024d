package splitter_test

import (
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"weir/proxy/origintest"
	"weir/proxy/proxytest"
)

// A session over UDP outlives its connection as long as its viewer reports, and is
// not sent to for long when he has gone without a word.
func TestOrphans(t *testing.T) {
	origin := newOrigin(t, origintest.Options{})
	e := newEdge(t, edgeOptions(), balancer(t, origin.URL()))
	const grace = 500 * time.Millisecond
	e.SetOrphanGrace(grace)
	stays := watch(t, e.url+clock, "udp") // keeps the feed, and shows that nobody else is harmed
	silent, _ := orphan(t, e)
	reporting, _ := orphan(t, e)
	defer silent.Close()
	defer reporting.Close()
	proxytest.Eventually(t, 5*time.Second, "three viewers", func() bool { return len(e.feed(clock).Viewers) == 3 })
	edgeRTCP := &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: serverPort(t, e) + 1}
	report := []byte{0x80, 201, 0, 1, 0, 0, 0, 1} // a receiver report without a block
	tick := time.NewTicker(grace / 5)
	defer tick.Stop()
	for begin := time.Now(); time.Since(begin) < 6*grace; <-tick.C {
		if _, err := reporting.WriteToUDP(report, edgeRTCP); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(e.feed(clock).Viewers); n != 2 {
		t.Errorf("%d viewers while one of those without a connection reports, want 2", n)
	}
	proxytest.Eventually(t, 10*time.Second, "one viewer", func() bool { return len(e.feed(clock).Viewers) == 1 })
	stays.more(t, 0, 10)
}

// A session over UDP whose viewer goes on over another connection lasts as long as that
// is open, though he reports nothing, and not for long when that has gone, too.
func TestAnotherConnectionCarriesOn(t *testing.T) {
	origin := newOrigin(t, origintest.Options{})
	e := newEdge(t, edgeOptions(), balancer(t, origin.URL()))
	const grace = time.Second
	e.SetOrphanGrace(grace)
	rtcp, id := orphan(t, e)
	defer rtcp.Close()
	c := talk(t, e)
	keepAlive := func() int { return c.ask("GET_PARAMETER", e.url+clock, "Session: "+id).Code }
	proxytest.Eventually(t, 5*time.Second, "its first connection has gone", func() bool { return keepAlive() == 200 })
	for range 2 {
		<-time.After(3 * grace / 2)
		if code := keepAlive(); code != 200 {
			t.Fatalf("a session that an open connection carries on: answered %d", code)
		}
	}
	c.Close()
	proxytest.Eventually(t, 10*grace, "no viewer", func() bool { return len(e.feed(clock).Viewers) == 0 })
}

// orphan begins to play over UDP and goes, without TEARDOWN. It returns the
// viewer's socket for RTCP, and the session.
func orphan(t *testing.T, e *edge) (rtcp *net.UDPConn, id string) {
	t.Helper()
	var pair [2]*net.UDPConn
	for pair[1] == nil {
		var err error
		if pair[0], err = net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)}); err != nil {
			t.Fatal(err)
		}
		port := pair[0].LocalAddr().(*net.UDPAddr).Port
		if port%2 == 0 {
			pair[1], _ = net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port + 1})
		}
		pair[0].Close() // what comes there is of no interest
	}
	port := pair[1].LocalAddr().(*net.UDPAddr).Port - 1
	c, err := net.Dial("tcp", strings.TrimPrefix(e.url, "rtsp://"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	transport := fmt.Sprintf("Transport: RTP/AVP;unicast;client_port=%d-%d", port, port+1)
	c.Write([]byte(request("SETUP", e.url+clock+"/trackID=0", "CSeq: 1", transport))) //nolint:errcheck // the answer shows it
	_, rest, _ := strings.Cut(answers(c, 1)[0], "Session: ")
	id, _, _ = strings.Cut(rest, ";")
	c.Write([]byte(request("PLAY", e.url+clock, "CSeq: 2", "Session: "+id))) //nolint:errcheck // likewise
	if a := answers(c, 1); !strings.HasPrefix(a[0], "200") {
		t.Fatalf("PLAY: %q", a)
	}
	return pair[1], id
}

// serverPort is the edge's for RTP.
func serverPort(t *testing.T, e *edge) (port int) {
	t.Helper()
	setup := request("SETUP", e.url+clock+"/trackID=0", "CSeq: 1", "Transport: RTP/AVP;unicast;client_port=50000-50001")
	_, rest, _ := strings.Cut(ask(t, e, 1, setup)[0], "server_port=")
	if _, err := fmt.Sscanf(rest, "%d-", &port); err != nil {
		t.Fatalf("%q: %v", rest, err)
	}
	return port
}
