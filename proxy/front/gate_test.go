package front

import (
	"context"
	"errors"
	"net"
	"net/http"
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
	f := func(err error, rtsp, http int, retry string) {
		t.Helper()
		gate := &proxytest.Gate{RefuseCheck: err}
		d := open(t, ladder{}, func(c *Config) { c.Gate = gate })
		c := d.viaRTSP(t, options+describe)
		c.answer()
		if res := c.answer(); res.Code != rtsp || res.Header.Get("CSeq") != "2" || res.Header.Get("Retry-After") != retry {
			t.Errorf("%v: RTSP %s, want %d", err, res.Raw, rtsp)
		}
		if rest := c.closed(); rest != "" {
			t.Errorf("%v: read %q behind the answer", err, rest)
		}
		res, _ := d.viaHTTP(t, get).response()
		if res.StatusCode != http || res.Header.Get("Retry-After") != retry {
			t.Errorf("%v: HTTP %d, Retry-After %q, want %d, %q", err, res.StatusCode, res.Header.Get("Retry-After"), http, retry)
		}
		if n := gate.Count().Checks; n != 2 {
			t.Errorf("%v: the gate was asked %d times, want 2", err, n)
		}
	}
	f(&proxy.Refusal{Reason: proxy.Full, RetryAfter: 7 * time.Second}, 453, 503, "7")
	f(&proxy.Refusal{Reason: proxy.TooFast, RetryAfter: time.Second}, 503, 429, "1")
	f(&proxy.Refusal{Reason: proxy.Unauthorized}, 401, 401, "")
	f(context.DeadlineExceeded, 504, 504, "5")
	f(errors.New("hook is down"), 503, 503, "5")
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
