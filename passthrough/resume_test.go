package passthrough

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestKilledOriginIsNotSeen(t *testing.T) {
	file := content(100 << 20)
	dies := &store{file: file, header: etag(`"v1"`), dieAt: 30 << 20}
	b := stores(t, dies, &store{file: file, header: etag(`"v1"`)})
	res, err := b.RoundTrip(newRequest(t, "GET", "/film.mp4", nil))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	sum := sha256.New()
	if n, err := io.Copy(sum, res.Body); err != nil || n != 100<<20 || [32]byte(sum.Sum(nil)) != sha256.Sum256(file) {
		t.Errorf("%d bytes, %v, or another hash", n, err)
	}
	if failed := charges(b); b.resumed.Load() != 1 || failed[0] != 1 || failed[1] != 0 {
		t.Errorf("%d resumed, %v failed, want 1, [1 0]", b.resumed.Load(), failed)
	}
	placesAreBack(t, b)
}

func TestResume(t *testing.T) {
	file := content(1 << 20)
	f := func(what string, header http.Header, wantRange string, want []byte, ask ...string) {
		t.Helper()
		second := &store{file: file, header: header}
		b := stores(t, &store{file: file, header: header, dieAt: 300_000}, second)
		if n, err := fetch(t, b, want, ask...); err != nil {
			t.Errorf("%s: %d bytes, %v", what, n, err)
			return
		}
		h := *second.last.Load()
		var first int
		if _, err := fmt.Sscanf(h.Get("Range"), "bytes=%d-", &first); err != nil || !strings.HasSuffix(h.Get("Range"), wantRange) {
			t.Errorf("%s: the second was asked for %q", what, h.Get("Range"))
		}
		if v := header.Get("Etag"); v != "" && h.Get("If-Range") != v || h.Get("If-Range") == "" || h.Get("If-None-Match") != "" {
			t.Errorf("%s: the second was asked with %v", what, h)
		}
	}
	f("whole file", etag(`"v1"`), "-1048575", file)
	f("range", etag(`"v1"`), "-899999", file[100:900_000], "Range", "bytes=100-899999")
	f("open range", etag(`"v1"`), "-1048575", file[100:], "Range", "bytes=100-", "If-Range", `"v1"`)
	f("suffix", etag(`"v1"`), "-1048575", file[1<<20-500_000:], "Range", "bytes=-500000")
	f("condition", etag(`"v1"`), "-1048575", file, "If-None-Match", `"v0"`)
	f("date only", http.Header{"Content-Type": {"x/y"}}, "-1048575", file)
}

// Where the rest is not certain to be of the same file, the viewer sees an error.
func TestResumeNot(t *testing.T) {
	file := content(1 << 20)
	f := func(what string, first http.Header, second *store, ask ...string) {
		t.Helper()
		if second.file == nil {
			second.file = file
		}
		if second.header == nil {
			second.header = first
		}
		b := stores(t, &store{file: file, header: first, dieAt: 300_000}, second)
		n, err := fetch(t, once(b, b.all()[0].addr), file, ask...)
		if err == nil {
			t.Errorf("%s: %d bytes and a clean end", what, n)
		}
		if b.resumed.Load() != 0 {
			t.Errorf("%s: resumed", what)
		}
		placesAreBack(t, b)
	}
	v1 := etag(`"v1"`)
	f("another etag", v1, &store{header: etag(`"v2"`)})
	f("weak etags", etag(`W/"v1"`), &store{})
	f("no etag there", v1, &store{header: etag("")})
	f("shorter", v1, &store{file: file[:1<<19]})
	f("longer", v1, &store{file: append(bytes.Clone(file), 'x')})
	f("whole file again", v1, &store{hook: rest(file, 200, 0, 0, "")})
	f("wrong start", v1, &store{hook: rest(file, 206, 1, 0, "/1048576")})
	f("wrong end", v1, &store{hook: rest(file, 206, 0, -1, "/1048576")})
	f("wrong total", v1, &store{hook: rest(file, 206, 0, 0, "/1048577")})
	f("total unknown", v1, &store{hook: rest(file, 206, 0, 0, "/*")})
	f("no Content-Range", v1, &store{hook: rest(file, 206, 0, 0, "")})
	f("other coding", v1, &store{hook: rest(file, 206, 0, 0, "/1048576", "Content-Encoding", "br")})
	f("length unknown", v1, &store{hook: rest(file, 206, 0, 0, "/1048576", "Content-Length", "")})
	f("not found", v1, &store{hook: rest(file, 404, 0, 0, "")})
	f("range not satisfiable", v1, &store{hook: rest(file, 416, 0, 0, "/1048576")})
	f("bad", v1, &store{hook: rest(file, 503, 0, 0, "/1048576")})
	young := &store{file: file, header: etag(""), date: time.Now(), dieAt: 300_000}
	b := stores(t, young, &store{file: file, header: etag(""), date: young.date})
	if n, err := fetch(t, b, file); err == nil {
		t.Errorf("date too young: %d bytes and a clean end", n)
	}
}

// rest answers with what was asked for, but says something else of it: the first
// and last byte moved, another total.
func rest(file []byte, code int, first, last int64, total string, header ...string) func(http.ResponseWriter, *http.Request) {
	return func(w http.ResponseWriter, r *http.Request) {
		var from, to int64
		_, _ = fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-%d", &from, &to)
		w.Header().Set("Content-Length", fmt.Sprint(to-from+1))
		if total != "" {
			w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d%s", from+first, to+last, total))
		}
		for i := 0; i < len(header); i += 2 {
			if w.Header().Set(header[i], header[i+1]); header[i+1] == "" {
				w.Header().Del(header[i])
			}
		}
		w.WriteHeader(code)
		_, _ = w.Write(file[from : to+1])
	}
}

// What rest says is taken where nothing of it was changed.
func TestResumeByHand(t *testing.T) {
	file := content(1 << 20)
	b := stores(t, &store{file: file, header: etag(`"v1"`), dieAt: 300_000},
		&store{header: etag(`"v1"`), hook: rest(file, 206, 0, 0, "/1048576")})
	if n, err := fetch(t, b, file); err != nil || b.resumed.Load() != 1 {
		t.Errorf("%d bytes, %v, %d resumed", n, err, b.resumed.Load())
	}
}

// once lets an origin be dialed once only.
func once(b *Balancer, origin string) *Balancer {
	var dials atomic.Int32
	dial := b.dial
	b.dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
		if addr == origin && dials.Add(1) > 1 {
			return nil, errors.New("dead")
		}
		return dial(ctx, network, addr)
	}
	return b
}

// An origin that is the only one may come back at once.
func TestResumeAtTheSameOrigin(t *testing.T) {
	file := content(1 << 20)
	b := stores(t, &store{file: file, header: etag(`"v1"`), dieAt: 300_000})
	if n, err := fetch(t, b, file); err != nil {
		t.Errorf("%d bytes, %v", n, err)
	}
}

// Nobody is asked for ever.
func TestResumeGivesUp(t *testing.T) {
	file := content(1 << 20)
	s := &store{file: file, header: etag(`"v1"`)}
	s.hook = func(w http.ResponseWriter, r *http.Request) {
		http.ServeContent(&dying{ResponseWriter: w, left: 100}, r, "x", filesDate, bytes.NewReader(file))
	}
	b := stores(t, s)
	if n, err := fetch(t, b, file); !errors.Is(err, io.ErrUnexpectedEOF) || n > 100*(resumeTries+1) {
		t.Errorf("%d bytes, %v", n, err)
	}
	if got := s.asked.Load(); got != resumeTries+1 {
		t.Errorf("%d requests, want %d", got, resumeTries+1)
	}
}

// A file that ends too early without an error is one that breaks off.
func TestResumeAfterEarlyEnd(t *testing.T) {
	file := content(1 << 20)
	short := &store{file: file, hook: func(w http.ResponseWriter, r *http.Request) {
		c, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer c.Close()
		fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nEtag: \"v1\"\r\nContent-Length: %d\r\n\r\n%s", len(file), file[:1000])
	}}
	b := stores(t, short, &store{file: file, header: etag(`"v1"`)})
	if n, err := fetch(t, b, file); err != nil || b.resumed.Load() != 1 {
		t.Errorf("%d bytes, %v, %d resumed", n, err, b.resumed.Load())
	}
	if n, err := fetch(t, stores(t, short), file); err == nil {
		t.Errorf("nobody else: %d bytes and a clean end", n)
	}
}

func TestViewerLeavingHurtsNoOrigin(t *testing.T) {
	file := content(8 << 20)
	b := stores(t, &store{file: file, header: etag(`"v1"`)}, &store{file: file, header: etag(`"v1"`)})
	ctx, cancel := context.WithCancel(t.Context())
	res, err := b.RoundTrip(newRequest(t, "GET", "/film.mp4", nil).WithContext(ctx))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if _, err := io.ReadFull(res.Body, make([]byte, 1000)); err != nil {
		t.Fatal(err)
	}
	cancel()
	if _, err := io.Copy(io.Discard, res.Body); !errors.Is(err, context.Canceled) {
		t.Errorf("read: %v, want context.Canceled", err)
	}
	if failed := charges(b); failed[0] != 0 || failed[1] != 0 || b.resumed.Load() != 0 {
		t.Errorf("%v failed, %d resumed", failed, b.resumed.Load())
	}
	placesAreBack(t, b)
}

// silentStore answers requests on pipes: the first half of the file from a, and
// then nothing; the rest from b, and after a while from slow; nothing from others.
func silentStore(t *testing.T, addr string, c net.Conn) {
	defer c.Close()
	buf := make([]byte, 4096)
	n, _ := c.Read(buf)
	req := string(buf[:n])
	if strings.HasPrefix(addr, "slow:") {
		time.Sleep(2 * leastLate)
	}
	switch {
	case strings.HasPrefix(addr, "mute"):
	case strings.HasPrefix(addr, "a:"):
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nEtag: \"v1\"\r\nContent-Length: 10\r\n\r\n01234")
	case strings.Contains(req, "Range: bytes=5-9\r\n"):
		_, _ = io.WriteString(c, "HTTP/1.1 206 Partial Content\r\nEtag: \"v1\"\r\nContent-Range: bytes 5-9/10\r\nContent-Length: 5\r\n\r\n56789")
	default:
		t.Errorf("%s was asked %q", addr, req)
	}
	_, _ = c.Read(buf) // silent until the other side closes
}

func TestSilentOriginIsReplaced(t *testing.T) {
	f := func(want string, after time.Duration, origins ...string) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			b := webBalancer(t, origins...)
			b.dial = func(_ context.Context, _, addr string) (net.Conn, error) {
				near, far := net.Pipe()
				go silentStore(t, addr, far)
				return near, nil
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			res, err := b.RoundTrip(newRequest(t, "GET", "/film.mp4", nil).WithContext(ctx))
			if err != nil {
				t.Fatal(err)
			}
			start := time.Now()
			got, _ := io.ReadAll(res.Body)
			if took := time.Since(start); string(got) != want || took < leastQuiet || took > after {
				t.Errorf("%v: read %q after %v, want %q after %v", origins, got, time.Since(start), want, after)
			}
			res.Body.Close()
			for _, o := range b.all() {
				o.http.CloseIdleConnections()
			}
		})
	}
	f("0123456789", leastQuiet, "-origin", "http://a", "-origin", "http://b")
	f("0123456789", leastQuiet+leastLate, "-origin", "http://a", "-origin", "http://mute", "-origin", "http://b")
	f("0123456789", leastQuiet+2*leastLate, "-origin", "http://a", "-origin", "http://mute1", "-origin", "http://mute2", "-origin", "http://b")
	f("0123456789", leastQuiet+5*leastLate, "-origin", "http://a", "-origin", "http://slow")
	f("01234", time.Minute, "-origin", "http://a") // nobody else: it may come back
}

func TestQuiet(t *testing.T) {
	f := func(gap time.Duration, moves int, want time.Duration) {
		t.Helper()
		if got := (&resumedBody{gap: gap, moves: moves}).quiet(); got != want {
			t.Errorf("gap %v, %d moves: quiet = %v, want %v", gap, moves, got, want)
		}
	}
	f(0, 0, leastQuiet)
	f(150*time.Millisecond, 0, leastQuiet)
	f(time.Second, 0, 5*time.Second)
	f(time.Minute, 0, patience)
	f(time.Second, 1, 5*time.Second)
	f(0, 2, 4*time.Second)
	f(0, 1000, patience)
}

func TestContentRange(t *testing.T) {
	f := func(s string, want extent, ok bool) {
		t.Helper()
		if got, gotOK := parseContentRange(s); gotOK != ok || ok && got != want {
			t.Errorf("parseContentRange(%q) = %v, %v, want %v, %v", s, got, gotOK, want, ok)
		}
	}
	f("bytes 0-0/1", extent{0, 0, 1}, true)
	f("Bytes 5-9/10", extent{5, 9, 10}, true)
	f("bytes 5-9/9223372036854775807", extent{5, 9, 1<<63 - 1}, true)
	for _, bad := range []string{"", "bytes", "bytes 0-0", "bytes 0-1/1", "bytes 2-1/10", "bytes */10", "bytes 0-1/*", "items 0-1/10",
		"bytes=0-1/10", "bytes  0-1/10", "bytes 0-1/10 ", "bytes +0-1/10", "bytes -0-1/10", "bytes 0x0-1/10", "bytes 0-1/10/11", "bytes 0-1-2/10",
		"bytes 0-1/9223372036854775808", "bytes 0-1, 5-6/10"} {
		f(bad, extent{}, false)
	}
}

func FuzzContentRange(f *testing.F) {
	f.Add("bytes 0-0/1")
	f.Add("bytes 5-9/*")
	f.Add("bytes 18446744073709551615-0/1")
	f.Fuzz(func(t *testing.T, s string) {
		e, ok := parseContentRange(s)
		if !ok {
			return
		}
		if e.first < 0 || e.first > e.last || e.last >= e.total {
			t.Errorf("%q is read as %v", s, e)
		}
		if again, ok := parseContentRange(fmt.Sprintf("bytes %d-%d/%d", e.first, e.last, e.total)); !ok || again != e {
			t.Errorf("%q is read as %v, and that as %v", s, e, again)
		}
	})
}

// Whoever closes a body while another reads it does not hurt its origin, and
// nobody else is asked.
func TestClosedWhileRead(t *testing.T) {
	file := content(1 << 20)
	begun := make(chan struct{})
	half := &store{file: file, hook: func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Etag", `"v1"`)
		w.Header().Set("Content-Length", fmt.Sprint(len(file)))
		_, _ = w.Write(file[:1000])
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	}}
	other := &store{file: file, header: etag(`"v1"`)}
	b := stores(t, half, other)
	res, err := b.RoundTrip(newRequest(t, "GET", "/film.mp4", nil))
	if err != nil {
		t.Fatal(err)
	}
	read := make(chan error, 1)
	go func() {
		_, err := io.ReadFull(res.Body, make([]byte, 1000))
		close(begun)
		if err == nil {
			_, err = res.Body.Read(make([]byte, 1))
		}
		read <- err
	}()
	<-begun
	res.Body.Close()
	if err := <-read; err == nil {
		t.Error("a closed body goes on")
	}
	if failed := charges(b); failed[0] != 0 || other.asked.Load() != 0 {
		t.Errorf("%v failed, the other was asked %d times, want none", failed, other.asked.Load())
	}
	placesAreBack(t, b)
}
