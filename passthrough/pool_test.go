package passthrough

import (
	"context"
	"errors"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"weir/proxy"
	"weir/proxy/proxytest"
)

// who returns the names of the candidates, in alphabetical order.
func who(t *testing.T, b *Balancer, q query) (all []string) {
	t.Helper()
	origins, err := b.candidates(q)
	if err != nil {
		return nil
	}
	for _, o := range origins {
		all = append(all, o.name)
	}
	slices.Sort(all)
	return all
}

func TestPools(t *testing.T) {
	b := balancer(t, "-origin", "rtsp://deep#path=/vod/deep,path=/vod", "-origin", "rtsp://vod#path=/vod/,path=/archive", "-origin", "rtsp://all",
		"-origin", "http://web#path=/web", "-origin", "https://both#path=/web,path=/vod")
	f := func(web bool, path string, want ...string) {
		t.Helper()
		if got := who(t, b, query{web: web, path: path}); !slices.Equal(got, want) {
			t.Errorf("web %v, %s: %q, want %q", web, path, got, want)
		}
	}
	f(false, "/", "all:554")
	f(false, "/live", "all:554")
	f(false, "/vodka", "all:554")
	f(false, "/vod", "deep:554", "vod:554")
	f(false, "/vod/x", "deep:554", "vod:554")
	f(false, "/vod/deep", "deep:554")
	f(false, "/vod/deep/x", "deep:554")
	f(false, "/archive/x", "vod:554")
	f(false, "/web/x", "all:554")
	f(true, "/web/x", "both:443", "web:80")
	f(true, "/vod/x", "both:443")
	f(true, "/vod/", "both:443")
	f(true, "/")
	f(true, "/live")
}

// When all of a pool is dead, nothing of another is tried.
func TestPoolsNeverCross(t *testing.T) {
	b := balancer(t, "-origin", "rtsp://all", "-origin", "rtsp://vod1#path=/vod", "-origin", "rtsp://vod2#path=/vod")
	var mu sync.Mutex
	dialed := map[string]int{}
	b.dial = func(_ context.Context, _, addr string) (net.Conn, error) {
		mu.Lock()
		defer mu.Unlock()
		dialed[addr]++
		return nil, errors.New("no route")
	}
	for range 5 {
		_, err := b.DialRTSP(t.Context(), proxy.Want{Path: "/vod/x"})
		wantRefusal(t, err, proxy.OriginDown, 5*time.Second)
	}
	_, err := b.DialRTSP(t.Context(), proxy.Want{Path: "/vod/x", Origin: "all"})
	wantRefusal(t, err, proxy.NoOrigin, 0)
	if dialed["all:554"] != 0 || dialed["vod1:554"] != 5 || dialed["vod2:554"] != 5 {
		t.Errorf("dialed %v, want each of the pool five times and no other", dialed)
	}
}

func TestNamedOrigin(t *testing.T) {
	b := balancer(t, "-origin", "http://Cdn.example/base", "-origin", "http://[::1]", "-origin", "http://other:8080")
	f := func(origin string, want ...string) {
		t.Helper()
		if got := who(t, b, query{web: true, path: "/", origin: origin}); !slices.Equal(got, want) {
			t.Errorf("origin %q: %q, want %q", origin, got, want)
		}
	}
	f("Cdn.example:80/base", "Cdn.example:80/base")
	f("cdn.example", "Cdn.example:80/base")
	f("CDN.EXAMPLE:80", "Cdn.example:80/base")
	f("cdn.example:8080")
	f("[::1]", "[::1]:80")
	f("[::1]:80", "[::1]:80")
	f("other")
	f("other:8080", "other:8080")
	f("nobody")
}

// Down origins get nothing while another is usable, and are the last resort, two
// of them at most, those first that were not tried for longest.
func TestLastResort(t *testing.T) {
	b := balancer(t, inTurn, "-origin", "rtsp://a", "-origin", "rtsp://b", "-origin", "rtsp://c", "-origin", "rtsp://d")
	b.setProbing(true)
	gone := errors.New("no route")
	take := func(i int) {
		b.dialed(b.all()[i], gone, true)
		b.all()[i].lastDial = time.Unix(int64(i), 0)
	}
	take(1)
	take(0)
	take(2)
	if got := who(t, b, query{path: "/"}); !slices.Equal(got, []string{"d:554"}) {
		t.Errorf("one of four is up: candidates = %q", got)
	}
	take(3)
	if got := who(t, b, query{path: "/"}); !slices.Equal(got, []string{"a:554", "b:554"}) {
		t.Errorf("all are down: candidates = %q, want the two tried longest ago", got)
	}
	b.dialed(b.all()[0], nil, true)
	if got := who(t, b, query{path: "/"}); !slices.Equal(got, []string{"a:554"}) || status(b)[0].State != "up" {
		t.Errorf("a was there after all: candidates = %q", got)
	}
}

// What is ejected stands behind what is usable: it does accept connections.
func TestEjectedComesLast(t *testing.T) {
	b := balancer(t, "-origin", "http://a", "-origin", "http://b")
	for range strikesOut {
		b.failed(b.all()[0], errors.New("reset"))
	}
	for range 20 {
		all, err := b.candidates(query{web: true, path: "/"})
		if err != nil || len(all) != 2 || all[0].name != "b:80" {
			t.Fatalf("candidates = %v, %v, want b and then a", all, err)
		}
	}
}

func TestCap(t *testing.T) {
	addr, _ := listen(t, "127.0.0.1")
	other, _ := listen(t, "127.0.0.1")
	b := balancer(t, inTurn, "-origin", "rtsp://"+addr+"#max=2", "-origin", "rtsp://"+other+"#max=1")
	var links []*proxy.Link
	for range 3 {
		links = append(links, dial(t, b, proxy.Want{Path: "/"}))
	}
	if s := status(b); s[0].Sessions != 2 || s[1].Sessions != 1 {
		t.Errorf("%d and %d sessions, want 2 and 1", s[0].Sessions, s[1].Sessions)
	}
	_, err := b.DialRTSP(t.Context(), proxy.Want{Path: "/"})
	wantRefusal(t, err, proxy.Full, 5*time.Second)
	for _, l := range links {
		if l.Origin == addr {
			l.Close()
			break
		}
	}
	if got := dial(t, b, proxy.Want{Path: "/"}).Origin; got != addr {
		t.Errorf("after one left %s, the next goes to %s", addr, got)
	}
}

// A cap holds also for those who come because another origin has died.
func TestCapHoldsWhenAnotherDies(t *testing.T) {
	dead := proxytest.ClosedAddr(t)
	addr, _ := listen(t, "127.0.0.1")
	b := balancer(t, "-origin", "rtsp://"+dead+"#weight=1000", "-origin", "rtsp://"+addr+"#max=5")
	var wg sync.WaitGroup
	var mu sync.Mutex
	got := 0
	for range 50 {
		wg.Go(func() {
			l, err := b.DialRTSP(t.Context(), proxy.Want{Path: "/"})
			if err != nil {
				return
			}
			t.Cleanup(func() { l.Close() })
			mu.Lock()
			defer mu.Unlock()
			got++
		})
	}
	wg.Wait()
	if s := status(b)[1]; got != 5 || s.Sessions != 5 {
		t.Errorf("%d links, %d sessions, want the cap of 5", got, s.Sessions)
	}
}
