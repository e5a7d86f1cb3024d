package front

import (
	"context"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"weir/proxy"
)

// A load balancer's check costs nothing: no gate, no ladder.
func TestOptionsIsAnsweredByTheFront(t *testing.T) {
	d := open(t, ladder{})
	c := d.client(t, d.dialRTSP)
	for _, cseq := range []string{"1", "2", "77"} {
		c.send(lines("OPTIONS rtsp://edge/cam RTSP/1.0", "CSeq: "+cseq))
		res := c.answer()
		if res.Code != 200 || res.Header.Get("CSeq") != cseq || res.Header.Get("Public") != proxy.RTSPMethods {
			t.Errorf("OPTIONS %s = %s", cseq, res.Raw)
		}
	}
	if n := d.gate.Count().Checks; n != 0 {
		t.Errorf("the gate was asked %d times", n)
	}
}

func TestOptionsWhileDraining(t *testing.T) {
	d := open(t, ladder{}, func(c *Config) { c.DrainNotice = 4500 * time.Millisecond })
	c := d.viaRTSP(t, options)
	if res := c.answer(); res.Code != 200 || d.Ready() != nil {
		t.Errorf("before: %d, ready %v", res.Code, d.Ready())
	}
	d.Drain()
	c.send(options)
	if res := c.answer(); res.Code != 503 || res.Header.Get("CSeq") != "1" || res.Header.Get("Retry-After") != "5" {
		t.Errorf("draining: %s", res.Raw)
	}
	if d.Ready() == nil {
		t.Error("ready though draining")
	}
}

// Whatever way the bytes come in, the handler reads them from its first request
// on, each once.
func TestHandOver(t *testing.T) {
	setup := lines("SETUP rtsp://edge/cam/trackID=0 RTSP/1.0", "CSeq: 3", "Transport: RTP/AVP/TCP")
	f := func(pieces int, before int, want string) {
		t.Helper()
		got := make(chan string)
		d := open(t, ladder{rtsp: func(_ context.Context, c *proxy.RTSPConn) {
			if string(c.First.Raw) != want[:len(c.First.Raw)] || c.First.Method != want[:len(c.First.Method)] {
				t.Errorf("First = %+v", c.First)
			}
			b, err := io.ReadAll(c)
			if err != nil {
				t.Error(err)
			}
			got <- string(b)
		}})
		c := d.client(t, d.dialRTSP)
		all := strings.Repeat(options, before) + want
		for len(all) > 0 {
			n := (len(all) + pieces - 1) / pieces
			c.send(all[:n])
			all, pieces = all[n:], pieces-1
		}
		for range before {
			if res := c.answer(); res.Code != 200 {
				t.Errorf("OPTIONS = %d", res.Code)
			}
		}
		c.Conn.(*net.TCPConn).CloseWrite() //nolint:errcheck // the handler sees the end or not
		if b := <-got; b != want {
			t.Errorf("read %d bytes %.80q, want %d bytes %.80q", len(b), b, len(want), want)
		}
	}
	f(1, 0, describe)
	f(1, 1, describe)
	f(1, 3, describe+setup)
	f(5, 1, describe+setup)
	f(1, 1, describe+setup+"$\x00\x00\x04abcd"+strings.Repeat("x", 10<<10))                                                // more than one buffer
	f(1, 1, lines("DESCRIBE rtsp://edge/cam RTSP/1.0", "CSeq: 3", "X-Long: "+strings.Repeat("x", 6<<10))+setup)            // a request larger than the buffer
	f(3, 1, lines("ANNOUNCE rtsp://edge/cam RTSP/1.0", "CSeq: 3", "Content-Length: 5000")+strings.Repeat("v", 5000)+setup) // a body

}

// On a pipe each write is a read, so these really come byte by byte.
func TestHandOverByteByByte(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		want := describe + describe
		got := make(chan string, 1)
		d := openPipes(t, ladder{rtsp: func(_ context.Context, c *proxy.RTSPConn) {
			b := make([]byte, len(want)+1)
			n, _ := io.ReadFull(c, b) // ends as the client leaves
			got <- string(b[:n])
		}})
		c := d.client(t, d.dialRTSP)
		go func() {
			for i := range options + want {
				c.send((options + want)[i : i+1])
			}
			c.Close()
		}()
		if res := c.answer(); res.Code != 200 {
			t.Errorf("OPTIONS = %d", res.Code)
		}
		if b := <-got; b != want {
			t.Errorf("read %q, want %q", b, want)
		}
	})
}

func TestViewer(t *testing.T) {
	got := make(chan *proxy.Viewer)
	d := open(t, ladder{rtsp: func(_ context.Context, c *proxy.RTSPConn) { got <- c.Viewer }})
	f := func(line string, want proxy.Viewer, header ...string) {
		t.Helper()
		c := d.viaRTSP(t, lines(append([]string{line + " RTSP/1.0", "CSeq: 1"}, header...)...))
		want.Addr, want.Protocol = c.LocalAddr().(*net.TCPAddr).AddrPort(), "rtsp"
		want.Method, want.Target, _ = strings.Cut(line, " ")
		if v := <-got; *v != want {
			t.Errorf("%s: %+v, want %+v", line, *v, want)
		}
	}
	cam := proxy.Viewer{Path: "/cam"}
	token := proxy.Viewer{Path: "/cam", Query: "token=x"}
	f("DESCRIBE rtsp://edge/cam", cam)
	f("DESCRIBE rtsp://edge:8554/cam/", cam)
	f("DESCRIBE rtsp://user:secret@edge//./cam", cam)
	f("DESCRIBE /cam", cam)
	f("DESCRIBE rtsp://edge/cam?token=x", token)
	f("DESCRIBE rtsp://edge/cam?token=x/", token) // ffmpeg's base
	f("DESCRIBE rtsp://edge/door%20cam", proxy.Viewer{Path: "/door cam"})
	f("DESCRIBE rtsp://edge/cam/trackID=1", proxy.Viewer{Path: "/cam/trackID=1"}) // only SETUP names tracks
	f("SETUP rtsp://edge/cam/trackID=1", cam)
	f("SETUP rtsp://edge/cam/trackID=1?token=x", token)
	f("SETUP rtsp://edge/cam?token=x/trackID=1", token) // ffmpeg's control
	f("GET_PARAMETER *", proxy.Viewer{Path: "/"})
	f("PLAY rtsp://edge/cam", proxy.Viewer{Path: "/cam", Authorization: "Bearer abc", UserAgent: "VLC/3"},
		"authorization: Bearer abc", "User-Agent: VLC/3")
}

func TestBadFirstRequest(t *testing.T) {
	d := open(t, ladder{})
	f := func(code int, send string) {
		t.Helper()
		c := d.client(t, d.dialRTSP)
		io.WriteString(c, send) //nolint:errcheck // the front may have closed before the end
		if res := c.answer(); res.Code != code {
			t.Errorf("%.40q: %d, want %d", send, res.Code, code)
		}
		c.closed()
	}
	f(400, "garbage\r\n\r\n")
	f(400, "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n") // TLS
	f(400, get)
	f(505, lines("DESCRIBE rtsp://edge/cam RTSP/2.0", "CSeq: 1"))
	f(400, "DESCRIBE rtsp://edge/cam RTSP/1.0\r\n\r\n")
	f(400, "OPTIONS * RTSP/1.0\r\n\r\n")
	f(400, lines("RTSP/1.0 200 OK", "CSeq: 1"))
	f(400, "$\x00\x00\x01x")
	f(400, lines("DESCRIBE rtsp://edge/cam RTSP/1.0", "CSeq: 1", "Content-Length: 0", "Content-Length: 5"))
	f(400, lines("DESCRIBE rtsp://edge/cam RTSP/1.0", "CSeq: 1", "Content-Length: 99999999"))
	f(400, lines("DESCRIBE rtsp://edge/cam RTSP/1.0", "CSeq: 1", "Transfer-Encoding: chunked"))
	f(400, "DESCRIBE rtsp://edge/cam RTSP/1.0\r\n"+strings.Repeat("A: b\r\n", 20<<10))
	f(400, "DESCRIBE rtsp://edge/cam RTSP/1.0\r\nA: "+strings.Repeat("b", 100<<10))
	f(400, strings.Repeat("\r\n", 50<<10))
	for _, url := range []string{"rtsp://edge/a%2fb", "rtsp://edge/a%5Cb", "rtsp://edge/a/../b", "rtsp://edge/%2e%2e/b",
		"rtsp://edge/%zz", "rtsp://edge/a%00", "rtsp:cam", "rtsp:%2e%2e/cam"} {
		f(400, lines("DESCRIBE "+url+" RTSP/1.0", "CSeq: 1"))
	}
	if n := d.gate.Count().Checks; n != 0 {
		t.Errorf("the gate was asked %d times", n)
	}
}

// What goes wrong before the first request ends leaves nothing behind.
func TestViewerGoneBeforeItsFirstRequest(t *testing.T) {
	d := open(t, ladder{})
	f := func(send string) {
		t.Helper()
		c := d.viaRTSP(t, send)
		c.Conn.(*net.TCPConn).CloseWrite() //nolint:errcheck // the front sees the end or not
		if s := c.closed(); s != "" {
			t.Errorf("%q: answered %q", send, s)
		}
	}
	f("")
	f("DESC")
	f(describe[:len(describe)-2])
	f("$\x00\xff\xff")
}

// The socket is for raw writes; what went past the connection can be counted.
func TestSocketBelow(t *testing.T) {
	local := make(chan netip.AddrPort, 1)
	d := open(t, ladder{rtsp: func(_ context.Context, c *proxy.RTSPConn) {
		local <- c.TCP().RemoteAddr().(*net.TCPAddr).AddrPort()
		io.WriteString(c.TCP(), "raw") //nolint:errcheck // the client sees it
	}})
	c := d.viaRTSP(t, describe)
	if got := c.closed(); got != "raw" {
		t.Errorf("read %q, want raw", got)
	}
	if got, want := <-local, c.LocalAddr().(*net.TCPAddr).AddrPort(); got != want {
		t.Errorf("TCP is the socket of %v, want %v", got, want)
	}
}
