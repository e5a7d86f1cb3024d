package passthrough

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"weir/proxy"
	"weir/proxy/proxytest"
)

// aRank is how many places of others each origin of webBalancer has less than the
// next.
const aRank = 1000

// webBalancer asks its origins in their order, since each is so much busier than
// the one before, and learns of them by requests only.
func webBalancer(t testing.TB, args ...string) *Balancer {
	t.Helper()
	b := balancer(t, append([]string{"-origin.balance=leastconn", "-origin.check=0"}, args...)...)
	for i, o := range b.all() {
		o.sessions = i * aRank
	}
	return b
}

// forget makes origins that have failed as good as new.
func forget(b *Balancer) {
	for _, o := range b.all() {
		b.mu.Lock()
		o.health = health{}
		b.mu.Unlock()
	}
}

// run runs b until the test ends.
func run(t *testing.T, b *Balancer) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- b.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run = %v", err)
		}
	})
}

// httpOrigin returns a server that answers with what it was asked for.
func httpOrigin(t *testing.T) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, password, _ := r.BasicAuth()
		body, _ := io.ReadAll(r.Body)
		w.Header().Set("Asked", strings.TrimSpace(strings.Join([]string{r.Method, r.Host, r.RequestURI, user, password, string(body)}, " ")))
		w.Header().Set("Coding", r.Header.Get("Accept-Encoding"))
		if strings.HasSuffix(r.URL.Path, "/moved") {
			http.Redirect(w, r, "/elsewhere", http.StatusFound)
		}
	}))
	t.Cleanup(s.Close)
	return s
}

// get asks b and returns what the origin says it was asked for.
func get(t *testing.T, b *Balancer, url string) string {
	t.Helper()
	res, err := b.RoundTrip(newRequest(t, http.MethodGet, url, nil))
	if err != nil {
		t.Fatalf("GET %s: %v", url, err)
	}
	defer res.Body.Close()
	if res.Header.Get("Coding") != "" {
		t.Errorf("the origin was asked for coding %q", res.Header.Get("Coding"))
	}
	return res.Header.Get("Asked")
}

func newRequest(t *testing.T, method, url string, body io.Reader) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, body)
	if err != nil {
		t.Fatal(err)
	}
	return req
}

func TestHTTPThrough(t *testing.T) {
	s := httpOrigin(t)
	host := strings.TrimPrefix(s.URL, "http://")
	b := webBalancer(t, "-origin", "rtsp://"+proxytest.ClosedAddr(t), "-origin", "http://u:p%2Fq@"+host+"/base")
	run(t, b)
	f := func(url, want string) {
		t.Helper()
		if got, want := get(t, b, url), "GET "+host+" "+want+" u p/q"; got != want {
			t.Errorf("%s: the origin was asked %q, want %q", url, got, want)
		}
	}
	f("/a/b.ts", "/base/a/b.ts")
	f("/a/b.m3u8?_HLS_msn=1&x=%20", "/base/a/b.m3u8?_HLS_msn=1&x=%20")
	f("/folder/", "/base/folder/")
	f("/two%20words", "/base/two%20words")
	f("", "/base/")
	if s := status(b)[1]; s.Dials != 1 || s.State != "up" {
		t.Errorf("five requests, status = %+v, want one dial", s)
	}
}

func TestHTTPWithHost(t *testing.T) {
	other, s := httpOrigin(t), httpOrigin(t)
	host := strings.TrimPrefix(s.URL, "http://")
	b := webBalancer(t, "-origin", other.URL, "-origin", s.URL)
	run(t, b)
	if got, want := get(t, b, s.URL+"/x"), "GET "+host+" /x"; got != want {
		t.Errorf("the server was asked %q, want %q", got, want)
	}
}

func TestHTTPFollowsNoRedirect(t *testing.T) {
	b := webBalancer(t, "-origin", httpOrigin(t).URL)
	run(t, b)
	res, err := b.RoundTrip(newRequest(t, http.MethodGet, "/moved", nil))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusFound {
		t.Errorf("status = %s, want 302", res.Status)
	}
}

func TestHTTPRequestIsNotChanged(t *testing.T) {
	b := webBalancer(t, "-origin", "http://"+proxytest.ClosedAddr(t), "-origin", "http://u:p@"+strings.TrimPrefix(httpOrigin(t).URL, "http://"))
	run(t, b)
	req := newRequest(t, http.MethodGet, "/x", nil)
	req.Host = "viewers.example"
	res, err := b.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if req.Host != "viewers.example" || req.URL.String() != "/x" || len(req.Header) != 0 {
		t.Errorf("the request has become %s %s %v", req.Host, req.URL, req.Header)
	}
	if res.Request.URL.User != nil {
		t.Error("the answer's request has credentials in its URL")
	}
}

// noRewind hides what http.NewRequest could rewind.
type noRewind struct{ io.Reader }

func TestHTTPFallback(t *testing.T) {
	s := httpOrigin(t)
	b := webBalancer(t, "-origin", "http://"+proxytest.ClosedAddr(t), "-origin", s.URL)
	run(t, b)
	f := func(method string, body io.Reader, want string) {
		t.Helper()
		res, err := b.RoundTrip(newRequest(t, method, "/x", body))
		if err != nil {
			t.Errorf("%s: %v", method, err)
			return
		}
		defer res.Body.Close()
		if got := res.Header.Get("Asked"); !strings.HasPrefix(got, method+" ") || !strings.HasSuffix(got, want) {
			t.Errorf("%s: the origin was asked %q, want body %q", method, got, want)
		}
	}
	f(http.MethodGet, nil, "")
	f(http.MethodGet, http.NoBody, "")
	f(http.MethodPost, strings.NewReader("once more"), "once more")

	// What no origin has read is still good.
	body := &closed{Reader: strings.NewReader("once")}
	f(http.MethodPost, body, "once")
	proxytest.Eventually(t, time.Second, "the body is closed", func() bool { return body.n.Load() == 1 })
}

type closed struct {
	io.Reader
	n atomic.Int32
}

func (c *closed) Close() error { c.n.Add(1); return nil }

// placesAreBack fails the test unless every origin was left as often as entered.
func placesAreBack(t *testing.T, b *Balancer) {
	t.Helper()
	for _, o := range b.all() {
		proxytest.Eventually(t, time.Second, "places at origin "+o.name+" are given back, once", func() bool {
			b.mu.Lock()
			defer b.mu.Unlock()
			return o.sessions%aRank == 0
		})
	}
}

func TestHTTPPlacesAreGivenBack(t *testing.T) {
	long := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = w.Write(make([]byte, 1<<20)) }))
	defer long.Close()
	b := webBalancer(t, "-origin", "http://"+proxytest.ClosedAddr(t), "-origin", long.URL)
	run(t, b)
	f := func(end func(io.ReadCloser)) {
		t.Helper()
		res, err := b.RoundTrip(newRequest(t, "GET", "/x", nil))
		if err != nil {
			t.Fatal(err)
		}
		o := b.all()[1]
		b.mu.Lock()
		if o.sessions%aRank != 1 {
			t.Errorf("%d places are taken while the body is read", o.sessions)
		}
		b.mu.Unlock()
		end(res.Body)
		placesAreBack(t, b)
		res.Body.Close()
		res.Body.Close()
		placesAreBack(t, b)
	}
	f(func(r io.ReadCloser) { _, _ = io.Copy(io.Discard, r) })
	f(func(r io.ReadCloser) { r.Close() })
}

func TestHTTPHeadersForTheOrigin(t *testing.T) {
	var got http.Header
	var host string
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got, host = r.Header, r.Host }))
	defer s.Close()
	b := webBalancer(t, "-origin", s.URL)
	run(t, b)
	f := func(preserve bool, header http.Header, wantHost string) {
		t.Helper()
		if b.opts.Host = "origin"; preserve {
			b.opts.Host = "preserve"
		}
		b.all()[0].header = header
		req := newRequest(t, "GET", "/x", nil)
		req.Host = "viewers.example"
		req.Header.Set("X-Key", "the viewer's")
		res, err := b.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if host != wantHost || header != nil && got.Get("X-Key") != header.Get("X-Key") {
			t.Errorf("the origin was asked as %q with %v", host, got)
		}
	}
	f(false, nil, strings.TrimPrefix(s.URL, "http://"))
	f(true, nil, "viewers.example")
	f(true, http.Header{"X-Key": {"ours"}, "Host": {"configured.example"}}, "configured.example")
}

// Two origins never share a connection, and each keeps its own.
func TestHTTPPools(t *testing.T) {
	one, two := httpOrigin(t), httpOrigin(t)
	b := webBalancer(t, "-origin", one.URL, "-origin", two.URL)
	run(t, b)
	for range 5 {
		for _, s := range []*httptest.Server{one, two} {
			if got := get(t, b, s.URL+"/x"); !strings.Contains(got, strings.TrimPrefix(s.URL, "http://")) {
				t.Errorf("%s was meant, %q answered", s.URL, got)
			}
		}
	}
	for _, s := range status(b) {
		if s.Dials != 1 {
			t.Errorf("origin %s: %d dials for five requests, want 1", s.Name, s.Dials)
		}
	}
}

func TestHTTPNoOrigin(t *testing.T) {
	b := webBalancer(t, "-origin", "rtsp://127.0.0.1", "-splitter.source", "/cam=rtsp://127.0.0.1")
	body := &closed{Reader: strings.NewReader("x")}
	_, err := b.RoundTrip(newRequest(t, http.MethodPost, "/cam", body))
	wantRefusal(t, err, proxy.NoOrigin, 0)
	if n := body.n.Load(); n != 1 {
		t.Errorf("the body was closed %d times, want 1", n)
	}
}

func TestHTTPAllDown(t *testing.T) {
	b := webBalancer(t, "-origin", "http://u:s3cr@"+proxytest.ClosedAddr(t), "-origin", "https://u:s3cr@"+proxytest.ClosedAddr(t))
	_, err := b.RoundTrip(newRequest(t, http.MethodGet, "/x", nil))
	if r := wantRefusal(t, err, proxy.OriginDown, 5*time.Second); strings.Contains(r.Error(), "s3cr") || strings.Count(r.Error(), "origin 127") != 2 {
		t.Errorf("error = %q, want both origins and no secret", r)
	}
}

func TestHTTPDeadline(t *testing.T) {
	f := func(what string, dial func(context.Context, string, string) (net.Conn, error), origin string) {
		t.Helper()
		b := webBalancer(t, "-origin", origin, "-origin", "http://"+proxytest.ClosedAddr(t))
		if dial != nil {
			b.dial = dial
		}
		run(t, b)
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer cancel()
		_, err := b.RoundTrip(newRequest(t, http.MethodGet, "/x", nil).WithContext(ctx))
		if r := wantRefusal(t, err, proxy.OriginSlow, 5*time.Second); !errors.Is(r, context.DeadlineExceeded) && !errors.Is(r, os.ErrDeadlineExceeded) {
			t.Errorf("%s: %v", what, r)
		}
	}
	release := make(chan struct{})
	f("no answer to the dial", func(context.Context, string, string) (net.Conn, error) {
		<-release
		return nil, net.ErrClosed
	}, "http://127.0.0.1:1")
	close(release)
	mute, _ := listen(t, "127.0.0.1")
	f("no answer to the request", nil, "http://"+mute)
}

func TestHTTPViewerLeaves(t *testing.T) {
	mute, conns := listen(t, "127.0.0.1")
	b := webBalancer(t, "-origin", "http://"+mute)
	run(t, b)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		c := <-conns
		cancel()
		c.Close()
	}()
	if _, err := b.RoundTrip(newRequest(t, http.MethodGet, "/x", nil).WithContext(ctx)); !errors.Is(err, context.Canceled) {
		t.Errorf("error = %v, want context.Canceled", err)
	}
}
