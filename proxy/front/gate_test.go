package front

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"weir/proxy"
	"weir/proxy/proxytest"
)

// Whom the gate does not let in costs nothing more.
func TestAcceptRefused(t *testing.T) {
	d := open(t, ladder{}, func(c *Config) {
		c.Gate = &proxytest.Gate{RefuseAccept: &proxy.Refusal{Reason: proxy.Full}}
	})
	f := func(dial func() (net.Conn, error), l *listener) {
		t.Helper()
		for range 3 {
			if got := d.client(t, dial).closed(); got != "" {
				t.Errorf("answered %q", got)
			}
		}
		if s := l.status(); s.Refused != 3 || s.Total != 0 || s.Open != 0 {
			t.Errorf("%+v, want 3 refused", s)
		}
	}
	f(d.dialRTSP, d.rtsp)
	f(d.dialHTTP, d.http)
	if c := d.cfg.Gate.(*proxytest.Gate).Count(); c.Accepts != 6 || c.Leaves != 0 || c.Checks != 0 {
		t.Errorf("gate: %+v, want 6 accepts and nothing else", c)
	}
}

// However a connection ends, it is given back once.
func TestLeaveOnce(t *testing.T) {
	d := open(t, ladder{
		rtsp: func(_ context.Context, c *proxy.RTSPConn) { c.Close(); c.Close() },
		http: func(w http.ResponseWriter, _ *http.Request) {
			c, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			c.Close()
			c.Close()
		},
	})
	want := 0
	f := func(c *client) {
		t.Helper()
		c.closed()
		c.Close()
		want++
		proxytest.Eventually(t, time.Second, "all given back", func() bool { return d.gate.Count().Leaves >= want })
		if c := d.gate.Count(); c.Accepts != want || c.Leaves != want {
			t.Fatalf("gate: %+v, want %d accepts and leaves", c, want)
		}
	}
	f(d.viaRTSP(t, describe))
	f(d.viaRTSP(t, "garbage\r\n\r\n"))
	f(d.viaHTTP(t, get)) // taken from net/http
	f(d.viaHTTP(t, "garbage\r\n\r\n"))
	f(d.viaHTTP(t, "CONNECT edge:1 HTTP/1.1\r\nHost: edge\r\nConnection: close\r\n\r\n"))
	for _, l := range []*listener{d.rtsp, d.http} {
		if n := l.open.Load(); n != 0 {
			t.Errorf("%d connections open", n)
		}
	}
}

func TestCheckRefused(t *testing.T) {
	f := func(err error, rtsp, http int, retry string, stays bool) {
		t.Helper()
		gate := &proxytest.Gate{RefuseCheck: err}
		d := open(t, ladder{}, func(c *Config) { c.Gate = gate })
		c := d.viaRTSP(t, options+describe)
		c.answer()
		if res := c.answer(); res.Code != rtsp || res.Header.Get("CSeq") != "2" || res.Header.Get("Retry-After") != retry {
			t.Errorf("%v: RTSP %s, want %d", err, res.Raw, rtsp)
		}
		want := 2 // checks
		if stays {
			c.send(options + describe)
			if res := c.answer(); res.Code != 200 {
				t.Errorf("%v: OPTIONS on the same connection: %s", err, res.Raw)
			}
			if res := c.answer(); res.Code != rtsp {
				t.Errorf("%v: once more on the same connection: %s, want %d", err, res.Raw, rtsp)
			}
			want++
		} else if rest := c.closed(); rest != "" {
			t.Errorf("%v: read %q behind the answer", err, rest)
		}
		res, _ := d.viaHTTP(t, strings.TrimSuffix(get, "\r\n")+"Origin: http://page\r\n\r\n").response()
		if cors := res.Header.Get("Access-Control-Allow-Origin"); cors != "*" {
			t.Errorf("%v: a page cannot read it: %q", err, cors)
		}
		if res.StatusCode != http || res.Header.Get("Retry-After") != retry {
			t.Errorf("%v: HTTP %d, Retry-After %q, want %d, %q", err, res.StatusCode, res.Header.Get("Retry-After"), http, retry)
		}
		if n := gate.Count().Checks; n != want {
			t.Errorf("%v: the gate was asked %d times, want %d", err, n, want)
		}
	}
	f(&proxy.Refusal{Reason: proxy.Full, RetryAfter: 7 * time.Second}, 453, 503, "7", true)
	f(&proxy.Refusal{Reason: proxy.TooFast, RetryAfter: time.Second}, 503, 429, "1", true)
	f(&proxy.Refusal{Reason: proxy.Unauthorized}, 401, 401, "", true)
	f(&proxy.Refusal{Reason: proxy.NoVerdict, RetryAfter: time.Second}, 503, 503, "1", true)
	f(&proxy.Refusal{Reason: proxy.Forbidden}, 403, 403, "", false)
	f(&proxy.Refusal{Reason: proxy.Banned}, 403, 403, "", false)
	f(context.DeadlineExceeded, 504, 504, "5", false)
	f(errors.New("nobody knows"), 503, 503, "5", false)
}

// TestCredentialsOnTheSameConnection is what players do: they ask, are told how
// to say who they are, and ask again, with another request in the same packet.
func TestCredentialsOnTheSameConnection(t *testing.T) {
	got := make(chan string, 1)
	d := open(t, ladder{rtsp: func(_ context.Context, c *proxy.RTSPConn) {
		b := make([]byte, 1000)
		n, _ := io.ReadAtLeast(c, b, 1)
		got <- string(b[:n])
	}}, func(c *Config) { c.Gate = password{proxy.Open} })
	c := d.viaRTSP(t, describe)
	if res := c.answer(); res.Code != 401 || res.Header.Get("WWW-Authenticate") != `Basic realm="here"` {
		t.Fatalf("without credentials: %s", res.Raw)
	}
	want := lines("DESCRIBE rtsp://edge/cam RTSP/1.0", "CSeq: 3", "Authorization: Basic eA==") + options
	c.send(describe + want)
	if res := c.answer(); res.Code != 401 {
		t.Fatalf("once more without: %s", res.Raw)
	}
	if b := <-got; b != want {
		t.Errorf("the ladder read %q, want %q", b, want)
	}
}

// TestManyRefusals ends a connection that goes on guessing.
func TestManyRefusals(t *testing.T) {
	d := open(t, ladder{}, func(c *Config) { c.Gate = password{proxy.Open} })
	c := d.viaRTSP(t, strings.Repeat(describe, maxAsked+5))
	for range maxAsked {
		if res := c.answer(); res.Code != 401 {
			t.Fatalf("%s", res.Raw)
		}
	}
	if rest := c.closed(); rest != "" {
		t.Errorf("read %q after %d refusals", rest, maxAsked)
	}
}

type password struct{ proxy.Admitter }

func (password) Check(_ context.Context, v *proxy.Viewer) error {
	if v.Authorization == "" {
		return &proxy.Refusal{Reason: proxy.Unauthorized, Challenges: []string{`Basic realm="here"`}}
	}
	return nil
}

// TestTakenGoesNoFurther: what the gate has taken of a request no rung sees, also
// where an answer is at hand.
func TestTakenGoesNoFurther(t *testing.T) {
	got := make(chan string, 10)
	d := open(t, ladder{}, func(c *Config) { c.Gate = taking{proxy.Open} }, func(c *Config) {
		c.Handler = hitting{ladder{t: t, http: func(_ http.ResponseWriter, r *http.Request) {
			got <- fmt.Sprint(r.RequestURI, r.Header["Authorization"], r.Header["Cookie"])
		}}, func(p *proxy.Plain) *proxy.Hit { got <- "hit? " + p.Query; return nil }}
	})
	f := func(target, fields, hit, want string) {
		t.Helper()
		c := d.viaHTTP(t, "GET /first HTTP/1.1\r\nHost: edge\r\n\r\n")
		c.response()
		<-got
		asked := ""
		for range 20 { // who asks again at once may meet net/http
			c.send("GET " + target + " HTTP/1.1\r\nHost: edge\r\n" + fields + "\r\n")
			c.response()
			g := <-got
			if strings.HasPrefix(g, "hit?") {
				asked, g = g, <-got
			}
			if g != want {
				t.Errorf("GET %s, %q: %q, want %q", target, fields, g, want)
			}
			if asked != "" {
				break
			}
		}
		if asked != hit {
			t.Errorf("GET %s, %q: asked %q, want %q", target, fields, asked, hit)
		}
	}
	f("/a?token=x", "", "hit? ", "/a[] []")
	f("/a?b=1&token=x&c=2", "Authorization: Bearer y\r\n", "hit? b=1&c=2", "/a?b=1&c=2[] []")
	f("/a", "Cookie: weir-token=x\r\n", "hit? ", "/a[] []")
	f("/a", "Cookie: b=1; weir-token=x; c=2\r\n", "hit? ", "/a[] [b=1; c=2]")
	f("/a", "Cookie: weir-token=x\r\nCookie: c=2\r\n", "", "/a[] [c=2]") // two of them are not plain
}

// hitting is a ladder that is asked for what it has at hand.
type hitting struct {
	proxy.Handler
	hit func(*proxy.Plain) *proxy.Hit
}

func (h hitting) Hit(p *proxy.Plain) *proxy.Hit { return h.hit(p) }

type taking struct{ proxy.Admitter }

func (taking) Check(_ context.Context, v *proxy.Viewer) error {
	v.Taken = &proxy.Taken{Authorization: true, Cookie: "weir-token", Parameters: []string{"token"}}
	v.Query = v.Taken.Strip(v.Query)
	return nil
}

// Check may learn things about the viewer; the ladder sees them.
func TestCheckTellsTheLadder(t *testing.T) {
	got := make(chan string, 1)
	d := open(t, ladder{
		rtsp: func(_ context.Context, c *proxy.RTSPConn) { got <- c.Viewer.Subject },
		http: func(_ http.ResponseWriter, r *http.Request) { got <- proxy.ViewerFrom(r.Context()).Subject },
	}, func(c *Config) { c.Gate = naming{proxy.Open} })
	d.viaRTSP(t, describe)
	if s := <-got; s != "alice" {
		t.Errorf("RTSP: subject %q", s)
	}
	d.viaHTTP(t, get)
	if s := <-got; s != "alice" {
		t.Errorf("HTTP: subject %q", s)
	}
}

type naming struct{ proxy.Admitter }

func (naming) Check(_ context.Context, v *proxy.Viewer) error { v.Subject = "alice"; return nil }

// A hook that takes its time does not keep the front from ending: its context
// is the connection's.
func TestCheckEndsWithTheFront(t *testing.T) {
	gate := waiting{proxy.Open, make(chan struct{}, 2)}
	d := open(t, ladder{}, func(c *Config) { c.Gate, c.DrainTimeout = gate, 0 })
	c := d.viaRTSP(t, describe)
	h := d.viaHTTP(t, get)
	<-gate.asked
	<-gate.asked
	d.stop()
	<-d.done
	c.closed()
	h.closed()
}

type waiting struct {
	proxy.Admitter
	asked chan struct{}
}

func (g waiting) Check(ctx context.Context, _ *proxy.Viewer) error {
	g.asked <- struct{}{}
	<-ctx.Done()
	return ctx.Err()
}

// TestMalformedHTTPOffends: net/http answers what is no request by itself; the
// gate hears of it all the same.
func TestMalformedHTTPOffends(t *testing.T) {
	f := func(send string, want int) {
		t.Helper()
		d := open(t, ladder{http: func(w http.ResponseWriter, r *http.Request) { http.Error(w, "no", http.StatusBadRequest) }})
		c := d.viaHTTP(t, send)
		if res, _ := c.response(); res.StatusCode != 400 {
			t.Errorf("%q: %d", send, res.StatusCode)
		}
		c.Close()
		proxytest.Eventually(t, time.Second, "the connection given back", func() bool { return d.gate.Count().Leaves == 1 })
		if n := d.gate.Count().Offences; n != want {
			t.Errorf("%q: %d offences, want %d", send, n, want)
		}
	}
	f("FOO bar\r\n\r\n", 1)
	f("GET /%zz HTTP/1.1\r\nHost: edge\r\n\r\n", 1)
	f("GET /a HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 1)
	f("PROXY TCP4 10.0.0.1 10.0.0.2 1 2\r\n"+get, 1)
	f("GET /a/../b HTTP/1.1\r\nHost: edge\r\n\r\n", 1) // no acceptable path
	f(get, 0)                                          // what a rung has against it is not malformed
}

// TestPreflight: a browser asks without credentials whether it may ask with them.
// It is told here; nothing else comes in that way.
func TestPreflight(t *testing.T) {
	d := open(t, ladder{}, func(c *Config) { c.Gate = password{proxy.Open} })
	const origin, method = "Origin: http://page\r\n", "Access-Control-Request-Method: GET\r\n"
	f := func(line, fields string, want int) {
		t.Helper()
		res, _ := d.viaHTTP(t, line+" HTTP/1.1\r\nHost: edge\r\n"+fields+"\r\n").response()
		if res.StatusCode != want {
			t.Errorf("%s %q: %d, want %d", line, fields, res.StatusCode, want)
		}
		if allowed := res.Header.Get("Access-Control-Allow-Headers"); want == 204 && allowed != "authorization" {
			t.Errorf("allowed %q", allowed)
		}
	}
	f("OPTIONS /a", origin+method+"Access-Control-Request-Headers: authorization\r\n", 204)
	f("OPTIONS /a", "Connection: Upgrade\r\nUpgrade: websocket\r\n", 401)
	f("OPTIONS /a", origin, 401)
	f("OPTIONS /a", "", 401)
	f("GET /a", origin+method, 401)
}
