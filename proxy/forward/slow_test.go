package forward_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"sync"
	"testing"
	"time"

	"weir/proxy/proxytest"
)

// endless sends until somebody stops it, and says how much it got rid of.
func endless(done chan<- int64) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		chunk := make([]byte, 64<<10)
		var n int64
		for {
			m, err := w.Write(chunk)
			if n += int64(m); err != nil {
				done <- n
				return
			}
		}
	}
}

// A viewer who takes nothing is closed after the lag, and holds the origin's
// connection no longer.
func TestViewerWhoTakesNothingIsClosed(t *testing.T) {
	done := make(chan int64, 1)
	e := startEdge(t, newHandler(t, upstream(t, endless(done)), 100*time.Millisecond), false)
	c := e.raw(t)
	fmt.Fprint(c, "GET /x HTTP/1.1\r\nHost: x\r\n\r\n")
	taken := int64(<-e.sent)
	t.Logf("took %d bytes, the origin gave %d", taken, <-done)
}

// pause waits for a timer: what is tested is that nothing happens meanwhile.
func pause(t *testing.T, d time.Duration) {
	select {
	case <-time.After(d):
	case <-t.Context().Done():
	}
}

// The origin's silence ends no viewer, over HTTP/2 either, where a deadline
// would end the stream by itself.
func TestSilentOriginEndsNoViewer(t *testing.T) {
	const lag = 50 * time.Millisecond
	f := func(http2 bool) {
		t.Helper()
		e := startEdge(t, newHandler(t, upstream(t, func(w http.ResponseWriter, r *http.Request) {
			_, _ = w.Write([]byte("a"))
			_ = http.NewResponseController(w).Flush()
			pause(t, 4*lag)
			_, _ = w.Write([]byte("b"))
		}), lag), http2)
		if got := readAll(t, e.do(t, "POST", "/x", bytes.NewReader([]byte("body"))).Body); got != "ab" {
			t.Errorf("HTTP/2 %v: read %q", http2, got)
		}
	}
	f(false)
	f(true)
}

// An origin that wants no more of a body does not leave the viewer's connection
// to one who never sends the rest.
func TestUploadNobodyWants(t *testing.T) {
	e := startEdge(t, newHandler(t, upstream(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Connection", "close")
		w.WriteHeader(http.StatusRequestEntityTooLarge)
	}), 50*time.Millisecond), false)
	c := e.raw(t)
	fmt.Fprint(c, "POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhalf")
	if b, err := io.ReadAll(c); err != nil {
		t.Errorf("read %.80q, %v, want the end", b, err)
	}
}

func TestUploadThatStopsIsClosed(t *testing.T) {
	e := startEdge(t, newHandler(t, upstream(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
	}), 50*time.Millisecond), false)
	c := e.raw(t)
	fmt.Fprint(c, "POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhalf")
	b, err := io.ReadAll(c) // the answer may get lost when the request is given up
	if err != nil || len(b) > 0 && !bytes.HasPrefix(b, []byte("HTTP/1.1 400 ")) {
		t.Errorf("read %.80q, %v, want at most 400 and the end", b, err)
	}
}

// Slow viewers of endless bodies hold a buffer each, not what the origin sends.
func TestUploadThatTricklesIsClosed(t *testing.T) {
	e := startEdge(t, newHandler(t, upstream(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
	}), 200*time.Millisecond), false)
	c := e.raw(t)
	fmt.Fprint(c, "POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 10000\r\n\r\n")
	began := time.Now()
	for range 500 {
		if _, err := c.Write([]byte("x")); err != nil {
			break
		}
		pause(t, 10*time.Millisecond)
	}
	if took := time.Since(began); took > 4*time.Second {
		t.Errorf("a byte now and then was taken for %v", took)
	}
}

func TestSlowViewersHoldABuffer(t *testing.T) {
	const viewers = 50
	done := make(chan int64, viewers)
	e := startEdge(t, newHandler(t, upstream(t, endless(done)), time.Second), false)
	before := heap()
	for range viewers {
		fmt.Fprint(e.raw(t), "GET /x HTTP/1.1\r\nHost: x\r\n\r\n")
	}
	var most uint64
	for range viewers {
		most = max(most, heap())
		<-e.sent
		<-done
	}
	// The origin's and the client's side are in this process too.
	if per := int64(most-min(most, before)) / viewers; per > 256<<10 {
		t.Errorf("%d KiB for each slow viewer, want at most 256", per>>10)
	} else {
		t.Logf("%d KiB for each slow viewer", per>>10)
	}
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// The request of a viewer who has gone is given up.
func TestViewerLeaves(t *testing.T) {
	gone := make(chan struct{})
	asked := make(chan struct{})
	e := newEdge(t, func(w http.ResponseWriter, r *http.Request) {
		close(asked)
		<-r.Context().Done()
		close(gone)
	})
	c := e.raw(t)
	fmt.Fprint(c, "GET /x HTTP/1.1\r\nHost: x\r\n\r\n")
	<-asked
	c.Close()
	<-gone
}

// One handler serves many at once (run with -race).
func TestManyViewers(t *testing.T) {
	body := bytes.Repeat([]byte("x"), 300<<10)
	e := newEdge(t, func(w http.ResponseWriter, r *http.Request) { _, _ = w.Write(body) })
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 5 {
				res := e.do(t, "GET", "/x", nil)
				if b, err := io.ReadAll(res.Body); err != nil || !bytes.Equal(b, body) {
					t.Errorf("read %d bytes, %v", len(b), err)
				}
			}
		})
	}
	all.Wait()
}

// BenchmarkForward is what a small answer costs beside its bytes.
func BenchmarkForward(b *testing.B) {
	up := &proxytest.Upstream{RoundTripFunc: func(*http.Request) (*http.Response, error) {
		return &http.Response{
			StatusCode: 200, ProtoMajor: 1, ProtoMinor: 1, Header: http.Header{"Content-Type": {"video/mp2t"}},
			ContentLength: 3, Body: io.NopCloser(bytes.NewReader([]byte("abc"))),
		}, nil
	}}
	h := newHandler(b, up, 0)
	req, err := http.NewRequest("GET", "/x", nil)
	if err != nil {
		b.Fatal(err)
	}
	req.ProtoMajor, req.ProtoMinor = 1, 1
	b.ReportAllocs()
	for b.Loop() {
		h.ServeHTTP(&discard{header: http.Header{}}, req)
	}
}

type discard struct{ header http.Header }

func (d *discard) Header() http.Header         { return d.header }
func (d *discard) WriteHeader(int)             {}
func (d *discard) Write(b []byte) (int, error) { return len(b), nil }
