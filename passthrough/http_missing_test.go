package passthrough

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// coded answers what is below /live/ with a code; 0 is none at all.
func coded(t *testing.T, code int) *liveOrigin {
	t.Helper()
	o := newLiveOrigin(t, 1)
	o.hook = func(w http.ResponseWriter, _ *http.Request) bool {
		if code == 0 {
			panic(http.ErrAbortHandler)
		}
		w.WriteHeader(code)
		fmt.Fprint(w, code)
		return true
	}
	return o
}

func TestMissingIsLookedForElsewhere(t *testing.T) {
	f := func(method, name string, want int, asked []int64, codes ...int) {
		t.Helper()
		var origins []*liveOrigin
		for _, code := range codes {
			origins = append(origins, coded(t, code))
		}
		b := lives(t, origins...)
		dir := ahead(t, b, 0)
		if len(codes) > 1 {
			b.memory.had(b.pools[0], dir+"/x", time.Now())
		}
		code, body := fetched(t, b, method, dir+"/"+name)
		if code != want || method != "HEAD" && body != fmt.Sprint(want) {
			t.Errorf("%s %s %v: %d %q, want %d", method, name, codes, code, body, want)
		}
		var got []int64
		for _, o := range origins {
			got = append(got, o.asked.Load())
		}
		if !slices.Equal(got, asked) {
			t.Errorf("%s %s %v: asked %v, want %v", method, name, codes, got, asked)
		}
		if failed := charges(b); failed[0] != 0 {
			t.Errorf("%s %s %v: %v failed", method, name, codes, failed)
		}
		placesAreBack(t, b)
	}
	f("GET", "seg1.ts", 200, []int64{1, 1}, 404, 200)
	f("GET", "seg1.ts", 200, []int64{1, 1}, 410, 200)
	f("HEAD", "seg1.ts", 200, []int64{1, 1}, 404, 200)
	f("GET", "seg1.ts", 206, []int64{1, 1}, 404, 206)
	f("GET", "index.m3u8", 200, []int64{1, 1}, 404, 200)
	f("GET", "index.mpd", 200, []int64{1, 1}, 404, 200)
	f("GET", "seg1.ts", 404, []int64{1, 1}, 404, 410)
	f("GET", "seg1.ts", 410, []int64{1, 1}, 410, 404)
	f("GET", "seg1.ts", 404, []int64{1, 1}, 404, 403)
	f("GET", "seg1.ts", 404, []int64{1, 1}, 404, 503)
	f("GET", "film.mp4", 404, []int64{1}, 404)
	f("GET", "seg1.ts", 403, []int64{1, 0}, 403, 200)
	f("POST", "seg1.ts", 404, []int64{1, 0}, 404, 200)
	f("GET", "seg1.ts", 404, []int64{1}, 404)
}

// One other origin at most, and one that fails is no reason for an error.
func TestMissingAtManyOrigins(t *testing.T) {
	one, two, three := coded(t, 404), coded(t, 404), coded(t, 404)
	b := lives(t, one, two, three)
	b.memory.had(b.pools[0], "/live/x", time.Now())
	if code, _ := fetched(t, b, "GET", "/live/seg1.ts"); code != 404 {
		t.Errorf("code = %d", code)
	}
	if n := one.asked.Load() + two.asked.Load() + three.asked.Load(); n != 2 {
		t.Errorf("%d origins were asked, want 2", n)
	}
	one, two = coded(t, 404), coded(t, 0)
	b = lives(t, one, two)
	dir := ahead(t, b, 0)
	b.memory.had(b.pools[0], dir+"/x", time.Now())
	if code, body := fetched(t, b, "GET", dir+"/seg1.ts"); code != 404 || body != "404" {
		t.Errorf("%d %q, want 404", code, body)
	}
}

// Names that somebody invents do not become two requests each.
func TestStormOfMissing(t *testing.T) {
	const storm = 1000
	f := func(dir string, atLeast, atMost int64) {
		t.Helper()
		one, two := newLiveOrigin(t, 1), newLiveOrigin(t, 1)
		b := lives(t, one, two)
		if code, _ := fetched(t, b, "GET", "/live/seg1.ts"); code != 200 {
			t.Fatalf("code = %d", code)
		}
		began := time.Now()
		one.asked.Store(0)
		two.asked.Store(0)
		for i := range storm {
			if code, _ := fetched(t, b, "GET", fmt.Sprintf("%s/invented%d.ts", strings.ReplaceAll(dir, "N", fmt.Sprint(i)), i)); code != 404 {
				t.Fatalf("code = %d", code)
			}
		}
		if atMost > 0 {
			atMost += int64(missRate * (time.Since(began).Seconds() + 1))
		}
		extra := one.asked.Load() + two.asked.Load() - storm
		if extra < atLeast || extra > atMost {
			t.Errorf("%s: %d requests more than %d, want %d to %d", dir, extra, storm, atLeast, atMost)
		}
		if failed := charges(b); failed[0] != 0 || failed[1] != 0 {
			t.Errorf("%v failed", failed)
		}
		// What exists is found whatever has been asked for before, as time goes by.
		b.memory.give(b.pools[0], 1, time.Now())
		two.first.Store(700)
		if code, _ := fetched(t, b, "GET", "/live/seg701.ts"); code != 200 {
			t.Errorf("a segment that one origin has: %d", code)
		}
	}
	f("/live", storm*missShare, storm*missShare+missBurst)
	f("/no/N/such", 0, 0)
}

// What is found costs nothing: an origin that has lost everything costs two
// requests, and no viewer sees it.
func TestMissingIsFoundHoweverOften(t *testing.T) {
	one, two := newLiveOrigin(t, 1), newLiveOrigin(t, 1000)
	b := lives(t, one, two)
	dir := ahead(t, b, 0)
	b.memory.had(b.pools[0], dir+"/x", time.Now())
	for i := range 300 {
		if code, _ := fetched(t, b, "GET", dir+"/seg1001.ts"); code != 200 {
			t.Fatalf("request %d: %d", i, code)
		}
	}
	if n := b.memory.found.Load(); n != 300 {
		t.Errorf("%d found, want 300", n)
	}
}

func TestFolders(t *testing.T) {
	now := time.Now()
	m := newStreamMemory(prometheus.NewRegistry())
	p := &pool{}
	m.had(p, "/live/a/12/seg.ts", now)
	f := func(in *pool, path string, at time.Duration, want bool) {
		t.Helper()
		if got := m.knows(in, path, now.Add(at)); got != want {
			t.Errorf("knows(%q) after %v = %v", path, at, got)
		}
	}
	f(p, "/live/a/12/other.ts", 0, true)
	f(p, "/live/a/13/seg.ts", 0, true) // the next hour
	f(p, "/live/a/index.m3u8", 0, true)
	f(p, "/live/b/seg.ts", 0, false)
	f(p, "/seg.ts", 0, false)
	f(p, "/live/a/12/other.ts", folderAge, false)
	f(&pool{}, "/live/a/12/other.ts", 0, false)
	m.had(p, "/seg.ts", now)
	f(p, "/other.ts", 0, true)
	f(p, "/new/other.ts", 0, false)
}
