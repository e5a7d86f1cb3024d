package admin

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"
	"go.uber.org/zap"

	"weir/proxy"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fakePart says what it is told to.
type fakePart struct {
	status any
	ready  error
}

func (fakePart) Run(context.Context) error { return nil }
func (p fakePart) Status() any             { return p.status }
func (p fakePart) Ready() error            { return p.ready }

// pagedPart has pages of its own.
type pagedPart struct {
	fakePart
	pages http.Handler
}

func (p pagedPart) Admin() http.Handler { return p.pages }

func config(parts ...Named) Config {
	return Config{
		Parts: parts, Level: zap.NewAtomicLevel(), Metrics: prometheus.NewRegistry(),
		Version: "1.2.3", Log: zap.NewNop(),
	}
}

// start runs a door on loopback until the test ends.
func start(t *testing.T, o Options, c Config) *Admin {
	t.Helper()
	o.Addr = "127.0.0.1:0"
	a, err := New(o, c)
	if err != nil {
		t.Fatal(err)
	}
	run(t, a)
	return a
}

// distant is a listener on loopback that says it is bound elsewhere.
type distant struct{ net.Listener }

func (distant) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 7), Port: 9090} }

// startDistant runs a door that believes to be bound off loopback, and
// returns where it is to be reached.
func startDistant(t *testing.T, o Options, c Config) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	run(t, newAdmin(o, c, distant{ln}))
	return ln.Addr().String()
}

func run(t *testing.T, a *Admin) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- a.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run = %v", err)
		}
	})
}

type answer struct {
	code   int
	header http.Header
	body   string
}

// ask sends one request on a connection of its own. A header named Host is the
// request's host.
func ask(t *testing.T, method, addr, target, body string, header ...string) answer {
	t.Helper()
	req, err := http.NewRequest(method, "http://"+addr+target, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
		if header[i] == "Host" {
			req.Host = header[i+1]
		}
	}
	tr := &http.Transport{DisableKeepAlives: true}
	res, err := tr.RoundTrip(req)
	if err != nil {
		t.Fatalf("%s %s: %v", method, target, err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatalf("%s %s: %v", method, target, err)
	}
	return answer{res.StatusCode, res.Header, string(b)}
}

func get200(t *testing.T, a *Admin, target string) answer {
	t.Helper()
	res := ask(t, "GET", a.Addr().String(), target, "")
	if res.code != 200 {
		t.Errorf("GET %s = %d %q, want 200", target, res.code, res.body)
	}
	return res
}

func TestBusyPort(t *testing.T) {
	a := start(t, Options{}, config())
	addr := a.Addr().String()
	_, err := New(Options{Addr: addr}, config())
	want := "admin: listen " + addr + ": address already in use (choose another with -admin)"
	if err == nil || err.Error() != want || !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("New on a busy port: %v, want %s", err, want)
	}
}

func TestNewRefuses(t *testing.T) {
	f := func(addr string, names ...string) {
		t.Helper()
		var parts []Named
		for _, n := range names {
			parts = append(parts, Named{n, fakePart{}})
		}
		if a, err := New(Options{Addr: addr}, config(parts...)); err == nil {
			t.Errorf("New(%q, parts %q) = nil error, want one", addr, names)
			a.ln.Close()
		}
	}
	f("")
	f("127.0.0.1")
	f("127.0.0.1:0", "a", "a")
	f("127.0.0.1:0", "a b")
	f("127.0.0.1:0", "{a}")
	f("127.0.0.1:0", "")
}

// A part's name must not collide with the door's own paths.
func TestPartNamedLikeAPath(t *testing.T) {
	pages := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "part") })
	var parts []Named
	for _, n := range []string{"livez", "metrics", "debug", "log"} {
		parts = append(parts, Named{n, pagedPart{pages: pages}})
	}
	a := start(t, Options{}, config(parts...))
	if got := get200(t, a, "/log/level").body; !strings.Contains(got, "info") {
		t.Errorf("/log/level = %q", got)
	}
	get200(t, a, "/debug/pprof/goroutine?debug=1")
	if got := get200(t, a, "/debug/other").body; got != "part" {
		t.Errorf("/debug/other = %q, want the part's page", got)
	}
}

func TestOwnPages(t *testing.T) {
	pages := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.Method, " ", r.URL.Path) })
	a := start(t, Options{}, config(Named{"cache", pagedPart{pages: pages}}))
	got := ask(t, "POST", a.Addr().String(), "/cache/purge/x", "")
	if got.code != 200 || got.body != "POST /purge/x" {
		t.Errorf("POST /cache/purge/x = %d %q", got.code, got.body)
	}
	if page := get200(t, a, "/").body; !strings.Contains(page, `href="cache/"`) {
		t.Error("the page has no link to the part's own pages")
	}
}

func TestMethods(t *testing.T) {
	a := start(t, Options{}, config())
	f := func(method, target string, code int, allow string) {
		t.Helper()
		got := ask(t, method, a.Addr().String(), target, "")
		if got.code != code || got.header.Get("Allow") != allow {
			t.Errorf("%s %s = %d, Allow %q, want %d, %q", method, target, got.code, got.header.Get("Allow"), code, allow)
		}
	}
	f("HEAD", "/livez", 200, "")
	f("HEAD", "/", 200, "")
	f("POST", "/livez", 405, "GET, HEAD")
	f("DELETE", "/", 405, "GET, HEAD")
	f("PUT", "/metrics", 405, "GET, HEAD")
	f("POST", "/log/level", 405, "GET, HEAD, PUT")
	f("OPTIONS", "/status.json", 405, "GET, HEAD")
	f("GET", "/nothing", 404, "")
	f("GET", "/debug/vars", 404, "")
	f("GET", "/debug/pprof/cmdline", 404, "") // flags may hold credentials
}

func TestSecurityHeaders(t *testing.T) {
	a := start(t, Options{}, config())
	for _, target := range []string{"/", "/livez", "/status.json", "/metrics", "/debug/pprof/", "/nothing"} {
		h := ask(t, "GET", a.Addr().String(), target, "", "Origin", "http://evil.example").header
		if csp := h.Get("Content-Security-Policy"); !strings.HasPrefix(csp, "default-src 'none'") {
			t.Errorf("%s: Content-Security-Policy %q", target, csp)
		}
		if h.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: no nosniff", target)
		}
		if h.Get("Access-Control-Allow-Origin") != "" {
			t.Errorf("%s: opened to other origins", target)
		}
	}
}

func TestMetrics(t *testing.T) {
	reg := prometheus.NewRegistry()
	n := prometheus.NewCounter(prometheus.CounterOpts{Name: "weir_test_things_total"})
	reg.MustRegister(n)
	n.Add(7)
	c := config()
	c.Metrics = reg
	if got := get200(t, start(t, Options{}, c), "/metrics").body; !strings.Contains(got, "weir_test_things_total 7") {
		t.Errorf("/metrics = %q", got)
	}
}

func TestStatusJSON(t *testing.T) {
	a := start(t, Options{}, config(
		Named{"splitter", fakePart{status: map[string]int{"feeds": 3}}},
		Named{"odd", fakePart{status: func() {}}})) // cannot be marshalled
	a.Drain()
	var got struct {
		Version  string
		Uptime   *int64 `json:"uptime_s"`
		Ready    *bool
		Draining bool
		Parts    map[string]map[string]any
	}
	res := get200(t, a, "/status.json")
	if err := json.Unmarshal([]byte(res.body), &got); err != nil {
		t.Fatal(err)
	}
	if got.Version != "1.2.3" || got.Uptime == nil || got.Ready == nil || *got.Ready || !got.Draining {
		t.Errorf("status.json = %s", res.body)
	}
	if got.Parts["splitter"]["feeds"] != 3.0 || got.Parts["odd"]["error"] == nil {
		t.Errorf("status.json parts = %v", got.Parts)
	}
}

func TestLogLevel(t *testing.T) {
	c := config()
	a := start(t, Options{}, c)
	if got := get200(t, a, "/log/level").body; strings.TrimSpace(got) != `{"level":"info"}` {
		t.Errorf("GET /log/level = %q", got)
	}
	f := func(body string, code int, want string, header ...string) {
		t.Helper()
		got := ask(t, "PUT", a.Addr().String(), "/log/level", body, header...)
		if got.code != code || c.Level.String() != want {
			t.Errorf("PUT %.40q = %d, level %s, want %d, %s", body, got.code, c.Level, code, want)
		}
	}
	f(`{"level":"debug"}`, 200, "debug")
	f(`{"level":"loud"}`, 400, "debug")
	f(strings.Repeat(" ", maxLevel)+`{"level":"warn"}`, 400, "debug")
	f(`{"level":"warn"}`, 403, "debug", "Origin", "http://evil.example")
	f(`{"level":"warn"}`, 403, "debug", "Origin", "null")
	f(`{"level":"warn"}`, 403, "debug", "Sec-Fetch-Site", "cross-site")
	f(`{"level":"warn"}`, 200, "warn", "Origin", "http://"+a.Addr().String())
}

func TestProfiles(t *testing.T) {
	a := start(t, Options{}, config())
	get200(t, a, "/debug/pprof/")
	if got := get200(t, a, "/debug/pprof/goroutine?debug=1").body; !strings.Contains(got, "goroutine profile:") {
		t.Errorf("goroutine profile = %.80q", got)
	}
	if got := get200(t, a, "/debug/pprof/trace?seconds=0.01").body; !strings.HasPrefix(got, "go 1.") {
		t.Errorf("trace = %.20q", got)
	}
}

// The node ends within a second, though a profile is being taken and a
// connection has sent half a request.
func TestRunEndsSoon(t *testing.T) {
	entered := make(chan struct{})
	pages := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		close(entered)
		<-r.Context().Done()
	})
	a, err := New(Options{Addr: "127.0.0.1:0"}, config(Named{"slow", pagedPart{pages: pages}}))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- a.Run(ctx) }()
	dial := func(request string) *bufio.Reader {
		c, err := net.Dial("tcp", a.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		io.WriteString(c, request)
		return bufio.NewReader(c)
	}
	dial("GET /livez HT")
	profile := dial("GET /debug/pprof/trace?seconds=30 HTTP/1.1\r\nHost: localhost\r\n\r\n")
	profile.Peek(1) // it has begun
	dial("GET /slow/ HTTP/1.1\r\nHost: localhost\r\n\r\n")
	<-entered
	begun := time.Now()
	cancel()
	if err := <-ended; err != nil || time.Since(begun) > time.Second {
		t.Errorf("Run = %v after %v, want nil within 1s", err, time.Since(begun))
	}
	if _, err := net.Dial("tcp", a.Addr().String()); err == nil {
		t.Error("the port is still open")
	}
	res, err := http.ReadResponse(profile, nil)
	if err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(res.Body); err != nil || len(b) == 0 {
		t.Errorf("the profile was torn after %d bytes: %v", len(b), err)
	}
}

// A part that hangs does not keep the node from ending.
func TestRunLeavesAHangingPart(t *testing.T) {
	entered, release, left := make(chan struct{}), make(chan struct{}), make(chan struct{})
	pages := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		defer close(left)
		close(entered)
		<-release
	})
	a, err := New(Options{Addr: "127.0.0.1:0"}, config(Named{"stuck", pagedPart{pages: pages}}))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- a.Run(ctx) }()
	c, err := net.Dial("tcp", a.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	io.WriteString(c, "GET /stuck/ HTTP/1.1\r\nHost: localhost\r\n\r\n")
	<-entered
	begun := time.Now()
	cancel()
	if err := <-ended; err != nil || time.Since(begun) > time.Second {
		t.Errorf("Run = %v after %v, want nil within 1s", err, time.Since(begun))
	}
	close(release)
	<-left
}

func TestFlags(t *testing.T) {
	fs := flag.NewFlagSet("weir", flag.ContinueOnError)
	o := Flags(fs)
	if *o != (Options{Addr: "127.0.0.1:9090"}) {
		t.Errorf("defaults = %+v", *o)
	}
	if err := fs.Parse([]string{"-admin", ":1", "-admin.token", "x"}); err != nil || *o != (Options{":1", "x"}) {
		t.Errorf("parsed = %+v, %v", *o, err)
	}
}

var _ proxy.Adminer = pagedPart{}
