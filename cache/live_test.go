package cache

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"weir/proxy/proxytest"
)

// live is a live origin: a playlist of three segments, the first of which is
// number first; what it lists is there.
type live struct {
	first atomic.Int64
	ended atomic.Bool
	life  atomic.Value // what segments say
}

func newLive(first int64) *live {
	l := &live{}
	l.first.Store(first)
	l.life.Store("one")
	return l
}

func (l *live) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	first := l.first.Load()
	if strings.HasSuffix(req.URL.Path, ".m3u8") {
		w.Header().Set("Content-Type", "application/vnd.apple.mpegurl")
		if !l.ended.Load() {
			w.Header().Set("Cache-Control", "no-cache")
		}
		fmt.Fprintf(w, "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXT-X-MEDIA-SEQUENCE:%d\n", first)
		for n := first; n < first+3; n++ {
			fmt.Fprintf(w, "#EXTINF:1,\nseg%d.ts\n", n)
		}
		if l.ended.Load() {
			io.WriteString(w, "#EXT-X-ENDLIST\n")
		}
		return
	}
	var n int64
	if fmt.Sscanf(req.URL.Path, "/live/seg%d.ts", &n); n < first || n > first+2 {
		http.NotFound(w, req)
		return
	}
	fmt.Fprintf(w, "segment %d of life %s", n, l.life.Load())
}

// A live playlist is asked for once in half a target duration, though the origin
// says no-cache; segments, of which it says nothing, are stored.
func TestLivePlaylist(t *testing.T) {
	l := newLive(10)
	r := newRig(t, l.ServeHTTP, func(o *Options) { o.Prefetch = 0 })
	for range 5 {
		r.is(r.get("/live/index.m3u8?token=abc"), 200, "*", "")
		r.is(r.get("/live/seg12.ts?token=xyz"), 200, "segment 12 of life one", "")
	}
	if n := len(r.origin.asked("/live/index.m3u8")); n > 2 {
		t.Errorf("the playlist was asked for %d times", n)
	}
	r.trips("/live/seg12.ts", 1)
	for _, req := range r.origin.asked("") {
		if req.URL.RawQuery != "" {
			t.Errorf("%s: a token goes to the origin, and is in no key", req.URL)
		}
	}
}

// What is not there yet is not asked for again, until the playlist lists it.
func TestNegativeEndsWithPlaylist(t *testing.T) {
	l := newLive(10)
	r := newRig(t, l.ServeHTTP, func(o *Options) { o.Prefetch = 0 })
	r.get("/live/index.m3u8")
	for range 3 {
		r.is(r.get("/live/seg13.ts"), 404, "*", "")
	}
	r.trips("/live/seg13.ts", 1)
	l.first.Store(11)
	proxytest.Eventually(t, 5*time.Second, "the new playlist is there", func() bool {
		return strings.Contains(r.get("/live/index.m3u8").body, "seg13")
	})
	r.is(r.get("/live/seg13.ts"), 200, "segment 13 of life one", "")
}

func TestNextSegmentIsFetchedAhead(t *testing.T) {
	l := newLive(10)
	r := newRig(t, l.ServeHTTP)
	r.get("/live/index.m3u8")
	r.get("/live/seg12.ts")
	l.first.Store(11)
	proxytest.Eventually(t, 5*time.Second, "segment 13 is there before anybody asks", func() bool {
		r.get("/live/index.m3u8")
		return len(r.origin.asked("/live/seg13.ts")) == 1
	})
	r.is(r.get("/live/seg13.ts"), 200, "segment 13 of life one", "")
	r.trips("/live/seg13.ts", 1)
}

// Whoever plays from some segments behind the live edge, or something stored, finds the
// very next segment.
func TestVeryNextSegment(t *testing.T) {
	for _, ended := range []bool{false, true} {
		l := newLive(10)
		l.ended.Store(ended)
		r := newRig(t, l.ServeHTTP)
		r.get("/live/index.m3u8")
		r.get("/live/seg10.ts")
		if ended { // one alone may be a seek
			r.trips("/live/seg11.ts", 0)
			r.get("/live/seg11.ts")
		}
		last, next := "/live/seg10.ts", "/live/seg11.ts"
		if ended {
			last, next = "/live/seg11.ts", "/live/seg12.ts"
		}
		proxytest.Eventually(t, 5*time.Second, "the next one is fetched", func() bool {
			r.get(last) // the playlist may have been read whole only now
			return len(r.origin.asked(next)) == 1
		})
		if !ended {
			r.trips("/live/seg12.ts", 0) // that is for whoever asks for 11
		}
		r.is(r.get(next), 200, "*", "")
		r.trips(next, 1)
	}
}

// What the edge asks for by itself it asks of the viewers' host, and finds again.
func TestAheadOnAHost(t *testing.T) {
	const host = "tv.example:8080"
	l := newLive(10)
	r := newRigOn(t, keepHost, l.ServeHTTP)
	r.get("/live/index.m3u8", "Host", host)
	r.get("/live/seg12.ts", "Host", host)
	l.first.Store(11)
	proxytest.Eventually(t, 5*time.Second, "segment 13 is there before anybody asks", func() bool {
		r.get("/live/index.m3u8", "Host", host)
		return len(r.origin.asked("/live/seg13.ts")) == 1
	})
	r.is(r.get("/live/seg13.ts", "Host", host), 200, "segment 13 of life one", "")
	r.trips("/live/seg13.ts", 1)
	if got := r.origin.asked("/live/seg13.ts")[0].Host; got != host {
		t.Errorf("the origin was asked for host %q, want %q", got, host)
	}
}

// Two hosts that have a playlist of one path have two streams.
func TestStreamsOfTwoHosts(t *testing.T) {
	lives := map[string]*live{"one.example": newLive(10), "two.example": newLive(500)}
	r := newRigOn(t, keepHost, func(w http.ResponseWriter, req *http.Request) { lives[req.Host].ServeHTTP(w, req) },
		func(o *Options) { o.Prefetch = 0 })
	for range 2 {
		for host, l := range lives {
			first := l.first.Add(1)
			proxytest.Eventually(t, 5*time.Second, "the playlist has moved", func() bool {
				return strings.Contains(r.get("/live/index.m3u8", "Host", host).body, fmt.Sprintf("seg%d.ts", first+2))
			})
		}
	}
	if n := r.met.restarts.Load(); n != 0 {
		t.Errorf("%d streams have begun anew, want none", n)
	}
}

// An encoder that is stopped ends its playlist; when it is back viewers see it, and
// not an hour later.
func TestEndedStreamGoesOn(t *testing.T) {
	for _, first := range []int64{0, 7} { // known as live before, or to be seen from its numbers
		l := newLive(first)
		r := newRig(t, l.ServeHTTP, func(o *Options) { o.Prefetch = 0 })
		if first == 0 {
			r.get("/live/index.m3u8")
		}
		l.ended.Store(true)
		proxytest.Eventually(t, 5*time.Second, "the end is seen", func() bool {
			return strings.Contains(r.get("/live/index.m3u8").body, "ENDLIST")
		})
		l.ended.Store(false)
		proxytest.Eventually(t, 5*time.Second, "it goes on", func() bool {
			return !strings.Contains(r.get("/live/index.m3u8").body, "ENDLIST")
		})
	}
}

// A file that no playlist lists, and of which the origin says nothing, may be
// replaced: it is stored, but not for a day, and a reload asks.
func TestUnlistedMedia(t *testing.T) {
	r := newRig(t, counting(nil))
	r.is(r.get("/a.mp4"), 200, "1", "stored")
	r.is(r.get("/a.mp4"), 200, "1", "; hit; ttl=3599")
	r.is(r.get("/a.mp4", "Cache-Control", "no-cache"), 200, "2", "fwd=stale")
}

// An encoder that starts again uses its names again: what they meant is not
// served any more.
func TestRestart(t *testing.T) {
	l := newLive(0)
	r := newRig(t, l.ServeHTTP, func(o *Options) { o.Prefetch = 0 })
	l.first.Store(5)
	r.get("/live/index.m3u8")
	for n := 5; n < 8; n++ {
		r.get(fmt.Sprintf("/live/seg%d.ts", n))
	}
	l.life.Store("two")
	l.first.Store(0)
	proxytest.Eventually(t, 5*time.Second, "the restart is seen", func() bool {
		return strings.Contains(r.get("/live/index.m3u8").body, "seg0.ts")
	})
	l.first.Store(5)
	r.is(r.get("/live/seg5.ts"), 200, "segment 5 of life two", "")
}

func TestFrozenStream(t *testing.T) {
	l := newLive(0)
	r := newRig(t, l.ServeHTTP, func(o *Options) { o.Frozen = "404" })
	r.is(r.get("/live/index.m3u8"), 200, "*", "")
	proxytest.Eventually(t, 10*time.Second, "a stream that stands still is refused", func() bool {
		return r.get("/live/index.m3u8").StatusCode == 404
	})
	if s := r.Status().(Status); s.Frozen != 1 {
		t.Errorf("%d frozen streams", s.Frozen)
	}
	if err := r.Ready(); err == nil || !strings.Contains(err.Error(), "/live/index.m3u8") {
		t.Errorf("ready: %v", err)
	}
}

// lowLatency answers blocking reloads when the part is there, as gohlslib does:
// no-cache, no ETag.
func lowLatency(parts *atomic.Int64, wake *sync.Cond) http.HandlerFunc {
	return func(w http.ResponseWriter, req *http.Request) {
		msn, part, _, ok := blocking(req.URL.RawQuery)
		wake.L.Lock()
		for ok && parts.Load() <= (msn-1)*4+int64(part) {
			wake.Wait()
		}
		wake.L.Unlock()
		have := parts.Load()
		w.Header().Set("Content-Type", "application/vnd.apple.mpegurl")
		w.Header().Set("Cache-Control", "no-cache")
		io.WriteString(w, "#EXTM3U\n#EXT-X-VERSION:9\n#EXT-X-TARGETDURATION:2\n#EXT-X-PART-INF:PART-TARGET=0.5\n"+
			"#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,PART-HOLD-BACK=1.5\n#EXT-X-MEDIA-SEQUENCE:1\n")
		for n := range have {
			fmt.Fprintf(w, "#EXT-X-PART:DURATION=0.5,URI=\"part%d.mp4\"\n", n)
			if n%4 == 3 {
				fmt.Fprintf(w, "#EXTINF:2,\nseg%d.mp4\n", n/4+1)
			}
		}
	}
}

// Blocking reloads of many are one each for what they wait for; who waits for what
// is there already is answered at once.
func TestBlockingReload(t *testing.T) {
	var parts atomic.Int64
	parts.Store(5)
	wake := sync.NewCond(&sync.Mutex{})
	r := newRig(t, lowLatency(&parts, wake), func(o *Options) { o.Prefetch = 0 })
	r.is(r.get("/live/ll.m3u8"), 200, "*", "")
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			got := r.get(fmt.Sprintf("/live/ll.m3u8?session=%d&_HLS_msn=2&_HLS_part=1", i))
			r.is(got, 200, "*", "")
			if !strings.Contains(got.body, "part5.mp4") {
				t.Errorf("answered without what was waited for:\n%s", got.body)
			}
		})
	}
	proxytest.Eventually(t, 5*time.Second, "the origin is asked", func() bool { return len(r.origin.asked("")) == 2 })
	wake.L.Lock()
	parts.Store(7)
	wake.L.Unlock()
	wake.Broadcast()
	wg.Wait()
	r.trips("", 2)
	r.is(r.get("/live/ll.m3u8?_HLS_msn=2&_HLS_part=2"), 200, "*", "hit") // the last answer has part 6, too
	r.is(r.get("/live/ll.m3u8?_HLS_msn=2&_HLS_part=0"), 200, "*", "hit")
	r.trips("", 2)
	if got := r.origin.asked("")[1].URL.RawQuery; got != "_HLS_msn=2&_HLS_part=1" {
		t.Errorf("the origin was asked %q", got)
	}
}
