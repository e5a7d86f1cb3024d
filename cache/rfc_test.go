package cache

import (
	"io"
	"net/http"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"weir/proxy"
	"weir/proxy/proxytest"
)

// counting answers each path with the number of the request for it.
func counting(fields map[string][]string) http.HandlerFunc {
	var mu sync.Mutex
	seen := map[string]int{}
	return func(w http.ResponseWriter, req *http.Request) {
		mu.Lock()
		seen[req.URL.Path]++
		n := seen[req.URL.Path]
		mu.Unlock()
		page(strconv.Itoa(n), fields[req.URL.Path]...)(w, req)
	}
}

// RFC 9111 §3.5: what was asked for with credentials is stored only if the origin
// says so, and is shared only then.
func TestAuthorization(t *testing.T) {
	r := newRig(t, counting(map[string][]string{
		"/private.txt": {"Cache-Control", "max-age=60"},
		"/public.txt":  {"Cache-Control", "public, max-age=60"},
	}))
	f := func(path, credentials, body, status string) {
		t.Helper()
		var fields []string
		if credentials != "" {
			fields = []string{"Authorization", credentials}
		}
		r.is(r.get(path, fields...), 200, body, status)
	}
	f("/private.txt", "Bearer a", "1", "fwd=uri-miss")
	f("/private.txt", "Bearer b", "2", "fwd=")
	f("/private.txt", "", "3", "fwd=")
	f("/public.txt", "Bearer a", "1", "stored")
	f("/public.txt", "", "1", "; hit")
	if got := r.origin.asked("/private.txt")[1].Header.Get("Authorization"); got != "Bearer b" {
		t.Errorf("the origin sees Authorization %q", got)
	}
}

// Requests of two viewers with credentials do not join one flight.
func TestCredentialsDoNotMeet(t *testing.T) {
	both := make(chan struct{})
	var n atomic.Int32
	r := newRig(t, func(w http.ResponseWriter, req *http.Request) {
		if n.Add(1) == 2 {
			close(both)
		}
		<-both
		page(req.Header.Get("Authorization"), "Cache-Control", "private")(w, req)
	})
	var wg sync.WaitGroup
	for _, who := range []string{"Bearer a", "Bearer b"} {
		wg.Go(func() { r.is(r.get("/a.txt", "Authorization", who), 200, who, "") })
	}
	wg.Wait()
}

// RFC 9111 §5.2.1.
func TestRequestDirectives(t *testing.T) {
	r := newRig(t, counting(map[string][]string{
		"/a.txt":     {"Cache-Control", "max-age=60"},
		"/stale.txt": {"Cache-Control", "max-age=0", "Last-Modified", "Mon, 02 Jan 2006 15:04:05 GMT"},
		"/im.txt":    {"Cache-Control", "max-age=60, immutable"},
	}))
	f := func(path, directives, body, status string) {
		t.Helper()
		r.is(r.get(path, "Cache-Control", directives), 200, body, status)
	}
	f("/a.txt", "", "1", "stored")
	f("/a.txt", "max-age=30", "1", "; hit")
	f("/a.txt", "no-cache", "2", "fwd=stale")
	f("/a.txt", "max-age=0", "3", "fwd=stale")
	f("/a.txt", "min-fresh=100", "4", "fwd=stale")
	f("/a.txt", "no-store", "4", "hit") // what is stored may be used
	f("/b.txt", "no-store", "1", "fwd=request")
	f("/b.txt", "no-store", "2", "fwd=request")
	f("/stale.txt", "", "1", "stored")
	f("/stale.txt", "max-stale", "1", "hit")
	f("/stale.txt", "", "2", "fwd=stale")
	f("/im.txt", "", "1", "stored")
	f("/im.txt", "no-cache", "1", "; hit") // RFC 8246
	r.is(r.get("/a.txt", "Pragma", "no-cache"), 200, "5", "fwd=stale")
}

func TestLifetimes(t *testing.T) {
	old := "Mon, 02 Jan 2006 15:04:05 GMT"
	r := newRig(t, counting(map[string][]string{
		"/age.txt":       {"Cache-Control", "max-age=60", "Age", "60", "Etag", `"a"`},
		"/cdn.txt":       {"Cache-Control", "no-store", "CDN-Cache-Control", "max-age=60"},
		"/smaxage.txt":   {"Cache-Control", "max-age=0, s-maxage=60"},
		"/expires.txt":   {"Expires", "0", "Etag", `"a"`},
		"/heuristic.txt": {"Last-Modified", old},
		"/nothing.txt":   {},
		"/star.txt":      {"Cache-Control", "max-age=60", "Vary", "*"},
	}))
	f := func(path, body, status string) {
		t.Helper()
		r.get(path)
		r.is(r.get(path), 200, body, status)
	}
	f("/age.txt", "1", "fwd=stale; fwd-status=304")
	f("/cdn.txt", "1", "; hit")
	f("/smaxage.txt", "1", "; hit")
	f("/heuristic.txt", "1", "; hit")
	f("/nothing.txt", "2", "fwd=")
	f("/star.txt", "2", "fwd=")
	if r.get("/cdn.txt").Header.Get("CDN-Cache-Control") == "" {
		t.Error("CDN-Cache-Control does not go downstream")
	}
	r.get("/expires.txt")
	r.is(r.get("/expires.txt"), 200, "*", "fwd=stale; fwd-status=304")
}

// RFC 9111 §4.4: other URIs of this host that an answer names are invalid, too.
func TestInvalidationByLocation(t *testing.T) {
	r := newRig(t, func(w http.ResponseWriter, req *http.Request) {
		if req.Method == "PUT" {
			w.Header().Set("Location", "/other.txt?b=2&a=1")
			w.Header().Set("Content-Location", "http://elsewhere.example/third.txt")
		}
		page("x", "Cache-Control", "max-age=60")(w, req)
	})
	for _, path := range []string{"/a.txt", "/other.txt?a=1&b=2", "/third.txt"} {
		r.get(path)
	}
	r.do("PUT", "/a.txt")
	r.is(r.get("/a.txt"), 200, "x", "fwd=uri-miss")
	r.is(r.get("/other.txt?a=1&b=2"), 200, "x", "fwd=uri-miss")
	r.is(r.get("/third.txt"), 200, "x", "; hit")
}

// RFC 9111 §4.3.5: a HEAD that tells of another object ends what is stored.
func TestHeadTellsOfChange(t *testing.T) {
	etag := atomic.Value{}
	etag.Store(`"a"`)
	r := newRig(t, func(w http.ResponseWriter, req *http.Request) {
		page("x", "Cache-Control", "max-age=0", "Etag", etag.Load().(string))(w, req)
	})
	r.get("/a.txt")
	r.is(r.do("HEAD", "/a.txt"), 200, "", "")
	r.is(r.get("/a.txt"), 200, "x", "fwd-status=304")
	etag.Store(`"b"`)
	r.is(r.do("HEAD", "/a.txt"), 200, "", "")
	r.is(r.get("/a.txt"), 200, "x", "fwd=uri-miss")
}

func TestRedirectsAreTheViewers(t *testing.T) {
	r := newRig(t, func(w http.ResponseWriter, req *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
		http.Redirect(w, req, "/there.txt", http.StatusFound)
	})
	r.is(r.get("/a.txt"), 302, "*", "stored")
	got := r.get("/a.txt")
	r.is(got, 302, "*", "; hit")
	if got.Header.Get("Location") != "/there.txt" {
		t.Errorf("Location = %q", got.Header.Get("Location"))
	}
}

// Every ticket is closed, and told of every byte.
func TestTickets(t *testing.T) {
	r := newRig(t, page("hello", "Cache-Control", "max-age=60"))
	gate := r.env.Gate.(*proxytest.Gate)
	r.get("/a.txt")
	r.get("/a.txt")
	r.do("POST", "/a.txt")
	r.hit("/b.txt", false)
	r.get("/b.txt")
	r.hit("/b.txt", false)
	want := []int{5, 5, 5, 5, 5}
	proxytest.Eventually(t, 5*time.Second, "all tickets are closed", func() bool { return gate.Count().Closes == len(want) })
	for i, ticket := range gate.Tickets() {
		if ticket.Bytes() != want[i] || ticket.Closes() != 1 {
			t.Errorf("ticket %d: %d bytes, closed %d times", i, ticket.Bytes(), ticket.Closes())
		}
	}
}

func TestFullGate(t *testing.T) {
	r := newRig(t, page("hello", "Cache-Control", "max-age=60"))
	r.get("/a.txt")
	r.env.Gate.(*proxytest.Gate).RefuseAdmit = &proxy.Refusal{Reason: proxy.Full}
	if a := r.Hit(&proxy.Plain{Path: "/a.txt", Viewer: &proxy.Viewer{}}); a != nil {
		t.Error("a viewer who is not admitted is answered")
	}
	if got := r.get("/a.txt"); got.StatusCode != 503 {
		t.Errorf("a viewer who is not admitted gets %d", got.StatusCode)
	}
}

// A fromFile is a ResponseWriter that knows where its body comes from.
type fromFile struct {
	http.ResponseWriter
	files int
}

func (f *fromFile) ReadFrom(src io.Reader) (int64, error) {
	if l, ok := src.(*io.LimitedReader); ok {
		src = l.R
	}
	if _, ok := src.(*os.File); ok {
		f.files++
	}
	return io.Copy(f.ResponseWriter, src)
}

// What comes from disk goes to the socket as a file: by sendfile.
func TestHitsFromDiskAreFiles(t *testing.T) {
	body := noise(600 << 10)
	r := newRig(t, file(body, `"a"`), func(o *Options) { o.Dir, o.Disk = t.TempDir(), 64<<20 })
	r.get("/a.mp4")
	proxytest.Eventually(t, 10*time.Second, "it is on disk", func() bool { return r.onDisk("/a.mp4") })
	for n := range 3 {
		it, _ := r.ram.index.remove(r.table.all("/a.mp4")[0].item(n))
		evict([]ramItem{it})
	}
	w := &fromFile{ResponseWriter: nowhere{http.Header{}}}
	req, _ := http.NewRequest("GET", "/a.mp4", nil)
	r.ServeHTTP(w, req)
	if w.files != 3 {
		t.Errorf("%d chunks went as files, want 3", w.files)
	}
}

type nowhere struct{ h http.Header }

func (d nowhere) Header() http.Header       { return d.h }
func (nowhere) Write(b []byte) (int, error) { return len(b), nil }
func (nowhere) WriteHeader(int)             {}
