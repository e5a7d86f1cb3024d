package cache

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// recorded returns a playlist that ffmpeg or gohlslib has made.
func recorded(t testing.TB, name string) []byte {
	t.Helper()
	body, err := os.ReadFile(filepath.Join("testdata", "media", name))
	if err != nil {
		t.Fatal(err)
	}
	return body
}

// texts are targets as they stand in keys.
func texts(targets []target) (all []string) {
	for _, t := range targets {
		all = append(all, t.String())
	}
	return all
}

// hls reads a playlist of /live/index.m3u8.
func hls(t testing.TB, body string) *manifest {
	t.Helper()
	m := parse("/live/index.m3u8", livePlaylist, []byte(body))
	if m == nil {
		t.Fatalf("no playlist:\n%s", body)
	}
	return m
}

func TestParseMediaPlaylist(t *testing.T) {
	f := func(name string, c class, target time.Duration, first, last int64, parts int, blocks bool) *manifest {
		t.Helper()
		m := parse("/cam 1/index.m3u8", livePlaylist, recorded(t, name))
		if m == nil {
			t.Fatalf("%s: no playlist", name)
		}
		if m.Class != c || m.Target != target || m.First != first || m.Last != last || m.Parts != parts || m.Blocks != blocks {
			t.Errorf("%s: %+v", name, m)
		}
		if len(m.Segments) != int(last-first+1) {
			t.Errorf("%s: %d segments, want %d", name, len(m.Segments), last-first+1)
		}
		return m
	}
	equal := func(what string, targets []target, want ...string) {
		t.Helper()
		if got := texts(targets); !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", what, got, want)
		}
	}
	s := time.Second
	m := f("ffmpeg-live.m3u8", livePlaylist, s, 5, 8, 0, false)
	equal("segments", m.Segments, "/cam 1/index5.ts", "/cam 1/index6.ts", "/cam 1/index7.ts", "/cam 1/index8.ts")
	f("ffmpeg-stored.m3u8", storedPlaylist, s, 0, 4, 0, false)
	m = f("ffmpeg-fmp4.m3u8", livePlaylist, s, 3, 5, 0, false)
	equal("init segments", m.Inits, "/cam 1/init.mp4")
	m = f("ffmpeg-ranges.m3u8", storedPlaylist, s, 0, 4, 0, false)
	equal("init segments", m.Inits, "/cam 1/index.m4s")
	equal("segments", slices.Compact(slices.Clone(m.Segments)), "/cam 1/index.m4s")
	f("gohlslib-ts.m3u8", livePlaylist, s, 0, 6, 0, false)

	m = f("gohlslib-ll.m3u8", livePlaylist, s, 12, 18, 3, true)
	equal("first segment", m.Segments[:1], "/cam 1/7e465e09421f_video1_seg12.mp4?token=a+b")
	equal("hint", []target{m.Hint}, "/cam 1/7e465e09421f_video1_part63.mp4?token=a+b")
	if m.PartTarget != 200*time.Millisecond || len(m.Pieces) != 1+13+1 {
		t.Errorf("part target %v, %d pieces: %q", m.PartTarget, len(m.Pieces), m.Pieces)
	}
	m = f("gohlslib-ll-delta.m3u8", livePlaylist, s, 14, 18, 3, true)
	equal("first segment", m.Segments[:1], "/cam 1/7e465e09421f_video1_seg14.mp4")
	m = f("gohlslib-ll-start.m3u8", livePlaylist, s, 2, 8, 3, true)
	equal("gaps", m.Segments[:6], "", "", "", "", "", "/cam 1/757752cf06f9_video1_seg7.mp4")
}

func TestParseMultivariant(t *testing.T) {
	f := func(name string, want ...string) {
		t.Helper()
		m := parse("/a/main.m3u8", livePlaylist, recorded(t, name))
		if m == nil || m.Class != multivariant || !slices.Equal(texts(m.Variants), want) {
			t.Errorf("%s: %+v, want %q", name, m, want)
		}
	}
	f("ffmpeg-multivariant.m3u8", "/a/out_2.m3u8", "/a/out_0.m3u8", "/a/out_1.m3u8", "/a/out_2.m3u8")
	f("gohlslib-multivariant.m3u8", "/a/video1_stream.m3u8")
}

// What the library refuses, forgets or falls over.
func TestParseUnusualPlaylists(t *testing.T) {
	const head = "#EXTM3U\n#EXT-X-TARGETDURATION:4\n"
	f := func(body string, parts int, segments, pieces []string) {
		t.Helper()
		m := hls(t, body)
		if m.Parts != parts || !slices.Equal(texts(m.Segments), segments) || !slices.Equal(texts(m.Pieces), pieces) {
			t.Errorf("%s%+v\nwant %d parts, segments %q, pieces %q", body, m, parts, segments, pieces)
		}
	}
	one := []string{"/live/1.ts"}
	f("\xef\xbb\xbf"+head+"#EXTINF:4,\n1.ts", 0, one, nil)
	f(strings.ReplaceAll(head+"#EXTINF:4,\n1.ts\n", "\n", " \r\n"), 0, one, nil)
	f(head+"#EXT-X-KEY:METHOD=AES-128,URI=\"k\"\nstray\n#EXTINF:4,\n1.ts\n", 0, one, nil)
	f(head+"#EXTINF:4,\n1.ts\n#EXT-X-DATERANGE:ID=\"x\",START-DATE=\"2026-01-02T03:04:05Z\",SCTE35-OUT=0xFC30\n", 0, one, nil)
	f(head+"#EXTINF:nan,\n1.ts\n", 0, one, nil)

	// parts before the first segment, ranges, two hints
	f(head+"#EXT-X-PART:DURATION=1,URI=\"1.0.mp4\"\n#EXT-X-PART:DURATION=1,URI=\"1.1.mp4\"\n"+
		"#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"1.2.mp4\"\n#EXT-X-PRELOAD-HINT:TYPE=MAP,URI=\"i,2.mp4\"\n",
		2, nil, []string{"/live/1.0.mp4", "/live/1.1.mp4", "/live/1.2.mp4", "/live/i,2.mp4"})
	f(head+"#EXT-X-MAP:URI=\"i.mp4\",BYTERANGE=\"10@0\"\n#EXT-X-PART:DURATION=1,URI=\"1.mp4\",BYTERANGE=\"10@0\"\n"+
		"#EXT-X-PART:DURATION=1,URI=\"1.mp4\",BYTERANGE=\"10\"\n#EXT-X-PART:DURATION=1,URI=\"2.mp4\",GAP=YES\n",
		3, nil, []string{"/live/i.mp4", "/live/1.mp4"})

	f(head+"#EXT-X-DEFINE:NAME=\"d\",VALUE=\"hd\"\n#EXT-X-DEFINE:QUERYPARAM=\"q\"\n#EXTINF:4,\n{$d}/1.ts\n#EXTINF:4,\n{$q}/2.ts\n",
		0, []string{"/live/hd/1.ts", ""}, nil)
}

func TestParseNoPlaylist(t *testing.T) {
	f := func(c class, body string) {
		t.Helper()
		if m := parse("/a", c, []byte(body)); m != nil {
			t.Errorf("parse(%.60q) = %+v, want none", body, m)
		}
	}
	f(livePlaylist, "")
	f(livePlaylist, "#EXTM3U")
	f(livePlaylist, "<html>")
	f(livePlaylist, "\n#EXTM3U\n#EXT-X-TARGETDURATION:4\n")
	f(livePlaylist, "#EXTM3U8\n#EXT-X-TARGETDURATION:4\n")
	f(livePlaylist, "#EXTM3U\n#EXTINF:-1,A channel\nhttp://example.com/1\n") // a list of channels
	f(livePlaylist, "#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXT-X-MEDIA-SEQUENCE:18446744073709551615\n#EXTINF:4,\n1.ts\n")
	f(livePlaylist, "#EXTM3U\n#EXT-X-TARGETDURATION:4\n"+strings.Repeat("#\n", 2<<20))
	f(liveMPD, "#EXTM3U\n#EXT-X-TARGETDURATION:4\n")
	f(liveMPD, "")
	f(liveMPD, "<MPD")
	f(liveMPD, "<html><MPD></MPD></html>")
	f(segment, "#EXTM3U\n#EXT-X-TARGETDURATION:4\n")
}

func TestManifestResolve(t *testing.T) {
	f := func(base, uri, want string) {
		t.Helper()
		m := parse(base, livePlaylist, []byte("#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXTINF:4,\n"+uri+"\n"))
		if m == nil || len(m.Segments) != 1 || m.Segments[0].String() != want {
			t.Errorf("%q in %q: %+v, want %q", uri, base, m, want)
		}
	}
	f("/a/b/i.m3u8", "1.ts", "/a/b/1.ts")
	f("/a/b/i.m3u8", "./c//1.ts", "/a/b/c/1.ts")
	f("/a/b/i.m3u8", "../1.ts", "/a/1.ts")
	f("/a/b/i.m3u8", "../../../1.ts", "/1.ts")
	f("/a/b/i.m3u8", "/1.ts", "/1.ts")
	f("/a/b/i.m3u8", "1.ts?x=1&y=%20#f", "/a/b/1.ts?x=1&y=%20")
	f("/a/b/i.m3u8", "?n=1", "/a/b/i.m3u8?n=1")
	f("/a b/100%/i.m3u8", "1.ts", "/a b/100%25/1.ts")
	f("/a/i.m3u8", "seg%201.ts", "/a/seg 1.ts")
	f("/a/i.m3u8", "seg 1.ts", "/a/seg 1.ts")
	f("/a/i.m3u8", "%E4%BD%A0.ts", "/a/你.ts")
	f("/a/i.m3u8", "seg%3Fx.ts?y", "/a/seg%3Fx.ts?y")
	f("/a/i.m3u8", "seg/?n=1", "/a/seg/?n=1")
	f("/a/i.m3u8", "seg/", "/a/seg/")
	f("/a/i.m3u8", "/", "/")

	f("/a/i.m3u8", "http://example.com/1.ts", "")
	f("/a/i.m3u8", "//example.com/1.ts", "")
	f("/a/i.m3u8", "data:text/plain,x", "")
	f("/a/i.m3u8", "i.m3u8", "")
	f("/a/i.m3u8", "a%2fb.ts", "")
	f("/a/i.m3u8", "%zz.ts", "")
	f("/a/i.m3u8", strings.Repeat("a", 2000), "")
}

func TestParseMPD(t *testing.T) {
	f := func(body []byte, c class, update, target time.Duration) {
		t.Helper()
		m := parse("/a/index.mpd", liveMPD, body)
		if m == nil || m.Class != c || m.Update != update || m.Target != target || m.Last >= m.First {
			t.Errorf("%.400s\n%+v, want class %d, update %v, target %v", body, m, c, update, target)
		}
	}
	s := time.Second
	f(recorded(t, "ffmpeg-static.mpd"), storedMPD, 0, s)
	dynamic := recorded(t, "ffmpeg-dynamic.mpd")
	f(dynamic, liveMPD, s, s)
	without := bytes.ReplaceAll(dynamic, []byte(`maxSegmentDuration="PT1.0S"`), nil)
	f(without, liveMPD, s, 1024*time.Millisecond) // of the timelines
	f(bytes.ReplaceAll(without, []byte(`<SegmentTimeline>`), []byte(`<SegmentTimeline><S d="x"/>`)), liveMPD, s, 0)

	f([]byte(`<MPD type="dynamic" minimumUpdatePeriod="P0Y0M0DT0H0M2.5S" maxSegmentDuration="PT4S"><Period/></MPD>`),
		liveMPD, 2500*time.Millisecond, 4*s)
	f([]byte(`<MPD><Period><AdaptationSet><SegmentTemplate timescale="0" duration="6"/></AdaptationSet></Period></MPD>`), storedMPD, 0, 6*s)
	f([]byte(`<?xml version="1.0" encoding="ISO-8859-1"?><d:MPD xmlns:d="urn:mpeg:dash:schema:mpd:2011" maxSegmentDuration="PT4S">
		<d:ProgramInformation><d:Title>a > b &nbsp;</d:Title></d:ProgramInformation></d:MPD>`), storedMPD, 0, 4*s)
	f([]byte(`<MPD type="dynamic" minimumUpdatePeriod="P9000D"/>`), liveMPD, time.Hour, 0)
}

func TestHolds(t *testing.T) {
	f := func(m *manifest, msn int64, part int, want bool) {
		t.Helper()
		if got := m.holds(msn, part); got != want {
			t.Errorf("holds(%d, %d) = %v, want %v", msn, part, got, want)
		}
	}
	m := &manifest{Class: livePlaylist, First: 5, Last: 8, Parts: 2}
	f(m, 8, -1, true)
	f(m, 4, 3, true) // gone, but there is later
	f(m, 8, 7, true)
	f(m, 9, -1, false)
	f(m, 9, 0, true)
	f(m, 9, 1, true)
	f(m, 9, 2, false)
	f(m, 10, 0, false)
	f(&manifest{Class: storedPlaylist, Last: 8}, 99, 0, true)
	f(&manifest{Class: livePlaylist, Last: -1}, 0, -1, false)
}

func FuzzParse(f *testing.F) {
	names, _ := filepath.Glob(filepath.Join("testdata", "media", "*"))
	for _, name := range names {
		f.Add("/a b/index", recorded(f, filepath.Base(name)))
	}
	f.Add("/", []byte("#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXT-X-DEFINE:NAME=\"a\",VALUE=\"{$a}{$a}\"\n#EXTINF:1,\n{$a}\n"))
	f.Add("/", []byte("#EXTM3U\n#EXT-X-MEDIA:TYPE=AUDIO,URI=\"../a\"\n#EXT-X-I-FRAME-STREAM-INF:URI=\"b\"\n"))
	f.Fuzz(func(t *testing.T, path string, body []byte) {
		for _, c := range []class{livePlaylist, liveMPD} {
			m := parse("/"+strings.TrimLeft(path, "/"), c, body)
			if m == nil {
				continue
			}
			if m.Last-m.First+1 != int64(len(m.Segments)) || m.First < 0 || m.Target < 0 || m.Target > maxTarget ||
				m.Update < 0 || m.PartTarget < 0 || m.PartTarget > maxTarget {
				t.Errorf("%q: %+v", body, m)
			}
			for _, to := range slices.Concat(m.Segments, m.Pieces, m.Variants, m.Inits, []target{m.Hint}) {
				if to != (target{}) && to.path[0] != '/' {
					t.Errorf("%q: %+v", body, to)
				}
			}
			newStreams(1, 1<<20).saw("/p", m, time.Unix(1, 0))
		}
	})
}
