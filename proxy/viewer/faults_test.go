package viewer

import (
	"context"
	"errors"
	"fmt"
	"net"
	"testing"
	"time"

	"weir/proxy/wire"
)

// A server that says nothing costs Timeout, not more.
func TestSilentServer(t *testing.T) {
	f := func(method string) {
		t.Helper()
		s := fakeServer(t, func(_ net.Conn, req *wire.Request, res *wire.Response) *wire.Response {
			if req.Method == method {
				return nil
			}
			return res
		})
		_, err := Open(t.Context(), Options{URL: "rtsp://" + s.addr + "/cam", Timeout: 50 * time.Millisecond})
		if !errors.Is(err, context.DeadlineExceeded) || !contains(err, method) {
			t.Errorf("Open at a server silent on %s = %v", method, err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		if _, err := Open(ctx, Options{URL: "rtsp://" + s.addr + "/cam"}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Open with a context, at a server silent on %s = %v", method, err)
		}
	}
	f("DESCRIBE")
	f("SETUP")
	f("PLAY")
}

// While Run reads, an unanswered request leaves the viewer as it is; a server
// that ignores TEARDOWN cannot hold it.
func TestUnanswered(t *testing.T) {
	s := fakeServer(t, func(c net.Conn, req *wire.Request, res *wire.Response) *wire.Response {
		if req.Method == "PAUSE" || req.Method == "TEARDOWN" {
			return nil
		}
		return res
	})
	v := open1(t, Options{URL: "rtsp://" + s.addr + "/cam", Timeout: 50 * time.Millisecond})
	stop := running(t, v)
	eventually(t, "Run reading", func() bool { return len(v.reading) == 1 })
	if err := v.Pause(t.Context()); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Pause = %v, want that time ran out", err)
	}
	if _, err := v.Request(t.Context(), "GET_PARAMETER", "", nil, []byte("position")); err != nil {
		t.Errorf("GET_PARAMETER after that = %v", err)
	}
	if err := stop(); err != nil {
		t.Errorf("Run = %v, want nil", err)
	}
	if r := s.requests("GET_PARAMETER")[0]; string(r.Body) != "position" || r.Header.Get("Session") != "abc" {
		t.Errorf("sent %q", r.Raw)
	}
}

func TestStatusError(t *testing.T) {
	s := fakeServer(t, func(_ net.Conn, req *wire.Request, res *wire.Response) *wire.Response {
		if req.Method == "SETUP" {
			res.Code, res.Phrase = 453, "No Place Left"
			res.Header = wire.Header{{Name: "Retry-After", Value: "7"}} // and no CSeq
		}
		return res
	})
	_, err := Open(t.Context(), Options{URL: "rtsp://" + s.addr + "/cam"})
	var e *StatusError
	if !errors.As(err, &e) || e.Method != "SETUP" || e.Code != 453 || e.Phrase != "No Place Left" || e.RetryAfter != 7*time.Second {
		t.Errorf("Open = %v (%+v)", err, e)
	}
	if want := "SETUP: 453 No Place Left"; e.Error() != want {
		t.Errorf("Error() = %q, want %q", e.Error(), want)
	}
}

func TestRedirect(t *testing.T) {
	to := func(location string) *fake { return fakeServer(t, movedTo(location)) }
	last := fakeServer(t, func(_ net.Conn, req *wire.Request, res *wire.Response) *wire.Response {
		if req.Method == "DESCRIBE" && req.Header.Get("Authorization") == "" {
			res.Code = 401
			res.Header.Add("WWW-Authenticate", `Basic realm="x"`)
		}
		return res
	})
	first := to("rtsp://" + last.addr + "/cam")

	_, err := Open(t.Context(), Options{URL: "rtsp://joe:pass@" + first.addr + "/x"})
	var e *StatusError
	if !errors.As(err, &e) || e.Code != 401 {
		t.Errorf("redirected to another host: %v, want 401 as credentials stay behind", err)
	}
	v := open1(t, Options{URL: "rtsp://" + to("rtsp://joe:pass@"+last.addr+"/cam").addr + "/x"})
	if want := "rtsp://" + last.addr + "/cam"; v.URL() != want {
		t.Errorf("URL() = %q, want %q", v.URL(), want)
	}

	loop := to("/again")
	if _, err := Open(t.Context(), Options{URL: "rtsp://" + loop.addr + "/x"}); !contains(err, "over 3 redirects") {
		t.Errorf("a loop: %v", err)
	}
	if n := len(loop.requests("DESCRIBE")); n != 4 {
		t.Errorf("a loop was asked %d times, want 4", n)
	}
}

// TLS is spoken with whom the viewer trusts, and never given up for a redirect.
func TestTLS(t *testing.T) {
	s, trusting := secureServer(t, afterPlay(frames(1, 2)))
	v := open1(t, Options{URL: "rtsps://" + s.addr + "/cam", TLS: trusting})
	running(t, v)
	eventually(t, "2 packets", func() bool { return v.Stats().Packets == 2 })

	plain := fakeServer(t, nil)
	away, _ := secureServer(t, movedTo("rtsp://"+plain.addr+"/cam"))
	f := func(o Options, want string) {
		t.Helper()
		v, err := Open(t.Context(), o)
		if err == nil {
			v.Close()
		}
		if fmt.Sprint(err) != want && !contains(err, want) {
			t.Errorf("Open(%s) = %v, want %q", o.URL, err, want)
		}
	}
	f(Options{URL: "rtsps://" + s.addr + "/cam"}, "certificate")
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	f(Options{URL: "rtsps://" + silent.Addr().String() + "/cam", Timeout: 50 * time.Millisecond}, "deadline exceeded")
	f(Options{URL: "rtsps://" + away.addr + "/cam", TLS: trusting}, "DESCRIBE: 302 Moved, to rtsp")
	to := fakeServer(t, movedTo("rtsps://"+s.addr+"/cam"))
	f(Options{URL: "rtsp://" + to.addr + "/cam", TLS: trusting}, "<nil>")
	f(Options{URL: "rtsp://" + to.addr + "/cam", TLS: trusting, Transport: "udp"}, "DESCRIBE: 302 Moved, to rtsps")
}

func movedTo(location string) answerFunc {
	return func(_ net.Conn, _ *wire.Request, res *wire.Response) *wire.Response {
		res.Code, res.Phrase = 302, "Moved"
		res.Header.Add("Location", location)
		return res
	}
}

// What is missing is counted as lost until it comes late; frames of channels
// that nobody agreed on, and frames larger than the buffer, do no harm.
func TestLoss(t *testing.T) {
	b := frames(65533, 65534, 1, 65535, 2, 2, 5) // 0, 3 and 4 missing; 65535 late; 2 twice
	b = append(b, frame(9, packet(77))...)
	b = append(b, frame(0, append(packet(6), make([]byte, 65535-16)...))...)
	b = append(b, frame(0, []byte{0x80, 96})...) // no RTP
	s := fakeServer(t, afterPlay(b))
	v := open1(t, Options{URL: "rtsp://" + s.addr + "/cam"})
	running(t, v)
	eventually(t, "8 packets", func() bool { return v.Stats().Packets == 8 })
	if s := v.Stats(); s.Lost != 3 || s.Reordered != 1 || s.Bytes != 7*16+65535 || s.FirstKeyAfter != 0 {
		t.Errorf("stats %+v, want 3 lost, 1 reordered, no key frame", s)
	}
}

// The session is kept alive; a server that has forgotten it ends the viewer.
func TestKeepAlive(t *testing.T) {
	alive := 0
	s := fakeServer(t, func(_ net.Conn, req *wire.Request, res *wire.Response) *wire.Response {
		if req.Method == "OPTIONS" {
			if alive++; alive == 2 {
				res.Code, res.Phrase = 454, "Session Not Found"
			}
		}
		return res
	})
	v := open1(t, Options{URL: "rtsp://" + s.addr + "/cam"})
	var e *StatusError
	if err := v.Run(t.Context()); !errors.As(err, &e) || e.Code != 454 {
		t.Errorf("Run = %v, want 454", err)
	}
	for _, r := range s.requests("OPTIONS") {
		if r.Header.Get("Session") != "abc" {
			t.Errorf("sent %q, want the session", r.Raw)
		}
	}
}

func TestServerAsks(t *testing.T) {
	s := fakeServer(t, afterPlay([]byte("OPTIONS * RTSP/1.0\r\nCSeq: 70\r\n\r\nREDIRECT * RTSP/1.0\r\nCSeq: 71\r\n\r\n")))
	v := open1(t, Options{URL: "rtsp://" + s.addr + "/cam"})
	running(t, v)
	eventually(t, "two answers", func() bool { return len(s.responses()) == 2 })
	for i, want := range []int{200, 501} {
		if r := s.responses()[i]; r.Code != want || r.Header.Get("CSeq") != []string{"70", "71"}[i] {
			t.Errorf("answered %q, want %d", r.Raw, want)
		}
	}
}

func TestBye(t *testing.T) {
	b := append(frames(1, 2), frame(1, []byte{0x81, 203, 0, 1, 0, 0, 0, 9})...) // of another source
	b = append(b, frames(3)...)
	b = append(b, frame(1, []byte{0x81, 203, 0, 1, 0, 0, 0, 7})...)
	s := fakeServer(t, afterPlay(b))
	reports := 0
	v := open1(t, Options{URL: "rtsp://" + s.addr + "/cam", OnRTCP: func(int, []byte) { reports++ }})
	if err := v.Run(t.Context()); !errors.Is(err, ErrBye) || v.Stats().Packets != 3 || reports != 2 {
		t.Errorf("Run = %v after %d packets and %d reports", err, v.Stats().Packets, reports)
	}
}

func TestBadServers(t *testing.T) {
	f := func(what, want string, change answerFunc) {
		t.Helper()
		s := fakeServer(t, change)
		v, err := Open(t.Context(), Options{URL: "rtsp://" + s.addr + "/cam", Timeout: time.Second})
		if err == nil {
			err = v.Run(t.Context())
		}
		if !contains(err, want) {
			t.Errorf("%s: %v, want %q", what, err, want)
		}
	}
	body := func(b string) answerFunc {
		return func(_ net.Conn, req *wire.Request, res *wire.Response) *wire.Response {
			if req.Method == "DESCRIBE" {
				res.Body = []byte(b)
			}
			return res
		}
	}
	f("no description", "no media", body("v=0\r\n"))
	f("only a back channel", "no track", body("v=0\r\nm=audio 0 RTP/AVP 0\r\na=sendonly\r\n"))
	f("a control with a blank", "cannot be asked for", body("v=0\r\nm=audio 0 RTP/AVP 0\r\na=control:a b\r\n"))
	f("another transport", "another transport", func(_ net.Conn, req *wire.Request, res *wire.Response) *wire.Response {
		if req.Method == "SETUP" {
			res.Header = wire.Header{{Name: "CSeq", Value: req.Header.Get("CSeq")}, {Name: "Transport", Value: "RTP/AVP;multicast"}}
		}
		return res
	})
	f("cut in a frame", "unexpected EOF", func(c net.Conn, req *wire.Request, res *wire.Response) *wire.Response {
		if req.Method == "PLAY" {
			c.Write(append(res.Append(nil), '$', 0, 1, 0, 1, 2)) //nolint:errcheck // the viewer tells
			c.(*net.TCPConn).CloseWrite()                        //nolint:errcheck
			return nil
		}
		return res
	})
	f("nonsense", "malformed", afterPlay([]byte("nonsense\r\n\r\n")))
}
