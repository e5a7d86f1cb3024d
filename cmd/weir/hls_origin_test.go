package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"

	"weir/proxy/proxytest"
)

// clipFile is 8 s of H.264 and AAC that repeat without a seam, a group of
// pictures each second.
const clipFile = "../../proxy/origintest/clip.ts"

// A hash tells whether a body came whole.
type hash [sha256.Size]byte

// A talliedOrigin is an HTTP origin that remembers what it was asked for, and
// what it answered with 200.
type talliedOrigin struct {
	url     string
	handler http.Handler

	mu     sync.Mutex
	asked  map[string]int    // by path?query, and the range after a space
	bodies map[string][]hash // by path: the different ones
	odd    []string          // requests that must not reach an origin
}

// tallied serves until the test ends, and then waits for who is being served.
func tallied(t *testing.T, h http.Handler) *talliedOrigin {
	t.Helper()
	o := &talliedOrigin{handler: h, asked: map[string]int{}, bodies: map[string][]hash{}}
	server := httptest.NewServer(o)
	t.Cleanup(server.Close)
	o.url = server.URL
	return o
}

func (o *talliedOrigin) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	o.mu.Lock()
	o.asked[strings.TrimSpace(r.URL.RequestURI()+" "+r.Header.Get("Range"))]++
	// What makes no difference to the answer is not sent: it would be one viewer's.
	if r.URL.Query().Has("token") || r.Header.Get("Origin") != "" {
		o.odd = append(o.odd, fmt.Sprintf("%s %s of %q", r.Method, r.URL, r.Header.Get("Origin")))
	}
	o.mu.Unlock()
	rec := &recorder{ResponseWriter: w, status: http.StatusOK}
	o.handler.ServeHTTP(rec, r)
	if rec.status == http.StatusOK {
		o.mu.Lock()
		o.bodies[r.URL.Path] = append(o.bodies[r.URL.Path], sha256.Sum256(rec.body.Bytes()))
		o.mu.Unlock()
	}
}

// A recorder keeps what a handler answers.
type recorder struct {
	http.ResponseWriter
	status int
	body   bytes.Buffer
}

func (r *recorder) WriteHeader(status int) {
	r.status = status
	r.ResponseWriter.WriteHeader(status)
}

func (r *recorder) Write(b []byte) (int, error) {
	r.body.Write(b)
	return r.ResponseWriter.Write(b)
}

// asks returns how often that was asked for of which is says yes.
func (o *talliedOrigin) asks(is func(asked string) bool) map[string]int {
	o.mu.Lock()
	defer o.mu.Unlock()
	m := map[string]int{}
	for what, n := range o.asked {
		if is(what) {
			m[what] = n
		}
	}
	return m
}

// onlyOnce asserts that nothing of its kind was asked for twice, and returns how
// much was.
func (o *talliedOrigin) onlyOnce(t *testing.T, kind string, is func(asked string) bool) int {
	t.Helper()
	asked := o.asks(is)
	var complaints []string
	for what, n := range asked {
		if n != 1 && !*direct {
			complaints = append(complaints, fmt.Sprintf("%s %s: %d requests at the origin, want 1", kind, what, n))
		}
	}
	few(t, complaints)
	return len(asked)
}

// total is how many requests there were for a path, with any query or none.
func (o *talliedOrigin) total(path string) (n int) {
	for _, times := range o.asks(func(asked string) bool { return asked == path || strings.HasPrefix(asked, path+"?") }) {
		n += times
	}
	return n
}

// sent reports whether a body was ever sent for a path.
func (o *talliedOrigin) sent(path string, body hash) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, h := range o.bodies[path] {
		if h == body {
			return true
		}
	}
	return false
}

// noneOdd asserts that nothing of a viewer's own has reached the origin.
func (o *talliedOrigin) noneOdd(t *testing.T) {
	t.Helper()
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.odd) > 0 && !*direct {
		t.Errorf("%d requests at the origin have what is a viewer's own, such as %s", len(o.odd), o.odd[0])
	}
}

// edgeOf runs an edge that caches what an HTTP origin has until the test ends,
// and returns its URL: with -direct, the origin's own.
func edgeOf(t *testing.T, origin string, more ...string) (url string) {
	t.Helper()
	if *direct {
		return origin
	}
	c := newConfig("weir", os.Stderr)
	err := c.parse(append([]string{"-mode", "cache", "-http", "127.0.0.1:0", "-rtsp", "", "-admin", "127.0.0.1:0",
		"-origin", origin, "-cache.memory", "512MiB", "-drain.notice", "0s"}, more...))
	if err != nil {
		t.Fatal(err)
	}
	n, err := newNode(c, proxytest.Logger(t).WithOptions(zap.IncreaseLevel(zap.InfoLevel)), zap.NewAtomicLevel())
	if err != nil {
		t.Fatal(err)
	}
	background(t, func(ctx context.Context) error { return n.run(ctx, nil) })
	return "http://" + n.front.HTTPAddr().String()
}

// ffmpegMakes runs ffmpeg in a folder until it is done.
func ffmpegMakes(t *testing.T, dir string, args ...string) {
	t.Helper()
	need(t, "ffmpeg")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "ffmpeg", append([]string{"-nostdin", "-v", "error"}, args...)...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("ffmpeg %s: %v\n%s", strings.Join(args, " "), err, tail(string(out)))
	}
}

// clipPath is the clip's path from anywhere.
func clipPath(t *testing.T) string {
	t.Helper()
	p, err := filepath.Abs(clipFile)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// readAll reads a body and tells its hash.
func readAll(r io.Reader) ([]byte, hash, error) {
	b, err := io.ReadAll(r)
	return b, sha256.Sum256(b), err
}
