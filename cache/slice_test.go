package cache

import (
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"weir/proxy/proxytest"
)

// noise is n bytes, the same each time.
func noise(n int) string {
	b := make([]byte, n)
	rng := rand.NewChaCha8([32]byte{1})
	rng.Read(b)
	return string(b)
}

// file serves a body with ranges and an ETag.
func file(body, etag string) http.HandlerFunc {
	return func(w http.ResponseWriter, req *http.Request) {
		w.Header().Set("Etag", etag)
		w.Header().Set("Cache-Control", "max-age=60")
		http.ServeContent(w, req, "a.mp4", time.Time{}, strings.NewReader(body))
	}
}

func TestSlices(t *testing.T) {
	body := noise(10<<20 + 123)
	r := newRig(t, file(body, `"a"`))
	f := func(field string, from, to int, status string, trips int) {
		t.Helper()
		r.is(r.get("/a.mp4", "Range", field), 206, body[from:to], status)
		r.trips("", trips)
	}
	f("bytes=100-199", 100, 200, "fwd=uri-miss", 1)
	f("bytes=300-1000", 300, 1001, "; hit", 1)
	f("bytes=5000000-5000099", 5000000, 5000100, "fwd=partial; stored", 2)
	f("bytes=-100", len(body)-100, len(body), "fwd=partial; stored", 3)
	f("bytes=1048000-1049000", 1048000, 1049001, "fwd=partial; stored", 4) // over two slices
	f("bytes=1048000-1049000", 1048000, 1049001, "; hit", 4)
	r.is(r.get("/a.mp4"), 200, body, "fwd=partial; stored")
	r.is(r.get("/a.mp4"), 200, body, "; hit")
	for _, req := range r.origin.asked("")[1:] {
		if req.Header.Get("If-Range") != `"a"` {
			t.Errorf("Range %s without If-Range", req.Header.Get("Range"))
		}
	}
	n := len(r.origin.asked(""))
	r.is(r.get("/a.mp4", "Range", "bytes=0-9,8000000-8000009"), 206, "*", "; hit")
	r.is(r.get("/a.mp4"), 200, body, "; hit")
	r.trips("", n)
}

// A path may have a "?" in it, which no query begins with.
func TestSlicesOfAPathWithAQuestionMark(t *testing.T) {
	body := noise(3<<20 + 5)
	r := newRig(t, func(w http.ResponseWriter, req *http.Request) {
		if req.URL.Path != "/a?b.mp4" {
			http.NotFound(w, req)
			return
		}
		file(body, `"a"`)(w, req)
	})
	r.is(r.get("/a%3Fb.mp4", "Range", "bytes=0-9"), 206, body[:10], "fwd=uri-miss")
	r.is(r.get("/a%3Fb.mp4", "Range", "bytes=2500000-2500009"), 206, body[2500000:2500010], "fwd=partial")
	r.trips("/a?b.mp4", 2)
	if n := r.purge(purge{URL: "/a%3Fb.mp4"}); n != 1 {
		t.Errorf("%d purged by URL, want 1", n)
	}
	r.get("/a%3Fb.mp4", "Range", "bytes=0-9")
	if n := r.purge(purge{Prefix: "/a%3F"}); n != 1 {
		t.Errorf("%d purged by prefix, want 1", n)
	}
}

// A paced is a viewer's end; it notes what is written before one deadline.
type paced struct {
	*httptest.ResponseRecorder
	run, longest int
}

func (p *paced) SetWriteDeadline(time.Time) error { p.run = 0; return nil }

func (p *paced) Write(b []byte) (int, error) {
	p.run += len(b)
	p.longest = max(p.longest, p.run)
	return p.ResponseRecorder.Write(b)
}

// A viewer has -cache.lag for each MiB, however long slices are.
func TestLagIsForAMiB(t *testing.T) {
	body := noise(17<<20 + 5)
	r := newRig(t, file(body, `"a"`), func(o *Options) { o.Memory, o.Slice = 256<<20, 16<<20 })
	r.get("/a.mp4")
	w := &paced{ResponseRecorder: httptest.NewRecorder()}
	r.ServeHTTP(w, httptest.NewRequest("GET", "/a.mp4", nil))
	if w.Body.String() != body || w.longest != 1<<20 {
		t.Errorf("%d bytes, at most %d before a deadline; want %d, at most %d", w.Body.Len(), w.longest, len(body), 1<<20)
	}
}

// The last bytes first, as players do that look for an index at the end.
func TestLastSliceFirst(t *testing.T) {
	body := noise(3<<20 + 5)
	r := newRig(t, file(body, `"a"`))
	r.is(r.get("/a.mp4", "Range", "bytes=-1000"), 206, body[len(body)-1000:], "fwd=uri-miss")
	r.is(r.get("/a.mp4", "Range", "bytes=-2000"), 206, body[len(body)-2000:], "")
	r.is(r.get("/a.mp4"), 200, body, "")
}

func TestSmallObjectByRange(t *testing.T) {
	r := newRig(t, file("0123456789", `"a"`))
	r.is(r.get("/a.mp4", "Range", "bytes=2-3"), 206, "23", "stored")
	r.is(r.get("/a.mp4"), 200, "0123456789", "; hit")
	r.trips("", 1)
}

// A condition on a range is for the cache to look at: nothing more is fetched.
func TestIfRangeOnNothing(t *testing.T) {
	body := noise(5 << 20)
	r := newRig(t, file(body, `"a"`))
	r.is(r.get("/a.mp4", "Range", "bytes=3000000-3000009", "If-Range", `"a"`), 206, body[3000000:3000010], "stored")
	r.is(r.get("/a.mp4", "Range", "bytes=3000000-3000009", "If-Range", `"b"`), 200, body, "fwd=partial")
	if got := r.origin.asked("")[0].Header.Get("Range"); got != "bytes=2097152-3145727" {
		t.Errorf("the origin was asked for %q", got)
	}
}

func TestManyRangesAtOnce(t *testing.T) {
	body := noise(6 << 20)
	r := newRig(t, file(body, `"a"`))
	var wg sync.WaitGroup
	for i := range 40 {
		wg.Go(func() {
			from := (i * 777777) % (len(body) - 5000)
			r.is(r.get("/a.mp4", "Range", contentRangeOf(from, from+5000)), 206, body[from:from+5000], "")
		})
	}
	wg.Wait()
	if n := len(r.origin.asked("")); n > 8 {
		t.Errorf("%d requests for 6 slices", n)
	}
}

func contentRangeOf(from, to int) string {
	return rangeField(span{int64(from), int64(to)})
}

func TestChangedObject(t *testing.T) {
	one, two := noise(5<<20), strings.Repeat("2", 5<<20)
	var changed atomic.Bool
	r := newRig(t, func(w http.ResponseWriter, req *http.Request) {
		if changed.Load() {
			file(two, `"b"`)(w, req)
			return
		}
		file(one, `"a"`)(w, req)
	})
	r.is(r.get("/a.mp4", "Range", "bytes=0-9"), 206, one[:10], "")
	changed.Store(true)
	r.is(r.get("/a.mp4", "Range", "bytes=3000000-3000009"), 206, two[:10], "")
	r.is(r.get("/a.mp4", "Range", "bytes=0-9"), 206, two[:10], "")
	r.is(r.get("/a.mp4"), 200, two, "")
}

// Without a strong validator pieces cannot be put together.
func TestNoValidator(t *testing.T) {
	body := noise(3 << 20)
	r := newRig(t, func(w http.ResponseWriter, req *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
		http.ServeContent(w, req, "a.mp4", time.Time{}, strings.NewReader(body))
	})
	r.is(r.get("/a.mp4", "Range", "bytes=2000000-2000009"), 206, body[2000000:2000010], "")
	r.is(r.get("/a.mp4"), 200, body, "")
	r.is(r.get("/a.mp4", "Range", "bytes=2000000-2000009"), 206, body[2000000:2000010], "hit")
}

// A far range of a fill under way has a slice of its own.
func TestFarRange(t *testing.T) {
	body := noise(3 << 20)
	stop := make(chan struct{})
	r := newRig(t, func(w http.ResponseWriter, req *http.Request) {
		if req.Header.Get("Range") != "" {
			file(body, `"a"`)(w, req)
			return
		}
		w.Header().Set("Etag", `"a"`)
		w.Header().Set("Accept-Ranges", "bytes")
		w.Header().Set("Cache-Control", "max-age=60")
		w.Header().Set("Content-Length", "3145728")
		w.Write([]byte(body[:1000]))
		http.NewResponseController(w).Flush()
		<-stop
		w.Write([]byte(body[1000:]))
	})
	done := make(chan reply)
	go func() { done <- r.get("/a.mp4") }()
	proxytest.Eventually(t, 5*time.Second, "the fill runs", func() bool { return len(r.table.all("/a.mp4")) > 0 })
	r.is(r.get("/a.mp4", "Range", "bytes=100-199"), 206, body[100:200], "; hit")
	r.trips("", 1)
	r.is(r.get("/a.mp4", "Range", "bytes=2500000-2500099"), 206, body[2500000:2500100], "fwd=partial; stored")
	r.trips("", 2)
	close(stop)
	r.is(<-done, 200, body, "")
	r.is(r.get("/a.mp4"), 200, body, "; hit")
	r.trips("", 2)
}

// An object larger than the cache passes through it: memory stays bounded.
func TestHugeObject(t *testing.T) {
	body := noise(24 << 20)
	r := newRig(t, file(body, `"a"`), func(o *Options) { o.Memory = 8 << 20; o.Slice = 256 << 10 })
	for range 2 {
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() { r.is(r.get("/a.mp4"), 200, body, "") })
		}
		wg.Wait()
		if used := r.ram.used.Load(); used > 8<<20+8<<20/64 {
			t.Errorf("%d bytes in use", used)
		}
	}
}

// The same of an origin that says neither how long it is nor serves ranges.
func TestHugeUnknown(t *testing.T) {
	body := noise(24 << 20)
	r := newRig(t, func(w http.ResponseWriter, req *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
		for b := []byte(body); len(b) > 0; b = b[64<<10:] {
			w.Write(b[:64<<10])
			http.NewResponseController(w).Flush()
		}
	}, func(o *Options) { o.Memory = 8 << 20 })
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() { r.is(r.get("/a.mp4"), 200, body, "") })
	}
	wg.Wait()
	if used := r.ram.used.Load(); used > 8<<20 {
		t.Errorf("%d bytes in use", used)
	}
}
