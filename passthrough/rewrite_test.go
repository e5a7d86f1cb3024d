package passthrough

import (
	"bufio"
	"slices"
	"strings"
	"testing"

	"weir/proxy/wire"
)

func message(t testing.TB, s string) any {
	t.Helper()
	m, err := wire.NewReader(bufio.NewReader(strings.NewReader(strings.ReplaceAll(s, "\n", "\r\n")))).Next()
	if err != nil {
		t.Fatalf("%q: %v", s, err)
	}
	return m
}

func text(h wire.Header) string {
	var b strings.Builder
	for _, f := range h {
		b.WriteString(f.Name + ": " + f.Value + "\n")
	}
	return b.String()
}

func TestRequestHeader(t *testing.T) {
	u := mapping(t, "rtsp://edge/door", "/door", "rtsp://u:s3cret@198.51.100.7/cam")
	f := func(c requestChange, in, want string) {
		t.Helper()
		h := message(t, "SETUP rtsp://edge/door RTSP/1.0\n"+in+"\n").(*wire.Request).Header
		before := text(h)
		if got := text(requestHeader(h, c)); got != want {
			t.Errorf("%+v: got\n%swant\n%s", c, got, want)
		}
		if text(h) != before {
			t.Errorf("the viewer's own header has changed to\n%s", text(h))
		}
	}
	f(requestChange{cseq: "71", session: "ORIGIN", transport: "RTP/AVP/TCP;unicast;interleaved=0-1", via: "edge-1", urls: u},
		"User-Agent: LibVLC/3.0.20\nCSEQ: 4\nx-playlist-seek-id: 7\nTransport: RTP/AVP;unicast;client_port=5000-5001\nVia: RTSP/1.0 a\nSession: EDGE\n"+
			"Require: x\nProxy-Require: y\nWeir-Peer: n,1,k\nVia: RTSP/1.0 b\nAuthorization: Digest a\nBlocksize: 1400\nSession: two\nRange: npt=5-\n"+
			"KeyMgmt: prot=mikey; uri=\"rtsp://edge/door\"; data=\"AQ;A=\"\n",
		"User-Agent: LibVLC/3.0.20\nCSEQ: 71\nx-playlist-seek-id: 7\nTransport: RTP/AVP/TCP;unicast;interleaved=0-1\nVia: RTSP/1.0 a, RTSP/1.0 b, RTSP/1.0 edge-1\nSession: ORIGIN\n"+
			"Require: x\nAuthorization: Digest a\nBlocksize: 1400\nRange: npt=5-\n"+
			"KeyMgmt: prot=mikey; uri=\"rtsp://198.51.100.7/cam\"; data=\"AQ;A=\"\n")
	f(requestChange{}, "CSeq: 1\nContent-Type: text/parameters\nScale: 2\n", "CSeq: 1\nContent-Type: text/parameters\nScale: 2\n")
	f(requestChange{cseq: "2", via: "e"}, "Scale: 2\n", "CSeq: 2\nScale: 2\nVia: RTSP/1.0 e\n")
	f(requestChange{credentials: true}, "Authorization: a\nProxy-Authorization: b\nCSeq: 1\n", "CSeq: 1\n")
	f(requestChange{authorization: "Basic x"}, "CSeq: 1\nauthorization: a\n", "CSeq: 1\nAuthorization: Basic x\n")
	f(requestChange{session: "a\r\nEvil: 1"}, "CSeq: 1\n", "CSeq: 1\nSession: aEvil: 1\n")
	f(requestChange{urls: u}, "KeyMgmt: prot=mikey; uri=\"rtsp://elsewhere/x\"\n", "KeyMgmt: prot=mikey; uri=\"rtsp://elsewhere/x\"\n")
}

func TestResponseHeader(t *testing.T) {
	u := mapping(t, "rtsp://edge:8554/door", "/door", "rtsp://u:s3cret@198.51.100.7/cam")
	f := func(c responseChange, in, want string) {
		t.Helper()
		h := message(t, "RTSP/1.0 200 OK\n"+in+"\n").(*wire.Response).Header
		if got := text(responseHeader(h, c)); got != want {
			t.Errorf("%+v: got\n%swant\n%s", c, got, want)
		}
	}
	f(responseChange{cseq: "4", session: "EDGE;timeout=60", transport: "RTP/AVP;unicast", urls: u, credentials: true},
		"Server: gortsplib\nTransport: RTP/AVP/TCP;interleaved=0-1\nVia: RTSP/1.0 x\nSession: ORIGIN;timeout=65\nContent-Base: rtsp://10.0.0.9/cam/\n"+
			"Content-Location: rtsp://10.0.0.9/cam?x\nPublic: OPTIONS, ANNOUNCE, PLAY, record\nAllow: PLAY\nRetry-After: 5\nContent-Length: 0\nWWW-Authenticate: Digest x\n"+
			"RTP-Info: url=rtsp://10.0.0.9/cam/trackID=0;seq=1;rtptime=2\nRange: npt=0-10\nDate: x\nKeyMgmt: prot=mikey;uri=\"rtsp://10.0.0.9/cam\"\n",
		"CSeq: 4\nServer: gortsplib\nTransport: RTP/AVP;unicast\nSession: EDGE;timeout=60\nContent-Base: rtsp://edge:8554/door/\n"+
			"Content-Location: rtsp://edge:8554/door?x\nPublic: OPTIONS, PLAY\nAllow: PLAY\nRetry-After: 5\n"+
			"RTP-Info: url=rtsp://edge:8554/door/trackID=0;seq=1;rtptime=2\nRange: npt=0-10\nDate: x\nKeyMgmt: prot=mikey;uri=\"rtsp://edge:8554/door\"\n")
	f(responseChange{cseq: "4"}, "CSeq: 99\nWWW-Authenticate: Digest x\n", "CSeq: 4\nWWW-Authenticate: Digest x\n")
	f(responseChange{urls: u}, "Location: rtsp://10.0.0.9:8554/other\nCSeq: 1\n", "Location: rtsp://edge:8554/other\nCSeq: 1\n")
	f(responseChange{urls: u}, "Location: http://10.0.0.9/other\nlocation: mms:x\nLocation: /a:b\n", "Location: /a:b\n")
	f(responseChange{urls: u}, "Content-Base: rtsp://10.0.0.9/media/\n", "Content-Base: rtsp://edge:8554/media/\n")
	if !u.within("/media/track1") {
		t.Error("Content-Base was not learnt")
	}
}

func TestVia(t *testing.T) {
	f := func(via string, want bool) {
		t.Helper()
		if got := looped(wire.Header{{Name: "VIA", Value: "RTSP/1.0 first"}, {Name: "Via", Value: via}}, "edge-1"); got != want {
			t.Errorf("looped(%q) = %v", via, got)
		}
	}
	f("RTSP/1.0 edge-1", true)
	f("RTSP/1.0 a,  1.0 edge-1 (Weir), RTSP/1.0 b", true)
	f("RTSP/1.0 edge-11", false)
	f("RTSP/1.0 a (edge-1)", false)
	f("edge-1", false)
	h := wire.Header{{Name: "CSeq", Value: "1"}}
	if !looped(requestHeader(h, requestChange{via: "edge-1"}), "edge-1") {
		t.Error("the edge does not know its own Via")
	}
}

func TestUnsupported(t *testing.T) {
	h := message(t, "SETUP rtsp://h/ RTSP/1.0\nproxy-require: a, ,b\nProxy-Require: com.example.c\nRequire: d\n\n").(*wire.Request).Header
	if got := unsupported(h); !slices.Equal(got, []string{"a", "b", "com.example.c"}) {
		t.Errorf("unsupported = %q", got)
	}
	if got := unsupported(nil); got != nil {
		t.Errorf("unsupported of nothing = %q", got)
	}
}

func TestPublicMethods(t *testing.T) {
	f := func(in, want string) {
		t.Helper()
		if got := publicMethods(in); got != want {
			t.Errorf("publicMethods(%q) = %q, want %q", in, got, want)
		}
	}
	f("OPTIONS, DESCRIBE,PLAY ,X-NEW", "OPTIONS, DESCRIBE,PLAY ,X-NEW")
	f("ANNOUNCE, OPTIONS, RECORD, PLAY", "OPTIONS, PLAY")
	f("Announce,RECORD", "")
	f("", "")
}

func TestMapRTPInfo(t *testing.T) {
	u := mapping(t, "rtsp://edge/door", "/door", "rtsp://u:s3cret@198.51.100.7/cam?channel=1")
	f := func(in, want string) {
		t.Helper()
		if got := mapRTPInfo(in, u); got != want {
			t.Errorf("mapRTPInfo(%q)\n got %q\nwant %q", in, got, want)
		}
	}
	f("url=rtsp://10.0.0.9/cam/track1;seq=17;rtptime=5,url=rtsp://10.0.0.9/cam/track2;seq=1;rtptime=6", "url=rtsp://edge/door/track1;seq=17;rtptime=5,url=rtsp://edge/door/track2;seq=1;rtptime=6")
	f("url=rtsp://10.0.0.9/cam;seq=17 ,  URL=rtsp://10.0.0.9/cam ; seq=1", "url=rtsp://edge/door;seq=17 ,  URL=rtsp://edge/door ; seq=1")
	f("url=rtsp://10.0.0.9/cam?channel=1/trackID=0;seq=1", "url=rtsp://edge/door/trackID=0;seq=1") // Dahua
	f("url=rtsp://10.0.0.9/cam/a,b;c=d/track1;rtptime=1;seq=1", "url=rtsp://edge/door/a,b;c=d/track1;rtptime=1;seq=1")
	f("seq=1;url=rtsp://10.0.0.9/cam/1", "seq=1;url=rtsp://edge/door/1")
	f(`url="rtsp://10.0.0.9/cam/1" ssrc=0A:seq=1`, `url="rtsp://edge/door/1" ssrc=0A:seq=1`)
	f("url=trackID=1;seq=1,url=;seq=2,url=/cam/3", "url=trackID=1;seq=1,url=;seq=2,url=/cam/3")
	f("url=rtsp://10.0.0.9/x?url=rtsp://y;seq=1", "url=rtsp://edge/x;seq=1")
	f(" ,;, seq=1", " ,;, seq=1")
	f("", "")
}

const hikvision = "v=0\r\no=- 1109162014219182 1109162014219192 IN IP4 10.0.0.9\r\ns=Media Presentation\r\ne=NONE\r\nb=AS:5100\r\nt=0 0\r\n" +
	"a=control:rtsp://admin:s3cret@10.0.0.9:554/Streaming/Channels/101/\r\nm=video 0 RTP/AVP 96\r\nc=IN IP4 10.0.0.9\r\nb=AS:5000\r\na=recvonly\r\n" +
	"a=control:rtsp://admin:s3cret@10.0.0.9:554/Streaming/Channels/101/trackID=1\r\na=rtpmap:96 H264/90000\r\n" +
	"a=fmtp:96 profile-level-id=420029; packetization-mode=1; sprop-parameter-sets=Z00AMp2oCgAzabgICAgQ,aO48gA==\r\n" +
	"a=key-mgmt:mikey AQ==\r\na=range:npt=0-596.458\r\n"

func TestViewerSDP(t *testing.T) {
	u := mapping(t, "rtsp://edge/door", "/door", "rtsp://admin:s3cret@198.51.100.7/Streaming/Channels/101")
	want := strings.NewReplacer("IN IP4 10.0.0.9\r\ns=", "IN IP4 127.0.0.1\r\ns=", "c=IN IP4 10.0.0.9", "c=IN IP4 0.0.0.0",
		"rtsp://admin:s3cret@10.0.0.9:554/Streaming/Channels/101", "rtsp://edge/door").Replace(hikvision)
	if got := string(viewerSDP([]byte(hikvision), u)); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

// TestSDPLines: one line at a time, in a description of one track.
func TestSDPLines(t *testing.T) {
	u := mapping(t, "rtsp://edge/cam", "/cam", "rtsp://198.51.100.7/cam")
	f := func(in, want string) {
		t.Helper()
		if got := string(viewerSDP([]byte(in), u)); got != want {
			t.Errorf("viewerSDP(%q)\n got %q\nwant %q", in, got, want)
		}
	}
	f("o=root@10.0.0.9 12 x IN IP6 2001:db8::7\n", "o=- 12 0 IN IP4 127.0.0.1\n")
	f("o=jdoe 1 2 IN IP4 cam.example\r\n", "o=jdoe 1 2 IN IP4 127.0.0.1\r\n")
	f("o=\n\no=", "o=- 0 0 IN IP4 127.0.0.1\n\no=- 0 0 IN IP4 127.0.0.1")
	f("c=IN IP6 2001:db8::7\r", "c=IN IP6 ::\r")
	f("c=IN IP4 cam.example\n", "c=IN IP4 0.0.0.0\n")
	f("c=\n", "c=IN IP4 0.0.0.0\n")
	f("m=audio 49170/2 RTP/AVP 0\r\nc=IN IP4 10.0.0.9\r\n", "m=audio 49170/2 RTP/AVP 0\r\nc=IN IP4 0.0.0.0\r\n")
	f("m=audio 5004/2 RTP/AVP 0  8\nc=IN IP4 239.1.2.3/127/2\n", "m=audio 0 RTP/AVP 0  8\nc=IN IP4 0.0.0.0\n")
	f("c=IN IP6 FF15::101/3\nm=video 5004 RTP/AVP 96\nm=audio 5006 RTP/AVP 0\nc=IN IP4 10.0.0.9\n", "c=IN IP6 ::\nm=video 0 RTP/AVP 96\nm=audio 5006 RTP/AVP 0\nc=IN IP4 0.0.0.0\n")
	f("c=IN IP4 239.1.2.3\nm=video\nm=video 1\n", "c=IN IP4 0.0.0.0\nm=video\nm=video 1\n")
	f("a=Control: RTSP://10.0.0.9/cam/x \r\na=control:*\r\na=control:stream=0\r\na=control:\r\na=control\r\n", "a=Control: rtsp://edge/cam/x \r\na=control:*\r\na=control:stream=0\r\na=control:\r\na=control\r\n")
	f("o\nc\rm\r\na\n", "o\nc\rm\r\na\n")
	f("z=\ngarbage\n\n=\na=range:clock=1-\nb=AS:1\n", "z=\ngarbage\n\n=\na=range:clock=1-\nb=AS:1\n")
	f("", "")
	if u.within("/") || !u.within("/cam/x") {
		t.Error("controls were learnt wrongly")
	}
	viewerSDP([]byte("a=control:rtsp://10.0.0.9/elsewhere/video\r\n"), u)
	if !u.within("/elsewhere/video") {
		t.Error("an absolute control elsewhere is not within the stream")
	}
}

// BenchmarkResponseHeader: the answer to a viewer's PLAY, on its way.
func BenchmarkResponseHeader(b *testing.B) {
	u := mapping(b, "rtsp://edge:8554/door", "/door", "rtsp://admin:s3cret@198.51.100.7/Streaming/Channels/101")
	h := message(b, "RTSP/1.0 200 OK\nCSeq: 71\nServer: GStreamer RTSP server\nSession: 0123456789;timeout=60\nRange: npt=0-596.458\n"+
		"RTP-Info: url=rtsp://10.0.0.9/Streaming/Channels/101/trackID=1;seq=17;rtptime=5, url=rtsp://10.0.0.9/Streaming/Channels/101/trackID=2;seq=1;rtptime=6\n"+
		"Date: Mon, 02 Nov 2026 10:00:00 GMT\n\n").(*wire.Response).Header
	b.ReportAllocs()
	for b.Loop() {
		responseHeader(h, responseChange{cseq: "4", session: "EDGE;timeout=60", urls: u})
	}
}

// BenchmarkViewerSDP: the body of the answer to DESCRIBE.
func BenchmarkViewerSDP(b *testing.B) {
	u := mapping(b, "rtsp://edge:8554/door", "/door", "rtsp://admin:s3cret@198.51.100.7/Streaming/Channels/101")
	body := []byte(hikvision)
	b.ReportAllocs()
	for b.Loop() {
		viewerSDP(body, u)
	}
}
