package passthrough

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"weir/proxy/proxytest"
)

// spoken has each request that comes to an origin answered by hand.
func spoken(b *Balancer, f func(addr string, r *http.Request, c net.Conn)) {
	b.dial = func(_ context.Context, _, addr string) (net.Conn, error) {
		near, far := net.Pipe()
		go func() {
			defer far.Close()
			in := bufio.NewReader(far)
			for r, err := http.ReadRequest(in); err == nil; r, err = http.ReadRequest(in) {
				f(addr, r, far)
			}
		}()
		return near, nil
	}
}

// TestPauseBreaksNothing: a file whose origin only pauses goes on, whatever others have.
func TestPauseBreaksNothing(t *testing.T) {
	const file = "0123456789"
	f := func(origins int, down bool) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			var args []string
			for i := range origins {
				args = append(args, "-origin", fmt.Sprintf("http://%c", 'a'+i))
			}
			b := webBalancer(t, args...)
			spoken(b, func(addr string, r *http.Request, c net.Conn) {
				if addr != "a:80" {
					fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nEtag: %q\r\nContent-Length: 10\r\n\r\n%s", addr, strings.ToUpper("abcdefghij"))
					return
				}
				fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nEtag: %q\r\nContent-Length: 10\r\n\r\n", addr)
				for i := range file {
					_, _ = io.WriteString(c, file[i:i+1])
					time.Sleep([]time.Duration{0, 1500 * time.Millisecond, 0, 2500 * time.Millisecond, 0, 6 * time.Second}[i%6])
				}
			})
			if dial := b.dial; down {
				b.dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
					if addr != "a:80" {
						return nil, io.ErrClosedPipe
					}
					return dial(ctx, network, addr)
				}
				b.dialed(b.all()[1], io.ErrClosedPipe, true)
			}
			res, err := b.RoundTrip(newRequest(t, "GET", "/film.mp4", nil))
			if err != nil {
				t.Fatal(err)
			}
			if got, err := io.ReadAll(res.Body); string(got) != file || err != nil {
				t.Errorf("%d origins, others down %v: %q, %v", origins, down, got, err)
			}
			res.Body.Close()
			if n := charges(b)[0]; n != 0 {
				t.Errorf("%d origins, others down %v: a pause counts %d times", origins, down, n)
			}
			closeIdle(b)
			time.Sleep(time.Minute) // until the origin is done
		})
	}
	f(1, false)
	f(2, false)
	f(4, false)
	f(2, true)
}

// TestGetWithABody: what has been sent is not sent again in part.
func TestGetWithABody(t *testing.T) {
	var second atomic.Int64
	origin := func(code int) string {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if code == 200 {
				second.Add(1)
			}
			_, _ = io.Copy(io.Discard, r.Body)
			w.WriteHeader(code)
		}))
		t.Cleanup(s.Close)
		return s.URL
	}
	b := webBalancer(t, "-origin", origin(503), "-origin", origin(200))
	for _, length := range []int64{-1, 5} {
		req := newRequest(t, "GET", "/live/x/nothing.ts", io.NopCloser(strings.NewReader("query")))
		req.ContentLength, req.GetBody = length, nil
		res, err := b.RoundTrip(req)
		if err != nil || res.StatusCode != 503 {
			t.Fatalf("%v, %v; want the only answer", res, err)
		}
		res.Body.Close()
	}
	if n := charges(b); second.Load() != 0 || n[1] != 0 {
		t.Errorf("the second was asked %d times, and is charged with %v", second.Load(), n)
	}
}

// TestUploadAfterADeadOrigin: a body that one origin could not be sent goes on to the next,
// though that answers before it has all.
func TestUploadAfterADeadOrigin(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rc := http.NewResponseController(w)
		_ = rc.EnableFullDuplex()
		w.WriteHeader(200)
		_ = rc.Flush()
		n, err := io.Copy(io.Discard, r.Body)
		fmt.Fprintf(w, "%d %v", n, err)
	}))
	t.Cleanup(s.Close)
	b := webBalancer(t, "-origin", "http://127.0.0.1:1", "-origin", s.URL)
	edge := webEdge(t, b, &proxytest.Gate{})
	body, write := io.Pipe()
	req, err := http.NewRequestWithContext(t.Context(), "POST", edge.URL+"/up", body)
	if err != nil {
		t.Fatal(err)
	}
	go func() { _, _ = write.Write(make([]byte, 100)) }()
	res, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if _, err := write.Write(make([]byte, 100)); err != nil {
		t.Errorf("the rest: %v", err)
	}
	write.Close()
	if text, err := io.ReadAll(res.Body); string(text) != "200 <nil>" {
		t.Errorf("the origin has got %q, %v", text, err)
	}
}

// TestLastIsOnesOwn: what one viewer was told is not told another.
func TestLastIsOnesOwn(t *testing.T) {
	f := func(what, control, alice, bob string, header ...string) {
		t.Helper()
		one, two := newLiveOrigin(t, 1000), newLiveOrigin(t, 999)
		for _, o := range []*liveOrigin{one, two} {
			o.hook = func(w http.ResponseWriter, r *http.Request) bool {
				w.Header().Set("Cache-Control", control)
				_, _ = io.WriteString(w, strings.ReplaceAll(livePlaylist(o.first.Load(), 6), ".ts", ".ts?"+r.URL.RawQuery+r.Header.Get("Authorization")))
				return true
			}
		}
		b := lives(t, one, two)
		url := ahead(t, b, 0) + "/index.m3u8?token="
		fetched(t, b, "GET", url+alice, header...)
		one.kill()
		if len(header) > 0 {
			header[1] = bob
		}
		if _, text := fetched(t, b, "GET", url+bob, header...); strings.Contains(text, "alice") {
			t.Errorf("%s: the other viewer is told %q", what, text)
		}
	}
	f("tokens", "max-age=1", "alice", "bob")
	f("not to be stored", "no-store", "alice", "bob")
	f("credentials", "max-age=1", "", "", "Authorization", "alice")
}

// TestSlowIsNoFault: origins that take their time for what takes its time everywhere are
// not blamed for it.
func TestSlowIsNoFault(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := balancer(t, "-origin.check=0", "-origin", "http://a", "-origin", "http://b", "-origin", "http://c")
		piped(b, func(string, *http.Request) (string, time.Duration) { return "x", 8 * time.Second })
		var all sync.WaitGroup
		for i := range 12 {
			all.Go(func() { took(t, b, "GET", fmt.Sprintf("/report/%d", i)) })
		}
		all.Wait()
		for i, o := range b.all() {
			if o.ejects > 0 || charges(b)[i] > 0 {
				t.Errorf("%s is charged with %d, and was ejected %d times", o.name, charges(b)[i], o.ejects)
			}
		}
		closeIdle(b)
	})
	synctest.Test(t, func(t *testing.T) {
		b := balancer(t, "-origin.check=0", "-origin", "http://a", "-origin", "http://b")
		dir, one := ahead(t, b, 0), b.all()[0]
		var next time.Time // when there is another segment
		spoken(b, func(addr string, r *http.Request, c net.Conn) {
			if d := time.Until(next); strings.Contains(r.URL.RawQuery, "msn") && d > 0 {
				time.Sleep(d)
				if addr == one.addr {
					time.Sleep(time.Millisecond)
				}
			}
			p := strings.Replace(livePlaylist(7, 3), "DURATION:60", "DURATION:4", 1)
			fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(p), p)
		})
		fetched(t, b, "GET", dir+"/index.m3u8")
		next = time.Now().Add(7 * time.Second) // the encoder has a hiccup
		var all sync.WaitGroup
		for range 4 {
			all.Go(func() { took(t, b, "GET", dir+"/index.m3u8?_HLS_msn=10") })
		}
		all.Wait()
		if n := charges(b); n[0]+n[1] > 0 || one.ejects > 0 {
			t.Errorf("the encoder's hiccup counts against the origins: %v, %d", n, one.ejects)
		}
		closeIdle(b)
		time.Sleep(10 * time.Second)
	})
}

// TestHangingIsNoSign: requests that hang are no sign that an origin is well; those that
// are being answered are.
func TestHangingIsNoSign(t *testing.T) {
	for hanging, want := range map[int64]string{0: stateUp, 300: stateEjected} {
		b := balancer(t, "-origin.check=0", "-origin", "http://a", "-origin", "http://b")
		o := b.all()[0]
		b.worked(o)
		o.sessions = 300
		o.awaited.Store(hanging)
		for range strikesOut {
			b.failed(o, errSilent)
		}
		if s := status(b)[0].State; s != want {
			t.Errorf("%d of 300 hang: %s, want %s", hanging, s, want)
		}
	}
}

// TestBrokenPlaylist: a playlist that does not come whole is asked of another, and soon.
func TestBrokenPlaylist(t *testing.T) {
	f := func(part string, hangs bool, most time.Duration) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			b := balancer(t, "-origin.check=0", "-origin", "http://a", "-origin", "http://b")
			dir, one := ahead(t, b, 0), b.all()[0]
			var broken atomic.Bool
			spoken(b, func(addr string, _ *http.Request, c net.Conn) {
				p := livePlaylist(7, 3)
				fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", len(p))
				if addr != one.addr || !broken.Load() {
					_, _ = io.WriteString(c, p)
					return
				}
				_, _ = io.WriteString(c, part)
				if hangs {
					time.Sleep(time.Minute)
				}
				c.Close()
			})
			fetched(t, b, "GET", dir+"/index.m3u8")
			broken.Store(true)
			start := time.Now()
			code, text := fetched(t, b, "GET", dir+"/index.m3u8")
			if d := time.Since(start); code != 200 || text != livePlaylist(7, 3) || d > most {
				t.Errorf("%q, hangs %v: %d, %d bytes after %v", part, hangs, code, len(text), d)
			}
			closeIdle(b)
			time.Sleep(2 * time.Minute)
		})
	}
	for _, part := range []string{"", "#EXT", "#EXTM3U\n#EXT-X-VERSION:3\n"} {
		f(part, false, 0)
		f(part, true, leastQuiet)
	}
}

// TestLookingTakesNoTurn: who might go on with a file is not passed over for that when it is
// his turn.
func TestLookingTakesNoTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := balancer(t, "-origin.check=0", "-origin.balance=roundrobin", "-origin", "http://a", "-origin", "http://b", "-origin", "http://c")
		var mu sync.Mutex
		asked := map[string]int{}
		spoken(b, func(addr string, _ *http.Request, c net.Conn) {
			mu.Lock()
			defer mu.Unlock()
			asked[addr]++
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nEtag: \"v\"\r\nContent-Length: 5\r\n\r\n01234")
		})
		for range 30 {
			fetched(t, b, "GET", "/film.mp4")
		}
		for addr, n := range asked {
			if n != 10 {
				t.Errorf("%s was asked %d times of 30", addr, n)
			}
		}
		closeIdle(b)
	})
}

// TestLists: a playlist has a file if it names it, and not one that is called similarly.
func TestLists(t *testing.T) {
	l := &last{text: []byte("#EXTM3U\n#EXT-X-MAP:URI=\"init.mp4\"\n#EXTINF:2,\nseg17.ts\n#EXTINF:2,\r\nhttp://cdn/x/seg18.ts?t=1\r\n")}
	for name, want := range map[string]bool{"seg17.ts": true, "seg18.ts": true, "init.mp4": true, "7.ts": false, ".ts": false, "seg1": false, "seg19.ts": false} {
		if l.lists(name) != want {
			t.Errorf("%s: %v", name, !want)
		}
	}
}
