package main

import (
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// TestCacheBarsNoStore: what cannot be stored is nobody's to wait for. The first
// five that come at once may wait for one header, to see that it is so; after that
// all are at the origin together.
func TestCacheBarsNoStore(t *testing.T) {
	t.Parallel()
	var number, present atomic.Int64
	together := make(chan struct{})
	origin := newCacheOrigin(t, func(w http.ResponseWriter, r *http.Request) {
		n := number.Add(1)
		switch {
		case n <= 5:
			<-time.After(300 * time.Millisecond)
		case present.Add(1) == 5:
			close(together)
		default:
			select {
			case <-together:
			case <-time.After(10 * time.Second):
				w.WriteHeader(http.StatusTeapot) // they were queued: the fifth never came
			}
		}
		w.Header().Set("Cache-Control", "no-store")
		fmt.Fprintf(w, "answer %d", n)
	})
	e := startCache(t, origin.URL, "-cache.memory", "64MiB")
	theirs := map[string]bool{}
	f := func(what string, bar string, limit time.Duration) {
		t.Helper()
		answers := several(5, func() cacheAnswer { return e.get(t.Context(), "/n.bin") })
		if slowest(t, what, bar, answers, lastByte) > limit {
			t.Errorf("%s: they were queued", what)
		}
		for _, a := range answers {
			if a.err != nil || a.status != http.StatusOK || theirs[string(a.body)] {
				t.Errorf("%s: %d, %q, %v, want an answer of its own", what, a.status, a.body, a.err)
			}
			theirs[string(a.body)] = true
		}
	}
	f("five on no-store", "600 ms", 1400*time.Millisecond) // queued they take 1.5 s
	f("and again", "not queued", 5*time.Second)
	origin.wasAsked(t, "/n.bin", 10)
}

// TestCacheBarsExpired: those who come at once when an object has expired wait for
// one validation, and what is still good is not sent again.
func TestCacheBarsExpired(t *testing.T) {
	t.Parallel()
	body := patternOf("expired", 0, 100_000)
	origin := newCacheOrigin(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Etag", `"e"`)
		w.Header().Set("Cache-Control", "max-age=1")
		if r.Header.Get("If-None-Match") == `"e"` {
			<-time.After(200 * time.Millisecond)
			w.WriteHeader(http.StatusNotModified)
			return
		}
		w.Write(body) //nolint:errcheck // the viewer says it
	})
	e := startCache(t, origin.URL, "-cache.memory", "64MiB")
	e.get(t.Context(), "/e.bin").is(t, "the first", http.StatusOK, body)
	<-time.After(2100 * time.Millisecond)
	answers := several(5, func() cacheAnswer { return e.get(t.Context(), "/e.bin") })
	slowest(t, "five on an expired object", "one validation, 200 ms", answers, lastByte)
	for _, a := range answers {
		a.is(t, "one of five", http.StatusOK, body)
	}
	origin.wasAsked(t, "/e.bin", 2)
	if asked := origin.asked("/e.bin"); len(asked) == 2 && asked[1].Header.Get("If-None-Match") != `"e"` {
		t.Errorf("the second request has %q, want the ETag", asked[1].Header)
	}
}

// fixed is an origin of one small object, which is good for a minute.
func fixed(t *testing.T, body []byte) *cacheOrigin {
	return newCacheOrigin(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Etag", `"f"`)
		w.Header().Set("Cache-Control", "max-age=60")
		w.Header().Set("Content-Type", "video/mp4")
		w.Header().Set("Accept-Ranges", "bytes")
		w.Header().Set("Content-Length", fmt.Sprint(len(body)))
		if r.Method != http.MethodHead {
			w.Write(body) //nolint:errcheck // the viewer says it
		}
	})
}

// TestCacheBarsHead: a stored object answers HEAD. A HEAD that comes first may ask
// the origin in whatever way, but what comes then is right.
func TestCacheBarsHead(t *testing.T) {
	t.Parallel()
	body := patternOf("head", 0, 70_000)
	origin := fixed(t, body)
	e := startCache(t, origin.URL, "-cache.memory", "64MiB")
	head := func(path string) {
		t.Helper()
		a := e.ask(t.Context(), http.MethodHead, path)
		if a.err != nil || a.status != http.StatusOK || len(a.body) > 0 || a.header.Get("Content-Length") != "70000" {
			t.Errorf("HEAD %s: %d, %v, %d bytes, %q", path, a.status, a.err, len(a.body), a.header)
		}
	}
	e.get(t.Context(), "/warm.bin").is(t, "GET", http.StatusOK, body)
	head("/warm.bin")
	origin.wasAsked(t, "/warm.bin", 1)

	head("/cold.bin")
	e.get(t.Context(), "/cold.bin").is(t, "GET after HEAD", http.StatusOK, body)
	if n := len(origin.asked("/cold.bin")); n > 2 {
		t.Errorf("HEAD, then GET: %d requests at the origin, want 1 or 2", n)
	} else {
		t.Logf("HEAD, then GET: %d requests at the origin", n)
	}
	before := len(origin.asked("/cold.bin"))
	head("/cold.bin")
	e.get(t.Context(), "/cold.bin").is(t, "GET again", http.StatusOK, body)
	origin.wasAsked(t, "/cold.bin", before)
}

// TestCacheBarsNotFound: that there is nothing is an answer, too, for as long as the
// origin says.
func TestCacheBarsNotFound(t *testing.T) {
	t.Parallel()
	origin := newCacheOrigin(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Cache-Control", "max-age=2")
		http.Error(w, "there is none", http.StatusNotFound)
	})
	e := startCache(t, origin.URL, "-cache.memory", "64MiB")
	f := func(want int) {
		t.Helper()
		e.get(t.Context(), "/404.bin").is(t, "it", http.StatusNotFound, []byte("there is none\n"))
		origin.wasAsked(t, "/404.bin", want)
	}
	f(1)
	f(1)
	<-time.After(3100 * time.Millisecond)
	f(2)
}

// TestCacheBarsQuery: the order of parameters says nothing, and those that only
// track viewers are not asked for either.
func TestCacheBarsQuery(t *testing.T) {
	t.Parallel()
	origin := newCacheOrigin(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
		io.WriteString(w, r.URL.RawQuery) //nolint:errcheck // the viewer says it
	})
	e := startCache(t, origin.URL, "-cache.memory", "64MiB")
	f := func(query, want string, asked int) {
		t.Helper()
		e.get(t.Context(), "/q.bin?"+query).is(t, query, http.StatusOK, []byte(want))
		origin.wasAsked(t, "/q.bin", asked)
	}
	f("b=2&a=1", "a=1&b=2", 1)
	f("a=1&b=2", "a=1&b=2", 1)
	f("utm_source=mail&a=1&utm_medium=x&b=2", "a=1&b=2", 1)
	f("a=2&b=2", "a=2&b=2", 2)
	f("a=1", "a=1", 3)
}

// TestCacheBarsRanges: of what is stored, any range is answered without the origin.
func TestCacheBarsRanges(t *testing.T) {
	t.Parallel()
	body := patternOf("stored", 0, slowSize)
	origin := fixed(t, body)
	e := startCache(t, origin.URL, "-cache.memory", "64MiB", "-cache.slice", "64KiB")
	e.get(t.Context(), "/s.bin").is(t, "all of it", http.StatusOK, body)
	f := func(ranges string, from, to int) {
		t.Helper()
		a := e.get(t.Context(), "/s.bin", "Range", ranges)
		a.is(t, ranges, http.StatusPartialContent, body[from:to])
		if got, want := a.header.Get("Content-Range"), fmt.Sprintf("bytes %d-%d/%d", from, to-1, len(body)); got != want {
			t.Errorf("%s: Content-Range %q, want %q", ranges, got, want)
		}
	}
	f("bytes=0-0", 0, 1)
	f("bytes=65535-65536", 65535, 65537) // of two slices
	f("bytes=65536-131071", 65536, 131072)
	f("bytes=100-", 100, slowSize)
	f("bytes=-100", slowSize-100, slowSize)
	f("bytes=65000-9007199254740991", 65000, slowSize) // RFC 8673, and LL-HLS players

	past := e.get(t.Context(), "/s.bin", "Range", "bytes=655360-")
	if past.status != http.StatusRequestedRangeNotSatisfiable || past.header.Get("Content-Range") != "bytes */655360" {
		t.Errorf("behind the end: %d, %q", past.status, past.header)
	}
	wantRanges(t, e.get(t.Context(), "/s.bin", "Range", "bytes=0-99,600000-600099"), body, [][2]int{{0, 100}, {600000, 600100}})
	origin.wasAsked(t, "/s.bin", 1)
}

// wantRanges reads an answer of several ranges (RFC 9110 §14.6).
func wantRanges(t *testing.T, a cacheAnswer, body []byte, spans [][2]int) {
	t.Helper()
	kind, params, err := mime.ParseMediaType(a.header.Get("Content-Type"))
	if a.err != nil || err != nil || a.status != http.StatusPartialContent || kind != "multipart/byteranges" {
		t.Errorf("two ranges: %d, %v, %v, %q", a.status, a.err, err, a.header)
		return
	}
	if got := a.header.Get("Content-Length"); got != "" && got != fmt.Sprint(len(a.body)) {
		t.Errorf("two ranges: Content-Length %s, and there are %d", got, len(a.body))
	}
	parts := multipart.NewReader(strings.NewReader(string(a.body)), params["boundary"])
	for _, s := range spans {
		part, err := parts.NextRawPart()
		if err != nil {
			t.Errorf("range %v: %v", s, err)
			return
		}
		got, err := io.ReadAll(part)
		want := fmt.Sprintf("bytes %d-%d/%d", s[0], s[1]-1, len(body))
		if err != nil || string(got) != string(body[s[0]:s[1]]) || part.Header.Get("Content-Range") != want || part.Header.Get("Content-Type") != "video/mp4" {
			t.Errorf("range %v: %d bytes, %v, %q, want %s", s, len(got), err, part.Header, want)
		}
	}
	if _, err := parts.NextRawPart(); err != io.EOF {
		t.Errorf("behind the last range: %v", err)
	}
}

// TestCacheBarsGrowingRange: an open range of what is still being made, of a size that
// nobody knows yet, gets what there is and what comes (RFC 8673).
func TestCacheBarsGrowingRange(t *testing.T) {
	t.Parallel()
	object := newSlowObject("growing")
	object.chunked = true
	origin := newCacheOrigin(t, object.ServeHTTP)
	e := startCache(t, origin.URL, "-cache.memory", "64MiB")
	whole := began(t, e, "/g.bin")
	a := e.get(t.Context(), "/g.bin", "Range", "bytes=65000-9007199254740991")
	if a.first > obvious {
		t.Errorf("it waited for the fill: %v", a.first)
	}
	t.Logf("an open range of a growing object: %d, %q, first byte after %v (bar: 5 ms)", a.status, a.header["Content-Range"], a.first)
	if a.status == http.StatusOK { // a range may always be ignored (RFC 9110 §14.2)
		a.is(t, "all of it", http.StatusOK, object.body)
	} else {
		a.is(t, "the rest of it", http.StatusPartialContent, object.body[65000:])
		if got := a.header.Get("Content-Range"); !strings.HasPrefix(got, "bytes 65000-") {
			t.Errorf("Content-Range: %q", got)
		}
	}
	whole().is(t, "the whole of it", http.StatusOK, object.body)
	origin.wasAsked(t, "/g.bin", 1)
}
