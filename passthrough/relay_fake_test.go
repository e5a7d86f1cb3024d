package passthrough

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"weir/proxy/wire"
)

// A fake is an origin whose every word a test says.
type fake struct {
	t     testing.TB
	addr  string
	links <-chan net.Conn
}

func newFake(t testing.TB) *fake {
	t.Helper()
	addr, links := listen(t, "127.0.0.1")
	return &fake{t: t, addr: addr, links: links}
}

func (f *fake) url() string { return "rtsp://" + f.addr }

// A fakeLink is one connection to a fake.
type fakeLink struct {
	t      testing.TB
	c      net.Conn
	in     *wire.Reader
	frames [][]byte // that came before requests: channel and payload
}

// accept waits for the edge's next connection.
func (f *fake) accept() *fakeLink {
	f.t.Helper()
	select {
	case c := <-f.links:
		f.t.Cleanup(func() { c.Close() })
		c.SetDeadline(time.Now().Add(4 * soon))
		return &fakeLink{t: f.t, c: c, in: wire.NewReader(bufio.NewReader(c))}
	case <-time.After(soon):
		f.t.Fatal("nobody dials the origin")
		return nil
	}
}

// request returns the next request, of that method unless that is "".
func (l *fakeLink) request(method string) *wire.Request {
	l.t.Helper()
	for {
		m, err := l.in.Next()
		if err != nil {
			l.t.Fatalf("the origin waits for %s: %v", method, err)
		}
		switch m := m.(type) {
		case *wire.Frame:
			l.frames = append(l.frames, append([]byte{m.Channel}, m.Payload...))
		case *wire.Request:
			if method != "" && m.Method != method {
				l.t.Fatalf("the origin is asked %s, want %s", m.Method, method)
			}
			return m
		default:
			l.t.Fatalf("the origin is sent %T", m)
		}
	}
}

// frame returns the next frame: channel and payload.
func (l *fakeLink) frame() []byte {
	l.t.Helper()
	if len(l.frames) == 0 {
		m, err := l.in.Next()
		f, ok := m.(*wire.Frame)
		if !ok {
			l.t.Fatalf("the origin waits for a frame: %T, %v", m, err)
		}
		return append([]byte{f.Channel}, f.Payload...)
	}
	f := l.frames[0]
	l.frames = l.frames[1:]
	return f
}

// response returns the answer to a request of the origin's own.
func (l *fakeLink) response() *wire.Response {
	l.t.Helper()
	m, err := l.in.Next()
	res, ok := m.(*wire.Response)
	if !ok {
		l.t.Fatalf("the origin waits for an answer: %T, %v", m, err)
	}
	return res
}

func (l *fakeLink) write(b []byte) {
	l.t.Helper()
	if _, err := l.c.Write(b); err != nil {
		l.t.Fatalf("the origin writes: %v", err)
	}
}

// reply answers a request; header is names and values by turns.
func (l *fakeLink) reply(req *wire.Request, code int, body string, header ...string) {
	l.t.Helper()
	res := wire.Response{Code: code, Phrase: "Said", Body: []byte(body)}
	res.Header.Add("CSeq", req.Header.Get("CSeq"))
	for i := 0; i < len(header); i += 2 {
		res.Header.Add(header[i], header[i+1])
	}
	l.write(res.Append(nil))
}

// wantEnd waits until the edge has closed the connection; what comes before is
// dropped.
func (l *fakeLink) wantEnd() {
	l.t.Helper()
	for {
		if _, err := l.in.Next(); err != nil {
			if errors.Is(err, os.ErrDeadlineExceeded) {
				l.t.Fatalf("the origin's connection does not end: %v", err)
			}
			return
		}
	}
}

// describe answers DESCRIBE with a description of some tracks.
func (l *fakeLink) describe(tracks int) {
	l.t.Helper()
	l.reply(l.request("DESCRIBE"), 200, description(tracks), "Content-Type", "application/sdp")
}

func description(tracks int) string {
	var b strings.Builder
	b.WriteString("v=0\r\no=- 1 1 IN IP4 198.51.100.7\r\ns=x\r\nc=IN IP4 198.51.100.7\r\nt=0 0\r\n")
	for i := range tracks {
		fmt.Fprintf(&b, "m=video 0 RTP/AVP 96\r\nb=AS:100\r\na=rtpmap:96 H264/90000\r\na=control:trackID=%d\r\n", i)
	}
	return b.String()
}

// setup answers SETUP with a session, and the channels that are asked for.
func (l *fakeLink) setup(session string) *wire.Request {
	l.t.Helper()
	req := l.request("SETUP")
	l.reply(req, 200, "", "Session", session, "Transport", req.Header.Get("Transport")+";ssrc=00000001")
	return req
}

// play answers PLAY.
func (l *fakeLink) play() *wire.Request {
	l.t.Helper()
	req := l.request("PLAY")
	l.reply(req, 200, "", "Session", req.Header.Get("Session"))
	return req
}

// staged is a player and the origin's end of what he watches: one track, on
// channels 0 and 1 or the ports in offer.
func staged(e *edge, f *fake, path, offer string) (*player, *fakeLink) {
	e.t.Helper()
	p := e.dial(path)
	p.send("DESCRIBE", "")
	l := f.accept()
	l.describe(1)
	p.want(200)
	p.send("SETUP", "/trackID=0", "Transport", offer)
	l.setup("77;timeout=60")
	p.setUp(p.want(200))
	p.send("PLAY", "")
	l.play()
	p.want(200)
	return p, l
}
