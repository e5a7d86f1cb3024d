package passthrough

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"weir/proxy"
	"weir/proxy/proxytest"
)

// webEdge is a Relay over b behind a real socket.
func webEdge(t testing.TB, b *Balancer, gate *proxytest.Gate) *httptest.Server {
	t.Helper()
	env := proxytest.Env(t)
	env.Upstream, env.Gate = b, gate
	r, err := New(Options{Timeout: time.Second, Lag: 10 * time.Second}, env)
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewServer(http.HandlerFunc(r.ServeHTTP))
	t.Cleanup(s.Close)
	return s
}

// request sends a request to the edge and returns the answer with its body read.
func request(t *testing.T, edge *httptest.Server, method, path string, body io.Reader) (res *http.Response, text string, err error) {
	t.Helper()
	req := newRequest(t, method, edge.URL+path, body)
	res, err = edge.Client().Transport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	return res, string(b), err
}

func TestWebTickets(t *testing.T) {
	file := content(3 << 20)
	b := stores(t, &store{file: file, header: etag(`"v1"`)})
	gate := &proxytest.Gate{}
	edge := webEdge(t, b, gate)
	if _, body, err := request(t, edge, "GET", "/film.mp4", nil); err != nil || body != string(file) {
		t.Fatalf("%d bytes, %v", len(body), err)
	}
	proxytest.Eventually(t, time.Second, "the place is given back", func() bool { return gate.Count().Closes == 1 })
	if got := gate.Tickets()[0].Bytes(); got != len(file) {
		t.Errorf("%d bytes counted, want %d", got, len(file))
	}
}

func TestWebRefused(t *testing.T) {
	b := webBalancer(t)
	f := func(gate *proxytest.Gate, code int, retry string) {
		t.Helper()
		res, _, _ := request(t, webEdge(t, b, gate), "GET", "/x", nil)
		if res.StatusCode != code || res.Header.Get("Retry-After") != retry {
			t.Errorf("%d, Retry-After %q, want %d, %q", res.StatusCode, res.Header.Get("Retry-After"), code, retry)
		}
	}
	f(&proxytest.Gate{RefuseAdmit: &proxy.Refusal{Reason: proxy.Full, RetryAfter: 3 * time.Second}}, 503, "3")
	f(&proxytest.Gate{RefuseAdmit: errors.New("x")}, 503, "5")
	f(&proxytest.Gate{}, 404, "") // no origin
}

// What dies halfway and cannot go on is an error to the viewer, and its place is
// given back.
func TestWebBrokenBody(t *testing.T) {
	file := content(1 << 20)
	b := stores(t, &store{file: file, header: etag(`W/"v1"`), dieAt: 300_000})
	gate := &proxytest.Gate{}
	if res, body, err := request(t, webEdge(t, b, gate), "GET", "/film.mp4", nil); err == nil || res.StatusCode != 200 {
		t.Errorf("%s, %d bytes and a clean end", res.Status, len(body))
	}
	proxytest.Eventually(t, time.Second, "the place is given back", func() bool { return gate.Count().Closes == 1 })
}

// The whole way: a viewer's download outlives its origin.
func TestWebResumes(t *testing.T) {
	file := content(4 << 20)
	b := stores(t, &store{file: file, header: etag(`"v1"`), dieAt: 1 << 20}, &store{file: file, header: etag(`"v1"`)})
	if _, body, err := request(t, webEdge(t, b, &proxytest.Gate{}), "GET", "/film.mp4", nil); err != nil || body != string(file) {
		t.Errorf("%d bytes, %v", len(body), err)
	}
}

func TestWebPostIsSentOnce(t *testing.T) {
	bad, asked := hangsUp(t)
	other, otherAsked := hangsUp(t)
	edge := webEdge(t, balancerRun(t, "-origin", bad, "-origin", other), &proxytest.Gate{})
	res, _, _ := request(t, edge, "POST", "/x", strings.NewReader("body"))
	if n := asked.Load() + otherAsked.Load(); res.StatusCode != 502 || n != 1 {
		t.Errorf("%s, sent %d times, want 502 and once", res.Status, n)
	}
	// Nobody has seen a request that could not be sent.
	ok := httpOrigin(t)
	edge = webEdge(t, balancerRun(t, "-origin", "http://"+proxytest.ClosedAddr(t), "-origin", ok.URL), &proxytest.Gate{})
	if res, _, _ := request(t, edge, "POST", "/x", io.MultiReader(strings.NewReader("body"))); !strings.HasSuffix(res.Header.Get("Asked"), " body") {
		t.Errorf("%s, the origin was asked %q", res.Status, res.Header.Get("Asked"))
	}
}

func balancerRun(t *testing.T, args ...string) *Balancer {
	t.Helper()
	b := webBalancer(t, args...)
	run(t, b)
	return b
}

// A low-latency playlist blocks until there is something new; nothing times out
// meanwhile, and nobody else is asked.
func TestWebBlockingPlaylist(t *testing.T) {
	asked, ready := make(chan string, 2), make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked <- r.URL.RequestURI()
		<-ready
		fmt.Fprint(w, "#EXTM3U")
	}))
	t.Cleanup(s.Close)
	edge := webEdge(t, balancerRun(t, "-origin", s.URL, "-origin", answers(t, 404)), &proxytest.Gate{})
	got := make(chan string, 1)
	go func() {
		_, body, err := request(t, edge, "GET", "/cam/index.m3u8?_HLS_msn=7&_HLS_part=1", nil)
		got <- fmt.Sprint(body, err)
	}()
	if uri := <-asked; uri != "/cam/index.m3u8?_HLS_msn=7&_HLS_part=1" {
		t.Errorf("the origin was asked for %s", uri)
	}
	select {
	case early := <-got:
		t.Errorf("answered %q before the origin", early)
	default:
	}
	close(ready)
	if s := <-got; s != "#EXTM3U<nil>" {
		t.Errorf("answer = %q", s)
	}
}

// A websocket goes all the way, and its place lasts as long.
func TestWebUpgrade(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, buf, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer c.Close()
		fmt.Fprint(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n")
		rest, _ := io.ReadAll(buf)
		fmt.Fprintf(c, "%s after the half-close", rest)
	}))
	t.Cleanup(s.Close)
	b, gate := balancerRun(t, "-origin", s.URL), &proxytest.Gate{}
	c, err := net.Dial("tcp", strings.TrimPrefix(webEdge(t, b, gate).URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	fmt.Fprint(c, "GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
	br := bufio.NewReader(c)
	if res, err := http.ReadResponse(br, nil); err != nil || res.StatusCode != 101 {
		t.Fatalf("%v, %v", res, err)
	}
	if gate.Count().Closes != 0 {
		t.Error("the place was given back when the connection was upgraded")
	}
	fmt.Fprint(c, "hello")
	_ = c.(*net.TCPConn).CloseWrite()
	if got, err := io.ReadAll(br); err != nil || string(got) != "hello after the half-close" {
		t.Errorf("read %q, %v", got, err)
	}
	proxytest.Eventually(t, time.Second, "the place is given back", func() bool { return gate.Count().Closes == 1 })
	placesAreBack(t, b)
	if got := gate.Tickets()[0].Bytes(); got != len("hello after the half-close") {
		t.Errorf("%d bytes counted", got)
	}
}
