package admission

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"

	"weir/proxy"
)

func TestCarry(t *testing.T) {
	f := func(in, want string) {
		t.Helper()
		if got := string(carry([]byte(in), "token", "x.y")); got != want {
			t.Errorf("carry(%q) = %q, want %q", in, got, want)
		}
	}
	f("", "")
	f("#EXTM3U\r\n#EXTINF:4,\r\nseg0.ts\r\n", "#EXTM3U\r\n#EXTINF:4,\r\nseg0.ts?token=x.y\r\n")
	f("seg0.ts", "seg0.ts?token=x.y")
	f("a/b.ts?v=1#t\n", "a/b.ts?v=1&token=x.y#t\n")
	f("/abs/b.ts\n", "/abs/b.ts?token=x.y\n")
	f("../up.ts\n", "../up.ts?token=x.y\n")
	f("b.ts?token=other\n", "b.ts?token=other\n")
	f("b.ts?mytoken=other\n", "b.ts?mytoken=other&token=x.y\n")
	f("https://cdn.example/b.ts\n", "https://cdn.example/b.ts\n") // others' hosts
	f("//cdn.example/b.ts\n", "//cdn.example/b.ts\n")
	f("HTTP://cdn.example/b.ts\n", "HTTP://cdn.example/b.ts\n")
	f("/\\\\cdn.example/b.ts\n", "/\\\\cdn.example/b.ts\n")
	f("{$cdn}/b.ts\n", "{$cdn}/b.ts\n") // EXT-X-DEFINE may say anything
	f(" //cdn.example/b.ts\n", " //cdn.example/b.ts\n")
	f("/\r/cdn.example/b.ts\n", "/\r/cdn.example/b.ts\n")
	f("# a comment, URI=\"x\"\n", "# a comment, URI=\"x\"\n")
	f("#EXT-X-MAP:URI=\"init.mp4\",BYTERANGE=\"1@0\"\n", "#EXT-X-MAP:URI=\"init.mp4?token=x.y\",BYTERANGE=\"1@0\"\n")
	f("#EXT-X-PART:DURATION=0.3,URI=\"p1.mp4\",INDEPENDENT=YES\n", "#EXT-X-PART:DURATION=0.3,URI=\"p1.mp4?token=x.y\",INDEPENDENT=YES\n")
	f("#EXT-X-KEY:METHOD=SAMPLE-AES,URI=\"skd://key\"\n", "#EXT-X-KEY:METHOD=SAMPLE-AES,URI=\"skd://key\"\n")
	f("#EXT-X-KEY:METHOD=AES-128,URI=\"data:text/plain;base64,AA==\"\n", "#EXT-X-KEY:METHOD=AES-128,URI=\"data:text/plain;base64,AA==\"\n")
	f("#EXT-X-MEDIA:NAME=\"a,URI=\\\"\",URI=\"a.m3u8\"\n", "#EXT-X-MEDIA:NAME=\"a,URI=\\\"\",URI=\"a.m3u8\"\n") // a quote has no escape: the name ends at it
	f("#EXT-X-MEDIA:NAME=\"a,URI=b\",URI=\"a.m3u8\"\n", "#EXT-X-MEDIA:NAME=\"a,URI=b\",URI=\"a.m3u8?token=x.y\"\n")
	f("#EXT-X-MEDIA:X-URI=\"b\",URI=\"a.m3u8\"\n", "#EXT-X-MEDIA:X-URI=\"b\",URI=\"a.m3u8?token=x.y\"\n")
	f("#EXT-X-MAP:URI=\"open\n", "#EXT-X-MAP:URI=\"open\n")
}

// FuzzCarry checks that nothing else of a playlist changes, and that no URI with
// a host gets the token.
func FuzzCarry(f *testing.F) {
	f.Add([]byte("#EXTM3U\n#EXT-X-MAP:URI=\"init.mp4\"\nhttp://a/b.ts\nc.ts#d\n"))
	f.Fuzz(func(t *testing.T, in []byte) {
		if bytes.Contains(in, []byte("SECRET")) || bytes.Contains(in, []byte("token=")) {
			return
		}
		out := carry(in, "token", "SECRET")
		back := strings.NewReplacer("?token=SECRET", "", "&token=SECRET", "").Replace(string(out))
		if back != string(in) && !bytes.ContainsAny(in, "?#") {
			t.Errorf("%q became %q", in, out)
		}
		for line := range strings.Lines(string(out)) {
			if strings.HasPrefix(line, "http:") && strings.Contains(line, "SECRET") {
				t.Errorf("%q has the token", line)
			}
		}
	})
}

// TestCarriedPlaylist asks through a Wrap as players do: only the playlist that
// was asked for with a token in its URL has it in what it names.
func TestCarriedPlaylist(t *testing.T) {
	const text = "#EXTM3U\n#EXTINF:4,\nseg0.ts\n"
	ladder := ladderOf(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Etag", `"1"`)
		if r.Header.Get("Range") != "" || r.Header.Get("Accept-Encoding") != "" {
			t.Errorf("%s asked for with %v", r.URL, r.Header)
		}
		if r.URL.Path == "/a/none.m3u8" {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Length", strconv.Itoa(len(text)))
		io.WriteString(w, text)
	})
	g := &grant{token: "x.y"}
	w := newWrap(ladder, &Options{Carry: "query"}, newStreams())
	f := func(method, path, query string, code int, want string) {
		t.Helper()
		v := &proxy.Viewer{Path: path, Target: path + query, Grant: g}
		r := httptest.NewRequest(method, path, nil).WithContext(proxy.WithViewer(t.Context(), v))
		r.Header.Set("Accept-Encoding", "gzip")
		r.Header.Set("Range", "bytes=0-")
		if want == text || code != 200 && query == "" {
			r.Header = http.Header{} // goes on as it came
		}
		rec := httptest.NewRecorder()
		w.ServeHTTP(rec, r)
		if rec.Code != code || want != "" && rec.Body.String() != want {
			t.Errorf("%s %s%s: %d %q, want %d %q", method, path, query, rec.Code, rec.Body, code, want)
		}
		if private := rec.Header().Get("Cache-Control") == "private"; private != strings.Contains(want, "x.y") && method == "GET" {
			t.Errorf("%s %s%s: Cache-Control %q", method, path, query, rec.Header()["Cache-Control"])
		}
		if want != "" && rec.Header().Get("Content-Length") != strconv.Itoa(len(want)) || (rec.Header().Get("Etag") == "") != strings.Contains(want, "x.y") && method == "GET" && code == 200 {
			t.Errorf("%s %s%s: %v", method, path, query, rec.Header())
		}
	}
	f("GET", "/a/index.m3u8", "?token=x.y", 200, "#EXTM3U\n#EXTINF:4,\nseg0.ts?token=x.y\n")
	f("HEAD", "/a/index.m3u8", "?token=x.y", 200, "")
	f("GET", "/a/none.m3u8", "?token=x.y", 404, "")
	f("GET", "/a/index.m3u8", "", 200, text) // by a cookie or header
	f("GET", "/a/page.html", "?token=x.y", 200, text)
}

type ladderOf http.HandlerFunc

func (l ladderOf) ServeHTTP(w http.ResponseWriter, r *http.Request) { l(w, r) }
func (ladderOf) ServeRTSP(context.Context, *proxy.RTSPConn)         {}
