package front

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"weir/proxy"
	"weir/proxy/proxytest"
)

// What Check has found out about a request is kept for the handler that gets
// it; the gate is asked once for each request, whichever way it goes.
func TestQuickAsksTheGateOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &echo{}
		d := openPipes(t, ladder{}, handler(e), func(c *Config) { c.Gate = &numbering{} })
		c := d.client(t, d.dialHTTP)
		ask := func(request, want string, code int) {
			t.Helper()
			synctest.Wait()
			c.send(request)
			if res, body := c.response(); res.StatusCode != code || !strings.Contains(body, want) {
				t.Errorf("%q = %d %s, want %d and %s", request, res.StatusCode, body, code, want)
			}
		}
		ask(get, "Subject:1", 200)
		ask(get, "Subject:2", 200)
		ask(req("GET /miss"), "Subject:3", 200)
		ask(req("GET /a", "Range: bytes=0-"), "Subject:4", 200)
		ask(req("GET /refused"), "Too Many", 429)
		ask(req("GET /refused", "Range: bytes=0-"), "Too Many", 429)
		ask(get, "Subject:7", 200)
		if n := e.hits.Load(); n != 2 {
			t.Errorf("%d quick answers, want 2", n)
		}
	})
}

// A numbering gate numbers the requests that it is asked about.
type numbering struct {
	proxytest.Gate
	n atomic.Int64
}

func (g *numbering) Check(_ context.Context, v *proxy.Viewer) error {
	v.Subject = strconv.FormatInt(g.n.Add(1), 10)
	if v.Path == "/refused" {
		return &proxy.Refusal{Reason: proxy.TooFast}
	}
	return nil
}

// Viewers who use their connections for all kinds of requests at once, on real
// sockets.
func TestQuickCrowd(t *testing.T) {
	e := &echo{size: 100 << 10}
	d := open(t, ladder{}, handler(e))
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			tr := &http.Transport{}
			defer tr.CloseIdleConnections()
			for j := range 60 {
				if err := askInCrowd(tr, "http://"+d.HTTPAddr().String(), i, j); err != nil {
					t.Errorf("viewer %d, request %d: %v", i, j, err)
					return
				}
			}
		})
	}
	wg.Wait()
	if n := e.hits.Load(); n < 8*25 {
		t.Errorf("%d quick answers", n)
	}
}

func askInCrowd(tr *http.Transport, base string, i, j int) error {
	path, method, content := fmt.Sprintf("/v%d/%d", i, j), http.MethodGet, ""
	switch j % 6 {
	case 3:
		path += "/miss"
	case 4:
		method = http.MethodHead
	}
	if j == 50 {
		method, content = http.MethodPost, strings.Repeat("b", 10000)
	}
	req, err := http.NewRequest(method, base+path, strings.NewReader(content))
	if err != nil {
		return err
	}
	if content == "" {
		req.Body, req.ContentLength = nil, 0
	}
	req.Header["Accept-Encoding"] = nil
	res, err := tr.RoundTrip(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	switch {
	case err != nil:
		return err
	case method == http.MethodGet && (len(b) != 100<<10 || !bytes.Contains(b, []byte(path+" "))):
		return fmt.Errorf("GET %s: %d bytes %.100q", path, len(b), b)
	case method == http.MethodPost && !bytes.Contains(b, []byte(content)):
		return fmt.Errorf("POST: %.100q", b)
	case res.StatusCode != 200:
		return errors.New(res.Status)
	}
	return nil
}

// Quick answers count as others do.
func TestQuickAnswersAreCounted(t *testing.T) {
	e := &echo{size: 1 << 20}
	d := open(t, ladder{}, handler(e))
	c := d.viaHTTP(t, get)
	asked := 1
	for c.response(); e.hits.Load() == 0; c.response() {
		c.send(get) // net/http may have seen the last one coming, and kept it
		asked++
	}
	proxytest.Eventually(t, time.Second, "the first quick answer counted", func() bool { return e.done.Load() == 1<<20 })
	in, out := d.http.in.Load(), d.http.out.Load()
	c.send(get + req("HEAD /a") + get)
	c.response()
	res, err := http.ReadResponse(c.br, &http.Request{Method: http.MethodHead})
	if err != nil || res.ContentLength != 1<<20 {
		t.Fatalf("HEAD: %+v, %v", res, err)
	}
	c.response()
	proxytest.Eventually(t, time.Second, "all quick answers counted", func() bool { return e.done.Load() == 3<<20 })
	head := uint64(len("HTTP/1.1 200 OK\r\nContent-Length: 1048576\r\nContent-Type: text/plain\r\n\r\n"))
	if n := d.http.in.Load() - in; n != uint64(2*len(get)+len(req("HEAD /a"))) {
		t.Errorf("%d bytes came in", n)
	}
	if n := d.http.out.Load() - out; n != 2<<20+3*head {
		t.Errorf("%d bytes went out, want 2 MiB and 3 times %d", n, head)
	}
	if g := d.gate.Count(); g.Accepts != 1 || g.Checks != asked+3 || e.hits.Load() != 4 {
		t.Errorf("gate %+v, %d quick answers", g, e.hits.Load())
	}
}

// Under TLS the socket is not where requests are read.
func TestQuickNotUnderTLS(t *testing.T) {
	e := &echo{}
	change, trust := underTLS(t)
	d := open(t, ladder{}, change, handler(e))
	c := d.client(t, over(d.dialHTTPS, trust))
	for range 3 {
		c.send(get)
		c.response()
	}
	if n := e.hits.Load(); n != 0 {
		t.Errorf("%d quick answers", n)
	}
}

// A panic ends the one connection, as in ServeHTTP.
func TestQuickPanic(t *testing.T) {
	core, logs := observer.New(zapcore.WarnLevel)
	d := open(t, ladder{}, handler(&echo{}), func(c *Config) { c.Log = zap.New(core) })
	c := d.viaHTTP(t, get)
	c.response()
	for logs.Len() == 0 { // net/http may have seen one coming, and answered it
		c.send(req("GET /panic"))
		if res, err := http.ReadResponse(c.br, nil); err == nil {
			io.Copy(io.Discard, res.Body)
			continue
		}
		break
	}
	proxytest.Eventually(t, time.Second, "the connection given back", func() bool { return d.gate.Count().Leaves == 1 })
	if all := logs.All(); len(all) != 1 || !strings.Contains(all[0].Message, "BUG: oops") {
		t.Errorf("logged %v, want the panic", all)
	}
}

// The time between requests is counted from the last answer, whoever gave it.
func TestQuickIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := openPipes(t, ladder{}, handler(&echo{}))
		f := func(what string, want time.Duration, then ...string) {
			t.Helper()
			c := d.viaHTTP(t, get)
			c.response()
			for range 3 {
				pass(idle - time.Second)
				c.send(get)
				c.response()
			}
			for _, s := range then {
				pass(idle - time.Second)
				c.send(s)
			}
			if got := closedAfter(c); got != want {
				t.Errorf("%s: closed after %v, want %v", what, got, want)
			}
		}
		f("nothing more", idle)
		f("a bit of a request", time.Second, "GE")
		f("more of it", first, "GET /")
	})
}

// stalled asks twice for a large answer, of which read takes as much as it
// likes; it returns when the connection was closed since read began, and how
// much of the second body was sent.
func stalled(t *testing.T, size int, read func(c *client)) (closed time.Duration, sent int64) {
	synctest.Test(t, func(t *testing.T) {
		e := &echo{size: size}
		d := openPipes(t, ladder{}, handler(e))
		c := d.viaHTTP(t, get)
		c.response()
		synctest.Wait()
		start := time.Now()
		c.send(get)
		read(c)
		for synctest.Wait(); d.http.open.Load() > 0; synctest.Wait() {
			pass(time.Second)
		}
		closed, sent = time.Since(start), e.done.Load()
	})
	return closed, sent
}

// Nobody holds a quick answer for ever, and nobody is cut for being slow, unless
// it is for the sake of it.
func TestQuickStall(t *testing.T) {
	if d, sent := stalled(t, 1000, func(*client) {}); d != maxStall || sent != 0 {
		t.Errorf("reading nothing: closed after %v, %d bytes sent; want %v", d, sent, maxStall)
	}
	trickle := func(c *client) {
		for range 100 {
			pass(5 * time.Second)
			c.Read(make([]byte, 2)) //nolint:errcheck // until it is closed
		}
	}
	if d, sent := stalled(t, 1000, trickle); d < 100*5*time.Second || sent > 20 {
		t.Errorf("reading 2 bytes now and then: %d bytes sent, %v", sent, d)
	}
	const reads, size = 100, 4 << 20
	total := 0
	slowly := func(c *client) {
		for range reads {
			pass(maxStall/2 - time.Second)
			n, _ := io.ReadFull(c, make([]byte, minTaken))
			total += n
		}
	}
	d, sent := stalled(t, size, slowly)
	want := int64(total - len(fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\nContent-Type: text/plain\r\n\r\n", size)))
	if gone := d - reads*(maxStall/2-time.Second); sent != want || gone > 2*maxStall || total != reads*minTaken {
		t.Errorf("reading slowly, then no more: %d bytes sent, want %d; closed after another %v", sent, want, gone)
	}
}

// The same on a socket, where the kernel takes what the viewer does not.
func TestQuickStallSocket(t *testing.T) {
	e := &echo{size: 64 << 20}
	d := open(t, ladder{}, handler(e), func(c *Config) { c.Idle = 150 * time.Millisecond })
	c := d.client(t, d.dialHTTP)
	for ; e.hits.Load() == 0; wait(10*time.Millisecond, nil) { // net/http may have seen one coming, and kept it
		c.send(req("HEAD /a"))
		if _, err := http.ReadResponse(c.br, &http.Request{Method: http.MethodHead}); err != nil {
			t.Fatal(err)
		}
	}
	c.Conn.(*net.TCPConn).SetReadBuffer(64 << 10)   //nolint:errcheck // the test is only longer without
	c.SetDeadline(time.Now().Add(30 * time.Second)) //nolint:errcheck // the read says it
	c.send(get)
	start := time.Now()
	for range 50 { // 12 MiB within at least half a second
		wait(10*time.Millisecond, nil)
		if _, err := io.CopyN(io.Discard, c.br, 256<<10); err != nil {
			t.Fatalf("cut after %v: %v", time.Since(start), err)
		}
	}
	proxytest.Eventually(t, 10*time.Second, "cut", func() bool { return d.http.open.Load() == 0 })
	if n := e.done.Load(); n < 12<<20 || n >= 64<<20 {
		t.Errorf("%d bytes sent", n)
	}
}

// The limit on quick answers is not the handlers'.
func TestQuickWriteDeadlineIsLifted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := openPipes(t, ladder{}, handler(&echo{}))
		c := d.viaHTTP(t, get)
		c.response()
		synctest.Wait()
		c.send(get)
		c.response()
		c.send(req("GET /miss"))
		pass(2 * maxStall) // the handler writes all the while
		c.response()
	})
}
