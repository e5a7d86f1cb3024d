package passthrough

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// ways is a balancer of two origins, the second of which answers at once, and a
// folder whose files are asked of the first one.
func ways(t *testing.T, first answerer) (b *Balancer, dir string) {
	t.Helper()
	b = balancer(t, "-origin.check=0", "-origin", "http://a", "-origin", "http://b")
	dir = ahead(t, b, 0)
	piped(b, func(addr string, r *http.Request) (string, time.Duration) {
		if addr == b.all()[0].addr {
			return first(addr, r)
		}
		return livePlaylist(7, 3), 0
	})
	return b, dir
}

// took is how long an answer takes to come.
func took(t *testing.T, b *Balancer, method, url string) time.Duration {
	t.Helper()
	began := time.Now()
	if code, _ := fetched(t, b, method, url); code != http.StatusOK {
		t.Errorf("%s %s: %d", method, url, code)
	}
	return time.Since(began)
}

// An origin that takes requests and says nothing costs viewers a second, and only
// until it is ejected.
func TestSilentOriginIsPassedOver(t *testing.T) {
	f := func(name string, silent, want time.Duration) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			after := time.Duration(0)
			b, dir := ways(t, func(string, *http.Request) (string, time.Duration) { return livePlaylist(7, 3), after })
			_, _ = fetched(t, b, "GET", dir+name)
			after = silent
			for range 3 {
				if d := took(t, b, "GET", dir+name); d != want {
					t.Errorf("%s: took %v, want %v", name, d, want)
				}
			}
			if d := took(t, b, "GET", dir+name); silent > want && want < strikeAge && d != 0 {
				t.Errorf("%s: the fourth took %v", name, d)
			}
			closeIdle(b)
		})
	}
	f("/seg7.ts", 20*time.Minute, time.Second)
	f("/index.m3u8", 20*time.Minute, time.Second)
	f("/seg7.ts", 999*time.Millisecond, 999*time.Millisecond)
	f("/index.m3u8?_HLS_msn=10", 59*time.Second, 59*time.Second) // the target duration is a minute
	f("/index.m3u8?_HLS_msn=10", 20*time.Minute, 90*time.Second)
}

// It is the same for what is of no stream and goes to whoever is less busy.
func TestSilentOriginOfFiles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, _ := ways(t, func(string, *http.Request) (string, time.Duration) { return "", time.Hour })
		late := 0
		for i := range 100 {
			d := took(t, b, "GET", fmt.Sprintf("/film%c.mp4", 'a'+i%26))
			if d != 0 {
				late++
			}
			if d != 0 && d != leastLate {
				t.Errorf("took %v", d)
			}
		}
		if late == 0 || late > 2*strikesOut {
			t.Errorf("%d of 100 were late", late)
		}
		closeIdle(b)
	})
}

func closeIdle(b *Balancer) {
	for _, o := range b.all() {
		o.closeIdle()
	}
}

// Who is late may still be the first to answer; that he is late always makes him
// no later, and nothing is held against the other, who was asked in vain.
func TestSlowOriginIsWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := 1500 * time.Millisecond
		b := balancer(t, "-origin.check=0", "-origin", "http://a", "-origin", "http://b")
		url, one := ahead(t, b, 0)+"/seg7.ts", b.all()[0]
		var asked [2]atomic.Int32
		piped(b, func(addr string, _ *http.Request) (string, time.Duration) {
			if addr == one.addr {
				asked[0].Add(1)
			} else {
				asked[1].Add(1)
			}
			return "x", slow
		})
		for i := range 10 {
			if d := took(t, b, "GET", url); d != slow {
				t.Errorf("request %d took %v, want %v", i, d, slow)
			}
		}
		if one, two := asked[0].Load(), asked[1].Load(); one != 10 || two != 1 {
			t.Errorf("%d and %d requests, want 10 and 1", one, two)
		}
		if failed := charges(b); failed[0] != 0 || failed[1] != 0 {
			t.Errorf("%v failed", failed)
		}
		placesAreBack(t, b)
		closeIdle(b)
	})
}

// What is not safe is not asked twice, nor what has a body.
func TestNotHedged(t *testing.T) {
	f := func(method string, flags ...string) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			b := balancer(t, append(flags, "-origin.check=0", "-origin", "http://a", "-origin", "http://b")...)
			url := ahead(t, b, 0) + "/seg7.ts"
			piped(b, func(string, *http.Request) (string, time.Duration) { return "", 20 * time.Second })
			if d := took(t, b, method, url); d != 20*time.Second || b.memory.hedged.Load() != 0 {
				t.Errorf("%s: took %v, %d hedged", method, d, b.memory.hedged.Load())
			}
			closeIdle(b)
		})
	}
	f("POST")
	f("PUT")
	f("DELETE")
	f("GET", "-origin.failover", "live,vod")
}

// A service that takes its time is known for it after the first request.
func TestHedgeLearns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := balancer(t, "-origin.check=0", "-origin.balance=roundrobin", "-origin", "http://a", "-origin", "http://b")
		piped(b, func(string, *http.Request) (string, time.Duration) { return "x", 10 * time.Second })
		var asked uint64
		for range 20 {
			took(t, b, "GET", "/poll")
			synctest.Wait() // the connection is free again
		}
		for _, o := range b.all() {
			if asked += o.dials; o.ejects > 0 || o.failures > 0 {
				t.Errorf("%s: %d failures, %d ejections", o.name, o.failures, o.ejects)
			}
		}
		if asked > 4 { // connections are kept: one each, and those that were broken off
			t.Errorf("%d connections", asked)
		}
		closeIdle(b)
	})
}

// Many that wait for one origin ask others for no more than the budget allows, until
// it has been found out.
func TestHedgesAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, dir := ways(t, func(string, *http.Request) (string, time.Duration) { return "", time.Hour })
		b.memory.give(b.pools[0], -missBurst, time.Now())
		b.memory.give(b.pools[0], -1, time.Now())
		if d := took(t, b, "GET", dir+"/seg7.ts"); d < leastLate || d > leastLate+2*payAgain {
			t.Errorf("took %v", d) // the budget has grown meanwhile
		}
		b.memory.give(b.pools[0], -5*missRate, time.Now()) // five seconds of it
		d := took(t, b, "GET", dir+"/seg7.ts")
		if d < 4*time.Second || d > 6*time.Second {
			t.Errorf("took %v, want that it waits for the budget", d)
		}
		b.memory.give(b.pools[0], -1000*missRate, time.Now())
		went := make(chan time.Duration, 10)
		for i := range cap(went) {
			go func() { went <- took(t, b, "GET", fmt.Sprintf("%s/seg%d.ts", dir, i)) }()
		}
		b.failed(b.all()[0], errSilent) // the third in a row
		for range cap(went) {
			if d := <-went; d > leastLate+2*payAgain {
				t.Errorf("took %v though the origin has been found out", d)
			}
		}
		closeIdle(b)
	})
}

// Whatever becomes of the two.
func TestHedge(t *testing.T) {
	const s = time.Second
	f := func(name, first string, after time.Duration, second string, later time.Duration, want int, took time.Duration) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			b := balancer(t, "-origin.check=0", "-origin", "http://a", "-origin", "http://b")
			url := ahead(t, b, 0) + name
			piped(b, func(addr string, _ *http.Request) (string, time.Duration) {
				if addr == b.all()[0].addr {
					return first, after
				}
				return second, later
			})
			began := time.Now()
			code, body := fetched(t, b, "GET", url)
			if d := time.Since(began); code != want || d != took || code == 200 && body == "" {
				t.Errorf("%s, %q after %v and %q after %v: %d %q after %v, want %d after %v", name, first, after, second, later, code, body, d, want, took)
			}
			placesAreBack(t, b)
			closeIdle(b)
		})
	}
	f("/7.ts", "one", 3*s/2, "404 Not Found", 0, 200, 3*s/2) // who is late may have it
	f("/7.ts", "one", 3*s, "404 Not Found", 0, 200, 3*s)
	f("/7.ts", "one", 9*s, "404 Not Found", 0, 404, 4*s)                     // but that is not waited for so long
	f("/7.ts", hangUp, 3*s/2, "404 Not Found", 0, 404, 3*s/2)                // nor for who is gone
	f("/7.ts", hangUp, 2*s, "two", 3*s, 200, 4*s)                            // the other has been asked already
	f("/7.ts", "500 Bad", 2*s, "two", 3*s, 200, 4*s)                         //
	f("/7.ts", "one", 9*s, "500 Bad", 0, 200, 9*s)                           // no reason not to wait
	f("/7.ts", "one", 9*s, hangUp, s, 200, 9*s)                              //
	f("/7.ts", "500 Bad", 2*s, "503 Bad", 0, 500, 2*s)                       // both have spoken
	f("/x.m3u8", livePlaylist(7, 3), 9*s, livePlaylist(6, 3), 0, 200, s)     // playlists are read
	f("/x.m3u8", livePlaylist(7, 3), 2*s, livePlaylist(6, 3), 3*s, 200, 2*s) //
}

// One to whom nobody would be sent is asked if there is no better one.
func TestHedgeWithTheEjected(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, dir := ways(t, func(string, *http.Request) (string, time.Duration) { return "", time.Hour })
		for range strikesOut {
			b.failed(b.all()[1], errUnwell)
		}
		if d := took(t, b, "GET", dir+"/7.ts"); d != leastLate {
			t.Errorf("took %v", d)
		}
		closeIdle(b)
	})
}

// A dial that hangs is a silence, too.
func TestHedgeWhileDialing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, dir := ways(t, nil)
		dial := b.dial
		b.dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
			if addr == b.all()[0].addr {
				<-ctx.Done()
				return nil, ctx.Err()
			}
			return dial(ctx, network, addr)
		}
		if d := took(t, b, "GET", dir+"/7.ts"); d != leastLate {
			t.Errorf("took %v", d)
		}
		placesAreBack(t, b)
		closeIdle(b)
	})
}

func TestUsual(t *testing.T) {
	f := func(most, want time.Duration, took ...time.Duration) {
		t.Helper()
		var u usual
		for _, d := range took {
			u.note(d)
		}
		if got := u.late(most); got != want {
			t.Errorf("%v: late after %v, want %v", took, got, want)
		}
	}
	f(3*time.Second, time.Second)
	f(3*time.Second, time.Second, 100*time.Millisecond)
	f(3*time.Second, 2*time.Second, 100*time.Millisecond, 400*time.Millisecond)
	f(3*time.Second, 3*time.Second, 5*time.Second)
	f(500*time.Millisecond, 500*time.Millisecond)
	many := make([]time.Duration, 100)
	f(3*time.Second, time.Second, append([]time.Duration{3 * time.Second}, many...)...)
}
