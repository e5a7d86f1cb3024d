package front

import (
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"weir/proxy"
	"weir/proxy/proxytest"
)

func ok(http.ResponseWriter, *http.Request) {}

// Modes see a path and a query, the same for every way of writing them.
func TestHTTPShape(t *testing.T) {
	type seen struct {
		url    url.URL
		viewer proxy.Viewer
	}
	got := make(chan seen, 1)
	d := open(t, ladder{http: func(_ http.ResponseWriter, r *http.Request) {
		got <- seen{*r.URL, *proxy.ViewerFrom(r.Context())}
	}})
	f := func(target, viewerPath, want string) {
		t.Helper()
		c := d.viaHTTP(t, "GET "+target+" HTTP/1.1\r\nHost: edge\r\nAuthorization: Bearer abc\r\nUser-Agent: VLC/3\r\n\r\n")
		if res, _ := c.response(); res.StatusCode != 200 {
			t.Fatalf("GET %s = %d", target, res.StatusCode)
		}
		s := <-got
		if s.url.String() != want || s.url.RequestURI() != want || s.url.User != nil || s.url.Host != "" {
			t.Errorf("GET %s: URL %#v, want %s", target, s.url, want)
		}
		_, query, _ := strings.Cut(want, "?")
		v := proxy.Viewer{Addr: c.LocalAddr().(*net.TCPAddr).AddrPort(), Protocol: "http",
			Method: "GET", Target: target, Path: viewerPath, Query: query, Authorization: "Bearer abc", UserAgent: "VLC/3"}
		if s.viewer != v {
			t.Errorf("GET %s: viewer %+v, want %+v", target, s.viewer, v)
		}
	}
	f("/", "/", "/")
	f("/a/b.m3u8", "/a/b.m3u8", "/a/b.m3u8")
	f("//a//./b", "/a/b", "/a/b")
	f("/a?x=1&y=%2f", "/a", "/a?x=1&y=%2f")
	f("/door%20cam", "/door cam", "/door%20cam")
	f("/a%3Fb", "/a?b", "/a%3Fb")
	f("/%61", "/a", "/a")
	// A folder stays one.
	f("/a/", "/a", "/a/")
	f("/a//", "/a", "/a/")
	f("/a/?x=1", "/a", "/a/?x=1")
	f("/a?next=/", "/a", "/a?next=/")
	// The absolute form names this server, whatever it names.
	f("http://other:80/a/b", "/a/b", "/a/b")
	f("http://other/a/?x=1", "/a", "/a/?x=1")
	f("http://user:secret@other/a", "/a", "/a")
	f("http://other", "/", "/")
}

func TestHTTPRefusesItself(t *testing.T) {
	d := open(t, ladder{})
	f := func(code int, line string) {
		t.Helper()
		c := d.viaHTTP(t, line+" HTTP/1.1\r\nHost: edge\r\n\r\n")
		if res, _ := c.response(); res.StatusCode != code {
			t.Errorf("%s: %d, want %d", line, res.StatusCode, code)
		}
	}
	f(405, "CONNECT edge:443")
	f(400, "GET /a%2fb")
	f(400, "GET /a%5Cb")
	f(400, "GET /a/../b")
	f(400, "GET /%2e%2e/b")
	f(400, "GET /a%00")
	f(400, "GET http:secret")     // no path at all, yet upstreams would be sent it
	f(400, "GET http:%2e%2e/cam") // the same
	if n := d.gate.Count().Checks; n != 0 {
		t.Errorf("the gate was asked %d times", n)
	}
}

// A hooked listener's connections say what is read from by their ReadFrom.
type hooked struct {
	net.Listener
	from chan io.Reader
}

func (h hooked) Accept() (net.Conn, error) {
	c, err := h.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return hookedConn{c.(*net.TCPConn), h.from}, nil
}

type hookedConn struct {
	*net.TCPConn
	from chan io.Reader
}

func (c hookedConn) ReadFrom(r io.Reader) (int64, error) {
	c.from <- r
	return c.TCPConn.ReadFrom(r)
}

// A file goes from the disk to the socket without passing through us: the
// socket's own ReadFrom is given the file.
func TestSendfile(t *testing.T) {
	name := filepath.Join(t.TempDir(), "segment.ts")
	if err := os.WriteFile(name, make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	f := func(how string, serve http.HandlerFunc) {
		t.Helper()
		d := build(t, ladder{http: serve})
		from := make(chan io.Reader, 9)
		d.http.Listener = hooked{d.http.Listener, from}
		d.dialHTTP = func() (net.Conn, error) { return net.Dial("tcp", d.HTTPAddr().String()) }
		d.start(t)
		if _, body := d.viaHTTP(t, get).response(); len(body) != 1<<20 {
			t.Errorf("%s: read %d bytes", how, len(body))
		}
		if len(from) == 0 {
			t.Fatalf("%s: the socket's ReadFrom was not used", how)
		}
		r := <-from
		if l, ok := r.(*io.LimitedReader); ok {
			r = l.R
		}
		if _, ok := r.(syscall.Conn); !ok {
			t.Errorf("%s: the socket read from a %T, want a file", how, r)
		}
		proxytest.Eventually(t, time.Second, how+": all counted", func() bool { return d.http.out.Load() > 1<<20 })
	}
	f("ServeFile", func(w http.ResponseWriter, r *http.Request) { http.ServeFile(w, r, name) })
	f("Copy", func(w http.ResponseWriter, _ *http.Request) {
		file, err := os.Open(name)
		if err != nil {
			t.Error(err)
			return
		}
		defer file.Close()
		w.Header().Set("Content-Length", "1048576")
		io.Copy(w, file) //nolint:errcheck // the client sees it
	})
}

// What net/http has to say reaches the log: a handler's panic above all.
func TestPanicIsLogged(t *testing.T) {
	core, logs := observer.New(zapcore.InfoLevel)
	d := open(t, ladder{http: func(http.ResponseWriter, *http.Request) { panic("BUG: oops") }},
		func(c *Config) { c.Log = zap.New(core) })
	d.viaHTTP(t, get).closed()
	for _, e := range logs.All() {
		if strings.Contains(e.Message, "BUG: oops") && e.Level >= zapcore.WarnLevel {
			return
		}
	}
	t.Errorf("logged %v, want the panic", logs.All())
}

// The answer to a request whose body nobody has read arrives: net/http closes
// the sending side first, for to close all would be a reset.
func TestLastAnswerIsNotReset(t *testing.T) {
	d := open(t, ladder{http: func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) }})
	c := d.viaHTTP(t, "POST /cam HTTP/1.1\r\nHost: edge\r\nContent-Length: 9999999\r\n\r\n"+strings.Repeat("x", 100<<10))
	if res, _ := c.response(); res.StatusCode != 403 {
		t.Errorf("POST = %d", res.StatusCode)
	}
	if b, err := c.br.ReadByte(); err != io.EOF {
		t.Errorf("behind the answer: %q, %v, want the end", b, err)
	}
}
