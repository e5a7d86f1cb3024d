package passthrough

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// A liveOrigin serves playlists of six segments and the segments in them, for
// every stream there could be. Their target duration is long, so that a slow
// machine does not let them grow old.
type liveOrigin struct {
	*httptest.Server
	first atomic.Uint64 // media sequence number
	down  atomic.Bool
	asked atomic.Int64
	last  atomic.Pointer[http.Request]
	hook  func(w http.ResponseWriter, r *http.Request) bool // answers instead, if it returns true
}

func newLiveOrigin(t testing.TB, first uint64) *liveOrigin {
	o := &liveOrigin{}
	o.first.Store(first)
	o.Server = httptest.NewServer(o)
	t.Cleanup(o.Close)
	return o
}

func (o *liveOrigin) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if o.down.Load() {
		panic(http.ErrAbortHandler)
	}
	o.asked.Add(1)
	o.last.Store(r)
	if o.hook != nil && o.hook(w, r) {
		return
	}
	first := o.first.Load()
	if strings.HasSuffix(r.URL.Path, ".m3u8") {
		_, _ = io.WriteString(w, livePlaylist(first, 6))
		return
	}
	var n uint64
	if _, err := fmt.Sscanf(r.URL.Path[strings.LastIndex(r.URL.Path, "/"):], "/seg%d.ts", &n); err != nil || n < first || n >= first+6 {
		http.NotFound(w, r)
		return
	}
	fmt.Fprint(w, n)
}

func livePlaylist(first uint64, segments int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:60\n#EXT-X-MEDIA-SEQUENCE:%d\n", first)
	for i := range segments {
		fmt.Fprintf(&b, "#EXTINF:2.0,\nseg%d.ts\n", first+uint64(i))
	}
	return b.String()
}

func (o *liveOrigin) addr() string { return strings.TrimPrefix(o.URL, "http://") }

// kill breaks all connections off, and lets nobody in until revive.
func (o *liveOrigin) kill() {
	o.down.Store(true)
	o.CloseClientConnections()
}

// revive begins anew with a sequence number.
func (o *liveOrigin) revive(b *Balancer, first uint64) {
	o.first.Store(first)
	o.down.Store(false)
	forget(b)
}

// liveBalancer has origins that can be killed.
func liveBalancer(t testing.TB, b *Balancer, origins ...*liveOrigin) *Balancer {
	t.Helper()
	down := map[string]*atomic.Bool{}
	for _, o := range origins {
		down[o.addr()] = &o.down
	}
	dial := b.dial
	b.dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
		if down[addr].Load() {
			return nil, syscall.ECONNREFUSED
		}
		return dial(ctx, network, addr)
	}
	t.Cleanup(func() {
		for _, o := range b.all() {
			o.closeIdle()
		}
	})
	return b
}

// lives returns a Balancer of origins.
func lives(t testing.TB, origins ...*liveOrigin) *Balancer {
	t.Helper()
	var args []string
	for _, o := range origins {
		args = append(args, "-origin", o.URL)
	}
	return liveBalancer(t, balancer(t, append(args, "-origin.check=0")...), origins...)
}

// ahead returns the path of a folder whose requests go to the i-th origin first.
func ahead(t testing.TB, b *Balancer, i int) string {
	t.Helper()
	for n := range 1000 {
		dir := fmt.Sprintf("/live/%d", n)
		if all, err := b.candidates(query{web: true, path: dir, stick: dir, look: true}); err == nil && all[0] == b.all()[i] {
			return dir
		}
	}
	t.Fatal("no folder goes there")
	return ""
}

// fetched asks b, and returns the code and the body.
func fetched(t testing.TB, b *Balancer, method, url string, header ...string) (code int, body string) {
	t.Helper()
	req, err := http.NewRequestWithContext(context.WithoutCancel(t.Context()), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	res, err := b.RoundTrip(req)
	if err != nil {
		t.Errorf("%s %s: %v", method, url, err)
		return 0, ""
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Errorf("%s %s: %v", method, url, err)
	}
	return res.StatusCode, string(text)
}

// sequence asks for a playlist, and returns its media sequence number.
func sequence(t testing.TB, b *Balancer, url string) uint64 {
	t.Helper()
	code, body := fetched(t, b, "GET", url)
	s, ok := scanPlaylist([]byte(body))
	if code != http.StatusOK || !ok {
		t.Errorf("%s: %d %q", url, code, body)
	}
	return s.first
}

// age lets all that b remembers of playlists be older.
func age(b *Balancer, d time.Duration) {
	m := b.memory
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, id := range m.marks.Keys() {
		at, _ := m.marks.Peek(id)
		at.advanced, at.barren = at.advanced.Add(-d), at.barren.Add(-d)
		m.marks.Add(id, at)
	}
}
