package passthrough

import (
	"net"
	"regexp"
	"slices"
	"strings"
	"testing"

	"weir/proxy"
	"weir/proxy/wire"
)

// TestRelayMalformed: where two readers could disagree about where a message
// ends, the connection does; nothing of it reaches the origin.
func TestRelayMalformed(t *testing.T) {
	fake := newFake(t)
	e := newEdge(t, quick, fake.url())
	offences := 0
	f := func(what, header string, want int) {
		t.Helper()
		p, l := staged(e, fake, "/cam", overTCP)
		p.write("SET_PARAMETER " + p.url + " RTSP/1.0\r\nCSeq: 9\r\nSession: " + p.session + "\r\nX-Evil: 1\r\n" + header + "\r\n")
		if res := p.answer(); res.Code != want {
			t.Errorf("%s: answered %d, want %d", what, res.Code, want)
		}
		p.wantEnd()
		req := l.request("TEARDOWN")
		if req.Header.Get("X-Evil") != "" {
			t.Errorf("%s: the origin gets %s", what, text(req.Header))
		}
		l.reply(req, 200, "")
		l.wantEnd()
		if offences++; e.gate.Count().Offences != offences {
			t.Errorf("%s: %d offences, want %d", what, e.gate.Count().Offences, offences)
		}
	}
	f("two lengths", "Content-Length: 2\r\nContent-Length: 3\r\n", 400)
	f("two equal lengths", "Content-Length: 2\r\nContent-Length: 2\r\n", 400)
	f("chunks", "Transfer-Encoding: chunked\r\n", 400)
	f("length with sign", "Content-Length: +2\r\n", 400)
	f("large body", "Content-Length: 9999999\r\n", 400)
	f("long line", "X: "+strings.Repeat("x", wire.MaxLine-1)+"\r\n", 400)
	f("no header line", "hello\r\n", 400)
}

// TestRelayNoSequence: a request without CSeq cannot be answered.
func TestRelayNoSequence(t *testing.T) {
	f := newFake(t)
	e := newEdge(t, quick, f.url())
	p, _ := staged(e, f, "/cam", overTCP)
	p.write("GET_PARAMETER " + p.url + " RTSP/1.0\r\nSession: " + p.session + "\r\n\r\n")
	if res := p.answer(); res.Code != 400 {
		t.Errorf("answered %d", res.Code)
	}
	p.wantEnd()
	if n := e.gate.Count().Offences; n != 1 {
		t.Errorf("%d offences, want 1", n)
	}
}

// TestRelayLoop: an edge in front of itself notices it before it dials again.
func TestRelayLoop(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	l.Close()
	b := balancer(t, "-origin", "rtsp://"+addr)
	e := edgeOver(t, quick, addr, b)
	e.dial("/cam").ask(502, "DESCRIBE", "")
	if n := status(b)[0].Dials; n != 1 {
		t.Errorf("%d dials, want 1", n)
	}
}

// TestRelayRefusals: what never goes to an origin.
func TestRelayRefusals(t *testing.T) {
	f := newFake(t)
	e := newEdge(t, quick, f.url())
	p, l := staged(e, f, "/cam", overTCP)
	if res := p.ask(551, "GET_PARAMETER", "", "Proxy-Require", "a, b"); res.Header.Get("Unsupported") != "a, b" {
		t.Errorf("551 says %s", text(res.Header))
	}
	p.ask(405, "ANNOUNCE", "")
	p.ask(405, "RECORD", "")
	p.session = "nobody"
	p.ask(454, "PAUSE", "")
	p.session = ""
	if res := p.ask(200, "OPTIONS", "*"); res.Header.Get("Public") != proxy.RTSPMethods {
		t.Errorf("OPTIONS * is answered\n%s", text(res.Header))
	}
	p.send("GET_PARAMETER", "") // what the origin is asked next is this
	l.reply(l.request("GET_PARAMETER"), 200, "")
	p.want(200)
}

// TestRelayRefusedSetup: the origin is not asked for what the edge cannot give.
func TestRelayRefusedSetup(t *testing.T) {
	f := newFake(t)
	e := newEdge(t, quick, f.url())
	e.gate.RefuseAdmit = &proxy.Refusal{Reason: proxy.Full}
	p := e.dial("/cam")
	p.ask(453, "SETUP", "/trackID=0", "Transport", overTCP)
	p.ask(461, "SETUP", "/trackID=0", "Transport", "RTP/AVP;multicast")
	p.ask(461, "SETUP", "/trackID=0", "Transport", "RTP/AVP;unicast;client_port=5000-5001;destination=127.0.0.9")
	p.ask(461, "SETUP", "/trackID=0")
	p.send("OPTIONS", "")
	l := f.accept()
	l.reply(l.request("OPTIONS"), 200, "")
	p.want(200)
}

// TestRelayBandwidth: what the description says that a stream needs is
// declared, and who cannot have it gets no place.
func TestRelayBandwidth(t *testing.T) {
	f := newFake(t)
	e := newEdge(t, quick, f.url())
	e.gate.RefuseDeclare = &proxy.Refusal{Reason: proxy.NoBandwidth}
	p := e.dial("/cam")
	p.send("DESCRIBE", "")
	f.accept().describe(2)
	p.want(200)
	p.ask(453, "SETUP", "/trackID=0", "Transport", overTCP)
	if got := e.gate.Tickets()[0].Declared(); !slices.Equal(got, []proxy.BitRate{200_000}) {
		t.Errorf("declared %v", got)
	}
}

// TestRelayAnotherStream: a connection is for one stream; the viewer dials again.
func TestRelayAnotherStream(t *testing.T) {
	f := newFake(t)
	e := newEdge(t, quick, f.url())
	p := e.dial("/cam")
	p.send("DESCRIBE", "")
	f.accept().describe(1)
	p.want(200)
	p.url = strings.Replace(p.url, "/cam", "/door", 1)
	p.send("DESCRIBE", "")
	p.wantEnd()
}

// TestRelayTellsNoAddress: nothing that a viewer reads says where the origin is.
func TestRelayTellsNoAddress(t *testing.T) {
	f := newFake(t)
	e := newEdge(t, quick, "rtsp://u:s3cret@"+f.addr+"/inner")
	hidden := regexp.MustCompile(`198\.51\.100|` + strings.TrimPrefix(f.addr, "127.0.0.1:") + `|inner|s3cret|SECRETID`)
	p := e.dial("/cam")
	p.send("DESCRIBE", "")
	l := f.accept()
	base := "rtsp://" + f.addr + "/inner/cam/"
	l.reply(l.request("DESCRIBE"), 200, strings.ReplaceAll(description(1), "trackID", base+"trackID"),
		"Content-Type", "application/sdp", "Content-Base", base, "Content-Location", "http://198.51.100.7/x", "Via", "RTSP/1.0 198.51.100.7",
		"Session", "SECRETID;timeout=60", "WWW-Authenticate", `Basic realm="198.51.100.7"`)
	p.want(200)
	p.send("SETUP", "/trackID=0", "Transport", overTCP)
	req := l.request("SETUP")
	if got, want := req.URL, base+"trackID=0"; got != want {
		t.Errorf("the origin is asked for %s, want %s", got, want)
	}
	l.reply(req, 200, "", "Session", "SECRETID", "Transport", "RTP/AVP/TCP;unicast;source=198.51.100.7;destination=198.51.100.8;interleaved=0-1")
	p.setUp(p.want(200))
	p.send("PLAY", "")
	l.reply(l.request("PLAY"), 200, "", "Session", "SECRETID", "RTP-Info", "url="+base+"trackID=0;seq=1")
	p.want(200)
	p.send("GET_PARAMETER", "")
	l.reply(l.request("GET_PARAMETER"), 302, "", "Location", "rtsp://198.51.100.7/cam")
	p.want(502)
	p.send("GET_PARAMETER", "")
	l.reply(l.request("GET_PARAMETER"), 404, "", "Session", "SECRETID", "Location", "rtsp://198.51.100.7:99/inner/cam")
	p.want(404)
	if found := hidden.FindAllString(p.texts.String(), -1); len(found) > 0 {
		t.Errorf("the viewer reads %q in\n%s", found, p.texts.String())
	}
}

// A session takes tracks of its own stream only: the gate was not asked about
// what lies below it.
func TestRelayTracksOfOthers(t *testing.T) {
	f := newFake(t)
	e := newEdge(t, quick, f.url())
	p := e.dial("/cam")
	p.send("DESCRIBE", "")
	l := f.accept()
	l.describe(2)
	p.want(200)
	p.send("SETUP", "/trackID=0", "Transport", "RTP/AVP/TCP;unicast;interleaved=0-1")
	l.setup("77")
	p.setUp(p.want(200))
	for _, other := range []string{"/below/trackID=0", "/below"} {
		p.ask(404, "SETUP", other, "Transport", "RTP/AVP/TCP;unicast;interleaved=2-3")
	}
	p.send("SETUP", "/trackID=1", "Transport", "RTP/AVP/TCP;unicast;interleaved=2-3")
	if req := l.setup("77"); !strings.HasSuffix(req.URL, "/cam/trackID=1") {
		t.Errorf("the origin is asked for %s", req.URL)
	}
	p.want(200)
}
