package viewer

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"weir/proxy/sdp"
	"weir/proxy/wire"
)

func TestResolve(t *testing.T) {
	f := func(base, control, want string) {
		t.Helper()
		if got := resolve(base, control); got != want {
			t.Errorf("resolve(%q, %q) = %q, want %q", base, control, got, want)
		}
	}
	f("rtsp://h/cam", "trackID=1", "rtsp://h/cam/trackID=1")
	f("rtsp://h/cam/", "trackID=1", "rtsp://h/cam/trackID=1")
	f("rtsp://h/cam/", "/trackID=1", "rtsp://h/cam/trackID=1")
	f("rtsp://h/cam?a=b", "trackID=1", "rtsp://h/cam?a=b/trackID=1")
	f("rtsp://h/cam/", "", "rtsp://h/cam/")
	f("rtsp://h/cam", "*", "rtsp://h/cam")
	f("rtsp://h/cam", "RTSP://other/x", "RTSP://other/x")
}

func TestBases(t *testing.T) {
	f := func(header wire.Header, control, session, tracks string) {
		t.Helper()
		res := &wire.Response{Header: header, Body: []byte("v=0\r\n" + control + "m=video 0 RTP/AVP 96\r\na=control:x\r\n")}
		if s, b := bases("rtsp://h/cam?q", res); s != session || b != tracks {
			t.Errorf("bases(%v, %q) = %q, %q, want %q, %q", header, control, s, b, session, tracks)
		}
	}
	base := wire.Header{{Name: "Content-Location", Value: "rtsp://h/l"}, {Name: "Content-Base", Value: "rtsp://h/b/"}}
	f(nil, "", "rtsp://h/cam?q", "rtsp://h/cam?q")
	f(nil, "a=control:*\r\n", "rtsp://h/cam?q", "rtsp://h/cam?q")
	f(base, "", "rtsp://h/b/", "rtsp://h/b/")
	f(base[:1], "", "rtsp://h/l", "rtsp://h/l")
	f(base, "a=control:all\n", "rtsp://h/b/all", "rtsp://h/b/")
	f(base, "a=control:rtsp://i/c\r\n", "rtsp://i/c", "rtsp://i/c")
	f(wire.Header{{Name: "Content-Base", Value: "/rel/"}}, "", "rtsp://h/rel/", "rtsp://h/rel/")
}

func TestSession(t *testing.T) {
	f := func(s, id string, timeout time.Duration) {
		t.Helper()
		if i, d := session(s); i != id || d != timeout {
			t.Errorf("session(%q) = %q, %v, want %q, %v", s, i, d, id, timeout)
		}
	}
	f("abc", "abc", time.Minute)
	f("abc ; Timeout = 30", "abc", 30*time.Second)
	f("abc;timeout=0", "abc", time.Minute)
	f("abc;timeout=x", "abc", time.Minute)
}

func TestParseTransport(t *testing.T) {
	f := func(s, want string) {
		t.Helper()
		tr := parseTransport(s)
		ssrc := "-"
		if tr.ssrc != nil {
			ssrc = fmt.Sprint(*tr.ssrc)
		}
		if got := fmt.Sprintf("%v %v %d %d %v %s", tr.tcp, tr.channelled, tr.rtp, tr.rtcp, tr.source, ssrc); got != want {
			t.Errorf("parseTransport(%q) = %s, want %s", s, got, want)
		}
	}
	f("RTP/AVP/TCP;unicast;interleaved=4-5;ssrc=0000000F", "true true 4 5 invalid IP 15")
	f("RTP/AVP/TCP;interleaved=6", "true true 6 -1 invalid IP -")
	f("RTP/AVP/TCP;unicast;interleaved=300-301", "true false -1 -1 invalid IP -")
	f("rtp/avp/tcp; unicast", "true false 0 0 invalid IP -")
	f("RTP/AVP;unicast;client_port=2-3;server_port=8000-8001;source=127.0.0.2", "false false 8000 8001 127.0.0.2 -")
	f("RTP/AVP/UDP;unicast;source=name.example;ssrc=xyz", "false false 0 0 invalid IP -")
}

func TestRTPInfo(t *testing.T) {
	f := func(s, want string) {
		t.Helper()
		infos := rtpInfos(wire.Header{{Name: "RTP-Info", Value: s}})
		var got []string
		for i, control := range []string{"trackID=0", "trackID=1"} {
			line := "-"
			if i := infoOf(infos, &track{url: "rtsp://h/cam/" + control, media: sdp.Media{Control: control}}, i, 2); i != nil {
				line = i.url
				if i.seq != nil && i.rtptime != nil {
					line = fmt.Sprint(*i.seq, "/", *i.rtptime)
				}
			}
			got = append(got, line)
		}
		if strings.Join(got, " ") != want {
			t.Errorf("RTP-Info %q = %q, want %q", s, got, want)
		}
	}
	f("url=rtsp://h/cam/trackID=1;seq=5;rtptime=6, url=rtsp://h/cam/trackID=0;seq=7;rtptime=4294967295", "7/4294967295 5/6")
	f("url=trackID=1;seq=5;rtptime=6", "- 5/6")
	f("url=rtsp://other/trackID=0;seq=1;rtptime=2", "1/2 -")
	f("url=rtsp://h/a,b;seq=1;rtptime=2,url=rtsp://h/c;seq=3;rtptime=4", "1/2 3/4")
	f("url=a;seq=70000;rtptime=2,url=b", "a b")
	f("", "- -")
}

// Whatever a server writes, nothing of it makes the viewer panic.
func FuzzHeaders(f *testing.F) {
	f.Add("url=rtsp://h/a,b;seq=1;rtptime=2,url=rtsp://h/c;seq=3;rtptime=4")
	f.Add("RTP/AVP/TCP;unicast;interleaved=4-5;ssrc=0000000F")
	f.Add("abc;timeout=30")
	f.Fuzz(func(t *testing.T, s string) {
		rtpInfos(wire.Header{{Name: "RTP-Info", Value: s}})
		if tr := parseTransport(s); tr.channelled && (tr.rtp < 0 || tr.rtp > 255 || tr.rtcp > 255) {
			t.Errorf("parseTransport(%q) = %+v", s, tr)
		}
		if _, d := session(s); d <= 0 {
			t.Errorf("session(%q) times out after %v", s, d)
		}
		bases("rtsp://h/", &wire.Response{Header: wire.Header{{Name: "Content-Base", Value: s}}, Body: []byte(s)})
	})
}
