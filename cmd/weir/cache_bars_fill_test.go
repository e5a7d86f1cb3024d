package main

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"weir/proxy/proxytest"
)

// TestCacheBarsLateJoiners: who comes while an object is being fetched gets what is
// there at once and the rest as it comes, and the origin is asked once.
func TestCacheBarsLateJoiners(t *testing.T) {
	t.Parallel()
	object := newSlowObject("late")
	inChunks := object
	inChunks.chunked = true
	mux := http.NewServeMux()
	mux.Handle("/sized.bin", object)
	mux.Handle("/chunked.bin", inChunks)
	origin := newCacheOrigin(t, mux.ServeHTTP)
	e := startCache(t, origin.URL, "-cache.memory", "64MiB", "-cache.slice", "64KiB")
	f := func(path string) {
		t.Helper()
		first := began(t, e, path)
		joined := several(4, func() cacheAnswer { return e.get(t.Context(), path) })
		if slowest(t, path+", first byte of late joiners", "10 ms", joined, firstByte) > obvious {
			t.Errorf("%s: they waited for the fill", path)
		}
		for _, a := range append(joined, first()) {
			a.is(t, path, http.StatusOK, object.body)
		}
		origin.wasAsked(t, path, 1)
		again := e.get(t.Context(), path)
		again.is(t, path+" again", http.StatusOK, object.body)
		if !again.hit() || again.header.Get("Etag") != `"late"` {
			t.Errorf("%s again: %q", path, again.header)
		}
		origin.wasAsked(t, path, 1)
	}
	f("/sized.bin")
	f("/chunked.bin")
}

// TestCacheBarsRangesOfAFill: a range that is there already is answered from the
// fill; one that is far ahead by a slice of its own, fetched once whoever asks.
func TestCacheBarsRangesOfAFill(t *testing.T) {
	t.Parallel()
	object := newSlowObject("ranges")
	origin := newCacheOrigin(t, object.ServeHTTP)
	e := startCache(t, origin.URL, "-cache.memory", "64MiB", "-cache.slice", "64KiB")
	whole := began(t, e, "/r.bin")

	filled := several(2, func() cacheAnswer { return e.get(t.Context(), "/r.bin", "Range", "bytes=100-70000") })
	if slowest(t, "a range that is there", "5 ms", filled, lastByte) > obvious {
		t.Error("it waited for the fill")
	}
	for _, a := range filled {
		a.is(t, "a range that is there", http.StatusPartialContent, object.body[100:70001])
	}
	origin.wasAsked(t, "/r.bin", 1)

	far := several(4, func() cacheAnswer { return e.get(t.Context(), "/r.bin", "Range", "bytes=600000-600099") })
	if slowest(t, "a range far ahead", "at once", far, lastByte) > obvious {
		t.Error("it waited for the fill")
	}
	for _, a := range far {
		a.is(t, "a range far ahead", http.StatusPartialContent, object.body[600000:600100])
		if got := a.header.Get("Content-Range"); got != "bytes 600000-600099/655360" {
			t.Errorf("Content-Range: %q", got)
		}
	}
	origin.wasAsked(t, "/r.bin", 2)
	if asked := origin.asked("/r.bin"); len(asked) == 2 {
		var from, to int64
		fmt.Sscanf(asked[1].Header.Get("Range"), "bytes=%d-%d", &from, &to) //nolint:errcheck // then they are 0
		if from > 600000 || to < 600099 || to-from >= slowSlice {
			t.Errorf("the origin was asked for %q, want the slice of %d bytes that it is in", asked[1].Header.Get("Range"), slowSlice)
		}
	}
	whole().is(t, "the whole of it", http.StatusOK, object.body)
	// What is there of it by now, from a fill and a slice, is one object.
	e.get(t.Context(), "/r.bin", "Range", "bytes=500000-620000").is(t, "a range over both", http.StatusPartialContent, object.body[500000:620001])
	if n := len(origin.asked("/r.bin")); n != 2 {
		t.Errorf("%d requests at the origin, want 2: what was fetched is there", n)
	}
}

// TestCacheBarsFirstLeaves: the viewer who began a fill is nobody special.
func TestCacheBarsFirstLeaves(t *testing.T) {
	t.Parallel()
	object, sent := newSlowObject("leaves"), make(chan struct{}, 10)
	origin := newCacheOrigin(t, func(w http.ResponseWriter, r *http.Request) {
		object.ServeHTTP(w, r)
		sent <- struct{}{}
	})
	e := startCache(t, origin.URL, "-cache.memory", "64MiB")
	ctx, leave := context.WithTimeout(t.Context(), 600*time.Millisecond)
	defer leave()
	if a := e.get(ctx, "/left.bin"); a.err == nil {
		t.Fatal("nobody left")
	}
	select {
	case <-sent:
	case <-time.After(10 * time.Second):
		t.Fatal("the fill did not go on")
	}
	a := e.get(t.Context(), "/left.bin")
	a.is(t, "the next", http.StatusOK, object.body)
	if a.last > obvious {
		t.Errorf("the next took %v, and all of it should have been there", a.last)
	}
	origin.wasAsked(t, "/left.bin", 1)
	if a := e.get(t.Context(), "/left.bin"); !a.hit() {
		t.Errorf("the third: %q, want a hit", a.header["Cache-Status"])
	}
}

// TestCacheBarsAbortedFill: when the origin breaks off, everybody sees that, and
// nothing is kept: what comes later is all of one piece.
func TestCacheBarsAbortedFill(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	object := newSlowObject("one")
	object.breaks = 10
	set := func(change func()) {
		mu.Lock()
		defer mu.Unlock()
		change()
	}
	origin := newCacheOrigin(t, func(w http.ResponseWriter, r *http.Request) {
		var now slowObject
		set(func() {
			now = object
			if object.breaks > 0 {
				object.breaks = 1 // also who asks for the rest gets none
			}
		})
		now.ServeHTTP(w, r)
	})
	e := startCache(t, origin.URL, "-cache.memory", "64MiB", "-cache.slice", "64KiB")
	f := func(path string, chunked bool) {
		t.Helper()
		set(func() {
			object = newSlowObject("one")
			object.breaks, object.chunked = 10, chunked
		})
		first := began(t, e, path)
		readers := append(several(2, func() cacheAnswer { return e.get(t.Context(), path) }), first())
		for i, a := range readers {
			if a.err == nil && a.status < 500 {
				t.Errorf("%s, viewer %d: %d with %d bytes, and no sign that it is not all", path, i, a.status, len(a.body))
			}
			if !bytes.HasPrefix(object.body, a.body) && a.status == http.StatusOK {
				t.Errorf("%s, viewer %d: got what is not in it", path, i)
			}
			t.Logf("%s, viewer %d: %d, %d bytes, %v", path, i, a.status, len(a.body), a.err)
		}
		set(func() { object = newSlowObject("two") })
		before := len(origin.asked(path))
		e.get(t.Context(), path).is(t, path+" later", http.StatusOK, newSlowObject("two").body)
		if after := origin.asked(path); len(after) != before+1 {
			t.Errorf("%s later: %d requests at the origin, want 1", path, len(after)-before)
		}
	}
	f("/sized.bin", false)
	f("/chunked.bin", true)
}

// TestCacheBarsManyAtOnce: before there is a header, too, the origin is asked once.
func TestCacheBarsManyAtOnce(t *testing.T) {
	t.Parallel()
	object := newSlowObject("many")
	origin := newCacheOrigin(t, func(w http.ResponseWriter, r *http.Request) {
		<-time.After(400 * time.Millisecond)
		w.Header().Set("Cache-Control", "max-age=60")
		w.Write(object.body) //nolint:errcheck // the viewer says it
	})
	e := startCache(t, origin.URL, "-cache.memory", "64MiB")
	for _, a := range several(6, func() cacheAnswer { return e.get(t.Context(), "/m.bin") }) {
		a.is(t, "one of six", http.StatusOK, object.body)
	}
	origin.wasAsked(t, "/m.bin", 1)
	proxytest.Eventually(t, 5*time.Second, "a hit", func() bool { return e.get(t.Context(), "/m.bin").hit() })
	origin.wasAsked(t, "/m.bin", 1)
}
