package passthrough

import (
	"strings"
	"testing"
	"time"
)

func TestScanPlaylist(t *testing.T) {
	f := func(text string, want scan, ok bool) {
		t.Helper()
		text = strings.ReplaceAll(text, "|", "\n")
		if got, gotOK := scanPlaylist([]byte(text)); gotOK != ok || ok && got != want {
			t.Errorf("scanPlaylist(%q) = %+v, %v, want %+v, %v", text, got, gotOK, want, ok)
		}
	}
	at := func(first, next, discontinuity uint64) scan {
		return scan{position: position{first, next, discontinuity}, target: 6 * time.Second}
	}
	const head = "#EXTM3U|#EXT-X-TARGETDURATION:6|"
	f(head, at(0, 0, 0), true)
	f(head+"#EXTINF:6,|a.ts|#EXTINF:6,|b.ts", at(0, 2, 0), true)
	f(head+"#EXT-X-MEDIA-SEQUENCE:7|#EXT-X-DISCONTINUITY-SEQUENCE:3|#EXTINF:6,|a.ts|||# remark|#EXT-X-PART:URI=\"p\"|", at(7, 8, 3), true)
	f("\ufeff"+strings.ReplaceAll(head, "|", "\r\n")+"#EXT-X-MEDIA-SEQUENCE:7 \r\na.ts\r\n", at(7, 8, 0), true)
	f(head+"#EXT-X-MEDIA-SEQUENCE:7|#EXT-X-SKIP:RECENTLY-REMOVED-DATERANGES=\"x\", SKIPPED-SEGMENTS=10|a.ts", at(7, 18, 0), true)
	f("#EXTM3U|#EXT-X-TARGETDURATION:86400|", scan{target: mostTarget}, true)
	f(head+"a.ts|#EXT-X-ENDLIST", scan{position: position{0, 1, 0}, target: 6 * time.Second, ended: true}, true)
	f(head+"#EXT-X-MEDIA-SEQUENCE:4611686018427387903", at(1<<62-1, 1<<62-1, 0), true)
	for _, bad := range []string{"", "x", "#EXTM3U|a.ts", head + "#EXT-X-STREAM-INF:BANDWIDTH=1|a.m3u8", " " + head, head + "#EXT-X-MEDIA-SEQUENCE:4611686018427387904",
		head + "#EXT-X-MEDIA-SEQUENCE:-1", head + "#EXT-X-MEDIA-SEQUENCE", head + "#EXT-X-SKIP:X=1", "#EXTM3U|#EXT-X-TARGETDURATION:6.5|"} {
		f(bad, scan{}, false)
	}
}

func TestPositions(t *testing.T) {
	f := func(p, q position, want bool) {
		t.Helper()
		if got := p.before(q); got != want {
			t.Errorf("%v before %v = %v", p, q, got)
		}
	}
	f(position{1, 9, 9}, position{2, 3, 0}, true)
	f(position{2, 3, 0}, position{1, 9, 9}, false)
	f(position{2, 3, 9}, position{2, 4, 0}, true)
	f(position{2, 4, 0}, position{2, 4, 1}, true)
	f(position{2, 4, 1}, position{2, 4, 1}, false)
}

func TestPlaylistQuery(t *testing.T) {
	f := func(raw, want string) {
		t.Helper()
		if got := playlistQuery(raw); got != want {
			t.Errorf("playlistQuery(%q) = %q, want %q", raw, got, want)
		}
	}
	f("", "")
	f("stream=a", "stream=a")
	f("stream=a&token=x&_HLS_msn=7&b=%20", "stream=a&b=%20")
	f("_HLS_skip=v2", "")
	f("%5fHLS_skip=v2&JWT=x&Key-Pair-Id=y", "")
	f("a%ZZ=1&mytoken=2&&", "a%ZZ=1&mytoken=2&&")
}

func FuzzScanPlaylist(f *testing.F) {
	f.Add([]byte(livePlaylist(7, 3)))
	f.Add([]byte("\ufeff#EXTM3U\r\n#EXT-X-TARGETDURATION:6\r\n#EXT-X-SKIP:SKIPPED-SEGMENTS=3\r\na\r\n#EXT-X-ENDLIST"))
	f.Add([]byte("#EXTM3U\n#EXT-X-STREAM-INF:\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		s, ok := scanPlaylist(text)
		if !ok {
			return
		}
		if s.next < s.first || s.target < 0 || s.target > mostTarget {
			t.Errorf("%q is read as %+v", text, s)
		}
		more, ok := scanPlaylist(append(append([]byte{}, text...), "\nmore.ts\n"...))
		if !ok || !s.before(more.position) || more.next != s.next+1 {
			t.Errorf("%q is read as %+v, and with one more as %+v, %v", text, s, more, ok)
		}
	})
}

// BenchmarkScanPlaylist scans a live playlist, and one that is as long as any
// that is scanned.
func BenchmarkScanPlaylist(b *testing.B) {
	f := func(name string, segments int) {
		text := []byte(livePlaylist(1_000_000, segments))
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			b.ReportAllocs()
			for b.Loop() {
				if _, ok := scanPlaylist(text); !ok {
					b.Fatal("not scanned")
				}
			}
		})
	}
	f("live", 6)
	f("1MiB", mostScanned/27)
}
