package cache

import (
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"weir/proxy"
	"weir/proxy/proxytest"
)

// versions is an origin of a file of 3 MiB that has changed in between: all of it
// is 'A', then 'B'. It has no regard for If-Range.
func versions(version *atomic.Int32, name string, validators [2]string) http.HandlerFunc {
	const size = 3 << 20
	return func(w http.ResponseWriter, req *http.Request) {
		v := version.Load()
		body := strings.Repeat(string('A'+v), size)
		h := w.Header()
		h.Set(name, validators[v])
		h.Set("Date", time.Now().UTC().Format(http.TimeFormat))
		h.Set("Cache-Control", "max-age=60")
		h.Set("Accept-Ranges", "bytes")
		h.Set("Content-Type", "video/mp4")
		var from, to int
		if n, _ := fmt.Sscanf(req.Header.Get("Range"), "bytes=%d-%d", &from, &to); n == 2 {
			to = min(to, size-1)
			h.Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, to, size))
			h.Set("Content-Length", strconv.Itoa(to-from+1))
			w.WriteHeader(http.StatusPartialContent)
			io.WriteString(w, body[from:to+1]) //nolint:errcheck // the edge sees it
			return
		}
		io.WriteString(w, body) //nolint:errcheck // the edge sees it
	}
}

// Slices of two versions are never put together, whatever tells them apart.
func TestSlicesOfTwoVersions(t *testing.T) {
	f := func(name, before, after string) {
		t.Helper()
		var version atomic.Int32
		r := newRig(t, versions(&version, name, [2]string{before, after}))
		if got := r.get("/v.mp4", "Range", "bytes=0-9"); got.StatusCode != http.StatusPartialContent {
			t.Errorf("%s: %d", name, got.StatusCode)
		}
		version.Store(1)
		got := r.get("/v.mp4")
		if a, b := strings.Contains(got.body, "A"), strings.Contains(got.body, "B"); got.err == nil && a && b {
			t.Errorf("%s from %s to %s: a body of both versions", name, before, after)
		}
		if got := r.get("/v.mp4"); got.err != nil || got.body != strings.Repeat("B", 3<<20) {
			t.Errorf("%s: afterwards %d, %v", name, got.StatusCode, got.err)
		}
	}
	f("Etag", `"a"`, `"b"`)
	f("Etag", `"a"`, `W/"b"`)
	hourAgo := time.Now().Add(-time.Hour).UTC()
	f("Last-Modified", hourAgo.Format(http.TimeFormat), hourAgo.Add(time.Minute).Format(http.TimeFormat))
}

// A Range under an If-Range that does not hold asks for all (RFC 9110 §13.1.5), also
// where the range is behind the end of what is there now.
func TestIfRangeBehindTheEnd(t *testing.T) {
	r := newRig(t, file("the new file", `"new"`))
	r.is(r.get("/f.mp4", "Range", "bytes=5000000-", "If-Range", `"old"`), 200, "the new file", "")
	r.is(r.get("/f.mp4", "Range", "bytes=5000000-5000009", "If-Range", `"old"`), 200, "the new file", "")
}

// A 416 is about one range, not about the object, however long it may be kept.
func TestRangeBehindTheEndIsNotStored(t *testing.T) {
	r := newRig(t, func(w http.ResponseWriter, req *http.Request) {
		w.Header().Set("Cache-Control", "public, max-age=60")
		if req.Header.Get("Range") != "" {
			w.WriteHeader(http.StatusRequestedRangeNotSatisfiable)
			return
		}
		io.WriteString(w, "all of it") //nolint:errcheck // the edge sees it
	})
	if got := r.get("/f.mp4", "Range", "bytes=5000000-5000001"); got.StatusCode != 416 {
		t.Errorf("%d", got.StatusCode)
	}
	r.is(r.get("/f.mp4"), 200, "all of it", "")
}

// What a GET brings that was under way when a PUT succeeded is not for those who
// ask after it.
func TestChangedWhileFetched(t *testing.T) {
	release, asked := make(chan struct{}), make(chan struct{}, 9)
	var version atomic.Int32
	r := newRig(t, func(w http.ResponseWriter, req *http.Request) {
		if req.Method == http.MethodPut {
			version.Add(1)
			w.WriteHeader(http.StatusNoContent)
			return
		}
		v := version.Load()
		if v == 0 {
			asked <- struct{}{}
			<-release
		}
		w.Header().Set("Cache-Control", "max-age=600")
		fmt.Fprintf(w, "version %d", v)
	})
	first := make(chan reply)
	go func() { first <- r.get("/a.txt") }()
	<-asked
	r.do(http.MethodPut, "/a.txt")
	close(release)
	<-first // either is right for him
	r.is(r.get("/a.txt"), 200, "version 1", "")
}

// Fields that are in no key make no difference to what others get.
func TestFieldsThatPoison(t *testing.T) {
	r := newRig(t, func(w http.ResponseWriter, req *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
		if o := req.Header.Get("Origin"); o != "" {
			w.Header().Set("Access-Control-Allow-Origin", o)
		}
		for name := range req.Header {
			switch name {
			case "Accept", "Accept-Encoding", "Accept-Language", "User-Agent", "Via", "X-Api-Version", "Origin":
			default:
				fmt.Fprintf(w, "%s ", name)
			}
		}
	})
	poison := []string{"X-Original-URL", "/evil", "X-Host", "evil", "X-HTTP-Method-Override", "DELETE", "X-Method-Override", "DELETE",
		"X-Rewrite-URL", "/evil", "X-Forwarded-Scheme", "http", "X-Forwarded-Prefix", "/evil", "Forwarded", "for=evil", "X-Real-IP", "6.6.6.6"}
	r.is(r.get("/a.json", poison...), 200, "", "stored")
	r.is(r.get("/a.ts", append(poison, "X-Api-Version", "1", "X-Anything", "else")...), 200, "", "stored")
	r.is(r.get("/a.m3u8", append(poison, "X-Anything", "else")...), 200, "", "stored")

	r.get("/c.json", "Origin", "https://evil.example")
	if got := r.get("/c.json", "Origin", "https://good.example").Header.Get("Access-Control-Allow-Origin"); got != "https://good.example" {
		t.Errorf("allowed for %q", got)
	}
}

// An Upgrade is one that Connection names, of a GET (RFC 9110 §7.8); no other field
// takes a request past the cache.
func TestLoneUpgrade(t *testing.T) {
	r := newRig(t, func(w http.ResponseWriter, req *http.Request) {
		w.Header().Set("Cache-Control", "max-age=600")
		io.WriteString(w, "body") //nolint:errcheck // the edge sees it
	})
	r.is(r.get("/a.ts"), 200, "body", "stored")
	r.is(r.get("/a.ts", "Upgrade", "websocket"), 200, "body", "hit")
	r.is(r.get("/a.ts", "Upgrade", "websocket", "Connection", "close"), 200, "body", "hit")
}

// Quick answers to viewers who do not read leave room for what is new.
func TestHandsLeaveRoom(t *testing.T) {
	r := newRig(t, func(w http.ResponseWriter, req *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
		w.Header().Set("Etag", `"a"`)
		http.ServeContent(w, req, "f.mp4", time.Time{}, strings.NewReader(strings.Repeat("x", 900<<10)))
	}, func(o *Options) { o.Memory = 16 << 20 })
	var held int64
	var hits []*proxy.Hit
	for i := range 30 {
		p := fmt.Sprintf("/f%d.mp4", i)
		if got := r.get(p); got.StatusCode != 200 || got.err != nil {
			t.Fatalf("with %d quick answers held: %d %v", len(hits), got.StatusCode, got.err)
		}
		if h := r.Hit(&proxy.Plain{Path: p, Viewer: &proxy.Viewer{Protocol: "http", Path: p}}); h != nil {
			hits = append(hits, h)
			held += 900 << 10
		}
	}
	if len(hits) == 0 || held > 2<<20 {
		t.Errorf("%d quick answers hold %d bytes of 16 MiB", len(hits), held)
	}
	for _, h := range hits {
		h.Done(0)
	}
	if h := r.Hit(&proxy.Plain{Path: "/f29.mp4", Viewer: &proxy.Viewer{Protocol: "http", Path: "/f29.mp4"}}); h == nil {
		t.Error("no quick answer although nothing is held any more")
	} else {
		h.Done(0)
	}
}

// A body without an end is not read on when all who wanted it have gone.
func TestEndlessBody(t *testing.T) {
	f := func(fields ...string) {
		t.Helper()
		var open atomic.Int32
		r := newRig(t, func(w http.ResponseWriter, req *http.Request) {
			open.Add(1)
			defer open.Add(-1)
			for i := 0; i < len(fields); i += 2 {
				w.Header().Set(fields[i], fields[i+1])
			}
			w.Header().Set("Content-Type", "audio/mpeg")
			tick := time.NewTicker(20 * time.Millisecond)
			defer tick.Stop()
			for req.Context().Err() == nil {
				fmt.Fprintf(w, "%08d", 1)
				w.(http.Flusher).Flush()
				<-tick.C
			}
		})
		for range 3 {
			res, err := plainClient.Get(r.edge.URL + "/radio.mp3")
			if err != nil {
				t.Fatal(err)
			}
			io.ReadFull(res.Body, make([]byte, 8)) //nolint:errcheck // a part will do
			res.Body.Close()
		}
		proxytest.Eventually(t, 20*time.Second, "no pull without a viewer", func() bool { return open.Load() == 0 })
	}
	f("Cache-Control", "no-cache")
}

// When an idle fill ends.
func TestIdle(t *testing.T) {
	now := time.Now()
	f := func(what string, o *object, m meta, after time.Duration, want bool) {
		t.Helper()
		o.left = now
		if got := (&fill{o: o}).idle(&m, now.Add(after)); got != want {
			t.Errorf("%s after %v: idle = %v", what, after, got)
		}
	}
	stored := meta{Size: 100, Verdict: verdict{Fresh: time.Hour}}
	growing := meta{Size: -1, Verdict: verdict{Fresh: time.Hour}}
	never := meta{Size: -1}
	f("an object that is stored", &object{}, stored, time.Hour, false)
	f("one that has been purged", &object{dead: true}, stored, 3*time.Second, true)
	f("one that has been purged", &object{dead: true}, stored, time.Second, false)
	f("one that has been purged and is read", &object{dead: true, readers: 1}, stored, time.Hour, false)
	f("one of unknown size", &object{}, growing, 20*time.Second, false)
	f("one of unknown size", &object{}, growing, 40*time.Second, true)
	f("one of unknown size and no use", &object{}, never, 3*time.Second, true)
}

// A slice that is wanted when the cache has stopped is not waited for.
func TestSliceAfterTheEnd(t *testing.T) {
	r := newRig(t, file(noise(3<<20), `"a"`))
	r.get("/f.mp4", "Range", "bytes=0-9")
	o, _ := r.table.find("/f.mp4", http.Header{})
	stopped := func(yes bool) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.stopped = yes
	}
	stopped(true)
	defer stopped(false)
	rd := o.read(2<<20, -1)
	defer rd.close()
	if p, err := rd.next(t.Context()); err == nil {
		t.Errorf("%d bytes", p.n)
		p.close()
	}
}

// The gate hears of errors, however they are answered.
func TestGateHearsOfErrors(t *testing.T) {
	gate := &proxytest.Gate{}
	r := newRig(t, func(w http.ResponseWriter, req *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
		switch req.URL.Path {
		case "/none.ts":
			w.WriteHeader(http.StatusNotFound)
		case "/private.ts":
			w.Header().Set("Cache-Control", "private")
			w.WriteHeader(http.StatusForbidden)
		default:
			io.WriteString(w, "body") //nolint:errcheck // the edge sees it
		}
	})
	r.env.Gate = gate
	f := func(want int, do func()) {
		t.Helper()
		before := len(gate.Tickets())
		do()
		for _, ticket := range gate.Tickets()[before:] {
			proxytest.Eventually(t, 5*time.Second, "the ticket is closed", func() bool { return ticket.Closes() == 1 })
			if n := ticket.Failures(); min(n, 1) != want {
				t.Errorf("%s failed %d times, want %d", ticket.Viewer.Path, n, want)
			}
		}
	}
	get := func(path string, fields ...string) func() { return func() { r.get(path, fields...) } }
	hit := func(path string) func() {
		return func() {
			proxytest.Eventually(t, 5*time.Second, path+" is at hand", func() bool { // its fill may still be ending
				h := r.Hit(&proxy.Plain{Path: path, Viewer: &proxy.Viewer{Protocol: "http", Path: path}})
				if h != nil {
					h.Done(0)
				}
				return h != nil
			})
		}
	}
	f(0, get("/a.ts"))
	f(0, get("/a.ts"))
	f(0, hit("/a.ts"))
	f(1, get("/a.ts", "Range", "bytes=100-"))
	f(1, get("/none.ts"))
	f(1, get("/none.ts"))
	f(1, hit("/none.ts"))
	f(1, get("/private.ts"))
	f(1, get("/private.ts"))
	f(1, get("/b.ts", "Cache-Control", "only-if-cached"))
}
