package passthrough

import (
	"fmt"
	"strings"
	"testing"
)

// TestRelayOriginAsks: an origin's own requests reach the viewer, and his answer
// the origin.
func TestRelayOriginAsks(t *testing.T) {
	f := newFake(t)
	e := newEdge(t, quick, f.url())
	p, l := staged(e, f, "/cam", overTCP)
	for i, method := range []string{"OPTIONS", "GET_PARAMETER", "SET_PARAMETER", "ANNOUNCE"} {
		asks := fmt.Sprintf("%s rtsp://%s/cam RTSP/1.0\r\ncseq: 0%d\r\nSession: 77\r\nX-A: b\r\nContent-Length: 4\r\n\r\nbody", method, f.addr, 900+i)
		l.write([]byte(asks))
		p.send("GET_PARAMETER", "")
		l.reply(l.request("GET_PARAMETER"), 200, "")
		p.want(200)
		req := p.asked[i]
		if req.Method != method || req.URL != p.url || string(req.Body) != "body" || req.Header.Get("X-A") != "b" || !strings.HasPrefix(req.Header.Get("Session"), p.session) {
			t.Fatalf("the viewer is asked %s %s\n%s%s", req.Method, req.URL, text(req.Header), req.Body)
		}
		p.write(fmt.Sprintf("RTSP/1.0 20%d Yes\r\nX-B: c\r\nCSeq: %s\r\nSession: %s\r\n\r\n", i, req.Header.Get("CSeq"), p.session))
		res := l.response()
		if res.Code != 200+i || res.Header.Get("CSeq") != fmt.Sprint("0", 900+i) || res.Header.Get("Session") != "77" || res.Header.Get("X-B") != "c" {
			t.Errorf("the origin is answered %d\n%s", res.Code, text(res.Header))
		}
	}
	p.write("RTSP/1.0 200 OK\r\nCSeq: 12345\r\n\r\n") // to no question
	l.write([]byte(fmt.Sprintf("REDIRECT rtsp://%s/cam RTSP/1.0\r\nCSeq: 5\r\nLocation: rtsp://198.51.100.7/\r\n\r\n", f.addr)))
	if res := l.response(); res.Code != 200 || res.Header.Get("CSeq") != "5" {
		t.Errorf("REDIRECT is answered %d\n%s", res.Code, text(res.Header))
	}
	if len(p.asked) != 4 {
		t.Errorf("the viewer is asked %v", p.asked)
	}
}

// TestRelayViewerDoesNotAnswer: the edge does it for him once he owes too much.
func TestRelayViewerDoesNotAnswer(t *testing.T) {
	f := newFake(t)
	e := newEdge(t, quick, f.url())
	_, l := staged(e, f, "/cam", overTCP)
	for range maxAsked + 1 {
		l.write([]byte("OPTIONS * RTSP/1.0\r\nCSeq: 5\r\n\r\n"))
	}
	if res := l.response(); res.Code != 200 || res.Header.Get("CSeq") != "5" {
		t.Errorf("answered %d\n%s", res.Code, text(res.Header))
	}
}
