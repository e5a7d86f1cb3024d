package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// A fakeEdge answers what it has, and stores what it has answered.
type fakeEdge struct {
	*httptest.Server
	has    map[string]string // by path?query
	silent bool              // of its cache

	mu     sync.Mutex
	stored map[string]bool
	asked  []string // host and path?query, in order
}

func newFakeEdge(t *testing.T, has map[string]string) *fakeEdge {
	e := &fakeEdge{has: has, stored: map[string]bool{}}
	e.Server = httptest.NewServer(e)
	t.Cleanup(e.Close)
	return e
}

func (e *fakeEdge) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	e.mu.Lock()
	defer e.mu.Unlock()
	at := r.URL.RequestURI()
	e.asked = append(e.asked, r.Host+at)
	body, ok := e.has[at]
	if !ok {
		http.NotFound(w, r)
		return
	}
	state := "fwd=uri-miss; fwd-status=200; stored"
	if strings.HasPrefix(at, "/private/") {
		state = "fwd=uri-miss; fwd-status=200"
	} else if e.stored[at] {
		state = "hit; ttl=60"
	}
	e.stored[at] = true
	if !e.silent {
		w.Header().Set("Cache-Status", "origin-shield; hit, weir-x; "+state)
	}
	io.WriteString(w, body) //nolint:errcheck // the test sees it
}

// runWarm runs the command, and returns what it prints without how long it took.
func runWarm(t *testing.T, stdin string, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	var out, errs bytes.Buffer
	err = warm(t.Context(), invocation{args: args, stdout: &out, stderr: &errs}, strings.NewReader(stdin))
	stdout, _, _ = strings.Cut(out.String(), " in ")
	return stdout, errs.String(), err
}

// check compares what was asked for, in any order, by the edge's own name where
// there is no other.
func (e *fakeEdge) check(t *testing.T, want ...string) {
	t.Helper()
	got := []string{}
	for _, a := range e.asked {
		got = append(got, strings.TrimPrefix(a, e.Listener.Addr().String()))
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("the edge was asked for %q, want %q", got, want)
	}
}

// TestWarm: URLs from everywhere, under the names that viewers use.
func TestWarm(t *testing.T) {
	e := newFakeEdge(t, map[string]string{"/a.ts": "12345", "/b.ts?x=1": "123", "/c%20d": "1", "/e": "", "/private/f": "12"})
	list := filepath.Join(t.TempDir(), "list")
	must(t, os.WriteFile(list, []byte("# a comment\n\n https://cdn.example/b.ts?x=1 \r\n/c%20d\n"), 0o600))
	out, _, err := runWarm(t, "/a.ts\nprivate/f", "-edge", e.URL, "-parallel", "1", "/a.ts", "@"+list, "-", "/e#top")
	if want := "6 URLs: 4 stored now, 1 before, 1 not, 0 failed; 0.0 MB"; err != nil || out != want {
		t.Errorf("%q %v, want %q", out, err, want)
	}
	e.check(t, "/a.ts", "/a.ts", "/private/f", "cdn.example/b.ts?x=1", "/c%20d", "/e")
}

// TestWarmFollows: from a multivariant playlist to all segments of its renditions,
// each once, but not to what is none of the edge's.
func TestWarmFollows(t *testing.T) {
	var long strings.Builder
	var segments []string
	for i := range 3000 { // more than the parser makes room for
		fmt.Fprintf(&long, "#EXTINF:4,\nlong/%d.ts\n", i)
		segments = append(segments, fmt.Sprintf("cdn.example/vod/long/%d.ts", i))
	}
	has := map[string]string{
		"/vod/main.m3u8": "#EXTM3U\n#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"a\",NAME=\"en\",URI=\"audio.m3u8\"\n" +
			"#EXT-X-STREAM-INF:BANDWIDTH=1,AUDIO=\"a\"\nlow.m3u8?s=1\n#EXT-X-STREAM-INF:BANDWIDTH=2,AUDIO=\"a\"\nhigh/index.m3u8\n" +
			"#EXT-X-STREAM-INF:BANDWIDTH=2\nmain.m3u8\n" +
			"#EXT-X-I-FRAME-STREAM-INF:BANDWIDTH=1,URI=\"iframes.m3u8\"\n",
		"/vod/low.m3u8?s=1": "#EXTM3U\n#EXT-X-TARGETDURATION:4\n" + long.String() + "#EXT-X-ENDLIST\n",
		"/vod/high/index.m3u8": "#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXT-X-MAP:URI=\"init.mp4\"\n#EXTINF:4,\n#EXT-X-BYTERANGE:10@0\nall.mp4\n" +
			"#EXTINF:4,\n#EXT-X-BYTERANGE:10@10\nall.mp4\n#EXTINF:4,\nhttp://ads.example/ad.mp4\n#EXTINF:4,\nnested.m3u8\n",
		"/vod/audio.m3u8":       "#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXT-X-MAP:URI=\"a0.mp4\"\n#EXTINF:4,\nhttps://CDN.example/vod/a1.mp4\n#EXT-X-MAP:URI=\"a2.mp4\"\n#EXTINF:4,\n/vod/a3.mp4\n",
		"/vod/high/nested.m3u8": "#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXTINF:4,\nnever.ts\n",
	}
	want := []string{"/vod/main.m3u8", "/vod/main.m3u8", "/vod/low.m3u8?s=1", "/vod/high/index.m3u8", "/vod/audio.m3u8",
		"/vod/high/init.mp4", "/vod/high/all.mp4", "/vod/high/nested.m3u8",
		"/vod/a0.mp4", "/vod/a2.mp4", "/vod/a3.mp4"}
	for i, u := range want {
		if _, ok := has[u]; !ok {
			has[u] = "media"
		}
		want[i] = "cdn.example" + u
	}
	for _, s := range segments {
		has[strings.TrimPrefix(s, "cdn.example")] = "media"
	}
	has["/vod/a1.mp4"] = "media"
	e := newFakeEdge(t, has)
	out, _, err := runWarm(t, "", "-edge", e.URL, "-follow", "http://cdn.example/vod/main.m3u8")
	// The playlist that lists itself is the one failure.
	if !strings.HasPrefix(out, "3012 URLs: ") || !strings.Contains(out, " 1 failed") || !strings.Contains(fmt.Sprint(err), "lists another") {
		t.Errorf("%q %v", out, err)
	}
	e.check(t, append(append(want, segments...), "CDN.example/vod/a1.mp4")...)
}

// TestWarmDoesNotFollow unless it is told to.
func TestWarmDoesNotFollow(t *testing.T) {
	e := newFakeEdge(t, map[string]string{"/a.m3u8": "#EXTM3U\n#EXTINF:4,\na.ts\n"})
	if out, _, err := runWarm(t, "", "-edge", e.URL, "/a.m3u8"); err != nil || !strings.HasPrefix(out, "1 URL: 1 stored now") {
		t.Errorf("%q %v", out, err)
	}
}

func TestWarmFailures(t *testing.T) {
	e := newFakeEdge(t, map[string]string{"/a": "1", "/bad.m3u8": "<html>", "/panic.m3u8": "#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXT-X-KEY:METHOD=NONE\nx\n",
		"/large.m3u8": "#EXTM3U\n" + strings.Repeat("#\n", maxPlaylist)})
	f := func(want string, args ...string) {
		t.Helper()
		_, _, err := runWarm(t, "", append([]string{"-edge", e.URL, "-follow"}, args...)...)
		if err == nil || !strings.Contains(err.Error(), want) || errors.Is(err, errUsage) {
			t.Errorf("%q: %v, want %s", args, err, want)
		}
	}
	f("1 of 2 URLs failed:\n  "+e.URL+"/nothing: 404 Not Found", "/a", "/nothing?token=secret")
	f("\n  and others", "/1", "/2", "/3", "/4", "/5", "/6")
	f("neither a path nor a URL", "rtsp://cdn.example/a")
	f("no such file", "@/no/such/file")
	f("playlist not understood", "/bad.m3u8")
	f("playlist not understood", "/panic.m3u8")
	f("too large a playlist", "/large.m3u8")
	f("is the edge running, and is -edge right?", "-edge", unusedAddr(t), "/a")

	cut := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "10")
		io.WriteString(w, "short") //nolint:errcheck // the test sees it
	}))
	defer cut.Close()
	f("unexpected EOF", "-edge", cut.URL, "/a")
	away := httptest.NewServer(http.RedirectHandler("http://127.0.0.1:1/", http.StatusFound))
	defer away.Close()
	f("302 Found", "-edge", away.URL, "/a")
}

func TestWarmUsage(t *testing.T) {
	f := func(want string, args ...string) {
		t.Helper()
		if _, _, err := runWarm(t, "", args...); !errors.Is(err, errUsage) || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %s", args, err, want)
		}
	}
	f("say what to ask for")
	f("-parallel 0", "-parallel", "0", "/a")
	f("-edge", "-edge", "http://edge/folder", "/a")
	f("rate", "-rate", "fast", "/a")
	f("-follow must stand before", "/a", "-follow")
}

// TestWarmWithoutCache: it is said when no cache answers.
func TestWarmWithoutCache(t *testing.T) {
	e := newFakeEdge(t, map[string]string{"/a": "1"})
	e.silent = true
	out, told, err := runWarm(t, "", "-edge", e.URL, "/a")
	if err != nil || !strings.Contains(told, "No answer came through a cache") || !strings.HasPrefix(out, "1 URL: 0 stored now, 0 before, 1 not") {
		t.Errorf("%q %q %v", out, told, err)
	}
}

// TestWarmStops at a signal, in the middle of an answer and of its standard input.
func TestWarmStops(t *testing.T) {
	signals := make(chan os.Signal, 1)
	endless := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		signals <- syscall.SIGINT
		for r.Context().Err() == nil {
			w.Write(make([]byte, 1<<10)) //nolint:errcheck // the loop ends by itself
		}
	}))
	defer endless.Close()
	stdin, typist := io.Pipe()
	defer typist.Close()
	var out, errs bytes.Buffer
	err := warm(context.Background(), invocation{[]string{"-edge", endless.URL, "/a", "-"}, signals, &out, &errs}, stdin)
	if !errors.Is(err, errInterrupted) || !strings.HasPrefix(out.String(), "0 URLs") {
		t.Errorf("%v, %q", err, out.String())
	}
}

// TestPace: what several read together is at the rate, however they take turns.
func TestPace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := pace{rate: 8e6}
		began := time.Now()
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for range 10 {
					if err := p.wait(t.Context(), 50_000); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		if took := time.Since(began); took < 1990*time.Millisecond || took > 2010*time.Millisecond {
			t.Errorf("2 MB at 1 MB a second took %v", took)
		}
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(errInterrupted)
		if err := p.wait(ctx, 1); err != errInterrupted {
			t.Errorf("%v, want %v", err, errInterrupted)
		}
	})
}

// FuzzLinks: whatever a playlist says, nothing but the edge is asked, and no deeper
// than to segments.
func FuzzLinks(f *testing.F) {
	f.Add([]byte("#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\na.m3u8\n"))
	f.Add([]byte("#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXT-X-MAP:URI=\"i\"\n#EXTINF:4,\nhttp://x/a.ts\n#EXTINF:4,\n//y/b\n#EXT-X-KEY:METHOD=NONE\nx\n"))
	w := &warmer{}
	w.edge, _ = serverURL("-edge", "http://x")
	f.Fuzz(func(t *testing.T, body []byte) {
		for depth := range 2 {
			of := w.errand("/a/b.m3u8")
			of.depth = depth
			found, err := links(body, of)
			if err != nil {
				continue
			}
			for _, e := range found {
				if e.err == nil && (!strings.EqualFold(e.url.Host, "x") || e.depth <= depth || e.depth > 2) {
					t.Fatalf("%q leads to %+v", body, e)
				}
			}
		}
	})
}
