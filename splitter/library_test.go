package splitter_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"weir/proxy"
	"weir/proxy/origintest"
	"weir/proxy/proxytest"
	"weir/proxy/wire"
)

// What gortsplib v4.16.2 does wrong, and the test that holds that viewers of Weir do
// not meet it. That it is this version TestPinned in cmd/weir holds.
//
//	PAUSE of a multicast session kills the process (server_session.go:1597)   TestNoMulticast
//	reports with the fraction of NTP in nanoseconds (rtcpsender.go:14)        TestReportsOfTheOrigin; rtp's TestNTP
//	an origin's new SSRC is dropped for ever (client_media.go:265)            TestChangedSSRC, TestUndecodable
//	401 to a keep-alive is not noticed (client.go:854)                        TestKeepAliveRefused
//	a session that waits holds up all connections (server.go:403)             TestWaitingHoldsUpNobody
//	connections have no time limit (server_conn_reader.go:72)                 TestLiveness; front's TestSlowLoris
//	garbage is skipped for ever (pkg/conn/conn.go:60)                         TestBrokenConnections, TestLyingOrigins
//	Session.Stats races with SETUP (server_session.go:560)                    TestStatusDuringSetup
//	a second's sleep in SETUP of GStreamer (server_session.go:1225)           TestGStreamerIsNotHeldUp
//	the first report after 10 s (rtcpsender.go)                               TestFirstSenderReports
//	a digest with a relative URI is refused (pkg/auth)                        TestDigestHabits
//	panic when a second SETUP returns another stream (server_session.go:1288) TestHostileRequests, "another stream"
//	packets of unknown payload types: nil dereference (server_stream.go:287)  TestOddPackets
//	RTP-Info by the origin's clock (server_session.go:351)                    TestStartsAtKeyFrame, TestOpens
//	the client writes into a shared tls.Config (client.go:1147)               TestSharedTLSConfig
//	an error of Accept ends the server (server.go:372)                        front's TestAcceptSurvivesEMFILE: it is never told of one
//	a lookup of host names in Transport (pkg/headers/transport.go:203)        FuzzTransportHeader
//	URLs and fields over 2048 bytes, 256 fields: it hangs up (pkg/base)       TestLongRequests
//	one 4xx of its own and it hangs up (server_session.go)                    TestHostileRequests
//	a line of log per packet that is none (server_session_media.go:438)       TestReceptionInStatus
//	one datagram and allocation per viewer; packets over 1472 bytes           it sends no media: TestLargePackets

// Multicast is not offered, so that nobody can pause it.
func TestNoMulticast(t *testing.T) {
	origin := newOrigin(t, origintest.Options{})
	e := newEdge(t, edgeOptions(), balancer(t, origin.URL()))
	c := talk(t, e)
	for _, transport := range []string{multicast, "Transport: RTP/AVP/UDP;multicast;destination=239.1.1.1;port=5000-5001;ttl=127", "Transport: RTP/AVP;unicast;multicast;client_port=5000-5001"} {
		res := c.ask("SETUP", e.url+clock+"/trackID=0", transport)
		if res.Code != 461 {
			t.Errorf("%s: SETUP answered %d, want 461", transport, res.Code)
		}
		for _, method := range []string{"PLAY", "PAUSE"} {
			if res := c.ask(method, e.url+clock); res.Code != 454 {
				t.Errorf("%s: %s answered %d, want 454", transport, method, res.Code)
			}
		}
	}
	watch(t, e.url+clock+"?vlcmulticast", "tcp").more(t, 0, 1)
}

// An origin that refuses a keep-alive has forgotten the session: it is asked anew
// before it falls silent.
func TestKeepAliveRefused(t *testing.T) {
	key := append([]byte{0x65}, make([]byte, 100)...)
	for _, code := range []string{"401 Unauthorized", "454 Session Not Found"} {
		var mu sync.Mutex
		playing := false
		l := (&liar{play: every(func(n uint16) []byte { return frameOf(0, 96, n, key) }), answer: func(req *wire.Request) []byte {
			mu.Lock()
			defer mu.Unlock()
			cseq := req.Header.Get("CSeq")
			switch req.Method {
			case "SETUP":
				return fmt.Appendf(nil, "RTSP/1.0 200 OK\r\nCSeq: %s\r\nSession: 1;timeout=1\r\nTransport: RTP/AVP/TCP;unicast;interleaved=%s\r\n\r\n", cseq, joinedChannels(req))
			case "PLAY":
				playing = true
			case "OPTIONS", "GET_PARAMETER":
				if req.Header.Get("Session") != "" && playing {
					playing = false
					return fmt.Appendf(nil, "RTSP/1.0 %s\r\nCSeq: %s\r\n\r\n", code, cseq)
				}
			}
			return nil
		}}).run(t)
		e := newEdge(t, edgeOptions(), balancer(t, l.url))
		w := watch(t, e.url+"/cam", "tcp")
		proxytest.Eventually(t, 10*time.Second, code+": another pull", func() bool { return e.feed("/cam").Pulls >= 2 })
		w.more(t, 0, 5)
		if err := w.over(); err != nil {
			t.Errorf("%s: the viewer ended: %v", code, err)
		}
	}
}

// Who waits for an origin holds up nobody, whatever session others name meanwhile.
func TestWaitingHoldsUpNobody(t *testing.T) {
	key := append([]byte{0x65}, make([]byte, 100)...)
	l := (&liar{play: every(func(n uint16) []byte { return frameOf(0, 96, n, key) }), answer: func(req *wire.Request) []byte {
		if strings.HasSuffix(req.URL, "/slow") && req.Method == "DESCRIBE" {
			return []byte("\r\n")
		}
		return nil
	}}).run(t)
	o := edgeOptions()
	o.Timeout = 5 * time.Second
	e := newEdge(t, o, balancer(t, l.url))
	a := talk(t, e)
	id := sessionID(a.ask("SETUP", e.url+"/cam/trackID=0", overTCP))
	a.Write([]byte(request("SETUP", e.url+"/slow/trackID=0", "CSeq: 2", id, "Transport: RTP/AVP/TCP;unicast"))) //nolint:errcheck // nothing is to come
	proxytest.Eventually(t, 5*time.Second, "the origin is waited for", func() bool { return e.feed("/slow") != nil })
	if res := talk(t, e).ask("OPTIONS", e.url+"/cam", id); res.Code != 200 { // by the front: first on its connection
		t.Errorf("OPTIONS answered %d", res.Code)
	}
	b := talk(t, e)
	b.ask("DESCRIBE", e.url+"/cam")
	if res := b.ask("OPTIONS", e.url+"/cam", id); res.Code != 454 {
		t.Errorf("OPTIONS with another's session answered %d", res.Code)
	}
	watch(t, e.url+"/cam", "tcp").more(t, 0, 5)
	if f := e.feed("/slow"); f == nil || f.State != "opening" {
		t.Error("it is not waited for any more: this tests nothing")
	}
}

// The status may be asked for at any time.
func TestStatusDuringSetup(t *testing.T) {
	origin := newOrigin(t, origintest.Options{})
	e := newEdge(t, edgeOptions(), balancer(t, origin.URL()))
	watch(t, e.url+clock, "tcp").more(t, 0, 1)
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		for ctx.Err() == nil {
			e.Status()
		}
	})
	for range 10 {
		c := talk(t, e)
		id := sessionID(c.ask("SETUP", e.url+clock+"/trackID=0", overTCP))
		c.ask("SETUP", e.url+clock+"/trackID=1", "Transport: RTP/AVP/TCP;unicast", id)
		c.ask("PLAY", e.url+clock, id)
		c.ask("PAUSE", e.url+clock, id)
		c.ask("TEARDOWN", e.url+clock, id)
	}
	stop()
	wg.Wait()
}

// Feeds share what they know of an origin's TLS: none writes into it.
func TestSharedTLSConfig(t *testing.T) {
	server, client := selfSigned(t)
	origin := newOrigin(t, origintest.Options{TLS: server})
	u, _ := url.Parse(origin.URL())
	shared := &tls.Config{RootCAs: client.RootCAs}
	up := &proxytest.Upstream{DialFunc: func(ctx context.Context, w proxy.Want) (*proxy.Link, error) {
		var d net.Dialer
		c, err := d.DialContext(ctx, "tcp", u.Host)
		if err != nil {
			return nil, err
		}
		return &proxy.Link{Conn: c, URL: &url.URL{Scheme: "rtsps", Host: u.Host, Path: clock}, TLS: shared, Origin: u.Host, Fail: func(error) {}}, nil
	}}
	e := newEdge(t, edgeOptions(), up)
	var wg sync.WaitGroup
	for i := range 3 {
		wg.Go(func() { talk(t, e).ask("DESCRIBE", fmt.Sprint(e.url, "/", i)) })
	}
	wg.Wait()
	if shared.ServerName != "" {
		t.Errorf("ServerName is %q", shared.ServerName)
	}
}

// Within the bounds that we set, it is no matter how long a request is.
func TestLongRequests(t *testing.T) {
	origin := newOrigin(t, origintest.Options{})
	e := newEdge(t, edgeOptions(), balancer(t, origin.URL()))
	f := func(query string, fields ...string) {
		t.Helper()
		c := talk(t, e)
		if res := c.ask("DESCRIBE", e.url+clock+query, fields...); res.Code != 200 {
			t.Errorf("DESCRIBE answered %d", res.Code)
		}
		id := sessionID(c.ask("SETUP", e.url+clock+"/trackID=0"+query, append(fields, overTCP)...))
		if res := c.ask("PLAY", e.url+clock+query, append(fields, id)...); res.Code != 200 {
			t.Errorf("PLAY answered %d", res.Code)
		}
	}
	f("?" + strings.Repeat("q", 4000))
	f("", "X-Long: "+strings.Repeat("x", 4000))
	f("", strings.Repeat("N", 1000)+": x")
	many := make([]string, 400)
	for i := range many {
		many[i] = fmt.Sprintf("X-%d: y", i)
	}
	f("", many...)
	f("", "User-Agent: GStreamer/1.24", "User-Agent: GStreamer/1.24")
}
