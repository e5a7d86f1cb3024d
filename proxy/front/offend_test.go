package front

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"weir/proxy"
	"weir/proxy/proxytest"
)

// Who sends what cannot be read is told of to the gate, once for each time; whoever
// is only refused is not.
func TestOffences(t *testing.T) {
	change, _ := underTLS(t)
	d := open(t, ladder{
		rtsp: func(context.Context, *proxy.RTSPConn) {},
		http: func(w http.ResponseWriter, r *http.Request) {
			w.Header()["Date"] = nil
			w.Header().Set("Connection", "close")
			http.Error(w, "400 Bad Request", http.StatusBadRequest)
		},
	}, change)
	want := 0
	f := func(offends int, c *client, send string) {
		t.Helper()
		io.WriteString(c, send) //nolint:errcheck // the front may have closed before the end
		c.closed()
		want += offends
		proxytest.Eventually(t, time.Second, "all given back", func() bool { return d.rtsp.open.Load()+d.http.open.Load() == 0 })
		if n := d.gate.Count().Offences; n != want {
			t.Errorf("%.60q: %d offences, want %d", send, n-want+offends, offends)
			want = n
		}
	}
	rtsp := func(offends int, send string) { t.Helper(); f(offends, d.client(t, d.dialRTSP), send) }
	web := func(offends int, send string) { t.Helper(); f(offends, d.client(t, d.dialHTTP), send) }
	rtsp(1, "garbage\r\n\r\n")
	rtsp(1, "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n") // TLS
	rtsp(1, "PROXY TCP4 192.0.2.9 10.0.0.1 4711 80\r\n"+describe)
	rtsp(1, lines("DESCRIBE rtsp://edge/a/../b RTSP/1.0", "CSeq: 1"))
	rtsp(0, describe)
	web(1, "GET / HTTP/1.1\r\n\r\n") // no Host
	web(1, "GET / HTTP/9.9\r\nHost: edge\r\n\r\n")
	web(1, "GET / HTTP/1.1\r\nHost: edge\r\nA: "+strings.Repeat("b", 100<<10)+"\r\n\r\n")
	web(0, get)
	web(0, "GET /a HTTP/1.0\r\n\r\n")
	for _, l := range []*listener{d.rtsps, d.https} { // a handshake that fails is no offence
		f(0, d.client(t, onSockets(l)), get)
		f(0, d.client(t, over(onSockets(l), &tls.Config{ServerName: "edge"})), get) // whom it does not trust
	}
}

// Behind a proxy that is known it is the viewer who offends.
func TestOffenceOfWhom(t *testing.T) {
	gate := &offended{Admitter: proxy.Open, by: make(chan netip.Addr, 1)}
	d := open(t, ladder{}, func(c *Config) {
		c.Gate, c.Forwarded, c.ProxyProtocol = gate, prefixes(t, "127.0.0.1"), prefixes(t, "127.0.0.1")
	})
	f := func(send, want string) {
		t.Helper()
		d.viaHTTP(t, send)
		if a := <-gate.by; a.String() != want {
			t.Errorf("%q: %s, want %s", send, a, want)
		}
	}
	f(req("GET /a/../b", "X-Forwarded-For: 192.0.2.9"), "192.0.2.9")
	f("PROXY TCP4 192.0.2.9 10.0.0.1 4711 80\r\ngarbage\r\n\r\n", "192.0.2.9")
	f("garbage\r\n\r\n", "127.0.0.1")
}

type offended struct {
	proxy.Admitter
	by chan netip.Addr
}

func (o *offended) Offend(a netip.Addr, _ proxy.Reason) { o.by <- a }

// Nothing of what may be credentials is in any line of the log, wherever a viewer
// writes them, and whatever is wrong with his request.
func TestNoCredentialsInLog(t *testing.T) {
	core, logs := observer.New(zapcore.DebugLevel)
	change, _ := underTLS(t)
	d := open(t, ladder{
		rtsp: func(context.Context, *proxy.RTSPConn) {},
		http: func(http.ResponseWriter, *http.Request) { panic("BUG: oops") },
	}, change, func(c *Config) { c.Log, c.ProxyProtocol = zap.New(core), prefixes(t, "127.0.0.1") })
	var wg sync.WaitGroup
	for _, send := range []string{
		"DESCRIBE rtsp://edge/a?token=secret RTSP/1.0\r\n\r\n",
		"DESCRIBE /a?token=secret nonsense\r\nCSeq: 1\r\n\r\n",
		"/a?token=secret\r\n\r\n",
		lines("DESCRIBE rtsp://edge/a/../b?token=secret RTSP/1.0", "CSeq: 1"),
		lines("DESCRIBE rtsp://edge/a RTSP/1.0", "Authorization Bearer secret"),
		lines("DESCRIBE rtsp://edge/a RTSP/1.0", "CSeq: 1", " folded secret"),
		lines("DESCRIBE rtsp://edge/a RTSP/1.0", "CSeq: 1", "Content-Length: secret"),
		lines("DESCRIBE rtsp://a:secret@edge/a?token=secret RTSP/1.0", "CSeq: 1", "Authorization: Bearer secret"),
		req("GET /a?token=secret", "Authorization: Bearer secret", "Cookie: weir-token=secret", "Connection: close"),
		req("GET /a/../b?token=secret", "Connection: close"),
		"GET /a?token=secret\r\n\r\n",
	} {
		for _, l := range []*listener{d.rtsp, d.http, d.rtsps, d.https} {
			wg.Go(func() {
				c := d.client(t, onSockets(l))
				io.WriteString(c, send) //nolint:errcheck // the front may have closed before the end
				c.closed()
			})
		}
	}
	wg.Wait()
	for _, e := range logs.All() {
		if line := fmt.Sprint(e.Message, e.ContextMap()); strings.Contains(line, "secret") {
			t.Errorf("logged: %s", line)
		}
	}
	if logs.FilterMessage("bad first request").Len() == 0 {
		t.Error("nothing was logged at all")
	}
}
