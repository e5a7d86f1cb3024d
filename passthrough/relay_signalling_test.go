package passthrough

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"weir/proxy/origintest"
	"weir/proxy/proxytest"
	rtspviewer "weir/proxy/viewer"
)

func testOrigin(t *testing.T, user, password string) *origintest.Origin {
	t.Helper()
	return startOrigin(t, origintest.Options{Addr: "127.0.0.1:0", User: user, Password: password})
}

// TestRelayLive: a live stream of an origin that speaks TCP only, over both
// transports.
func TestRelayLive(t *testing.T) {
	o := testOrigin(t, "", "")
	e := newEdge(t, quick, o.URL())
	for _, transport := range []string{"tcp", "udp"} {
		v, err := rtspviewer.Open(t.Context(), rtspviewer.Options{URL: "rtsp://" + e.addr + "/live/clock", Transport: transport, Timeout: soon})
		if err != nil {
			t.Fatalf("%s: %v", transport, err)
		}
		stop := runViewer(t, v)
		proxytest.Eventually(t, soon, transport+" brings media", func() bool { return v.Stats().Packets > 100 })
		if s := v.Stats(); s.Lost+s.Reordered > 0 {
			t.Errorf("%s: %d packets lost, %d reordered", transport, s.Lost, s.Reordered)
		}
		if len(v.Tracks()) != 2 || v.Tracks()[0].SSRC == nil || v.Tracks()[0].Seq == nil {
			t.Errorf("%s: tracks = %+v", transport, v.Tracks())
		}
		res, err := v.Request(t.Context(), "GET_PARAMETER", "", nil, nil)
		if err != nil || res.Code != 200 {
			t.Errorf("%s: GET_PARAMETER: %+v, %v", transport, res, err)
		}
		st := e.relay.Status().(RelayStatus)
		if st.Viewers != 1 || st.Sessions[0].Transport != transport || st.Sessions[0].State != "playing" || st.Sessions[0].Path != "/live/clock" ||
			st.Sessions[0].SentBytes == 0 || st.Sessions[0].UserAgent != "weir-viewer" {
			t.Errorf("%s: status = %+v", transport, st)
		}
		stop()
		proxytest.Eventually(t, soon, "the session is over at both ends", func() bool { return o.Counts().Playing == 0 && len(e.relay.list()) == 0 })
	}
	if c := o.Counts(); c.Requests["TEARDOWN"] != 2 || c.Connections != 2 {
		t.Errorf("the origin has seen %+v, want 2 connections with a TEARDOWN each", c)
	}
	for _, ticket := range e.gate.Tickets() {
		if ticket.Bytes() == 0 || ticket.Closes() != 1 {
			t.Errorf("ticket has %d bytes, %d closes", ticket.Bytes(), ticket.Closes())
		}
	}
}

// runViewer runs a viewer until the returned function is called, which waits.
func runViewer(t *testing.T, v *rtspviewer.Viewer) (stop func()) {
	return running(t, viewing{v})
}

// viewing makes a proxy.Part of a viewer.
type viewing struct{ *rtspviewer.Viewer }

func (viewing) Status() any  { return nil }
func (viewing) Ready() error { return nil }

// TestRelayStored: pause, go on, seek, and the end of the stream.
func TestRelayStored(t *testing.T) {
	o := testOrigin(t, "", "")
	e := newEdge(t, quick, o.URL())
	for _, transport := range []string{"tcp", "udp"} {
		v, err := rtspviewer.Open(t.Context(), rtspviewer.Options{URL: "rtsp://" + e.addr + "/vod/clip", Transport: transport, Timeout: soon})
		if err != nil {
			t.Fatalf("%s: %v", transport, err)
		}
		stop := runViewer(t, v)
		proxytest.Eventually(t, soon, "media comes", func() bool { return v.Stats().Packets > 20 })
		if err := v.Pause(t.Context()); err != nil {
			t.Fatalf("%s: %v", transport, err)
		}
		if st := e.relay.Status().(RelayStatus).Sessions[0].State; st != "paused" {
			t.Errorf("%s: state %s", transport, st)
		}
		if err := v.Play(t.Context(), ""); err != nil {
			t.Fatalf("%s: go on: %v", transport, err)
		}
		if err := v.Play(t.Context(), "npt=7.5-"); err != nil {
			t.Fatalf("%s: seek: %v", transport, err)
		}
		if r := v.PlayResponse().Header.Get("Range"); !strings.HasSuffix(r, "-8.000") {
			t.Errorf("%s: Range after seeking: %q", transport, r)
		}
		if got := v.Tracks()[1].RTPTime; got == nil {
			t.Errorf("%s: no rtptime: %s", transport, v.PlayResponse().Header.Get("RTP-Info"))
		}
		before := v.Stats().Packets
		proxytest.Eventually(t, soon, "media comes after seeking", func() bool { return v.Stats().Packets > before })
		stop()
	}
}

// TestRelayHeaders: order, case and unknown fields pass in both directions;
// what is between neighbours does not.
func TestRelayHeaders(t *testing.T) {
	f := newFake(t)
	e := newEdge(t, quick, f.url())
	p, l := staged(e, f, "/cam", overTCP)
	p.write("PLAY " + p.url + " RTSP/1.0\r\nx-First: 1\r\ncSEQ: 0042\r\nScale: 2.0\r\nSpeed: 1\r\nRange: npt=5-\r\nsession: " + p.session +
		"\r\nX-Playlist-Seek-Id: 7\r\nx-playlist-seek-id: 8\r\n\r\n")
	req := l.request("PLAY")
	via := req.Header.Get("Via")
	if got, want := text(req.Header), "x-First: 1\ncSEQ: "+req.Header.Get("CSeq")+"\nScale: 2.0\nSpeed: 1\nRange: npt=5-\nsession: 77\nX-Playlist-Seek-Id: 7\nx-playlist-seek-id: 8\nVia: "+via+"\n"; got != want {
		t.Errorf("the origin gets\n%s, want\n%s", got, want)
	}
	if req.URL != p.url || !strings.HasPrefix(via, "RTSP/1.0 weir-") {
		t.Errorf("the origin is asked for %s by way of %q", req.URL, via)
	}
	l.write([]byte("RTSP/1.0 200 Fine By Me\r\nServer: x y\r\nrange: npt=5-9\r\ncseq: " + req.Header.Get("CSeq") + "\r\nSESSION: 77\r\nX-A: 2\r\nX-A: 1\r\n" +
		"RTP-Info: url=rtsp://" + f.addr + "/cam/trackID=0;seq=1;rtptime=2\r\n\r\n"))
	res := p.answer()
	if got, want := text(res.Header), "Server: x y\nrange: npt=5-9\ncseq: 0042\nSESSION: "+p.session+";timeout=60\nX-A: 2\nX-A: 1\nRTP-Info: url="+p.url+"/trackID=0;seq=1;rtptime=2\n"; got != want {
		t.Errorf("the viewer gets\n%s, want\n%s", got, want)
	}
	if res.Phrase != "Fine By Me" {
		t.Errorf("phrase %q", res.Phrase)
	}
	p.write("SET_PARAMETER " + p.url + " RTSP/1.0\r\nCSeq: 9\r\nSession: " + p.session + "\r\nContent-Type: text/parameters\r\nContent-Length: 5\r\n\r\na: b\n")
	if req = l.request("SET_PARAMETER"); string(req.Body) != "a: b\n" || req.Header.Get("Content-Type") != "text/parameters" {
		t.Errorf("SET_PARAMETER brings %q as %q", req.Body, req.Header.Get("Content-Type"))
	}
	l.reply(req, 451, "why\r\n", "Content-Type", "text/plain")
	if res = p.answer(); res.Code != 451 || string(res.Body) != "why\r\n" {
		t.Errorf("SET_PARAMETER is answered %d %q", res.Code, res.Body)
	}
}

// TestRelayPipelined: answers come in the order of the requests, also where one
// is given here while those before it are on their way, and where the origin
// answers in another order or without CSeq.
func TestRelayPipelined(t *testing.T) {
	f := newFake(t)
	e := newEdge(t, quick, f.url())
	p, l := staged(e, f, "/cam", overTCP)
	one := func(method, url, cseq string) string {
		return method + " " + url + " RTSP/1.0\r\nCSeq: " + cseq + "\r\nSession: " + p.session + "\r\n\r\n"
	}
	p.write(one("GET_PARAMETER", p.url, "007") + "OPTIONS * RTSP/1.0\r\nCSeq: 99999999999999999999\r\n\r\n" +
		one("RECORD", p.url, "-1") + one("OPTIONS", p.url, "x/y") + one("PAUSE", p.url+"/trackID=0", "10"))
	first, second, third := l.request("GET_PARAMETER"), l.request("OPTIONS"), l.request("PAUSE")
	l.reply(third, 200, "")
	l.reply(second, 200, "", "Public", "ANNOUNCE, PLAY, RECORD, X")
	l.reply(first, 201, "")
	wantCSeqs := func(want ...string) {
		t.Helper()
		var got []string
		for range want {
			res := p.answer()
			got = append(got, fmt.Sprint(res.Code, " ", res.Header.Get("CSeq")))
			if public := res.Header.Get("Public"); strings.Contains(public, "RECORD") {
				t.Errorf("Public: %s", public)
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("answers %q, want %q", got, want)
		}
	}
	wantCSeqs("201 007", "200 99999999999999999999", "405 -1", "200 x/y", "200 10")

	p.write(one("GET_PARAMETER", p.url, "a") + one("GET_PARAMETER", p.url, "b"))
	l.request("GET_PARAMETER")
	l.request("GET_PARAMETER")
	l.write([]byte("RTSP/1.0 200\r\n\r\nRTSP/1.0 201 \r\n\n"))
	wantCSeqs("200 a", "201 b")
}

// TestRelayPatience: what real players and cameras write, though it is odd.
func TestRelayPatience(t *testing.T) {
	f := newFake(t)
	e := newEdge(t, quick, f.url())
	p, l := staged(e, f, "/cam", overTCP)
	long := strings.Repeat("k", 4<<10)
	p.write("\r\n\r\nGET_PARAMETER " + p.url + " RTSP/1.0\nCSeq: 5\nSession:\n " + p.session + "\nX-Token: " + long + "\nX-Fold: a\n\tb\n\n")
	req := l.request("GET_PARAMETER")
	if req.Header.Get("X-Token") != long || req.Header.Get("X-Fold") != "a b" || req.Header.Get("Session") != "77" {
		t.Errorf("the origin gets\n%s", text(req.Header))
	}
	l.write([]byte("\r\nRTSP/1.0 200\nCSeq: " + req.Header.Get("CSeq") + "\nX-Fold: c\n d\nX-Token: " + long + "\n\n"))
	res := p.answer()
	if res.Code != 200 || res.Phrase != "" || res.Header.Get("CSeq") != "5" || res.Header.Get("X-Fold") != "c d" || res.Header.Get("X-Token") != long {
		t.Errorf("the viewer gets %d %q\n%s", res.Code, res.Phrase, text(res.Header))
	}
}
