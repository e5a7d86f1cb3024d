package passthrough

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"weir/proxy/proxytest"
)

// follow is a player: it reloads a playlist until it is told to stop, and fails
// the test when that goes back.
func follow(t *testing.T, b *Balancer, url string, stop <-chan struct{}, loads *atomic.Int64) {
	var seen uint64
	for {
		select {
		case <-stop:
			return
		default:
		}
		n := sequence(t, b, url)
		if n < seen {
			t.Errorf("%s: MEDIA-SEQUENCE went from %d to %d", url, seen, n)
			return
		}
		seen = n
		loads.Add(1)
	}
}

// Twenty times an origin dies that all were at, and comes back with numbers lower
// than the other's.
func TestPlaylistsNeverGoBackOverTwentyKills(t *testing.T) {
	origins := []*liveOrigin{newLiveOrigin(t, 1000), newLiveOrigin(t, 990)}
	b := lives(t, origins...)
	stop, loads := make(chan struct{}), new(atomic.Int64)
	var wg sync.WaitGroup
	for i := range 6 {
		url := fmt.Sprintf("%s/index%d.m3u8", ahead(t, b, i%2), i/2)
		wg.Go(func() { follow(t, b, url, stop, loads) })
	}
	finish := sync.OnceFunc(func() {
		close(stop)
		wg.Wait()
	})
	t.Cleanup(finish)
	some := func() {
		until := loads.Load() + 30
		proxytest.Eventually(t, time.Minute, "players go on", func() bool { return loads.Load() >= until || t.Failed() })
	}
	for range 20 {
		victim, other := origins[0], origins[1]
		if rand.IntN(2) == 0 {
			victim, other = other, victim
		}
		some()
		victim.first.Store(max(victim.first.Load(), other.first.Load()+rand.Uint64N(3))) // ahead, or not
		some()
		other.first.Store(max(other.first.Load(), victim.first.Load())) // an encoder goes on
		victim.kill()
		some()
		other.first.Add(rand.Uint64N(5))
		some()
		victim.revive(b, rand.Uint64N(other.first.Load()))
		some()
	}
	finish()
	t.Logf("%d playlists, %d withheld", loads.Load(), b.memory.withheld.Load())
	if b.memory.withheld.Load() == 0 || b.memory.back.Load() != 0 {
		t.Errorf("%d withheld and %d passed although they were behind, want some and none", b.memory.withheld.Load(), b.memory.back.Load())
	}
	placesAreBack(t, b)
}

// The origin that is behind is left alone for a while, also by segments.
func TestStreamGoesWhereItIsAhead(t *testing.T) {
	one, two := newLiveOrigin(t, 1000), newLiveOrigin(t, 500)
	b := lives(t, one, two)
	dir := ahead(t, b, 1)
	one.first.Store(400)
	if n := sequence(t, b, dir+"/index.m3u8"); n != 500 {
		t.Fatalf("sequence = %d, want 500", n)
	}
	one.first.Store(600) // unknown to viewers
	two.revive(b, 3)     // has begun anew
	if n := sequence(t, b, dir+"/index.m3u8"); n != 600 || b.memory.withheld.Load() != 1 {
		t.Fatalf("sequence = %d, %d withheld, want 600, 1", n, b.memory.withheld.Load())
	}
	asked := two.asked.Load()
	for range 10 {
		_, seg := fetched(t, b, "GET", dir+"/seg601.ts")
		if n := sequence(t, b, dir+"/index.m3u8"); n != 600 || seg != "601" {
			t.Errorf("sequence %d, segment %q, want 600, 601", n, seg)
		}
	}
	if two.asked.Load() != asked {
		t.Errorf("the origin that is behind was asked %d times", two.asked.Load()-asked)
	}
	one.kill()
	age(b, time.Hour)
	if n := sequence(t, b, dir+"/index.m3u8"); n != 3 {
		t.Errorf("the only one is at 3, %d came", n)
	}
}

// Where no origin has come as far, the best passes, and is believed in the end.
func TestPlaylistOfTheOnlyOne(t *testing.T) {
	core, logged := observer.New(zap.WarnLevel)
	one, two, three := newLiveOrigin(t, 1000), newLiveOrigin(t, 500), newLiveOrigin(t, 502)
	b := liveBalancer(t, logging(t, zap.New(core), "-origin.check=0", "-origin", one.URL, "-origin", two.URL, "-origin", three.URL), one, two, three)
	url := ahead(t, b, 0) + "/index.m3u8?token="
	f := func(want, back uint64) {
		t.Helper()
		if n := sequence(t, b, url+fmt.Sprint(back)); n != want {
			t.Errorf("sequence = %d, want %d", n, want)
		}
		if n := b.memory.back.Load(); n != back {
			t.Errorf("%d went back, want %d", n, back)
		}
	}
	f(1000, 0)
	one.kill()
	f(502, 1)
	age(b, -time.Hour) // nothing grows old meanwhile
	tried := b.memory.marks.Values()[0].barren
	asked := two.asked.Load() + three.asked.Load()
	f(502, 2) // from where it was best, without asking around again
	f(502, 3)
	if n := two.asked.Load() + three.asked.Load() - asked; n != 2 {
		t.Errorf("%d requests for 2", n)
	}
	if again := b.memory.marks.Values()[0].barren; again != tried {
		t.Error("who does not look puts off those who would")
	}
	if n := logged.FilterMessageSnippet("goes back").Len(); n != 1 {
		t.Errorf("%d lines in the log, want 1", n)
	}
	one.revive(b, 1001)
	age(b, time.Hour+2*time.Second) // somebody looks again
	f(1001, 3)
	one.kill()
	three.kill()
	age(b, 4*time.Minute) // longer than three target durations
	f(500, 3)             // this is a stream of its own now
	two.first.Store(490)
	f(490, 4)
}

func TestPlaylistBreaksOff(t *testing.T) {
	one, two := newLiveOrigin(t, 10), newLiveOrigin(t, 10)
	one.hook = func(w http.ResponseWriter, _ *http.Request) bool {
		_, _ = io.WriteString(w, "#EXTM3U\n#EXT-X-TARGETDURATION:2\n")
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}
	b := lives(t, one, two)
	if n := sequence(t, b, ahead(t, b, 0)+"/index.m3u8"); n != 10 {
		t.Errorf("sequence = %d, want 10", n)
	}
	if failed := charges(b); failed[0] != 1 {
		t.Errorf("%v failed", failed)
	}
	placesAreBack(t, b)
}

// What is compared is what says that it goes back, to all who ask for the same.
func TestPlaylistsThatAreNotCompared(t *testing.T) {
	f := func(what, ask string, answer string, header ...string) {
		t.Helper()
		one, two := newLiveOrigin(t, 1000), newLiveOrigin(t, 1000)
		hook := func(first uint64) func(w http.ResponseWriter, r *http.Request) bool {
			return func(w http.ResponseWriter, _ *http.Request) bool {
				for i := 0; i < len(header); i += 2 {
					w.Header().Set(header[i], header[i+1])
				}
				_, _ = io.WriteString(w, strings.ReplaceAll(answer, "N", fmt.Sprint(first)))
				return true
			}
		}
		one.hook, two.hook = hook(1000), hook(500)
		b := lives(t, one, two)
		url := ahead(t, b, 0) + ask
		_, _ = fetched(t, b, "GET", url)
		one.hook = hook(400)
		if _, body := fetched(t, b, "GET", url); body != strings.ReplaceAll(answer, "N", "400") {
			t.Errorf("%s: %.80q came, %d bytes", what, body, len(body))
		}
		if n := two.asked.Load(); n != 0 {
			t.Errorf("%s: another origin was asked", what)
		}
		if n := b.memory.marks.Len(); n != 0 {
			t.Errorf("%s: %d marks", what, n)
		}
		placesAreBack(t, b)
	}
	live := strings.Replace(livePlaylist(7, 3), ":7\n", ":N\n", 1)
	f("encoded", "/index.m3u8", live, "Content-Encoding", "gzip")
	f("for one viewer", "/index.m3u8", live, "Cache-Control", "max-age=1, Private")
	f("for a cookie", "/index.m3u8", live, "Set-Cookie", "a=b")
	f("not called a playlist", "/seg1.ts", live)
	f("variants", "/index.m3u8", "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=N\nx.m3u8\n")
	f("radio", "/index.m3u", "#EXTM3U\n#EXTINF:-1,N\nhttp://radio.example/\n")
	f("not a number", "/index.m3u8", strings.Replace(live, ":N\n", ":xN\n", 1))
	f("something else", "/index.m3u8", "N is not a playlist")
	f("short", "/index.m3u8", "N")
	f("empty", "/index.m3u8", "")
	f("long", "/index.m3u8", live+strings.Repeat("#N\n", mostScanned/3))
	f("ended", "/index.m3u8", live+"#EXT-X-ENDLIST\n")
}

// A body that is no playlist is passed on while it comes.
func TestNoPlaylistIsWaitedFor(t *testing.T) {
	f := func(path, begin string, origins int) {
		t.Helper()
		more := make(chan struct{})
		var all []*liveOrigin
		for range origins {
			o := newLiveOrigin(t, 1)
			o.hook = func(w http.ResponseWriter, r *http.Request) bool {
				_, _ = io.WriteString(w, begin)
				_ = http.NewResponseController(w).Flush()
				select {
				case <-more:
				case <-r.Context().Done():
				}
				return true
			}
			all = append(all, o)
		}
		b := lives(t, all...)
		res, err := b.RoundTrip(newRequest(t, "GET", path, nil))
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		got := make([]byte, len(begin))
		if _, err := io.ReadFull(res.Body, got); err != nil || string(got) != begin {
			t.Errorf("%s: %q, %v", path, got, err)
		}
		close(more)
	}
	f("/live/index.m3u8", "this is an endless text", 2)
	f("/live/seg1.ts", "#EXTM3U it is not", 2)
	f("/live/index.m3u8", livePlaylist(1, 1), 1)
}

// An update leaves out what its viewer has from the same origin.
func TestDeltaOfAnotherOrigin(t *testing.T) {
	one, two := newLiveOrigin(t, 10), newLiveOrigin(t, 10)
	b := lives(t, one, two)
	url := ahead(t, b, 0) + "/index.m3u8?a=b&_HLS_msn=16&_HLS_skip=YES"
	f := func(o *liveOrigin, want string) {
		t.Helper()
		_ = sequence(t, b, url)
		if r := o.last.Load(); r == nil || r.URL.RawQuery != want {
			t.Errorf("asked with %v, want %q", r, want)
		}
	}
	f(one, "a=b&_HLS_msn=16&_HLS_skip=YES")
	f(one, "a=b&_HLS_msn=16&_HLS_skip=YES")
	one.kill()
	f(two, "a=b&_HLS_msn=16")
	f(two, "a=b&_HLS_msn=16&_HLS_skip=YES")
}

// Origins that may hold their answers back are not waited for one after the other.
func TestBlockingPlaylistThatIsBehind(t *testing.T) {
	one, two, three := newLiveOrigin(t, 10), newLiveOrigin(t, 5), newLiveOrigin(t, 5)
	b := lives(t, one, two, three)
	url := ahead(t, b, 0) + "/index.m3u8"
	_ = sequence(t, b, url)
	one.first.Store(4)
	if n := sequence(t, b, url+"?_HLS_msn=16"); n != 5 || two.asked.Load()+three.asked.Load() != 1 {
		t.Errorf("sequence %d, %d others were asked, want 5, 1", n, two.asked.Load()+three.asked.Load())
	}
	if n := sequence(t, b, url); n != 5 || b.memory.back.Load() != 2 {
		t.Errorf("sequence %d, %d went back, want 5, 2", n, b.memory.back.Load())
	}
}

func TestMemoryIsBounded(t *testing.T) {
	b := lives(t, newLiveOrigin(t, 1), newLiveOrigin(t, 1))
	m, now := b.memory, time.Now()
	for i := range 3 * maxMarks {
		req := newRequest(t, "GET", fmt.Sprintf("/%d/%d/index.m3u8?x=%s", i, i, strings.Repeat("x", 100)), nil)
		q := query{web: true, path: req.URL.Path, stick: streamKey(req.URL.Path)}
		s := b.streamOf(b.alternatives(q, req), q, req)
		m.passed(s.playlist, scan{}, "o", now)
		m.hold(s.stick, "o", now)
		m.had(s.pool, s.path, now)
	}
	if m.marks.Len() != maxMarks || m.holders.Len() != maxMarks || m.folders.Len() != maxMarks {
		t.Errorf("%d marks, %d holders, %d folders", m.marks.Len(), m.holders.Len(), m.folders.Len())
	}
}

func TestMarkHolds(t *testing.T) {
	now := time.Now()
	f := func(target, since time.Duration, want bool) {
		t.Helper()
		m := mark{target: target, advanced: now.Add(-since)}
		if got := m.holds(now); got != want {
			t.Errorf("target %v, after %v: holds = %v", target, since, got)
		}
	}
	f(time.Second, leastGrace, true)
	f(time.Second, leastGrace+1, false)
	f(6*time.Second, 18*time.Second, true)
	f(6*time.Second, 18*time.Second+1, false)
	if (&mark{}).holds(now) {
		t.Error("what was never seen holds")
	}
}
