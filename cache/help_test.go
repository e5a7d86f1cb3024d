package cache

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"weir/proxy"
	"weir/proxy/proxytest"
)

// A rig is a cache that runs between an origin and viewers, all on sockets.
type rig struct {
	*Cache
	t      testing.TB
	wrap   func(proxy.Upstream) proxy.Upstream
	origin *origin
	edge   *httptest.Server
}

// An origin counts what it is asked.
type origin struct {
	*httptest.Server
	mu   sync.Mutex
	seen []*http.Request
}

// asked returns the requests for a path, "" for all.
func (o *origin) asked(path string) (reqs []*http.Request) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, r := range o.seen {
		if path == "" || r.URL.Path == path {
			reqs = append(reqs, r)
		}
	}
	return reqs
}

// newRig starts one; change may change the options.
func newRig(t testing.TB, serve http.HandlerFunc, change ...func(*Options)) *rig {
	t.Helper()
	return newRigOn(t, func(u proxy.Upstream) proxy.Upstream { return u }, serve, change...)
}

// newRigOn is newRig with what wrap makes of the upstream.
func newRigOn(t testing.TB, wrap func(proxy.Upstream) proxy.Upstream, serve http.HandlerFunc, change ...func(*Options)) *rig {
	t.Helper()
	o := &origin{}
	o.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		o.mu.Lock()
		o.seen = append(o.seen, r.Clone(context.Background()))
		o.mu.Unlock()
		serve(w, r)
	}))
	t.Cleanup(o.Close)
	r := &rig{t: t, origin: o, wrap: wrap}
	r.start(change...)
	return r
}

func testOptions() Options {
	return Options{Memory: 64 << 20, Slice: 1 << 20, Policy: "2q", Media: mediaAware, Prefetch: 1, Frozen: "serve", Ignore: strings.Join(defaultIgnore, ","),
		Timeout: 10 * time.Second, Lag: 10 * time.Second}
}

func (r *rig) start(change ...func(*Options)) {
	t := r.t
	t.Helper()
	opt := testOptions()
	for _, f := range change {
		f(&opt)
	}
	transport := &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 100}
	env := proxytest.Env(t)
	env.Upstream = r.wrap(&proxytest.Upstream{RoundTripFunc: func(req *http.Request) (*http.Response, error) {
		out := req.Clone(req.Context())
		out.URL.Scheme, out.URL.Host = "http", r.origin.Listener.Addr().String()
		out.RequestURI = ""
		return transport.RoundTrip(out)
	}})
	c, err := New(opt, env)
	if err != nil {
		t.Fatal(err)
	}
	r.Cache = c
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	r.edge = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		v := &proxy.Viewer{Protocol: "http", Path: req.URL.Path}
		c.ServeHTTP(w, req.WithContext(proxy.WithViewer(req.Context(), v)))
	}))
	t.Cleanup(func() {
		r.edge.CloseClientConnections()
		r.edge.Close()
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run = %v", err)
		}
		transport.CloseIdleConnections()
		if used := c.ram.used.Load(); used != 0 {
			t.Errorf("%d bytes of RAM are left in use", used)
		}
	})
}

// A reply is an answer, read to its end.
type reply struct {
	*http.Response
	body string
	err  error // of the body
}

var plainClient = &http.Client{Transport: &http.Transport{DisableCompression: true, DisableKeepAlives: true},
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}

// do asks the edge; fields are names and values in turn, Host among them.
func (r *rig) do(method, target string, fields ...string) reply {
	r.t.Helper()
	got := r.try(method, target, fields...)
	if got.err != nil && got.StatusCode == 0 {
		r.t.Errorf("%s %s: %v", method, target, got.err)
	}
	return got
}

// try is do of what may break off before it has begun.
func (r *rig) try(method, target string, fields ...string) reply {
	r.t.Helper()
	req, err := http.NewRequest(method, r.edge.URL+target, nil)
	if err != nil {
		r.t.Fatal(err)
	}
	for i := 0; i < len(fields); i += 2 {
		req.Header.Add(fields[i], fields[i+1])
	}
	if host := req.Header.Get("Host"); host != "" {
		req.Host = host
	}
	res, err := plainClient.Do(req)
	if err != nil {
		return reply{Response: &http.Response{Header: http.Header{}}, err: err}
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	return reply{res, string(b), err}
}

func (r *rig) get(target string, fields ...string) reply {
	r.t.Helper()
	return r.do("GET", target, fields...)
}

// is checks an answer's code, body ("*" for any) and a part of its Cache-Status.
func (r *rig) is(got reply, code int, body, status string) {
	r.t.Helper()
	cs := strings.Join(got.Header["Cache-Status"], " | ")
	if got.StatusCode != code || body != "*" && got.body != body || !strings.Contains(cs, status) || got.err != nil {
		r.t.Errorf("got %d %.60q (%d bytes, %v), Cache-Status %q; want %d %.60q, %q", got.StatusCode, got.body, len(got.body), got.err, cs, code, body, status)
	}
}

// trips checks how often the origin was asked for a path.
func (r *rig) trips(path string, want int) {
	r.t.Helper()
	if got := len(r.origin.asked(path)); got != want {
		r.t.Errorf("the origin was asked %d times for %q, want %d", got, path, want)
	}
}
