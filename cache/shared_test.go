package cache

import (
	"fmt"
	"net/http"
	"testing"
)

// What was got with credentials is for others only as far as the origin says:
// the media rules give it no life that RFC 9111 §3.5 does not.
func TestCredentialsAreNotOverruled(t *testing.T) {
	f := func(directives string) {
		t.Helper()
		r := newRig(t, func(w http.ResponseWriter, req *http.Request) {
			if req.Header.Get("Authorization") == "" {
				w.WriteHeader(http.StatusUnauthorized)
				return
			}
			page("#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXTINF:4,\na.ts\n", "Cache-Control", directives)(w, req)
		})
		r.get("/live.m3u8", "Authorization", "Bearer x")
		if got := r.get("/live.m3u8"); got.StatusCode != 401 {
			t.Errorf("%s: without credentials: %d %s", directives, got.StatusCode, got.Header["Cache-Status"])
		}
	}
	f("no-cache, must-revalidate")
	f("max-age=0, must-revalidate")
	f("no-cache, proxy-revalidate")
}

// A cookie that comes with a 304 is for the one who asked.
func TestCookieOfA304(t *testing.T) {
	r := newRig(t, func(w http.ResponseWriter, req *http.Request) {
		if req.Header.Get("If-None-Match") != "" {
			w.Header().Set("Set-Cookie", "sid=of-user-1")
			w.Header().Set("Cache-Control", "max-age=60")
			w.WriteHeader(http.StatusNotModified)
			return
		}
		page("x", "Cache-Control", "max-age=0", "Etag", `"1"`)(w, req)
	})
	for range 3 {
		if got := r.get("/a.txt"); got.Header.Get("Set-Cookie") != "" {
			t.Errorf("%d with %q", got.StatusCode, got.Header["Set-Cookie"])
		}
	}
}

// A playlist that is asked for again and again has one place in the RAM, which the
// index knows.
func TestRefetchedStaysInTheIndex(t *testing.T) {
	r := newRig(t, page("#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXTINF:4,\na.ts\n", "Cache-Control", "no-cache"))
	for i := range 20 {
		for range 2 {
			r.get(fmt.Sprintf("/%d.m3u8", i), "Cache-Control", "no-cache")
		}
	}
	var whole int
	r.table.each(func(o *object) bool {
		o.mu.Lock()
		defer o.mu.Unlock()
		for n := range o.slots {
			if s := o.slots[n]; s.ram != nil && s.whole {
				whole++
				if _, ok := r.ram.index.remove(o.item(n)); !ok {
					t.Errorf("chunk %d of %s is in no index", n, o.meta.Load().Path)
				}
			}
		}
		return true
	})
	if whole == 0 {
		t.Error("nothing is stored")
	}
}
