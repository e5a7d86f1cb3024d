package passthrough

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"testing"
	"time"
)

// An answerer is asked by an origin's address for what to say to a request, and
// when: a body, or "404 Not Found" and the like, or hangUp.
type answerer func(addr string, r *http.Request) (text string, after time.Duration)

const hangUp = "hang up"

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
			status := "200 OK"
			if text == hangUp {
				return
			} else if len(text) > 3 && http.StatusText(int(text[0]-'0')*100+int(text[1]-'0')*10+int(text[2]-'0')) != "" {
				status = text
			}
			fmt.Fprintf(c, "HTTP/1.1 %s\r\nContent-Length: %d\r\n\r\n%s", status, len(text), text)
		}
		<-gone
	}
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
