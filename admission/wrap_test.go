package admission

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"weir/proxy"
	"weir/proxy/proxytest"
)

const wrapMaster = "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=7\nv/x.m3u8\n"

// What of a playlist's answers is learned from: all that are whole and can be
// read.
func TestWrapLearns(t *testing.T) {
	f := func(what string, want bool, method, path string, h http.HandlerFunc) {
		t.Helper()
		s := newStreams()
		url := serveTCP(t, newWrap(handlerFunc{h}, &Options{}, s))
		req, _ := http.NewRequest(method, url+path, nil)
		if res, err := http.DefaultClient.Do(req); err == nil {
			io.Copy(io.Discard, res.Body) //nolint:errcheck // some break off
			res.Body.Close()
		}
		http.DefaultClient.CloseIdleConnections()
		learned := func() bool { got, _ := s.of("/a/v/1.ts"); return got == "/a" }
		if want {
			proxytest.Eventually(t, time.Second, what+": learned", learned)
		} else if learned() {
			t.Errorf("%s: learned", what)
		}
	}
	answer := func(code int, body string, fields ...string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			for i := 0; i < len(fields); i += 2 {
				w.Header().Set(fields[i], fields[i+1])
			}
			w.WriteHeader(code)
			io.WriteString(w, body) //nolint:errcheck // the viewer counts
		}
	}
	n := strconv.Itoa(len(wrapMaster))
	f("plain", true, "GET", "/a/m.m3u8", answer(200, wrapMaster))
	f("upper case", true, "GET", "/a/m.M3U8", answer(200, wrapMaster))
	f("with a length", true, "GET", "/a/m.m3u8", answer(200, wrapMaster, "Content-Length", n))
	f("identity", true, "GET", "/a/m.m3u8", answer(200, wrapMaster, "Content-Encoding", "identity"))
	f("in pieces", true, "GET", "/a/m.m3u8", func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, wrapMaster[:20])                  //nolint:errcheck // as above
		http.NewResponseController(w).Flush()               //nolint:errcheck // as above
		io.Copy(w, strings.NewReader(wrapMaster[20:30]))    //nolint:errcheck // as above
		io.CopyN(w, strings.NewReader(wrapMaster[30:]), 99) //nolint:errcheck // as above
	})
	f("by a range that is all", true, "GET", "/a/m.m3u8", func(w http.ResponseWriter, r *http.Request) {
		r.Header.Set("Range", "bytes=0-")
		http.ServeContent(w, r, "m.m3u8", time.Time{}, strings.NewReader(wrapMaster))
	})
	f("by another range", false, "GET", "/a/m.m3u8", func(w http.ResponseWriter, r *http.Request) {
		r.Header.Set("Range", "bytes=0-40")
		http.ServeContent(w, r, "m.m3u8", time.Time{}, strings.NewReader(wrapMaster+"# more"))
	})
	f("MPD", true, "GET", "/a/m.mpd", answer(200, "<MPD><Representation bandwidth='1'><BaseURL>v/x.mp4</BaseURL></Representation></MPD>"))
	f("segment", false, "GET", "/a/m.ts", answer(200, wrapMaster))
	f("not found", false, "GET", "/a/m.m3u8", answer(404, wrapMaster))
	f("encoded", false, "GET", "/a/m.m3u8", answer(200, wrapMaster, "Content-Encoding", "gzip"))
	f("HEAD", false, "HEAD", "/a/m.m3u8", answer(200, wrapMaster))
	f("POST", false, "POST", "/a/m.m3u8", answer(200, wrapMaster))
	f("too long", false, "GET", "/a/m.m3u8", answer(200, wrapMaster+strings.Repeat("#\n", maxPlaylist/2)))
	f("too short", false, "GET", "/a/m.m3u8", answer(200, wrapMaster, "Content-Length", "1000"))
	f("cut", false, "GET", "/a/m.m3u8", func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, wrapMaster) //nolint:errcheck // as above
		panic(http.ErrAbortHandler)
	})
}

// The cookie comes with what was given, with a refusal to be stored by others.
func TestWrapCookie(t *testing.T) {
	g := &grant{token: "a.b", path: "/live"}
	f := func(what, path string, v proxy.Viewer, wantCookie bool, wantControl string, h http.HandlerFunc) {
		t.Helper()
		next := newWrap(handlerFunc{h}, &Options{Carry: "cookie", Cookie: "tok"}, newStreams())
		url := serveTCP(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			next.ServeHTTP(w, r.WithContext(proxy.WithViewer(r.Context(), &v)))
		}))
		res, err := http.Get(url + path)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		set, control := res.Header["Set-Cookie"], strings.Join(res.Header["Cache-Control"], "|")
		if (len(set) == 1 && set[0] == "tok=a.b; Path=/live; HttpOnly; SameSite=Lax") != wantCookie || control != wantControl {
			t.Errorf("%s: Set-Cookie %q, Cache-Control %q", what, set, control)
		}
	}
	answer := func(code int, control string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			if control != "" {
				w.Header().Set("Cache-Control", control)
			}
			if code != 0 {
				w.WriteHeader(code)
			}
		}
	}
	v := proxy.Viewer{Grant: g}
	f("playlist", "/live/x.m3u8", v, true, "private", answer(200, ""))
	f("MPD, part", "/live/x.mpd", v, true, "max-age=3|private", answer(206, "max-age=3"))
	f("page, not modified", "/live/", v, true, "no-store", answer(304, "no-store"))
	f("nothing written", "/live/p.html", v, true, "private", answer(0, ""))
	f("early hints", "/live/p.html", v, true, "private", func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusEarlyHints)
		if w.Header()["Set-Cookie"] != nil {
			t.Error("set before the answer")
		}
		w.Write(nil) //nolint:errcheck // nothing
	})
	f("not found", "/live/x.m3u8", v, false, "", answer(404, ""))
	f("elsewhere", "/live/x.m3u8", v, false, "", answer(302, ""))
	f("segment", "/live/x.ts", v, false, "", answer(200, ""))
	f("has it", "/live/x.m3u8", proxy.Viewer{Grant: g, Cookie: "tok=a.b"}, false, "", answer(200, ""))
	f("nobody", "/live/x.m3u8", proxy.Viewer{}, false, "", answer(200, ""))
}

// The fast path has neither cookies nor pace.
func TestWrapHit(t *testing.T) {
	hits := &hitter{}
	g := &grant{token: "a.b", path: "/live"}
	f := func(what string, o Options, p proxy.Plain, want bool) {
		t.Helper()
		hits.n = 0
		if p.Viewer == nil {
			p.Viewer = &proxy.Viewer{Grant: g}
		}
		h := newWrap(hits, &o, newStreams()).(proxy.Hitter).Hit(&p)
		if (h != nil) != want || (hits.n == 1) != want {
			t.Errorf("%s: hit %v, asked %d times", what, h != nil, hits.n)
		}
	}
	with, pace := Options{Carry: "cookie", Cookie: "tok"}, Options{Pace: 1}
	f("playlist without a cookie", with, proxy.Plain{Path: "/a/x.m3u8"}, false)
	f("page without a cookie", with, proxy.Plain{Path: "/a/", Head: true}, false)
	f("playlist with a cookie", with, proxy.Plain{Path: "/a/x.m3u8", Viewer: &proxy.Viewer{Grant: g, Cookie: "tok=a.b"}}, true)
	f("segment", with, proxy.Plain{Path: "/a/x.ts"}, true)
	f("no cookies here", Options{}, proxy.Plain{Path: "/a/x.m3u8"}, true)
	f("download", pace, proxy.Plain{Path: "/a/x.mp4"}, false)
	f("what may be one", pace, proxy.Plain{Path: "/a/x"}, false)
	f("its header", pace, proxy.Plain{Path: "/a/x.mp4", Head: true}, true)
	f("a peer's", pace, proxy.Plain{Path: "/a/x.mp4", Viewer: &proxy.Viewer{Peer: true}}, true)
	f("segment, paced", pace, proxy.Plain{Path: "/a/x.m4s"}, true)
	f("playlist, paced", pace, proxy.Plain{Path: "/a/x.m3u8"}, true)
	if _, ok := newWrap(handlerFunc{}, &Options{}, newStreams()).(proxy.Hitter); ok {
		t.Error("a Hitter around none")
	}
}

type hitter struct {
	handlerFunc
	n   int
	hit proxy.Hit
}

func (h *hitter) Hit(*proxy.Plain) *proxy.Hit {
	h.n++
	return &h.hit
}

func TestWrapRTSP(t *testing.T) {
	next := &proxytest.Next{}
	_, c := proxytest.RTSPConn(t, "OPTIONS rtsp://edge/a RTSP/1.0\r\nCSeq: 1\r\n\r\n")
	newWrap(next, &Options{}, newStreams()).ServeRTSP(context.Background(), c)
	if got := next.RTSP(); len(got) != 1 {
		t.Errorf("passed on %q", got)
	}
}

// What needs nothing is given the writer as it is; what is wrapped can still be
// hijacked.
func TestWrapWriters(t *testing.T) {
	f := func(path string, wantWrapped bool, o Options) {
		t.Helper()
		rec := httptest.NewRecorder()
		h := newWrap(handlerFunc{func(w http.ResponseWriter, _ *http.Request) {
			if _, ok := w.(*answer); ok != wantWrapped {
				t.Errorf("%s: wrapped %v", path, ok)
			}
		}}, &o, newStreams())
		h.ServeHTTP(rec, httptest.NewRequest("GET", path, nil))
	}
	f("/a/1.ts", false, Options{Pace: 1, Cookie: "tok"})
	f("/a/x.js", false, Options{Pace: 1, Cookie: "tok"})
	f("/a/x.html", false, Options{Pace: 1, Cookie: "tok"})
	f("/a/x.mp4", false, Options{Carry: "cookie", Cookie: "tok"})
	f("/a/x.mp4", true, Options{Pace: 1})
	f("/a/x.m3u8", true, Options{})

	url := serveTCP(t, wrapped(func(w http.ResponseWriter, _ *http.Request) {
		c, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi") //nolint:errcheck // the viewer counts
		c.Close()
	}, Options{Pace: 1}))
	res, err := http.Get(url + "/a/x.mp4")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if b, err := io.ReadAll(res.Body); string(b) != "hi" || err != nil {
		t.Errorf("%q, %v", b, err)
	}
}

// script is a handler that does what the bytes of the request's body say.
func script(w http.ResponseWriter, r *http.Request) {
	b, _ := io.ReadAll(r.Body)
	next := func() int {
		if len(b) == 0 {
			return 0
		}
		x := b[0]
		b = b[1:]
		return int(x)
	}
	rc := http.NewResponseController(w)
	fill := bytes.Repeat([]byte("0123456789abcde\n"), 5000)
	h := w.Header()
	h.Set("Content-Type", []string{"video/mp4", "text/plain", "application/octet-stream"}[next()%3])
	left := len(fill) // no more than was said: net/http itself is of two minds about that
	if n := next(); n%2 == 0 {
		left = n * next()
		h.Set("Content-Length", strconv.Itoa(left))
	}
	if next()%4 == 0 {
		h.Set("Cache-Control", "max-age=3")
	}
	for len(b) > 0 {
		n := min(next()*next(), left)
		op := next() % 8
		if op <= 3 {
			left -= n
		}
		switch op {
		case 0:
			w.Write(fill[:n]) //nolint:errcheck // what arrives counts
		case 1:
			io.Copy(w, io.LimitReader(bytes.NewReader(fill), int64(n))) //nolint:errcheck // as above
		case 2:
			io.CopyN(w, bytes.NewReader(fill), int64(n)) //nolint:errcheck // as above
		case 3:
			io.Copy(w, bytes.NewReader(fill[:n])) //nolint:errcheck // as above
		case 4:
			rc.SetWriteDeadline(time.Now().Add(time.Minute)) //nolint:errcheck // as above
		case 5:
			w.WriteHeader([]int{103, 200, 206, 304, 404, 500}[n%6])
		case 6:
			rc.Flush() //nolint:errcheck // as above
		case 7:
			h.Set("X-Field", strconv.Itoa(n))
		}
	}
}

// With and without, viewers get the same.
func FuzzWrapSame(f *testing.F) {
	h := wrapped(script, Options{Pace: 1e13, Burst: 1000})
	bare, wrap := serveQuietly(f, http.HandlerFunc(script)), serveQuietly(f, h)
	tr := &http.Transport{DisableCompression: true}
	f.Cleanup(tr.CloseIdleConnections)
	ask := func(url string, body []byte) string {
		req, _ := http.NewRequest("GET", url, bytes.NewReader(body))
		res, err := tr.RoundTrip(req)
		if err != nil {
			return "no answer"
		}
		defer res.Body.Close()
		b, err := io.ReadAll(res.Body)
		delete(res.Header, "Date")
		return fmt.Sprint(res.StatusCode, res.Header, res.TransferEncoding, res.ContentLength, res.Trailer, err, string(b))
	}
	f.Add(byte(0), []byte{0, 200, 200, 0, 200, 200, 0})
	f.Add(byte(1), []byte{0, 100, 100, 1, 50, 100, 2, 50, 100, 6})
	f.Add(byte(2), []byte{1, 1, 0, 200, 200, 6, 1, 1, 1, 20, 20, 3})
	f.Add(byte(3), []byte{2, 2, 250, 0, 1, 2, 5, 0, 0, 4, 2, 250, 0})
	f.Fuzz(func(t *testing.T, path byte, body []byte) {
		if len(body) > 200 {
			return
		}
		p := []string{"/a.mp4", "/a.m3u8", "/a", "/a.mpd", "/a.html"}[path%5]
		if got, want := ask(wrap+p, body), ask(bare+p, body); got != want {
			t.Errorf("%s, %v: %.300q (%d), want %.300q (%d)", p, body, got, len(got), want, len(want))
		}
	})
}

// serveQuietly is for handlers that do what net/http logs.
func serveQuietly(t testing.TB, h http.Handler) (url string) {
	t.Helper()
	return serveTCP(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			if p := recover(); p != nil {
				panic(http.ErrAbortHandler)
			}
		}()
		h.ServeHTTP(w, r)
	}))
}

// A handler learns of a viewer's end as before.
func TestWrapPassesErrors(t *testing.T) {
	broken := errors.New("broken")
	h := wrapped(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "1000")
		if n, err := w.Write(make([]byte, 1000)); n != 0 || err != broken {
			t.Errorf("Write = %d, %v", n, err)
		}
		if n, err := io.CopyN(w, bytes.NewReader(make([]byte, 1000)), 1000); n != 0 || err != broken {
			t.Errorf("CopyN = %d, %v", n, err)
		}
	}, Options{Pace: 1e6})
	for _, p := range []string{"/a.mp4", "/a.m3u8", "/a"} {
		h.ServeHTTP(&brokenWriter{http.Header{}, broken}, httptest.NewRequest("GET", p, nil))
	}
}

type brokenWriter struct {
	header http.Header
	err    error
}

func (w *brokenWriter) Header() http.Header       { return w.header }
func (w *brokenWriter) WriteHeader(int)           {}
func (w *brokenWriter) Write([]byte) (int, error) { return 0, w.err }

// A segment costs no more with a gate around the ladder than without.
func BenchmarkWrapPassing(b *testing.B) {
	next := &hitter{handlerFunc: handlerFunc{func(http.ResponseWriter, *http.Request) {}}}
	w := newWrap(next, &Options{Pace: 1e6, Cookie: "tok"}, newStreams())
	v := &proxy.Viewer{Grant: &grant{token: "a.b", path: "/live"}, Cookie: "tok=a.b"}
	req := httptest.NewRequest("GET", "/live/cam/segment-000123.ts", nil)
	req = req.WithContext(proxy.WithViewer(req.Context(), v))
	f := func(name string, h proxy.Handler) {
		b.Run("http="+name, func(b *testing.B) {
			rec := httptest.NewRecorder()
			b.ReportAllocs()
			for b.Loop() {
				h.ServeHTTP(rec, req)
			}
		})
	}
	f("bare", next)
	f("wrapped", w)
	hit := func(name, path string, h proxy.Hitter) {
		p := &proxy.Plain{Path: path, Viewer: v}
		b.Run("hit="+name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				h.Hit(p)
			}
		})
	}
	hit("bare", "/live/cam/segment-000123.ts", next)
	hit("segment", "/live/cam/segment-000123.ts", w.(proxy.Hitter))
	hit("playlist", "/live/cam/index.m3u8", w.(proxy.Hitter))
}
