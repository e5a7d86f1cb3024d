package passthrough

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"testing"
	"testing/synctest"
	"time"
)

// An answerer is asked by an origin's address for what to say to a request, and
// when.
type answerer func(addr string, r *http.Request) (text string, after time.Duration)

// piped gives b origins at the other end of pipes.
func piped(b *Balancer, a answerer) {
	b.dial = func(_ context.Context, _, addr string) (net.Conn, error) {
		near, far := net.Pipe()
		go answerOn(far, addr, a)
		return near, nil
	}
}

// answerOn answers one request after the other until the other side closes.
func answerOn(c net.Conn, addr string, a answerer) {
	defer c.Close()
	in := bufio.NewReader(c)
	for {
		r, err := http.ReadRequest(in)
		if err != nil {
			return
		}
		gone := make(chan struct{})
		go func() {
			_, _ = in.Peek(1) // the next request, or the end
			close(gone)
		}()
		text, after := a(addr, r)
		select {
		case <-gone:
		case <-time.After(after):
			fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(text), text)
		}
		<-gone
	}
}

// An origin that takes requests and says nothing costs viewers three seconds, and
// only until it is ejected.
func TestSilentOriginIsPassedOver(t *testing.T) {
	f := func(name string, blocked, want time.Duration, spent bool) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			b := balancer(t, "-origin.check=0", "-origin", "http://a", "-origin", "http://b")
			dir := ahead(t, b, 0)
			url, silent := dir+name, time.Duration(0)
			piped(b, func(addr string, _ *http.Request) (string, time.Duration) {
				if addr == b.all()[0].addr {
					return livePlaylist(7, 3), silent
				}
				return livePlaylist(7, 3), 0
			})
			_, _ = fetched(t, b, "GET", url)
			if silent = blocked; spent {
				for b.memory.spend(b.pools[0], time.Now()) {
				}
				b.memory.give(b.pools[0], -10*missRate, time.Now()) // ten seconds of it
			}
			began := time.Now()
			if code, _ := fetched(t, b, "GET", url); code != http.StatusOK || time.Since(began) != want {
				t.Errorf("%s: %d after %v, want %v", name, code, time.Since(began), want)
			}
			for range 2 {
				_, _ = fetched(t, b, "GET", url)
			}
			began = time.Now()
			_, _ = fetched(t, b, "GET", url)
			if took := time.Since(began); took != 0 && want < min(blocked, strikeAge) {
				t.Errorf("%s: the fourth took %v", name, took)
			}
			for _, o := range b.all() {
				o.closeIdle()
			}
		})
	}
	f("/seg7.ts", 20*time.Second, 3*time.Second, false)
	f("/index.m3u8", 20*time.Second, 3*time.Second, false)
	f("/index.m3u8?_HLS_msn=10", 20*time.Second, 20*time.Second, false)
	f("/index.m3u8?_HLS_msn=10", 5*time.Minute, 3*time.Minute, false) // three target durations
	f("/seg7.ts", 20*time.Second, 20*time.Second, true)
}

func TestFirstOf(t *testing.T) {
	one, two, three := &origin{name: "1"}, &origin{name: "2"}, &origin{name: "3"}
	f := func(name string, usable []*origin, want ...*origin) {
		t.Helper()
		got := firstOf([]*origin{one, two, three}, usable, name)
		for i := range want {
			if got[i] != want[i] {
				t.Errorf("%s: %d is %s, want %s", name, i, got[i].name, want[i].name)
			}
		}
	}
	f("1", []*origin{one, two}, one, two, three)
	f("2", []*origin{one, two}, two, one, three)
	f("3", []*origin{one, two}, one, two, three)
	f("4", nil, one, two, three)
}
