package passthrough

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// Where the origin that was ahead is gone and another is a little behind, viewers see
// a stream that pauses, and not one that goes back.
func TestPlaylistPauses(t *testing.T) {
	one, two := newLiveOrigin(t, 1000), newLiveOrigin(t, 997)
	b := lives(t, one, two)
	url := ahead(t, b, 0) + "/index.m3u8"
	f := func(ask string, want, back uint64) {
		t.Helper()
		if n := sequence(t, b, url+ask); n != want || b.memory.back.Load() != back {
			t.Errorf("%s: sequence = %d, %d went back, want %d, %d", ask, n, b.memory.back.Load(), want, back)
		}
	}
	f("", 1000, 0)
	one.kill()
	f("", 1000, 0)
	two.first.Store(999)
	f("", 1000, 0)
	f("?_HLS_skip=YES", 999, 1) // that would be another one
	two.first.Store(1001)
	f("", 1001, 1)
	two.first.Store(1000) // by itself
	f("", 1001, 1)
	two.first.Store(997) // too far
	f("", 997, 2)
	age(b, 4*time.Minute) // longer than three target durations
	f("", 997, 2)
	two.first.Store(996)
	f("", 997, 2)
	age(b, 4*time.Minute)
	f("", 996, 2)
	if n := b.memory.lasts.Len(); n != 1 {
		t.Errorf("%d playlists are kept", n)
	}
	placesAreBack(t, b)
}

// What is answered is that of before, but for what says that it is something else.
func TestPlaylistAgain(t *testing.T) {
	one, two := newLiveOrigin(t, 1000), newLiveOrigin(t, 999)
	two.hook = func(w http.ResponseWriter, _ *http.Request) bool {
		w.Header().Set("Etag", `"two"`)
		w.Header().Set("X-Origin", "two")
		fmt.Fprint(w, livePlaylist(999, 6))
		return true
	}
	b := lives(t, one, two)
	url := ahead(t, b, 0) + "/index.m3u8"
	_, before := fetched(t, b, "GET", url)
	one.kill()
	res, err := b.RoundTrip(newRequest(t, "GET", url, nil))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if text, err := io.ReadAll(res.Body); err != nil || string(text) != before || res.ContentLength != int64(len(before)) {
		t.Errorf("%v, %d bytes of %d\n%s", err, len(text), res.ContentLength, text)
	}
	if h := res.Header; h.Get("Etag") != "" || h.Get("X-Origin") != "two" || h.Get("Content-Length") != "" {
		t.Errorf("header %v", h)
	}
}

// A segment that viewers know of by an origin that is gone comes a little later from
// one that is behind; what nobody was told of does not.
func TestSegmentComesLater(t *testing.T) {
	f := func(name string, behind, want time.Duration, code int) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			b := balancer(t, "-origin.check=0", "-origin", "http://a", "-origin", "http://b")
			dir, gone := ahead(t, b, 0), new(atomic.Bool)
			began := time.Now()
			piped(b, func(addr string, r *http.Request) (string, time.Duration) {
				switch {
				case addr == b.all()[0].addr && gone.Load():
					return hangUp, 0
				case strings.HasSuffix(r.URL.Path, ".m3u8"):
					return livePlaylist(1000, 6), 0
				case addr == b.all()[0].addr || time.Since(began) >= behind:
					return "media", 0
				}
				return "404 Not Found", 0
			})
			_, _ = fetched(t, b, "GET", dir+"/index.m3u8")
			gone.Store(true)
			got, _ := fetched(t, b, "GET", dir+name)
			if d := time.Since(began); got != code || d != want {
				t.Errorf("%s after %v: %d after %v, want %d after %v", name, behind, got, d, code, want)
			}
			closeIdle(b)
		})
	}
	const share = time.Minute / laterShare // the target duration is a minute
	f("/seg1005.ts", 0, 0, 200)
	f("/seg1005.ts", 20*time.Second, 2*share, 200)
	f("/seg1005.ts", time.Hour, laterTimes*share, 404)
	f("/seg1006.ts", 20*time.Second, 0, 404)
}
