package admission

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"

	"weir/proxy"
	"weir/proxy/forward"
)

// passTime lets time go by.
func passTime(d time.Duration) { <-time.After(d) }

func TestPacerFor(t *testing.T) {
	f := func(path string, code int, length, contentType string, want bool) {
		t.Helper()
		h := http.Header{"Content-Type": {contentType}}
		if length != "" {
			h.Set("Content-Length", length)
		}
		if got := pacerFor(kindOf(path), code, h, 1e6, 1000) != nil; got != want {
			t.Errorf("%s, %d, %s bytes of %s: paced %v", path, code, length, contentType, got)
		}
	}
	f("/a.mp4", 200, "1001", "", true)
	f("/a.mp4", 206, "1001", "multipart/byteranges", true)
	f("/a.mp4", 200, "1000", "video/mp4", false)
	f("/a.mp4", 200, "", "video/mp4", false) // live
	f("/a.mp4", 200, "x", "video/mp4", false)
	f("/a.mp4", 404, "1001", "video/mp4", false)
	f("/film", 200, "1001", "Video/MP4; codecs=x", true)
	f("/film", 200, "1001", "audio/mpeg", true)
	f("/film.xyz", 200, "1001", "application/octet-stream", true)
	f("/film", 200, "1001", "text/html", false)
	f("/film", 200, "1001", "", false)
	f("/a.ts", 200, "1001", "video/mp2t", false)
	f("/a.m4s", 200, "1001", "video/mp4", false)
	f("/a.m3u8", 200, "1001", "audio/mpegurl", false)
	f("/a.js", 200, "1001", "application/octet-stream", false)
}

// The rate holds within 5 % over two seconds, whatever it is.
func TestPacerRate(t *testing.T) {
	f := func(r proxy.BitRate, write int64) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			perSecond := int64(r) / 8
			p := newPacer(r, 1<<20, 1<<40)
			start, sent := time.Now(), int64(0)
			for sent < 1<<20+10*perSecond {
				n, wait := p.take(write)
				if sent >= 1<<20 && n > maxPiece {
					t.Fatalf("a piece of %d bytes", n)
				}
				if wait > 0 {
					passTime(wait + 100*time.Microsecond) // timers are late
				}
				sent += n
			}
			took := time.Since(start).Seconds()
			if got := float64(sent-1<<20) / took; got > 1.05*float64(perSecond) || got < 0.95*float64(perSecond) {
				t.Errorf("%v in writes of %d: %.0f bytes/s, want %d", r, write, got, perSecond)
			}
		})
	}
	for _, write := range []int64{1 << 10, 64 << 10, 10 << 20} {
		f(256e3, write)
		f(4e6, write)
		f(100e6, write)
	}
	f(2e9, 64<<10)
}

// onPipes serves h in memory until the test ends.
func onPipes(t *testing.T, h http.Handler, http2 bool) *http.Client {
	l := &pipes{conns: make(chan net.Conn), done: make(chan struct{})}
	p := new(http.Protocols)
	p.SetHTTP1(!http2)
	p.SetUnencryptedHTTP2(http2)
	srv := &http.Server{Handler: h, Protocols: p}
	tr := &http.Transport{Protocols: p, DisableCompression: true, DialContext: func(context.Context, string, string) (net.Conn, error) {
		viewer, edge := net.Pipe()
		l.conns <- edge
		return viewer, nil
	}}
	var wg sync.WaitGroup
	wg.Go(func() { srv.Serve(l) }) //nolint:errcheck // it is closed
	t.Cleanup(func() {
		tr.CloseIdleConnections()
		srv.Close()
		wg.Wait()
	})
	return &http.Client{Transport: tr}
}

type pipes struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func (l *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}
func (l *pipes) Close() error   { l.once.Do(func() { close(l.done) }); return nil }
func (l *pipes) Addr() net.Addr { return &net.TCPAddr{} }

// wrapped is newWrap around a function.
func wrapped(f http.HandlerFunc, o Options) proxy.Handler {
	return newWrap(handlerFunc{f}, &o, newStreams())
}

type handlerFunc struct{ http.HandlerFunc }

func (handlerFunc) ServeRTSP(context.Context, *proxy.RTSPConn) {}

// film serves n bytes in writes of a size, each of which the viewer has lag to
// take; how it ended goes to done.
func film(n, write int, lag time.Duration, done chan<- error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "video/mp4")
		w.Header().Set("Content-Length", strconv.Itoa(n))
		rc, b := http.NewResponseController(w), make([]byte, write)
		var err error
		for sent := 0; sent < n && err == nil; sent += write {
			rc.SetWriteDeadline(time.Now().Add(lag)) //nolint:errcheck // as rungs do
			_, err = w.Write(b[:min(write, n-sent)])
		}
		done <- err
	}
}

func getFrom(t *testing.T, c *http.Client, path string) *http.Response {
	t.Helper()
	res, err := c.Get("http://edge.example" + path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { res.Body.Close() })
	return res
}

// A download takes the time that it should, and the pauses are not the viewer's:
// writes here take up to five seconds of pace and have 10 ms to be taken.
func TestPaceDownload(t *testing.T) {
	f := func(http2 bool, burst, write int) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			done := make(chan error, 1)
			o := Options{Pace: 8 * 200_000, Burst: proxy.Bytes(burst)}
			c := onPipes(t, wrapped(film(burst+4_000_000, write, 10*time.Millisecond, done), o), http2)
			start := time.Now()
			n, err := io.Copy(io.Discard, getFrom(t, c, "/film.mp4").Body)
			took := time.Since(start).Seconds()
			if n != int64(burst+4_000_000) || err != nil || took < 19 || took > 20 {
				t.Errorf("http2 %v, burst %d, writes of %d: %d bytes, %v after %.2f s, want 20 s", http2, burst, write, n, err, took)
			}
			if err := <-done; err != nil {
				t.Errorf("the ladder was told %v", err)
			}
		})
	}
	for _, http2 := range []bool{false, true} {
		f(http2, 3_000_000, 1_000_000)
		f(http2, 0, 64<<10)
		f(http2, 1000, 777)
	}
}

// The limits of the ladder hold as before: through proxy/forward, which arms
// every write of up to 64 KiB and, over HTTP/2, disarms it.
func TestPaceThroughForward(t *testing.T) {
	const size, perSecond, lag = 150_000, 100_000, 300 * time.Millisecond
	up := roundTripper(func(r *http.Request) (*http.Response, error) {
		h := http.Header{"Content-Length": {strconv.Itoa(size)}, "Content-Type": {"video/mp4"}}
		return &http.Response{StatusCode: 200, ProtoMajor: 1, ProtoMinor: 1, Header: h, ContentLength: size,
			Body: io.NopCloser(bytes.NewReader(make([]byte, size))), Request: r}, nil
	})
	fwd := forward.New(forward.Options{Upstream: up, ID: "edge", Lag: lag, Log: zap.NewNop()})
	f := func(http2 bool) {
		t.Helper()
		c := onPipes(t, wrapped(fwd.ServeHTTP, Options{Pace: 8 * perSecond}), http2)
		start := time.Now()
		n, err := io.Copy(io.Discard, getFrom(t, c, "/film").Body)
		if took := time.Since(start).Seconds(); n != size || err != nil || took < 1.3 {
			t.Errorf("http2 %v: %d bytes, %v after %.2f s, want 1.5 s or more", http2, n, err, took)
		}
	}
	f(false)
	f(true)
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// Who pauses gets no second burst afterwards, and who takes nothing at all is
// still cut.
func TestPacePausedViewer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const perSecond = 1_000_000
		done := make(chan error, 1)
		c := onPipes(t, wrapped(film(100*perSecond, 256<<10, time.Minute, done), Options{Pace: 8 * perSecond, Burst: 1 << 20}), false)
		body := getFrom(t, c, "/film.mp4").Body
		read := func(n int64) time.Duration {
			start := time.Now()
			if _, err := io.CopyN(io.Discard, body, n); err != nil {
				t.Fatal(err)
			}
			return time.Since(start)
		}
		read(1<<20 + perSecond)
		for range 3 {
			passTime(20 * time.Second)
			if took := read(2 * perSecond); took < 1900*time.Millisecond || took > 2100*time.Millisecond {
				t.Errorf("after a pause: two seconds' worth in %v", took)
			}
		}
		start := time.Now()
		err := <-done
		if took := time.Since(start); !errors.Is(err, os.ErrDeadlineExceeded) || took < 50*time.Second || took > 70*time.Second {
			t.Errorf("who takes nothing: %v after %v, want a minute", err, took)
		}
	})
}

// Who leaves ends the wait.
func TestPaceViewerLeaves(t *testing.T) {
	f := func(http2 bool) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			done := make(chan error, 1)
			c := onPipes(t, wrapped(film(100_000, 64<<10, time.Minute, done), Options{Pace: 8 * 10}), http2)
			body := getFrom(t, c, "/film.mp4").Body
			if _, err := io.CopyN(io.Discard, body, 1000); err != nil {
				t.Fatal(err)
			}
			start := time.Now()
			body.Close()
			if err := <-done; err == nil || time.Since(start) > time.Second {
				t.Errorf("http2 %v: the ladder was told %v after %v", http2, err, time.Since(start))
			}
		})
	}
	f(false)
	f(true)
}

// What is not a download of a viewer's has full speed.
func TestPaceLeavesAlone(t *testing.T) {
	f := func(what, method, path string, length int, peer bool) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			h := wrapped(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", "video/mp4")
				if length > 0 {
					w.Header().Set("Content-Length", strconv.Itoa(length))
				}
				w.Write(make([]byte, 1_000_000)) //nolint:errcheck // the viewer counts
			}, Options{Pace: 8000, Burst: 1000})
			c := onPipes(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				h.ServeHTTP(w, r.WithContext(proxy.WithViewer(r.Context(), &proxy.Viewer{Peer: peer})))
			}), false)
			req, _ := http.NewRequest(method, "http://edge.example"+path, nil)
			start := time.Now()
			res, err := c.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			n, err := io.Copy(io.Discard, res.Body)
			if took := time.Since(start); took > time.Millisecond || err != nil || method != "HEAD" && n != 1_000_000 {
				t.Errorf("%s: %d bytes in %v, %v", what, n, took, err)
			}
		})
	}
	f("live", "GET", "/live.mp3", 0, false)
	f("segment", "GET", "/1.m4s", 1_000_000, false)
	f("playlist", "GET", "/x.m3u8", 1_000_000, false)
	f("asset", "GET", "/x.js", 1_000_000, false)
	f("POST", "POST", "/x.mp4", 1_000_000, false)
	f("HEAD", "HEAD", "/x.mp4", 1_000_000, false)
	f("peer", "GET", "/x.mp4", 1_000_000, true)
}

// Files over TCP, whole and in ranges: what arrives is what was asked for, in
// about the time that it should take.
func TestPaceFile(t *testing.T) {
	const size, burst, perSecond = 3 << 20, 1 << 20, 4 << 20
	content := make([]byte, size)
	for i := range content {
		content[i] = byte(i * i >> 8)
	}
	name := t.TempDir() + "/film.mp4"
	if err := os.WriteFile(name, content, 0o600); err != nil {
		t.Fatal(err)
	}
	h := wrapped(func(w http.ResponseWriter, r *http.Request) { http.ServeFile(w, r, name) }, Options{Pace: 8 * perSecond, Burst: burst})
	url := serveTCP(t, h) + "/film.mp4"
	f := func(ranges string, from, to int) {
		t.Helper()
		req, _ := http.NewRequest("GET", url, nil)
		if ranges != "" {
			req.Header.Set("Range", ranges)
		}
		start := time.Now()
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		b, err := io.ReadAll(res.Body)
		took := time.Since(start).Seconds()
		if sha256.Sum256(b) != sha256.Sum256(content[from:to]) || err != nil {
			t.Errorf("Range %q: %d bytes, %v", ranges, len(b), err)
		}
		if want := float64(max(0, to-from-burst)) / perSecond; took < 0.95*want-paceBeat.Seconds() {
			t.Errorf("Range %q: in %.2f s, want %.2f s", ranges, took, want)
		}
	}
	f("", 0, size)
	f("bytes=1000000-", 1000000, size)
	f("bytes=5-1004", 5, 1005)
}

func serveTCP(t testing.TB, h http.Handler) (url string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: h}
	var wg sync.WaitGroup
	wg.Go(func() { srv.Serve(l) }) //nolint:errcheck // it is closed
	t.Cleanup(func() {
		srv.Close()
		wg.Wait()
	})
	return "http://" + l.Addr().String()
}

// net sends a file from disk to socket only if it finds it below one limit.
func TestPaceKeepsSendfile(t *testing.T) {
	f, err := os.CreateTemp(t.TempDir(), "film")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Truncate(1 << 20); err != nil {
		t.Fatal(err)
	}
	out := &files{header: http.Header{}}
	h := wrapped(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", strconv.Itoa(1<<20))
		if n, err := io.CopyN(w, f, 1<<20); n != 1<<20 || err != nil {
			t.Errorf("%d bytes, %v", n, err)
		}
	}, Options{Pace: 8e12, Burst: 100 << 10})
	req, _ := http.NewRequest("GET", "/film.mp4", nil)
	h.ServeHTTP(out, req)
	if out.bytes != 1<<20 || out.writes != 0 || out.pieces < 10 || out.largest > 100<<10 {
		t.Errorf("%+v", *out)
	}
}

// files is a ResponseWriter that notes what it is given to send.
type files struct {
	header         http.Header
	pieces, writes int
	bytes, largest int64
}

func (f *files) Header() http.Header { return f.header }
func (f *files) WriteHeader(int)     {}
func (f *files) Write(b []byte) (int, error) {
	f.writes++
	return len(b), nil
}
func (f *files) ReadFrom(r io.Reader) (int64, error) {
	limit := r.(*io.LimitedReader)
	n, err := io.CopyN(io.Discard, limit.R.(*os.File), limit.N)
	f.pieces++
	f.bytes += n
	f.largest = max(f.largest, n)
	return n, err
}
