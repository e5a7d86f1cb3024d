package admission

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"weir/proxy"
)

const (
	showMaster = `#EXTM3U
#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="a",NAME="x,URI=no",URI="audio/en/index.m3u8"
#EXT-X-STREAM-INF:AVERAGE-BANDWIDTH=1,BANDWIDTH=3000000,CODECS="avc1,mp4a",AUDIO="a"
720p/index.m3u8?key=1
#EXT-X-STREAM-INF:BANDWIDTH=800000

# a comment
/show/360p/index.m3u8
#EXT-X-I-FRAME-STREAM-INF:BANDWIDTH=90000,URI="trick/index.m3u8"
`
	showMPD = `<?xml version="1.0"?><MPD><!-- <Representation bandwidth="900000000"/> -->
<Period><AdaptationSet contentType="video"><Representation id="v1" bandwidth="9"/></AdaptationSet></Period>
<Period id="p">
 <AdaptationSet mimeType='video/mp4'>
  <SegmentTemplate initialization="$RepresentationID$/init.mp4" media="$RepresentationID$/s-$Number%05d$.m4s"/>
  <Representation id="video/hd" bandwidth="5000000"/><Representation id="video/sd" bandwidth = "1000000"></Representation>
 </AdaptationSet>
 <AdaptationSet lang="en"><BaseURL>sound/</BaseURL>
  <Representation id="en" mimeType="audio/mp4" bandwidth="200000"><BaseURL>en/all.mp4</BaseURL></Representation>
  <Representation id="de" mimeType="audio/mp4" bandwidth="100000"><SegmentList><SegmentURL media="de/1.m4s"/></SegmentList></Representation>
 </AdaptationSet>
 <AdaptationSet><BaseURL>https://elsewhere.example/x/</BaseURL>
  <Representation mimeType="text/vtt" bandwidth="1000"><BaseURL>y/z.vtt</BaseURL></Representation>
 </AdaptationSet>
</Period></MPD>`
)

func TestStreamOf(t *testing.T) {
	s := newStreams()
	f := func(path, want string, wantSingle bool) {
		t.Helper()
		if got, single := s.of(path); got != want || single != wantSingle {
			t.Errorf("of(%q) = %q, %v, want %q, %v", path, got, single, want, wantSingle)
		}
	}
	f("/x.m3u8", "/", false)
	f("/", "/", false)
	f("", "/", false)
	f("/a/x.m3u8", "/a", false)
	f("/a/", "/a", false)
	f("/a/b/1.ts", "/a/b", false)
	f("/a/b/1.M4S", "/a/b", false)
	f("/a/page.html", "/a", false)
	f("/a/b.mp4/1.ts", "/a/b.mp4", false)
	f("/a/b", "/a", false)
	f("/a/film.mp4", "/a/film.mp4", true)
	f("/a/film.WebM", "/a/film.WebM", true)
	f("/film.zip", "/film.zip", true)
	f("/a.mp4/", "/a.mp4", false)
	f("/a/live.aac", "/a", false)
	f("/show/720p/1.ts", "/show/720p", false)

	s.learn("/show/master.m3u8", []byte(showMaster))
	s.learn("/show/360p/index.m3u8", []byte("#EXTM3U\n#EXTINF:2,\nsegs/1.ts\n"))
	f("/show/master.m3u8", "/show", false)
	f("/show/720p/1.ts", "/show", false)
	f("/show/720p/x.mp4", "/show/720p/x.mp4", true)
	f("/show/360p/index.m3u8", "/show", false)
	f("/show/360p/segs/1.ts", "/show", false)
	f("/show/audio/en/1.aac", "/show", false)
	f("/show/trick/1.ts", "/show", false)
	f("/show/other/1.ts", "/show/other", false)
	if got := s.around("/show/720p/x.mp4"); got != "/show" {
		t.Errorf("around a file of a variant = %q", got)
	}

	s.learn("/dash/x.mpd", []byte(showMPD))
	for _, p := range []string{"x.mpd", "video/hd/s-00001.m4s", "video/sd/s-00001.m4s", "sound/de/1.m4s", "sound/en/1.m4s"} {
		f("/dash/"+p, "/dash", false)
	}
	f("/dash/y/1.m4s", "/dash/y", false)
}

func TestStreamRate(t *testing.T) {
	s := newStreams()
	f := func(stream, path string, want proxy.BitRate) {
		t.Helper()
		if got := s.rate(stream, path); got != want {
			t.Errorf("rate(%q, %q) = %d, want %d", stream, path, got, want)
		}
	}
	f("/show", "/show/720p/1.ts", 0)
	s.learn("/show/master.m3u8", []byte(showMaster))
	s.learn("/show/360p/index.m3u8", []byte("#EXTM3U\n#EXTINF:2,\nsegs/1.ts\n"))
	f("/show", "/show/master.m3u8", 3e6)
	f("/show", "/show/720p/index.m3u8", 3e6)
	f("/show", "/show/720p/1.ts", 3e6)
	f("/show", "/show/360p/1.ts", 8e5)
	f("/show", "/show/360p/segs/1.ts", 8e5)
	f("/show", "/show/trick/1.ts", 9e4)
	f("/show", "/show/audio/en/1.aac", 0) // the variants' include it
	f("/show", "/show/720p/x.mp4", 3e6)
	f("/show", "/elsewhere/1.ts", 3e6)
	f("/", "/1.ts", 0)
	s.learn("/show/master.m3u8", []byte("#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=2000000\n720p/index.m3u8\n"))
	f("/show", "/show/master.m3u8", 2e6)
	f("/show", "/show/720p/1.ts", 2e6)

	s.learn("/dash/x.mpd", []byte(showMPD))
	f("/dash", "/dash/x.mpd", 5201000)
	f("/dash", "/dash/video/sd/s-1.m4s", 5201000)
}

// Several variants in one folder: the playlist's own path tells them apart, the
// segments' do not.
func TestStreamRateOfFlatFolder(t *testing.T) {
	s := newStreams()
	s.learn("/a/m.m3u8", []byte("#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=100\nlo.m3u8\n#EXT-X-STREAM-INF:BANDWIDTH=900\nhi.m3u8\n"))
	s.learn("/a/other.m3u8", []byte("#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=500\nmid.m3u8\n"))
	for path, want := range map[string]proxy.BitRate{"lo.m3u8": 100, "hi.m3u8": 900, "mid.m3u8": 500, "lo1.ts": 900, "m.m3u8": 900} {
		if got := s.rate("/a", "/a/"+path); got != want {
			t.Errorf("%s: %d, want %d", path, got, want)
		}
	}
}

// Nobody takes viewers of another stream into his own.
func TestStreamsKeepToTheirFolder(t *testing.T) {
	s := newStreams()
	uris := []string{"../b/x.m3u8", "/b/x.m3u8", "//b/b/x.m3u8", "https://h/a/b/x.m3u8", "x/../../b/x.m3u8", "%2e%2e/b/x.m3u8",
		"c%2fd/x.m3u8", "/ab/x.m3u8", "data:,/b/x", "", "?/b/x", "/", "/a", "/a/", "b\\x/y.m3u8", "%zz/x.m3u8", "\x00/x.m3u8"}
	for _, u := range uris {
		s.learn("/a/m.m3u8", []byte("#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=100\n"+u+"\n"))
		s.learn("/a/m.mpd", []byte("<MPD><Representation bandwidth='1'><BaseURL>"+u+"</BaseURL></Representation></MPD>"))
	}
	if n, _ := s.size(); n != 1 {
		t.Errorf("%d folders known, want /a: %q", n, s.folders.Keys())
	}
}

// Which of two playlists is seen last does not matter: viewers would be counted
// twice.
func TestStreamsOutermost(t *testing.T) {
	outer := func(s *streams) {
		s.learn("/m.m3u8", []byte("#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\na/b/x.m3u8\n#EXT-X-STREAM-INF:BANDWIDTH=2\na/x.m3u8"))
	}
	inner := func(s *streams) {
		s.learn("/a/m.m3u8", []byte("#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=5\nb/x.m3u8\n#EXT-X-STREAM-INF:BANDWIDTH=3\nc/x.m3u8"))
	}
	f := func(learn ...func(*streams)) {
		t.Helper()
		s := newStreams()
		for _, l := range learn {
			l(s)
		}
		for _, p := range []string{"/a/b/1.ts", "/a/c/1.ts", "/a/1.ts"} {
			if got, _ := s.of(p); got != "/" {
				t.Errorf("of(%q) = %q", p, got)
			}
		}
	}
	f(outer, inner)
	f(inner, outer)
	f(inner, outer, inner)
}

func TestStreamsAreBounded(t *testing.T) {
	s := newStreams()
	for i := range maxFolders/maxParts + 5 {
		var b strings.Builder
		b.WriteString("#EXTM3U\n")
		for j := range 3 * maxParts {
			fmt.Fprintf(&b, "#EXT-X-STREAM-INF:BANDWIDTH=1\n%d/x.m3u8\n", j)
		}
		s.learn(fmt.Sprintf("/%d/m.m3u8", i), []byte(b.String()))
		if n, v := s.size(); i == 0 && (n != maxParts+1 || v != maxParts) {
			t.Errorf("one playlist brought %d folders, %d variants", n, v)
		}
	}
	if n, v := s.size(); n != maxFolders || v != maxVariants {
		t.Errorf("%d folders, %d variants, want %d and %d", n, v, maxFolders, maxVariants)
	}
	s.learn("/long/m.m3u8", []byte("#EXTM3U\nx/1.ts\n"+strings.Repeat("#", maxPlaylist)))
	if got, _ := s.of("/long/x/1.ts"); got != "/long/x" {
		t.Error("learned from a playlist that is too long")
	}
}

func TestStreamsAtOnce(t *testing.T) {
	s := newStreams()
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 200 {
				s.learn("/show/master.m3u8", []byte(showMaster))
				if got, _ := s.of("/show/720p/1.ts"); got != "/show" {
					t.Errorf("of = %q", got)
				}
				s.rate("/show", "/show/720p/1.ts")
			}
		})
	}
	wg.Wait()
}

// A viewer's segment is counted for the right stream in 300 ns.
func BenchmarkStreamOf(b *testing.B) {
	s := newStreams()
	s.learn("/show/master.m3u8", []byte(showMaster))
	s.learn("/show/360p/index.m3u8", []byte("#EXTM3U\n#EXTINF:2,\nsegs/1.ts\n"))
	f := func(name, path string) {
		b.Run("path="+name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				s.of(path)
			}
		})
	}
	f("unknown", "/live/cam/seg-000123.ts")
	f("variant", "/show/720p/seg-000123.ts")
	f("deep", "/show/360p/segs/seg-000123.ts")
	f("single", "/vod/film.mp4")
	b.Run("rate", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			s.rate("/show", "/show/720p/seg-000123.ts")
		}
	})
}
