package admission

import (
	"strings"
	"testing"
)

func TestM3U8Attribute(t *testing.T) {
	f := func(list, name, want string) {
		t.Helper()
		if got := m3u8Attribute(list, name); got != want {
			t.Errorf("m3u8Attribute(%q, %q) = %q, want %q", list, name, got, want)
		}
	}
	f("BANDWIDTH=12", "BANDWIDTH", "12")
	f("AVERAGE-BANDWIDTH=1,BANDWIDTH=12,X=3", "BANDWIDTH", "12")
	f(`CODECS="a,BANDWIDTH=7",BANDWIDTH=12`, "BANDWIDTH", "12")
	f(`A=1, URI="x,y=z"`, "URI", "x,y=z")
	f(`URI="never ends,BANDWIDTH=1`, "URI", "never ends,BANDWIDTH=1")
	f(`URI="never ends,BANDWIDTH=1`, "BANDWIDTH", "")
	f(`URI="x"junk,BANDWIDTH=1`, "BANDWIDTH", "1")
	f("BANDWIDTH", "BANDWIDTH", "")
	f(",,=,", "BANDWIDTH", "")
	f("", "", "")
}

func TestXMLAttribute(t *testing.T) {
	f := func(attrs, name, want string) {
		t.Helper()
		if got := xmlAttribute(attrs, name); got != want {
			t.Errorf("xmlAttribute(%q, %q) = %q, want %q", attrs, name, got, want)
		}
	}
	f(` id="a" bandwidth="12"/`, "bandwidth", "12")
	f(` id='bandwidth="7"' bandwidth="12"`, "bandwidth", "12")
	f(" xbandwidth='1'\n\tbandwidth = '2'", "bandwidth", "2")
	f(` bandwidth="12`, "bandwidth", "")
	f(` bandwidth=`, "bandwidth", "")
	f(` bandwidth`, "bandwidth", "")
	f("", "bandwidth", "")
}

// Whatever a playlist says, it stays with its own folder and within its bounds.
func FuzzLearn(f *testing.F) {
	f.Add("/show/master.m3u8", []byte(showMaster))
	f.Add("/dash/x.mpd", []byte(showMPD))
	f.Add("/a/x.m3u8", []byte("\ufeff#EXTM3U\r\n#EXT-X-MEDIA:URI=\"../b/x\r\n#EXT-X-STREAM-INF:BANDWIDTH=-1\r\n%2e%2e/c\r\n"))
	f.Add("/", []byte("#EXTM3U\n/a/b/c\n//h/x\na/b?c/d\n"))
	f.Add("/x.mpd", []byte("<Period/><BaseURL>/a/$</BaseURL><Representation bandwidth='9223372036854775807'><SegmentTemplate media='$RepresentationID$/x'/>"))
	f.Fuzz(func(t *testing.T, path string, playlist []byte) {
		if !strings.HasPrefix(path, "/") {
			return
		}
		s := newStreams()
		s.learn(path, playlist)
		home := folderOf(path)
		for _, folder := range s.folders.Keys() {
			if folder != home && !strings.HasPrefix(folder, strings.TrimSuffix(home, "/")+"/") {
				t.Errorf("%q speaks for %q", path, folder)
			}
			if got, _ := s.of(folder + "/1.ts"); folder != "/" && got != home {
				t.Errorf("what is in %q is of %q, want %q", folder, got, home)
			}
			if r := s.rate(home, folder+"/1.ts"); r < 0 || r > maxParts*maxDeclared {
				t.Errorf("rate %d", r)
			}
		}
		if n, v := s.size(); n > maxParts+1 || v > maxParts {
			t.Errorf("%d folders, %d variants", n, v)
		}
	})
}
