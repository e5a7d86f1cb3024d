package cache

import (
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

var streamsEpoch = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// second is a moment, in seconds.
func second(seconds float64) time.Time {
	return streamsEpoch.Add(time.Duration(seconds * float64(time.Second)))
}

// window is a live playlist with a target duration of 2 s, whose segments are
// called by their numbers.
func window(t testing.TB, name string, first, last int, extra ...string) *manifest {
	t.Helper()
	var b strings.Builder
	fmt.Fprintf(&b, "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXT-X-MEDIA-SEQUENCE:%d\n", first)
	for n := first; n <= last; n++ {
		fmt.Fprintf(&b, "#EXTINF:2,\n%s%d.ts\n", name, n)
	}
	return hls(t, b.String()+strings.Join(extra, "\n"))
}

const livePath = "/live/index.m3u8"

// segmentNames returns the URIs of segments of window.
func segmentNames(name string, first, last int) []string {
	var all []string
	for n := first; n <= last; n++ {
		all = append(all, fmt.Sprintf("/live/%s%d.ts", name, n))
	}
	return all
}

// wantChange compares, lists in any order.
func wantChange(t *testing.T, got change, listed, next []string, restarted bool, stale []string) {
	t.Helper()
	gotListed, gotStale := texts(got.Listed), texts(got.Stale)
	for _, list := range [][]string{gotListed, gotStale, listed, stale} {
		slices.Sort(list)
	}
	if !slices.Equal(gotListed, listed) || !slices.Equal(texts(got.Next), next) ||
		got.Restarted != restarted || !slices.Equal(gotStale, stale) {
		t.Errorf("%+v\nwant listed %q, next %q, restarted %v, stale %q", got, listed, next, restarted, stale)
	}
}

func TestStreamsListedAndNext(t *testing.T) {
	s := newStreams(10, 1<<20)
	s.asked(livePath, second(0)) // not known yet
	wantChange(t, s.saw(livePath, window(t, "s", 1, 3), second(0)), segmentNames("s", 1, 3), nil, false, nil)
	wantChange(t, s.saw(livePath, window(t, "s", 1, 3), second(1)), nil, nil, false, nil)
	wantChange(t, s.saw(livePath, window(t, "s", 2, 4), second(2)), segmentNames("s", 4, 4), nil, false, nil) // nobody asked

	s.asked(livePath, second(4))
	wantChange(t, s.saw(livePath, window(t, "s", 3, 5), second(4)), segmentNames("s", 5, 5), segmentNames("s", 5, 5), false, nil)
	s.asked("/live/s4.ts", second(6))
	wantChange(t, s.saw(livePath, window(t, "s", 5, 7), second(8)), segmentNames("s", 6, 7), segmentNames("s", 7, 7), false, nil)
	wantChange(t, s.saw(livePath, window(t, "s", 6, 8), second(12)), segmentNames("s", 8, 8), nil, false, nil) // nobody any more
	wantChange(t, s.saw(livePath, nil, second(12)), nil, nil, false, nil)
}

func TestStreamsParts(t *testing.T) {
	part := func(n int) string { return fmt.Sprintf("#EXT-X-PART:DURATION=1,URI=\"p%d\"", n) }
	hint := func(n int) string { return fmt.Sprintf("#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"p%d\"", n) }
	s := newStreams(10, 1<<20)
	s.saw(livePath, window(t, "s", 1, 3, part(0), hint(1)), second(0))
	s.asked("/live/p0", second(1))
	wantChange(t, s.saw(livePath, window(t, "s", 1, 3, part(0), part(1), hint(2)), second(1)),
		[]string{"/live/p2"}, []string{"/live/p2"}, false, nil)
	wantChange(t, s.saw(livePath, window(t, "s", 2, 4, hint(2)), second(2)),
		segmentNames("s", 4, 4), segmentNames("s", 4, 4), false, nil)
	if m := s.of("/live/p0"); m == nil || m.Last != 4 {
		t.Errorf("a part of before: of = %+v", m)
	}
	// fewer parts than there were: overtaken
	s.saw(livePath, window(t, "s", 2, 4, part(2), hint(3)), second(3))
	wantChange(t, s.saw(livePath, window(t, "s", 2, 4, hint(2)), second(3)), nil, nil, false, nil)
	if m := s.of(livePath); m.Parts != 1 {
		t.Errorf("%d parts, want 1: an older version took the place of a newer", m.Parts)
	}
}

func TestStreamsLateVersion(t *testing.T) {
	s := newStreams(10, 1<<20)
	for n := range 4 {
		s.saw(livePath, window(t, "s", n, n+5), second(float64(2*n)))
	}
	wantChange(t, s.saw(livePath, window(t, "s", 1, 6), second(7)), nil, nil, false, nil)
	if m := s.of(livePath); m.Last != 8 {
		t.Errorf("last is %d, want 8", m.Last)
	}
	wantChange(t, s.saw(livePath, window(t, "s", 4, 9), second(8)), segmentNames("s", 9, 9), nil, false, nil)

	// ended, and then a version from before that
	s.saw(livePath, window(t, "s", 4, 9, "#EXT-X-ENDLIST"), second(9))
	wantChange(t, s.saw(livePath, window(t, "s", 4, 9), second(10)), nil, nil, false, nil)
	if m := s.of(livePath); m.Class != storedPlaylist {
		t.Error("an ended playlist goes on")
	}
}

func TestStreamsRestart(t *testing.T) {
	f := func(what string, before, after *manifest, stale []string) {
		t.Helper()
		s := newStreams(10, 1<<20)
		s.saw(livePath, before, second(0))
		s.asked(livePath, second(60))
		listed := texts(slices.Concat(after.Segments, after.Pieces))
		t.Log(what)
		wantChange(t, s.saw(livePath, after, second(60)), listed, nil, true, stale)
		if s.of(livePath) != after {
			t.Errorf("%s: the new version is not the newest", what)
		}
	}
	f("numbers go back, other names", window(t, "a", 50, 55), window(t, "b", 0, 3),
		append(segmentNames("a", 50, 55), segmentNames("b", 0, 3)...))
	f("numbers go back, same names", window(t, "s", 50, 55), window(t, "s", 0, 3),
		append(segmentNames("s", 50, 55), segmentNames("s", 0, 3)...))
	f("the same names at the same numbers, but long ago", window(t, "s", 0, 5), window(t, "s", 0, 1), segmentNames("s", 0, 5))
	f("nothing yet", window(t, "s", 0, 5), window(t, "s", 0, -1), segmentNames("s", 0, 5))
	f("other names at the same numbers", window(t, "a", 5, 9), window(t, "b", 6, 10),
		append(segmentNames("a", 5, 9), segmentNames("b", 6, 10)...))
	f("another init segment", window(t, "s", 5, 9, `#EXT-X-MAP:URI="i1.mp4"`), window(t, "s", 6, 10, `#EXT-X-MAP:URI="i2.mp4"`),
		append(segmentNames("s", 5, 10), "/live/i1.mp4", "/live/i2.mp4"))
	f("the end, and then anew", window(t, "a", 0, 9, "#EXT-X-ENDLIST"), window(t, "b", 0, 0),
		append(segmentNames("a", 0, 9), segmentNames("b", 0, 0)...))
}

func TestStreamsNoRestart(t *testing.T) {
	f := func(what string, before, after *manifest, listed []string) {
		t.Helper()
		s := newStreams(10, 1<<20)
		s.saw(livePath, before, second(0))
		t.Log(what)
		wantChange(t, s.saw(livePath, after, second(60)), listed, nil, false, nil)
	}
	f("nobody asked for long", window(t, "s", 0, 5), window(t, "s", 90, 95), segmentNames("s", 90, 95))
	f("another init segment for an advertisement", window(t, "s", 0, 2, `#EXT-X-MAP:URI="i1.mp4"`),
		window(t, "s", 1, 3, `#EXT-X-MAP:URI="i1.mp4"`, `#EXT-X-MAP:URI="i2.mp4"`), append(segmentNames("s", 3, 3), "/live/i2.mp4"))
	f("the end", window(t, "s", 0, 5), window(t, "s", 0, 5, "#EXT-X-ENDLIST"), nil)

	query := func(token string) *manifest {
		return hls(t, "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\ns.ts?token="+token+"\n")
	}
	f("another viewer's token", query("a"), query("b"), []string{"/live/s.ts?token=b"})
	gap := hls(t, "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXT-X-GAP\n#EXTINF:2,\ngap.ts\n#EXTINF:2,\ns1.ts\n")
	f("a gap is filled", gap, window(t, "s", 0, 1), segmentNames("s", 0, 0))
	f("one file", hls(t, string(recorded(t, "ffmpeg-ranges.m3u8"))), hls(t, string(recorded(t, "ffmpeg-ranges.m3u8"))), nil)
}

// After a restart the stream comes by names again that may be stored from before,
// but which nobody remembers.
func TestStreamsNamesOfBeforeTheRestart(t *testing.T) {
	s := newStreams(10, 1<<20)
	s.saw(livePath, window(t, "s", 50, 52), second(0))
	s.saw(livePath, window(t, "s", 0, 2), second(60))
	wantChange(t, s.saw(livePath, window(t, "s", 1, 3), second(62)), segmentNames("s", 3, 3), nil, false, segmentNames("s", 3, 3))
	wantChange(t, s.saw(livePath, window(t, "s", 52, 54), second(164)), segmentNames("s", 52, 54), nil, false, segmentNames("s", 52, 54))
	wantChange(t, s.saw(livePath, window(t, "s", 53, 55), second(166)), segmentNames("s", 55, 55), nil, false, nil)
}

// An encoder that writes a fixed number of files in turn.
func TestStreamsNamesInTurn(t *testing.T) {
	turn := func(first int) *manifest {
		body := fmt.Sprintf("#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXT-X-MEDIA-SEQUENCE:%d\n", first)
		for n := first; n < first+3; n++ {
			body += fmt.Sprintf("#EXTINF:2,\n%d.ts\n", n%5)
		}
		return hls(t, body)
	}
	s := newStreams(10, 1<<20)
	wantChange(t, s.saw(livePath, turn(0), second(0)), []string{"/live/0.ts", "/live/1.ts", "/live/2.ts"}, nil, false, nil)
	wantChange(t, s.saw(livePath, turn(1), second(2)), []string{"/live/3.ts"}, nil, false, nil)
	wantChange(t, s.saw(livePath, turn(2), second(4)), []string{"/live/4.ts"}, nil, false, nil)
	wantChange(t, s.saw(livePath, turn(3), second(6)), []string{"/live/0.ts"}, nil, false, []string{"/live/0.ts"})
}

func TestStreamsDelta(t *testing.T) {
	s := newStreams(10, 1<<20)
	full, delta := hls(t, string(recorded(t, "gohlslib-ll.m3u8"))), hls(t, string(recorded(t, "gohlslib-ll-delta.m3u8")))
	s.saw(livePath, full, second(0))
	if c := s.saw(livePath, delta, second(0)); c.Restarted || c.Stale != nil {
		t.Errorf("a delta update: %+v", c)
	}
	if c := s.saw(livePath, full, second(0)); c.Restarted || c.Stale != nil {
		t.Errorf("a full playlist after a delta update: %+v", c)
	}
	for _, uri := range texts(slices.Concat(full.Segments, delta.Segments, full.Pieces)) {
		if m := s.of(uri); m != full {
			t.Errorf("of(%q) = %p, want %p", uri, m, full)
		}
	}
}

func TestStreamsOf(t *testing.T) {
	s := newStreams(10, 1<<20)
	m := window(t, "s", 0, 2)
	s.saw(livePath, m, second(0))
	f := func(path string, want *manifest) {
		t.Helper()
		if got := s.of(path); got != want {
			t.Errorf("of(%q) = %p, want %p", path, got, want)
		}
	}
	f(livePath, m)
	f(livePath+"?token=1", m)
	f("/live/s1.ts", m)
	f("/live/s1.ts?token=1", m)
	f("/live/s9.ts", nil)
	f("/", nil)

	// a multivariant playlist and its renditions are each their own
	several := parse("/live/main.m3u8", livePlaylist, []byte("#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\nindex.m3u8\n#EXT-X-STREAM-INF:BANDWIDTH=2\nhd.m3u8\n"))
	wantChange(t, s.saw("/live/main.m3u8", several, second(0)), []string{"/live/index.m3u8", "/live/hd.m3u8"}, nil, false, nil)
	wantChange(t, s.saw("/live/main.m3u8", several, second(0)), nil, nil, false, nil)
	f("/live/main.m3u8", several)
	f("/live/hd.m3u8", nil)

	// streams that differ by their query
	s.saw("/tv?channel=1", m, second(0))
	f("/tv?channel=1", m)
	f("/tv?channel=2", nil)
}

func TestStreamsFrozen(t *testing.T) {
	s := newStreams(10, 1<<20)
	f := func(seconds float64, want bool) {
		t.Helper()
		if got := s.frozen(livePath, second(seconds)); got != want {
			t.Errorf("at %v s: frozen = %v, want %v", seconds, got, want)
		}
	}
	f(0, false)
	s.saw(livePath, window(t, "s", 0, 2), second(0))
	s.saw(livePath, window(t, "s", 0, 2), second(6))
	f(6, false)
	s.saw(livePath, window(t, "s", 0, 2), second(6.5))
	f(6.5, true)
	f(13, false) // nobody has looked since
	s.saw(livePath, window(t, "s", 1, 3), second(14))
	f(14, false)
	f(30, false) // nobody has looked
	s.saw(livePath, window(t, "s", 1, 3, "#EXT-X-ENDLIST"), second(40))
	s.saw(livePath, window(t, "s", 1, 3, "#EXT-X-ENDLIST"), second(50))
	f(50, false)
}

func TestStreamsAfter(t *testing.T) {
	s := newStreams(10, 1<<20)
	s.saw(livePath, window(t, "s", 0, 5, "#EXT-X-ENDLIST"), second(0))
	f := func(path string, want ...string) {
		t.Helper()
		s.asked(path, second(1))
		if got := texts(s.after(path, 2)); !slices.Equal(got, want) {
			t.Errorf("after(%q) = %q, want %q", path, got, want)
		}
	}
	f("/live/s0.ts") // the first of all, not behind one
	f("/live/s1.ts?token=1", segmentNames("s", 2, 3)...)
	f("/live/s4.ts") // a seek
	f("/live/s5.ts")
	f("/live/s3.ts") // another one
	f("/live/s4.ts", segmentNames("s", 5, 5)...)
	f(livePath)
	f("/live/s99.ts")

	s.saw("/live/x.m3u8", hls(t, string(recorded(t, "ffmpeg-ranges.m3u8"))), second(0))
	f("/live/index.m4s") // all of it is one file
	f("/live/index.m4s")

	s = newStreams(10, 1<<20)
	s.saw(livePath, window(t, "s", 0, 5), second(0))
	f("/live/s1.ts", segmentNames("s", 2, 3)...) // whoever watches live goes on
	f("/live/s4.ts", segmentNames("s", 5, 5)...)
	f("/live/s5.ts") // saw says what is next
}

func TestStreamsBounded(t *testing.T) {
	s := newStreams(3, 1<<20)
	for i := range 20 {
		s.saw(fmt.Sprintf("/live/%d.m3u8", i), window(t, fmt.Sprintf("%d-", i), 0, 4), second(0))
		s.asked("/live/0-1.ts", second(0)) // keeps the first
	}
	if s.of("/live/0.m3u8") == nil || s.of("/live/18-0.ts") == nil || s.of("/live/3-0.ts") != nil || s.of("/live/3.m3u8") != nil {
		t.Error("the wrong playlists went")
	}
	if len(s.places) != 3*5 {
		t.Errorf("%d places, want 15", len(s.places))
	}

	s = newStreams(1, 1<<20)
	for n := range 1000 {
		s.saw(livePath, window(t, "s", n, n+9, fmt.Sprintf(`#EXT-X-PART:DURATION=1,URI="p%d"`, n)), second(float64(n)))
	}
	tt, _ := s.known.Peek(livePath)
	if len(s.places) > 70 || len(tt.numbers) != 30 || len(tt.pieces) != 30 {
		t.Errorf("%d places, %d numbers, %d pieces", len(s.places), len(tt.numbers), len(tt.pieces))
	}
	if s.of("/live/s980.ts") == nil {
		t.Error("a segment that has just left the playlist is not known")
	}
}

func TestStreamsTogether(t *testing.T) {
	s := newStreams(2, 1<<20)
	done := make(chan struct{})
	for g := range 4 {
		go hammerStreams(t, s, g, done)
	}
	for range 4 {
		<-done
	}
}

// hammerStreams uses all of a table.
func hammerStreams(t *testing.T, s *streams, g int, done chan<- struct{}) {
	path := fmt.Sprintf("/live/%d.m3u8", g%3)
	for n := range 50 {
		s.saw(path, window(t, "s", n%7, n%7+3), second(float64(n)))
		s.asked("/live/s3.ts", second(float64(n)))
		s.of("/live/s2.ts")
		s.after("/live/s2.ts", 1)
		s.frozen(path, second(float64(n)))
	}
	done <- struct{}{}
}

// What is remembered of playlists is bounded in bytes, too.
func TestStreamsWeight(t *testing.T) {
	var b strings.Builder
	b.WriteString("#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXT-X-PLAYLIST-TYPE:VOD\n")
	for i := range 2000 {
		fmt.Fprintf(&b, "#EXTINF:4,\nsegment-%08d.ts\n", i)
	}
	b.WriteString("#EXT-X-ENDLIST\n")
	const limit = 8 << 20
	s := newStreams(maxStreams, limit)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for i := range 100 {
		for range 2 {
			s.saw(fmt.Sprintf("/v.m3u8?x=%d", i), parse("/v.m3u8", livePlaylist, []byte(b.String())), time.Now())
		}
		if s.weight > limit {
			t.Fatalf("%d bytes after %d playlists", s.weight, i+1)
		}
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if used := int64(after.HeapAlloc) - int64(before.HeapAlloc); used > 2*limit {
		t.Errorf("%d bytes of heap for a weight of %d", used, s.weight)
	}
	if n := s.known.Len(); n < 5 {
		t.Errorf("%d playlists are remembered", n)
	}
	for s.known.Len() > 0 {
		s.known.RemoveOldest()
	}
	if s.weight != 0 || len(s.places) != 0 {
		t.Errorf("of nothing %d bytes and %d places are left", s.weight, len(s.places))
	}
}
