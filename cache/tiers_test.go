package cache

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"net/http"

	"weir/proxy/proxytest"
)

// onDisk reports whether all of an object is on disk.
func (r *rig) onDisk(path string) bool {
	for _, o := range r.table.all(path) {
		if s := o.status(o.meta.Load(), time.Now()); s.Disk >= s.Size {
			return true
		}
	}
	return false
}

// What was stored is there after a restart, and is served from disk.
func TestDiskSurvives(t *testing.T) {
	dir := t.TempDir()
	disk := func(o *Options) { o.Dir, o.Disk = dir, 64<<20 }
	long, short := noise(3<<20+5), "hello"
	serve := func(w http.ResponseWriter, req *http.Request) {
		if req.URL.Path == "/short.txt" {
			page(short, "Cache-Control", "max-age=600", "Etag", `"s"`)(w, req)
			return
		}
		file(long, `"l"`)(w, req)
	}
	allOnDisk := func(r *rig) bool {
		sliced, _ := r.look("/sliced.mp4", 1)
		return r.onDisk("/long.mp4") && r.onDisk("/short.txt") && len(sliced) == 1 && sliced[0].Disk > 0
	}
	t.Run("before", func(t *testing.T) {
		r := newRig(t, serve, disk)
		r.get("/long.mp4")
		r.get("/short.txt")
		r.get("/sliced.mp4", "Range", "bytes=2000000-2000009")
		proxytest.Eventually(t, 10*time.Second, "all is on disk", func() bool { return allOnDisk(r) })
	})
	r := newRig(t, serve, disk)
	proxytest.Eventually(t, 10*time.Second, "the folder has been read", func() bool { return allOnDisk(r) })
	r.is(r.get("/long.mp4"), 200, long, "; hit")
	r.is(r.get("/long.mp4", "Range", "bytes=1048570-1048580"), 206, long[1048570:1048581], "; hit")
	r.is(r.get("/short.txt"), 200, short, "; hit")
	r.is(r.get("/sliced.mp4", "Range", "bytes=2000000-2000009"), 206, long[2000000:2000010], "; hit")
	r.trips("", 0)
}

// What has gone from RAM is read from disk; what has gone from both is fetched.
func TestMoreThanRAM(t *testing.T) {
	bodies := map[string]string{}
	for _, name := range []string{"/a.mp4", "/b.mp4", "/c.mp4", "/d.mp4"} {
		bodies[name] = strings.Repeat(name[1:2], 700<<10)
	}
	r := newRig(t, func(w http.ResponseWriter, req *http.Request) {
		file(bodies[req.URL.Path], `"`+req.URL.Path+`"`)(w, req)
	},
		func(o *Options) { o.Memory, o.Dir, o.Disk, o.Slice = 4<<20, t.TempDir(), 64<<20, 256<<10 })
	names := []string{"/a.mp4", "/b.mp4", "/c.mp4", "/d.mp4"}
	for range 3 {
		for _, name := range names {
			r.is(r.get(name), 200, bodies[name], "")
			proxytest.Eventually(t, 10*time.Second, name+" is on disk", func() bool { return r.onDisk(name) })
		}
	}
	r.trips("", 4)
	r.table.each(func(o *object) bool { // nothing is left in RAM
		for n := range 3 {
			if it, ok := r.ram.index.remove(o.item(n)); ok {
				evict([]ramItem{it})
			}
		}
		return true
	})
	for _, name := range names {
		r.is(r.get(name), 200, bodies[name], "; hit")
	}
	r.trips("", 4)
	if r.met.fromDisk.Load() == 0 {
		t.Error("nothing came from disk")
	}
}

func TestPurge(t *testing.T) {
	var version atomic.Int64
	r := newRig(t, func(w http.ResponseWriter, req *http.Request) {
		page("v"+string(rune('0'+version.Load())), "Cache-Control", "max-age=600", "Surrogate-Key", "news sport", "Vary", "Accept-Language")(w, req)
	})
	get := func(path, body, status string) {
		t.Helper()
		r.is(r.get(path), 200, body, status)
	}
	for _, path := range []string{"/x/a.txt", "/x/b.txt", "/y/a.txt"} {
		get(path, "v0", "stored")
	}
	version.Store(1)
	f := func(p purge, want int) {
		t.Helper()
		if n := r.purge(p); n != want {
			t.Errorf("%+v: %d purged, want %d", p, n, want)
		}
	}
	f(purge{URL: "/x/a.txt?utm_source=x"}, 1)
	get("/x/a.txt", "v1", "fwd=uri-miss")
	get("/x/b.txt", "v0", "; hit")
	f(purge{Prefix: "/x/", Soft: true}, 2)
	get("/x/b.txt", "v1", "fwd=stale")
	get("/y/a.txt", "v0", "; hit")
	f(purge{Tag: "sport"}, 3)
	f(purge{Tag: "sport"}, 0)
	get("/y/a.txt", "v1", "fwd=uri-miss")
}

// A purge is also about what was asked for before it and comes after it.
func TestPurgeMeetsFlight(t *testing.T) {
	release := make(chan struct{})
	var n atomic.Int32
	r := newRig(t, func(w http.ResponseWriter, req *http.Request) {
		body := "old"
		if n.Add(1) > 1 {
			body = "new"
		}
		<-release
		page(body, "Cache-Control", "max-age=600")(w, req)
	})
	got := make(chan reply)
	go func() { got <- r.get("/a.txt") }()
	proxytest.Eventually(t, 5*time.Second, "the origin is asked", func() bool { return n.Load() == 1 })
	r.purge(purge{Prefix: "/"})
	close(release)
	if first := <-got; first.StatusCode != 200 || first.err != nil { // either will do for him
		t.Errorf("who had asked before the purge gets %d, %v", first.StatusCode, first.err)
	}
	r.is(r.get("/a.txt"), 200, "new", "")
}

// While viewers hold all of the RAM, everybody gets his answer, and nothing is stored.
func TestMemoryInUse(t *testing.T) {
	long := noise(3 << 20)
	r := newRig(t, func(w http.ResponseWriter, req *http.Request) {
		switch req.URL.Path {
		case "/live/index.m3u8":
			newLive(1).ServeHTTP(w, req)
		case "/long.mp4":
			file(long, `"a"`)(w, req)
		default:
			page("hello", "Cache-Control", "max-age=600")(w, req)
		}
	})
	r.ram.patience = time.Millisecond
	r.get("/long.mp4", "Range", "bytes=1048570-1048575") // the end of a slice: all of it is there
	r.ram.used.Add(2 * r.ram.limit)
	r.is(r.get("/long.mp4", "Range", "bytes=2500000-2500009"), 206, long[2500000:2500010], "fwd=partial; fwd-status=206")
	r.is(r.get("/long.mp4", "Range", "bytes=0-9"), 206, long[:10], "fwd-status=206")
	for range 2 {
		r.is(r.get("/a.txt"), 200, "hello", "fwd-status=200")
		r.is(r.get("/live/index.m3u8"), 200, "*", "fwd-status=200")
	}
	if n := r.met.stored.Load(); n != 1 {
		t.Errorf("%d objects stored, want none but the first", n)
	}
	r.ram.used.Add(-2 * r.ram.limit)
	r.get("/a.txt") // others may wait for it again
	r.get("/a.txt")
	r.is(r.get("/a.txt"), 200, "hello", "; hit")
}

// A cache without RAM passes everything on.
func TestNoMemory(t *testing.T) {
	r := newRig(t, page("hello", "Cache-Control", "max-age=600"), func(o *Options) { o.Memory = 0 })
	r.is(r.get("/a.ts"), 200, "hello", "fwd=")
	r.is(r.get("/a.ts"), 200, "hello", "fwd=")
	r.trips("", 2)
	if err := r.Ready(); err != nil {
		t.Error(err)
	}
}

// A reader of an object that is purged while only the disk has what comes next
// gets it all the same.
func TestPurgedUnderAReader(t *testing.T) {
	const short = "what is read back into RAM as it is short"
	r := newRig(t, page(short, "Cache-Control", "max-age=600", "Etag", `"s"`), func(o *Options) { o.Dir, o.Disk = t.TempDir(), 16<<20 })
	r.get("/short.txt")
	proxytest.Eventually(t, 10*time.Second, "it is on disk", func() bool { return r.onDisk("/short.txt") })
	o := r.table.all("/short.txt")[0]
	if it, ok := r.ram.index.remove(o.item(0)); ok {
		evict([]ramItem{it})
	}
	reader := o.read(0, -1)
	defer reader.close()
	o.kill()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	done := make(chan string)
	go func() {
		p, err := reader.next(ctx)
		got := fmt.Sprintf("%s %v", p.b, err)
		p.close()
		done <- got
	}()
	select {
	case got := <-done:
		if got != short+" <nil>" {
			t.Errorf("read %q", got)
		}
	case <-ctx.Done():
		t.Fatal("reads the disk again and again")
	}
}

// What was on disk a moment ago is counted as the disk's, also where it is read into RAM
// first; the next time it is RAM's.
func TestTiersAreCounted(t *testing.T) {
	dir := t.TempDir()
	disk := func(o *Options) { o.Dir, o.Disk = dir, 64<<20 }
	long := noise(1 << 20)
	serve := func(w http.ResponseWriter, req *http.Request) {
		if req.URL.Path == "/short.txt" {
			page("hello", "Cache-Control", "max-age=600", "Etag", `"s"`)(w, req)
			return
		}
		file(long, `"l"`)(w, req)
	}
	t.Run("before", func(t *testing.T) {
		r := newRig(t, serve, disk)
		for _, name := range []string{"/short.txt", "/long.mp4"} {
			r.get(name)
			proxytest.Eventually(t, 10*time.Second, name+" is on disk", func() bool { return r.onDisk(name) })
		}
		proxytest.Eventually(t, 10*time.Second, "all is counted, as RAM's", func() bool { return r.met.fromRAM.Load() == 5+(1<<20) })
		if d, n := r.met.fromDisk.Load(), r.met.stored.Load(); d != 0 || n != 2 {
			t.Errorf("%d bytes of disk, %d stored", d, n)
		}
	})
	r := newRig(t, serve, disk)
	f := func(name string, disk, ram uint64) {
		t.Helper()
		proxytest.Eventually(t, 10*time.Second, name+" is known", func() bool { return r.onDisk(name) })
		d, m := r.met.fromDisk.Load(), r.met.fromRAM.Load()
		r.get(name)
		proxytest.Eventually(t, 10*time.Second, fmt.Sprintf("%s: %d bytes of disk and %d of RAM", name, disk, ram), func() bool {
			return r.met.fromDisk.Load()-d == disk && r.met.fromRAM.Load()-m == ram
		})
	}
	f("/short.txt", 5, 0)
	f("/short.txt", 0, 5)
	f("/long.mp4", 1<<20, 0)
}

// A fill that breaks off has stored nothing.
func TestBrokenFillIsNotStored(t *testing.T) {
	r := newRig(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Cache-Control", "max-age=600")
		w.Header().Set("Content-Length", "1000000")
		w.Write(make([]byte, 100_000)) //nolint:errcheck // a test's
		panic(http.ErrAbortHandler)
	})
	r.get("/a.mp4")
	proxytest.Eventually(t, 10*time.Second, "the failure is counted", func() bool { return r.met.failures.Load() == 1 })
	if n := r.met.stored.Load(); n != 0 {
		t.Errorf("%d stored", n)
	}
}
