package passthrough

import (
	"bytes"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"
)

// filesDate is when the file was changed.
var filesDate = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// content is n bytes that are nowhere the same.
func content(n int) []byte {
	b := make([]byte, n)
	x := uint64(1)
	for i := range b {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		b[i] = byte(x)
	}
	return b
}

// A store serves one file, and dies where it is told to.
type store struct {
	file   []byte
	header http.Header                              // of every answer
	date   time.Time                                // filesDate if zero
	dieAt  int64                                    // offset at which connections are reset, once; 0 never
	hook   func(http.ResponseWriter, *http.Request) // answers instead, if set

	died  atomic.Bool
	asked atomic.Int32
	last  atomic.Pointer[http.Header] // of the last request
}

func (s *store) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.asked.Add(1)
	s.last.Store(&r.Header)
	maps.Copy(w.Header(), s.header)
	if w.Header().Get("Etag") == "" {
		w.Header().Del("Etag")
	}
	date := filesDate
	if !s.date.IsZero() {
		date = s.date
	}
	switch {
	case s.hook != nil:
		s.hook(w, r)
	case s.dieAt > 0 && s.died.CompareAndSwap(false, true):
		http.ServeContent(&dying{ResponseWriter: w, left: s.dieAt}, r, "x", date, bytes.NewReader(s.file))
	default:
		http.ServeContent(w, r, "x", date, bytes.NewReader(s.file))
	}
}

// dying resets its connection after some bytes, as a kernel does for a process
// that was killed.
type dying struct {
	http.ResponseWriter
	left int64
}

func (d *dying) Write(b []byte) (int, error) {
	n, err := d.ResponseWriter.Write(b[:min(int64(len(b)), d.left)])
	if d.left -= int64(n); d.left > 0 || err != nil {
		return n, err
	}
	rc := http.NewResponseController(d.ResponseWriter)
	_ = rc.Flush()
	c, _, err := rc.Hijack()
	if err != nil {
		return n, err
	}
	_ = c.(*net.TCPConn).SetLinger(0)
	c.Close()
	return n, http.ErrHijacked
}

func etag(s string) http.Header { return http.Header{"Etag": {s}, "Content-Type": {"video/mp4"}} }

// stores starts origins and a Balancer that asks them in this order.
func stores(t *testing.T, all ...*store) *Balancer {
	t.Helper()
	var args []string
	for _, s := range all {
		srv := httptest.NewServer(s)
		t.Cleanup(srv.Close)
		args = append(args, "-origin", srv.URL)
	}
	b := webBalancer(t, args...)
	run(t, b)
	return b
}

// fetch gets the file, and fails unless it begins like it.
func fetch(t *testing.T, b *Balancer, want []byte, header ...string) (got int, err error) {
	t.Helper()
	forget(b)
	req := newRequest(t, "GET", "/film.mp4", nil)
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	res, err := b.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if !bytes.HasPrefix(want, body) {
		t.Errorf("%d bytes came, and they are not those of the file", len(body))
	}
	if err == nil && len(body) != len(want) {
		t.Errorf("%d bytes of %d came, and a clean end", len(body), len(want))
	}
	return len(body), err
}
