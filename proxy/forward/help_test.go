package forward_test

import (
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"testing"
	"time"

	"weir/proxy"
	"weir/proxy/forward"
	"weir/proxy/proxytest"
)

// to sends all requests to one server.
type to struct {
	*http.Transport
	host string
}

func (o to) RoundTrip(req *http.Request) (*http.Response, error) {
	u := *req.URL
	out := new(http.Request)
	*out = *req
	out.URL = &u
	u.Scheme, u.Host = "http", o.host
	return o.Transport.RoundTrip(out)
}

// upstream is a transport to a server that lives as long as the test.
func upstream(t testing.TB, h http.HandlerFunc) http.RoundTripper {
	t.Helper()
	s := httptest.NewServer(h)
	tr := &http.Transport{DisableCompression: true, ExpectContinueTimeout: 5 * time.Second}
	t.Cleanup(func() {
		tr.CloseIdleConnections()
		s.Close()
	})
	return to{tr, hostOf(s)}
}

func hostOf(s *httptest.Server) string {
	u, err := url.Parse(s.URL)
	if err != nil {
		panic(err)
	}
	return u.Host
}

// An edge is a server that forwards, and what it counted.
type edge struct {
	*httptest.Server
	sent chan int // the body's bytes, once per request
}

// front does what proxy/front does to a request.
func front(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		v := &proxy.Viewer{Addr: netip.MustParseAddrPort(r.RemoteAddr), Protocol: "http", Path: r.URL.Path}
		h.ServeHTTP(w, r.WithContext(proxy.WithViewer(r.Context(), v)))
	})
}

func newHandler(t testing.TB, up http.RoundTripper, lag time.Duration) *forward.Handler {
	return forward.New(forward.Options{Upstream: up, ID: "weir-a", Lag: lag, Log: proxytest.Logger(t)})
}

// newEdge forwards what h serves.
func newEdge(t testing.TB, h http.HandlerFunc) *edge {
	t.Helper()
	return startEdge(t, newHandler(t, upstream(t, h), 0), false)
}

func startEdge(t testing.TB, f *forward.Handler, http2 bool) *edge {
	t.Helper()
	sent := make(chan int, 100)
	e := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n := tally(0)
		defer func() { sent <- int(n) }()
		f.Serve(w, r, &n)
	}), http2)
	e.sent = sent
	return e
}

// tally counts what was sent.
type tally int

func (n *tally) Sent(m int) { *n += tally(m) }
func (n *tally) Failed()    {}

func serve(t testing.TB, h http.Handler, http2 bool) *edge {
	t.Helper()
	e := &edge{Server: httptest.NewUnstartedServer(front(h))}
	e.EnableHTTP2 = http2
	e.Config.ErrorLog = log.New(io.Discard, "", 0)
	if http2 {
		e.StartTLS()
	} else {
		e.Start()
	}
	t.Cleanup(e.Close)
	return e
}

// do sends one request on the edge's own client, which follows no redirects.
func (e *edge) do(t testing.TB, method, target string, body io.Reader, header ...string) *http.Response {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, e.URL+target, body)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Add(header[i], header[i+1])
	}
	return e.send(t, req)
}

func (e *edge) send(t testing.TB, req *http.Request) *http.Response {
	t.Helper()
	res, err := e.Client().Transport.RoundTrip(req)
	if err != nil {
		t.Fatalf("%s %s: %v", req.Method, req.URL.Path, err)
	}
	t.Cleanup(func() { res.Body.Close() })
	return res
}

func readAll(t testing.TB, r io.Reader) string {
	t.Helper()
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatalf("read: %v", err)
	}
	return string(b)
}

// raw opens a bare connection to the edge.
func (e *edge) raw(t testing.TB) *net.TCPConn {
	t.Helper()
	c, err := net.Dial("tcp", e.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := c.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return c.(*net.TCPConn)
}
