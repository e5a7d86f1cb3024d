package front

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
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
