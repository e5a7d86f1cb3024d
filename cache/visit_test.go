package cache

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"weir/proxy"
	"weir/proxy/proxytest"
)

// A page answers with fields, names and values in turn, and a body.
func page(body string, fields ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		for i := 0; i < len(fields); i += 2 {
			w.Header().Add(fields[i], fields[i+1])
		}
		if etag := w.Header().Get("Etag"); etag != "" && r.Header.Get("If-None-Match") == etag {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		io.WriteString(w, body)
	}
}

func TestStoredIsServedAgain(t *testing.T) {
	r := newRig(t, page("hello", "Cache-Control", "max-age=60", "Etag", `"a"`, "X-Own", "1"))
	r.is(r.get("/a.txt"), 200, "hello", "fwd=uri-miss; fwd-status=200; stored")
	got := r.get("/a.txt")
	r.is(got, 200, "hello", "; hit; ttl=")
	if got.Header.Get("Age") == "" || got.Header.Get("X-Own") != "1" || got.ContentLength != 5 || got.Header.Get("Date") == "" {
		t.Errorf("fields of a hit: %v", got.Header)
	}
	r.is(r.do("HEAD", "/a.txt"), 200, "", "; hit")
	r.is(r.get("/a.txt", "If-None-Match", `"a"`), 304, "", "; hit")
	r.is(r.get("/a.txt", "Range", "bytes=1-2"), 206, "el", "; hit")
	r.is(r.get("/a.txt", "Range", "bytes=9-"), 416, "", "; hit")
	r.is(r.get("/a.txt", "Range", "bytes=-2", "If-Range", `"b"`), 200, "hello", "; hit")
	r.is(r.get("/a.txt", "If-Match", `"b"`), 412, "", "; hit")
	r.trips("", 1)
}

// One stale object, five viewers at once: one conditional request.
func TestValidation(t *testing.T) {
	release := make(chan struct{})
	var n atomic.Int32
	r := newRig(t, func(w http.ResponseWriter, req *http.Request) {
		if n.Add(1) > 1 {
			<-release
		}
		page("hello", "Cache-Control", "max-age=0", "Etag", `"a"`, "X-Turn", strconv.Itoa(int(n.Load())))(w, req)
	})
	r.get("/a.txt")
	var wg sync.WaitGroup
	replies := make([]reply, 5)
	for i := range replies {
		wg.Go(func() { replies[i] = r.get("/a.txt") })
	}
	proxytest.Eventually(t, 5*time.Second, "the origin is asked", func() bool { return len(r.origin.asked("")) == 2 })
	time.AfterFunc(50*time.Millisecond, func() { close(release) })
	wg.Wait()
	for _, got := range replies {
		r.is(got, 200, "hello", "fwd=stale; fwd-status=304")
		if got.Header.Get("X-Turn") != "2" {
			t.Errorf("X-Turn = %s: a 304's fields replace those stored", got.Header.Get("X-Turn"))
		}
	}
	r.trips("", 2)
	if inm := r.origin.asked("")[1].Header.Get("If-None-Match"); inm != `"a"` {
		t.Errorf("the second request has If-None-Match %q", inm)
	}
}

func TestManyAtOnceAreOneFill(t *testing.T) {
	release := make(chan struct{})
	body := strings.Repeat("0123456789abcdef", 40<<10)
	r := newRig(t, func(w http.ResponseWriter, req *http.Request) {
		<-release
		page(body, "Cache-Control", "max-age=60")(w, req)
	})
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() { r.is(r.get("/a.ts"), 200, body, "") })
	}
	proxytest.Eventually(t, 5*time.Second, "the origin is asked", func() bool { return len(r.origin.asked("")) > 0 })
	close(release)
	wg.Wait()
	r.trips("", 1)
	r.is(r.get("/a.ts"), 200, body, "; hit")
}

// What is not to be stored goes to each for himself, and nobody waits for anybody
// the second time.
func TestNotStored(t *testing.T) {
	var n, at atomic.Int32
	together := make(chan struct{}) // closed when five have asked the second time
	r := newRig(t, func(w http.ResponseWriter, req *http.Request) {
		switch at.Add(1) {
		case 1, 2, 3, 4, 5:
		case 10:
			close(together)
		default:
			select {
			case <-together:
			case <-time.After(5 * time.Second):
				t.Error("they queue")
			}
		}
		page(fmt.Sprint(n.Add(1)), "Cache-Control", "no-store")(w, req)
	})
	round := func() {
		var wg sync.WaitGroup
		var mu sync.Mutex
		seen := map[string]bool{}
		for range 5 {
			wg.Go(func() {
				got := r.get("/a.txt")
				r.is(got, 200, "*", "fwd=")
				mu.Lock()
				defer mu.Unlock()
				if seen[got.body] {
					t.Errorf("two viewers got the answer %q, which was for one", got.body)
				}
				seen[got.body] = true
			})
		}
		wg.Wait()
	}
	round()
	round()
	r.trips("", 10)
}

// What was found and not used is no hit.
func TestForwardedIsNoHit(t *testing.T) {
	r := newRig(t, page("hello", "Cache-Control", "max-age=0", "Etag", `"a"`))
	r.get("/a.txt")
	f := func(got reply, body, want string) {
		t.Helper()
		r.is(got, 200, body, want)
		if status := got.Header.Get("Cache-Status"); strings.Contains(status, "hit") {
			t.Errorf("Cache-Status of what the origin answered: %q", status)
		}
	}
	f(r.do("HEAD", "/a.txt"), "", "fwd=stale; fwd-status=200")
	f(r.get("/a.txt", "Cache-Control", "no-store"), "hello", "fwd=request; fwd-status=200")
	f(r.do("HEAD", "/b.txt"), "", "fwd=uri-miss; fwd-status=200")
}

func TestGrowingObject(t *testing.T) {
	next := make(chan struct{})
	r := newRig(t, func(w http.ResponseWriter, req *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
		for i := range 3 {
			fmt.Fprintf(w, "part %d ", i)
			http.NewResponseController(w).Flush()
			<-next
		}
	})
	open := func(fields ...string) (*http.Response, func(n int) string) {
		req, _ := http.NewRequest("GET", r.edge.URL+"/a.m4s", nil)
		for i := 0; i < len(fields); i += 2 {
			req.Header.Set(fields[i], fields[i+1])
		}
		res, err := plainClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { res.Body.Close() })
		return res, func(n int) string {
			b := make([]byte, n)
			if _, err := io.ReadFull(res.Body, b); err != nil {
				t.Fatal(err)
			}
			return string(b)
		}
	}
	_, first := open()
	if got := first(7); got != "part 0 " {
		t.Errorf("first = %q", got)
	}
	_, late := open()
	if got := late(7); got != "part 0 " {
		t.Errorf("a late joiner reads %q", got)
	}
	// A range that is there already, and one without an end (RFC 8673).
	res, _ := open("Range", "bytes=2-5")
	if b, err := io.ReadAll(res.Body); string(b) != "rt 0" || err != nil || res.StatusCode != 206 || res.Header.Get("Content-Range") != "bytes 2-5/*" {
		t.Errorf("range of a growing object: %d %q %q %v", res.StatusCode, res.Header.Get("Content-Range"), b, err)
	}
	res, open3 := open("Range", "bytes=5-9007199254740991")
	if got := open3(2); got != "0 " || res.StatusCode != 206 || res.Header.Get("Content-Range") != "bytes 5-9007199254740991/*" {
		t.Errorf("open range of a growing object: %d %q %q", res.StatusCode, res.Header.Get("Content-Range"), got)
	}
	next <- struct{}{}
	for _, read := range []func(int) string{first, late, open3} {
		if got := read(7); got != "part 1 " {
			t.Errorf("then %q", got)
		}
	}
	next <- struct{}{}
	next <- struct{}{}
	if got := first(7); got != "part 2 " {
		t.Errorf("at last %q", got)
	}
	proxytest.Eventually(t, 5*time.Second, "the object is complete", func() bool {
		return r.do("HEAD", "/a.m4s").ContentLength == 21
	})
	r.is(r.get("/a.m4s", "Range", "bytes=14-9007199254740991"), 206, "part 2 ", "; hit")
	r.is(r.get("/a.m4s"), 200, "part 0 part 1 part 2 ", "; hit")
	r.trips("", 1)
}

func TestFirstViewerLeaves(t *testing.T) {
	next := make(chan struct{})
	r := newRig(t, func(w http.ResponseWriter, req *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
		io.WriteString(w, "half")
		http.NewResponseController(w).Flush()
		<-next
		io.WriteString(w, "half")
	})
	res, err := plainClient.Get(r.edge.URL + "/a.ts")
	if err != nil {
		t.Fatal(err)
	}
	io.ReadFull(res.Body, make([]byte, 4))
	res.Body.Close()
	close(next)
	r.is(r.get("/a.ts"), 200, "halfhalf", "")
	r.trips("", 1)
}

// A fill that breaks off breaks off its readers' answers, and leaves nothing.
func TestBrokenFill(t *testing.T) {
	f := func(length string) {
		t.Helper()
		broke := make(chan struct{})
		r := newRig(t, func(w http.ResponseWriter, req *http.Request) {
			w.Header().Set("Cache-Control", "max-age=60")
			if length != "" {
				w.Header().Set("Content-Length", length)
			}
			io.WriteString(w, "half")
			http.NewResponseController(w).Flush()
			<-broke
			panic(http.ErrAbortHandler)
		})
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() {
				if got := r.get("/a.ts"); got.err == nil || got.body != "half" {
					t.Errorf("length %q: read %q and a clean end", length, got.body)
				}
			})
		}
		proxytest.Eventually(t, 5*time.Second, "three read", func() bool {
			o, _, _ := r.find(key{id: "/a.ts"}, &http.Request{URL: r.want(target{path: "/a.ts"}, "").request(t.Context()).URL}, time.Now())
			if o == nil {
				return false
			}
			o.mu.Lock()
			defer o.mu.Unlock()
			return o.readers == 3
		})
		close(broke)
		wg.Wait()
		r.trips("", 1)
		proxytest.Eventually(t, 5*time.Second, "nothing is left", func() bool { return len(r.table.all("/a.ts")) == 0 })
	}
	f("")
	f("8")
}

func TestUnsafeMethodsInvalidate(t *testing.T) {
	r := newRig(t, func(w http.ResponseWriter, req *http.Request) {
		if req.Method == "POST" && req.URL.Query().Has("bad") {
			w.WriteHeader(500)
			return
		}
		page("hello", "Cache-Control", "max-age=60")(w, req)
	})
	r.get("/a.txt")
	r.is(r.do("POST", "/a.txt?bad=1"), 500, "", "fwd=method")
	r.do("POST", "/b.txt")
	r.is(r.get("/a.txt"), 200, "hello", "; hit")
	r.is(r.do("POST", "/a.txt"), 200, "hello", "fwd=method")
	r.is(r.get("/a.txt"), 200, "hello", "fwd=uri-miss")
}

func TestVariants(t *testing.T) {
	r := newRig(t, func(w http.ResponseWriter, req *http.Request) {
		page("in "+req.Header.Get("Accept-Language"), "Cache-Control", "max-age=60", "Vary", "Accept-Language")(w, req)
	})
	f := func(language, status string) {
		t.Helper()
		r.is(r.get("/a.txt", "Accept-Language", language), 200, "in "+language, status)
	}
	f("de", "fwd=uri-miss")
	f("fr", "fwd=vary-miss")
	f("de", "; hit")
	f("fr", "; hit")
	r.trips("", 2)
}

// What does not go upstream makes no variants.
func TestVaryOnWhatIsNotSent(t *testing.T) {
	r := newRig(t, func(w http.ResponseWriter, req *http.Request) {
		page("hello", "Cache-Control", "max-age=60", "Vary", "Accept-Encoding, Origin, Referer")(w, req)
	})
	for i, coding := range []string{"gzip", "br, gzip", "identity"} {
		r.is(r.get("/a.ts", "Accept-Encoding", coding, "Referer", coding), 200, "hello", []string{"stored", "; hit", "; hit"}[i])
	}
	r.trips("/a.ts", 1)
	for i, coding := range []string{"gzip, br", "br;q=0.9,gzip", "gzip"} {
		r.is(r.get("/a.txt", "Accept-Encoding", coding), 200, "hello", []string{"stored", "; hit", "vary-miss"}[i])
	}
}

func TestOriginGone(t *testing.T) {
	var down atomic.Bool
	r := newRig(t, func(w http.ResponseWriter, req *http.Request) {
		if down.Load() {
			panic(http.ErrAbortHandler)
		}
		page("hello", "Cache-Control", "max-age=0", "Etag", `"a"`)(w, req)
	})
	r.get("/a.txt")
	down.Store(true)
	r.is(r.get("/a.txt"), 200, "hello", "detail=stale")
	r.is(r.get("/b.txt"), 503, "*", "fwd=uri-miss")
	r.is(r.get("/b.txt", "Cache-Control", "only-if-cached"), 504, "*", "")
}

func TestStaleWhileRevalidate(t *testing.T) {
	var n atomic.Int32
	r := newRig(t, func(w http.ResponseWriter, req *http.Request) {
		page(fmt.Sprint(n.Add(1)), "Cache-Control", "max-age=0, stale-while-revalidate=60")(w, req)
	})
	r.get("/a.txt")
	r.is(r.get("/a.txt"), 200, "1", "hit")
	proxytest.Eventually(t, 5*time.Second, "the new one is there", func() bool { return r.get("/a.txt").body != "1" })
}

// RFC 8297: hints pass to who waits for them, and are not stored.
func TestEarlyHints(t *testing.T) {
	hinted := make(chan struct{})
	r := newRig(t, func(w http.ResponseWriter, req *http.Request) {
		w.Header().Set("Link", "</s.ts>; rel=preload")
		w.WriteHeader(http.StatusEarlyHints)
		w.Header().Del("Link")
		<-hinted // the viewer has them while the answer is still being made
		page("hello", "Cache-Control", "max-age=60")(w, req)
	})
	trace := &httptrace.ClientTrace{Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
		if code == 103 && h.Get("Link") != "" {
			close(hinted)
		}
		return nil
	}}
	req, err := http.NewRequestWithContext(httptrace.WithClientTrace(t.Context(), trace), "GET", r.edge.URL+"/a.txt", nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := plainClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode != 200 || res.Header.Get("Link") != "" {
		t.Errorf("%d, Link %q", res.StatusCode, res.Header.Get("Link"))
	}
	r.is(r.get("/a.txt"), 200, "hello", "; hit")
}

// A viewer who does not read holds up neither the fill nor the others.
func TestSlowViewer(t *testing.T) {
	body := noise(12 << 20) // more than sockets take
	r := newRig(t, file(body, `"a"`), func(o *Options) { o.Memory = 256 << 20 })
	slow, err := net.Dial("tcp", r.edge.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer slow.Close()
	fmt.Fprint(slow, "GET /a.mp4 HTTP/1.1\r\nHost: x\r\n\r\n")
	r.is(r.get("/a.mp4"), 200, body, "")
	r.is(r.get("/a.mp4"), 200, body, "; hit")
	r.trips("", 1)
	res, err := http.ReadResponse(bufio.NewReader(slow), nil)
	if err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(res.Body); string(b) != body || err != nil {
		t.Errorf("the slow one reads %d bytes, %v", len(b), err)
	}
}

// A keeper is an upstream that asks origins for the viewer's Host.
type keeper struct{ proxy.Upstream }

func (keeper) KeepsHost() bool { return true }

func keepHost(u proxy.Upstream) proxy.Upstream { return keeper{u} }

func TestHostIsInTheKey(t *testing.T) {
	r := newRigOn(t, keepHost, func(w http.ResponseWriter, req *http.Request) { page(req.Host, "Cache-Control", "max-age=60")(w, req) })
	f := func(host, status string) {
		t.Helper()
		r.is(r.get("/a.ts", "Host", host), 200, host, status)
	}
	f("one.example", "uri-miss")
	f("two.example", "uri-miss")
	f("one.example", "; hit")
}

// What an answer to an unsafe request points to is of the request's host.
func TestInvalidationIsOfTheHost(t *testing.T) {
	r := newRigOn(t, keepHost, page("x", "Cache-Control", "max-age=60", "Location", "/b.txt"))
	for _, host := range []string{"one.example", "two.example:8080"} {
		r.get("/b.txt", "Host", host)
	}
	r.do("POST", "/a.txt", "Host", "two.example:8080")
	r.is(r.get("/b.txt", "Host", "two.example:8080"), 200, "x", "fwd=uri-miss")
	r.is(r.get("/b.txt", "Host", "one.example"), 200, "x", "; hit")
}

func TestCookies(t *testing.T) {
	r := newRig(t, page("hello", "Cache-Control", "max-age=60", "Set-Cookie", "a=1"))
	got := r.get("/a.ts", "Cookie", "b=2")
	r.is(got, 200, "hello", "stored")
	if got.Header.Get("Set-Cookie") != "" || r.origin.asked("")[0].Header.Get("Cookie") != "" {
		t.Error("a segment's cookie passes")
	}
	r.is(r.get("/a.ts"), 200, "hello", "; hit")
	got = r.get("/a.txt", "Cookie", "b=2")
	r.is(got, 200, "hello", "fwd=uri-miss; fwd-status=200")
	if got.Header.Get("Set-Cookie") != "a=1" || r.origin.asked("/a.txt")[0].Header.Get("Cookie") != "b=2" {
		t.Error("other things keep their cookies")
	}
	r.is(r.get("/a.txt"), 200, "hello", "fwd=")
	r = newRig(t, page("hello", "Cache-Control", "max-age=60", "Set-Cookie", "a=1"), func(o *Options) { o.Cookies = true })
	for range 2 {
		if got := r.get("/a.ts"); got.Header.Get("Set-Cookie") != "a=1" {
			t.Error("-cache.cookies: a segment's cookie is taken out")
		}
	}
	r.trips("", 2)
}

func TestCORS(t *testing.T) {
	r := newRig(t, page("hello", "Cache-Control", "max-age=60", "Vary", "Origin", "Access-Control-Allow-Origin", "http://one.example"))
	for _, site := range []string{"http://one.example", "http://two.example"} {
		got := r.get("/a.ts", "Origin", site)
		r.is(got, 200, "hello", "")
		if got.Header.Get("Access-Control-Allow-Origin") != "*" || got.Header.Get("Vary") != "" {
			t.Errorf("fields: %v", got.Header)
		}
	}
	r.trips("", 1)
	got := r.do("OPTIONS", "/a.ts", "Origin", "http://x", "Access-Control-Request-Method", "GET", "Access-Control-Request-Headers", "range")
	if got.StatusCode != 204 || got.Header.Get("Access-Control-Allow-Headers") != "range" {
		t.Errorf("preflight: %d %v", got.StatusCode, got.Header)
	}
	r.trips("", 1)
}
