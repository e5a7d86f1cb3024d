package forward_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"weir/proxy"
)

// proxytestTime is a date for files.
var proxytestTime = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// A rung is a proxy.Handler of HTTP only.
type rung struct{ http.Handler }

func (rung) ServeRTSP(context.Context, *proxy.RTSPConn) {}

// switches answers 101 and hands the connection to f.
func switches(t *testing.T, f func(net.Conn, *bufio.Reader)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") != "websocket" || r.Header.Get("Connection") != "Upgrade" {
			t.Errorf("the origin was asked with %v", r.Header)
			return
		}
		c, buf, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer c.Close()
		fmt.Fprint(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\nSec-Websocket-Accept: yes\r\n\r\nearly")
		f(c, buf.Reader)
	}
}

// upgrade asks e for a websocket; more is sent in the same packet.
func upgrade(t *testing.T, e *edge, more string) (*net.TCPConn, *bufio.Reader) {
	t.Helper()
	c := e.raw(t)
	fmt.Fprint(c, "GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"+more)
	br := bufio.NewReader(c)
	res, err := http.ReadResponse(br, nil)
	if err != nil {
		t.Fatal(err)
	}
	if res.StatusCode != 101 || res.Header.Get("Upgrade") != "websocket" || res.Header.Get("Sec-Websocket-Accept") != "yes" {
		t.Fatalf("answer = %s %v", res.Status, res.Header)
	}
	expect(t, br, "early")
	return c, br
}

func expect(t *testing.T, r io.Reader, want string) {
	t.Helper()
	b := make([]byte, len(want))
	if _, err := io.ReadFull(r, b); err != nil || string(b) != want {
		t.Fatalf("read %q, %v, want %q", b, err, want)
	}
}

func TestUpgrade(t *testing.T) {
	e := newEdge(t, switches(t, func(c net.Conn, br *bufio.Reader) {
		expect(t, br, "too soonping")
		_, _ = io.WriteString(c, "pong")
		if rest, err := io.ReadAll(br); err != nil || string(rest) != "bye" {
			t.Errorf("the origin read %q, %v", rest, err)
		}
		_, _ = io.WriteString(c, "after you have said your last")
	}))
	c, br := upgrade(t, e, "too soon")
	_, _ = io.WriteString(c, "ping")
	expect(t, br, "pong")
	_, _ = io.WriteString(c, "bye")
	if err := c.CloseWrite(); err != nil { // one half; the other goes on
		t.Fatal(err)
	}
	if got := readAll(t, br); got != "after you have said your last" {
		t.Errorf("after the half-close: %q", got)
	}
	if want := len("early") + len("pong") + len("after you have said your last"); <-e.sent != want {
		t.Errorf("bytes counted, want %d", want)
	}
}

func TestUpgradeEndsWithTheOrigin(t *testing.T) {
	e := newEdge(t, switches(t, func(net.Conn, *bufio.Reader) {}))
	c, br := upgrade(t, e, "")
	if got := readAll(t, br); got != "" {
		t.Errorf("read %q", got)
	}
	c.Close()
	<-e.sent
}

func TestUpgradeEndsWithTheContext(t *testing.T) {
	gone := make(chan struct{})
	f := newHandler(t, upstream(t, switches(t, func(_ net.Conn, br *bufio.Reader) {
		_, _ = io.Copy(io.Discard, br)
		close(gone)
	})), 0)
	ctx, cancel := context.WithCancel(t.Context())
	stoppable := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.ServeHTTP(w, r.WithContext(ctx))
	})
	e := serve(t, stoppable, false)
	_, br := upgrade(t, e, "")
	cancel()
	if _, err := io.ReadAll(br); err != nil && !strings.Contains(err.Error(), "reset") {
		t.Error(err)
	}
	<-gone
}

// An origin that says 101 to who did not ask, or to something else, is bad.
func TestUpgradeNotAskedFor(t *testing.T) {
	e := newEdge(t, func(w http.ResponseWriter, r *http.Request) {
		c, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer c.Close()
		fmt.Fprint(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: other\r\n\r\n")
	})
	if res := e.do(t, "GET", "/ws", nil); res.StatusCode < 500 {
		t.Errorf("status = %s", res.Status)
	}
}
