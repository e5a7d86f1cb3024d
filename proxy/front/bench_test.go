package front

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"

	"weir/proxy"
)

// BenchmarkHandOff is what the front adds to a viewer: from the first byte of a
// request until the ladder has it, without sockets.
func BenchmarkHandOff(b *testing.B) {
	d := build(b, ladder{rtsp: func(context.Context, *proxy.RTSPConn) {}, http: ok}, func(c *Config) {
		c.Gate, c.Log = proxy.Open, zap.NewNop()
	})
	defer d.rtsp.Close()
	defer d.http.Close()
	rtsp := func(request string) func(*testing.B) {
		return func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				sock := &canned{r: strings.NewReader(request)}
				d.serveRTSP(b.Context(), &conn{Conn: sock, l: d.rtsp, leave: func() {}})
			}
		}
	}
	b.Run("rtsp", rtsp(describe))
	b.Run("rtsp/after=OPTIONS", rtsp(options+describe))
	b.Run("http", func(b *testing.B) {
		b.ReportAllocs()
		w, r := httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/live/cam/segment.ts?token=x", nil)
		u := *r.URL
		for b.Loop() {
			r.URL = &url.URL{Path: u.Path, RawQuery: u.RawQuery}
			d.serveHTTP(w, r)
		}
	})
	b.Run("http/parallel", func(b *testing.B) {
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			w, r := httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/live/cam/segment.ts?token=x", nil)
			u := *r.URL
			for pb.Next() {
				r.URL = &url.URL{Path: u.Path, RawQuery: u.RawQuery}
				d.serveHTTP(w, r)
			}
		})
	})
}

// BenchmarkHit is what 2 KB at hand cost on a connection that stays, both ends
// in this process; the viewer's is a write and a read.
func BenchmarkHit(b *testing.B) {
	f := func(name string, h proxy.Handler) {
		b.Run(name, func(b *testing.B) {
			d := open(b, ladder{}, handler(h), func(c *Config) { c.Gate, c.Log = proxy.Open, zap.NewNop() })
			request := req("GET /live/cam/segment.ts?token=x", "User-Agent: Mozilla/5.0 (X11; Linux x86_64)", "Accept: */*", "Accept-Encoding: gzip", "Connection: keep-alive")
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				c := d.client(b, d.dialHTTP)
				c.SetDeadline(time.Time{}) //nolint:errcheck // the read says it
				for answer := make([]byte, len(fixedHeader)+len(fixedBody)); pb.Next(); {
					c.send(request)
					if _, err := io.ReadFull(c, answer); err != nil {
						b.Error(err)
						return
					}
				}
			})
		})
	}
	f("way=net-http", fixed{})
	f("way=quick", fixedHitter{})
}

// BenchmarkReadPlain is the part of it that is between read and lookup.
func BenchmarkReadPlain(b *testing.B) {
	request := []byte(req("GET /live/cam/segment.ts?token=x", "User-Agent: Mozilla/5.0 (X11; Linux x86_64)", "Accept: */*", "Accept-Encoding: gzip", "Connection: keep-alive"))
	from := netip.MustParseAddrPort("192.0.2.7:50000")
	b.ReportAllocs()
	for b.Loop() {
		r, _ := readPlain(request)
		r.question(from)
	}
}

const fixedHeader = "HTTP/1.1 200 OK\r\nAge: 7\r\nContent-Length: 2048\r\nContent-Type: video/mp2t\r\nDate: Mon, 23 Nov 2026 00:00:00 GMT\r\n\r\n"

var fixedBody = make([]byte, 2048)

// A fixed handler has one answer.
type fixed struct{}

func (fixed) ServeRTSP(context.Context, *proxy.RTSPConn) {}
func (fixed) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	h := w.Header()
	h["Age"], h["Content-Length"], h["Content-Type"] = []string{"7"}, []string{"2048"}, []string{"video/mp2t"}
	h["Date"] = []string{"Mon, 23 Nov 2026 00:00:00 GMT"}
	w.Write(fixedBody) //nolint:errcheck // the client sees it
}

type fixedHitter struct{ fixed }

func (fixedHitter) Hit(*proxy.Plain) *proxy.Hit {
	return &proxy.Hit{Header: []byte(fixedHeader), Body: net.Buffers{fixedBody}, Done: func(int64) {}}
}

// A canned connection has received what r has, and sends nowhere.
type canned struct {
	net.Conn
	r io.Reader
}

func (c *canned) Read(b []byte) (int, error)       { return c.r.Read(b) }
func (c *canned) Write(b []byte) (int, error)      { return len(b), nil }
func (c *canned) Close() error                     { return nil }
func (c *canned) RemoteAddr() net.Addr             { return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 7), Port: 50000} }
func (c *canned) SetReadDeadline(time.Time) error  { return nil }
func (c *canned) SetWriteDeadline(time.Time) error { return nil }
