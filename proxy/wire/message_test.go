package wire

import (
	"net/url"
	"testing"
)

func TestHeader(t *testing.T) {
	h := Header{{"CSeq", "1"}, {"require", "a"}, {"Require", "b"}}
	if got := h.Get("REQUIRE"); got != "a" {
		t.Errorf("Get = %q, want the first", got)
	}
	if got := h.Get("Session"); got != "" {
		t.Errorf("Get of nothing = %q", got)
	}
	if got := h.Count("Require"); got != 2 {
		t.Errorf("Count = %d, want 2", got)
	}
	h.Add("Require", "c")
	if len(h) != 4 || h[3] != (Field{"Require", "c"}) {
		t.Errorf("after Add: %v", h)
	}
}

func TestTarget(t *testing.T) {
	f := func(raw string, want url.URL) {
		t.Helper()
		u, err := (&Request{URL: raw}).Target()
		if err != nil || *u != want {
			t.Errorf("Target(%q) = %+v, %v, want %+v", raw, u, err, want)
		}
	}
	f("*", url.URL{})
	f("rtsp://h:554/a?b", url.URL{Scheme: "rtsp", Host: "h:554", Path: "/a", RawQuery: "b"})
	f("/a", url.URL{Path: "/a"})
	if u, err := (&Request{URL: "rtsp://h:port/"}).Target(); err == nil {
		t.Errorf("Target of a bad URL = %+v", u)
	}
}

func TestRequestAppend(t *testing.T) {
	f := func(r Request, want string) {
		t.Helper()
		if got := string(r.Append([]byte("x"))); got != "x"+want {
			t.Errorf("Append = %q, want x and %q", got, want)
		}
		m, err := reader(want).Next()
		if err != nil {
			t.Fatalf("%q: %v", want, err)
		}
		if again := string(m.(*Request).Append(nil)); again != want {
			t.Errorf("written %q, read and written again %q", want, again)
		}
	}
	f(Request{Method: "OPTIONS", URL: "*"}, "OPTIONS * RTSP/1.0\r\n\r\n")
	f(Request{Method: "PLAY", URL: "rtsp://h/a", Header: Header{{"cseq", "1"}, {"A", ""}, {"cseq", "2"}}},
		"PLAY rtsp://h/a RTSP/1.0\r\ncseq: 1\r\nA: \r\ncseq: 2\r\n\r\n")
	f(Request{Method: "SET_PARAMETER", URL: "/a", Header: Header{{"CSeq", "1"}}, Body: []byte("a: b\r\n")},
		"SET_PARAMETER /a RTSP/1.0\r\nCSeq: 1\r\nContent-Length: 6\r\n\r\na: b\r\n")
	f(Request{Method: "ANNOUNCE", URL: "/a", Header: Header{{"content-length", "1"}, {"CSeq", "1"}}, Body: []byte("x")},
		"ANNOUNCE /a RTSP/1.0\r\ncontent-length: 1\r\nCSeq: 1\r\n\r\nx")
}

func TestResponseAppend(t *testing.T) {
	f := func(r Response, want string) {
		t.Helper()
		if got := string(r.Append(nil)); got != want {
			t.Errorf("Append = %q, want %q", got, want)
		}
		m, err := reader(want).Next()
		if err != nil {
			t.Fatalf("%q: %v", want, err)
		}
		if again := string(m.(*Response).Append(nil)); again != want {
			t.Errorf("written %q, read and written again %q", want, again)
		}
	}
	f(Response{Code: 200, Phrase: "OK"}, "RTSP/1.0 200 OK\r\n\r\n")
	f(Response{Code: 200}, "RTSP/1.0 200 \r\n\r\n")
	f(Response{Code: 200, Phrase: "OK", Header: Header{{"CSeq", "1"}}, Body: []byte("v=0")},
		"RTSP/1.0 200 OK\r\nCSeq: 1\r\nContent-Length: 3\r\n\r\nv=0")
}
