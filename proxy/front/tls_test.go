package front

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"weir/proxy"
	"weir/proxy/proxytest"
)

// underTLS turns all of TLS on, and returns what clients need to believe it.
func underTLS(t testing.TB) (change func(*Config), trust *tls.Config) {
	t.Helper()
	cert, key := writePair(t, t.TempDir(), "one", notAfter)
	b, err := os.ReadFile(cert)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(b)
	return func(c *Config) { c.HTTPS, c.RTSPS, c.Cert, c.Key = "127.0.0.1:0", "127.0.0.1:0", cert, key },
		&tls.Config{RootCAs: pool, ServerName: "edge"}
}

// over is dial with TLS above it.
func over(dial func() (net.Conn, error), trust *tls.Config) func() (net.Conn, error) {
	return func() (net.Conn, error) {
		c, err := dial()
		if err != nil {
			return nil, err
		}
		return tls.Client(c, trust), nil
	}
}

// browser is an HTTP client that comes in under TLS and speaks what it can.
func (d *door) browser(t testing.TB, trust *tls.Config) *http.Client {
	tr := &http.Transport{TLSClientConfig: trust.Clone(), ForceAttemptHTTP2: true,
		DialContext: func(context.Context, string, string) (net.Conn, error) { return d.dialHTTPS() }}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: 5 * time.Second}
}

// Handlers know how a request came in: what they forward has to say it.
func TestHTTPS(t *testing.T) {
	change, trust := underTLS(t)
	d := open(t, ladder{http: func(w http.ResponseWriter, r *http.Request) {
		v := proxy.ViewerFrom(r.Context())
		if r.TLS == nil || !v.Secure || v.Protocol != "http" || r.URL.String() != "/cam" || !v.Addr.IsValid() {
			t.Errorf("TLS %v, viewer %+v, URL %v", r.TLS, v, r.URL)
		}
		io.WriteString(w, r.Proto) //nolint:errcheck // the client sees it
	}}, change)
	res, err := d.browser(t, trust).Get("https://edge//cam")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if b, _ := io.ReadAll(res.Body); string(b) != "HTTP/2.0" || res.ProtoMajor != 2 {
		t.Errorf("%s, the handler saw %s, want HTTP/2.0", res.Proto, b)
	}
	c := d.client(t, over(d.dialHTTPS, trust))
	c.send(get)
	if _, body := c.response(); body != "HTTP/1.1" {
		t.Errorf("the handler saw %s, want HTTP/1.1", body)
	}
}

// Without TLS a request is not taken for a safe one.
func TestPlainIsNotSecure(t *testing.T) {
	change, _ := underTLS(t)
	d := open(t, ladder{
		http: func(_ http.ResponseWriter, r *http.Request) {
			if proxy.ViewerFrom(r.Context()).Secure || r.TLS != nil {
				t.Error("HTTP is said to be secure")
			}
		},
		rtsp: func(_ context.Context, c *proxy.RTSPConn) {
			if c.Viewer.Secure || c.TCP() == nil {
				t.Error("RTSP is said to be secure")
			}
		},
	}, change)
	d.viaHTTP(t, get).response()
	d.viaRTSP(t, describe).closed()
}

// The handler has what the viewer sent, and no way around TLS.
func TestRTSPS(t *testing.T) {
	change, trust := underTLS(t)
	d := open(t, ladder{rtsp: func(_ context.Context, c *proxy.RTSPConn) {
		if v := c.Viewer; !v.Secure || v.Protocol != "rtsp" || v.Path != "/cam" || c.TCP() != nil {
			t.Errorf("viewer %+v, TCP %v", v, c.TCP())
		}
		b := make([]byte, len(describe))
		if _, err := io.ReadFull(c, b); err != nil || string(b) != describe {
			t.Errorf("read %q, %v", b, err)
		}
		io.Copy(c, strings.NewReader("secret")) //nolint:errcheck // the viewer sees it
		if _, ok := c.Conn.(io.ReaderFrom); ok {
			t.Error("a way past TLS")
		}
	}}, change)
	c := d.client(t, over(d.dialRTSPS, trust))
	c.send(options)
	if res := c.answer(); res.Code != 200 {
		t.Errorf("OPTIONS = %d", res.Code)
	}
	c.send(describe)
	if got := c.closed(); got != "secret" {
		t.Errorf("read %q, want secret", got)
	}
	s := c.Conn.(*tls.Conn).ConnectionState()
	if s.NegotiatedProtocol != "" || s.Version < tls.VersionTLS12 {
		t.Errorf("%s, ALPN %q, want none", tls.VersionName(s.Version), s.NegotiatedProtocol)
	}
}

func TestOldTLSIsRefused(t *testing.T) {
	change, trust := underTLS(t)
	d := open(t, ladder{}, change)
	trust.MinVersion, trust.MaxVersion = tls.VersionTLS10, tls.VersionTLS11
	for _, l := range []*listener{d.rtsps, d.https} {
		if _, err := io.WriteString(d.client(t, over(onSockets(l), trust)), get); err == nil {
			t.Errorf("%s: TLS 1.1 was taken", l.Addr())
		}
		proxytest.Eventually(t, time.Second, "failure counted", func() bool { return l.failed.Load() == 1 })
	}
}

// A counted connection knows what went over the wire.
type counted struct {
	net.Conn
	in, out *atomic.Uint64
}

func (c counted) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.in.Add(uint64(n))
	return n, err
}

func (c counted) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	c.out.Add(uint64(n))
	return n, err
}

// What is paid for is what goes over the wire, TLS's own bytes with it.
func TestBytesUnderTLS(t *testing.T) {
	change, trust := underTLS(t)
	d := open(t, ladder{
		rtsp: func(_ context.Context, c *proxy.RTSPConn) { io.WriteString(c, strings.Repeat("x", 50<<10)) },   //nolint:errcheck // counted
		http: func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, strings.Repeat("x", 50<<10)) }, //nolint:errcheck // counted
	}, change)
	f := func(l *listener, request string) {
		t.Helper()
		var in, out atomic.Uint64
		c := d.client(t, over(func() (net.Conn, error) {
			c, err := onSockets(l)()
			return counted{c, &in, &out}, err
		}, trust))
		c.send(request)
		if got := c.closed(); len(got) < 50<<10 {
			t.Errorf("read %d bytes", len(got))
		}
		c.Close()
		proxytest.Eventually(t, time.Second, "connection closed", func() bool { return l.open.Load() == 0 })
		// What the client says last may meet a closed socket.
		if s := l.status(); s.OutBytes != in.Load() || s.InBytes > out.Load() || s.InBytes+100 < out.Load() || in.Load() < 50<<10 {
			t.Errorf("%+v, the client has seen %d in and %d out", s, in.Load(), out.Load())
		}
	}
	f(d.rtsps, describe)
	f(d.https, "GET /cam HTTP/1.0\r\n\r\n")
}

// A port on the internet hears much that is no TLS. It is counted, and wakes
// nobody; load balancers that come and go are not even counted.
func TestFailedHandshakes(t *testing.T) {
	change, _ := underTLS(t)
	core, logs := observer.New(zapcore.DebugLevel)
	reg := prometheus.NewRegistry()
	d := open(t, ladder{}, change, func(c *Config) { c.Log, c.Metrics = zap.New(core), reg })
	f := func(l *listener, protocol string) {
		t.Helper()
		for range 3 {
			d.client(t, onSockets(l)).Close()
		}
		for _, garbage := range []string{get, describe, "\x16\x03\x01\x00\x05hello"} {
			c := d.client(t, onSockets(l))
			c.send(garbage)
			io.Copy(io.Discard, c) //nolint:errcheck // until it is closed, perhaps by a reset
		}
		proxytest.Eventually(t, time.Second, "all closed", func() bool { s := l.status(); return s.Total == 6 && s.Open == 0 })
		if got := figures(t, reg, protocol)["handshake_failures_total"]; got != 3 || l.status().Failed != 3 {
			t.Errorf("%s: %v failures, %+v, want 3", protocol, got, l.status())
		}
	}
	f(d.rtsps, "rtsps")
	f(d.https, "https")
	if n := logs.FilterMessage("handshake failed").FilterLevelExact(zapcore.DebugLevel).Len(); n != 6 {
		t.Errorf("logged %d handshakes, want 6", n)
	}
	for _, e := range logs.FilterMessage("handshake failed").All() {
		from, _ := e.ContextMap()["from"].(string)
		why, _ := e.ContextMap()["error"].(string)
		if _, err := netip.ParseAddrPort(from); err != nil || why == "" {
			t.Errorf("logged %v, want an address and an error", e.ContextMap())
		}
	}
	for _, e := range logs.FilterLevelExact(zapcore.WarnLevel).All() {
		t.Errorf("warned: %s", e.Message)
	}
	if _, ok := figures(t, reg, "rtsp")["handshake_failures_total"]; ok {
		t.Error("plain RTSP counts handshakes")
	}
}

// Whom the gate refuses costs no handshake.
func TestGateComesBeforeTheHandshake(t *testing.T) {
	change, trust := underTLS(t)
	d := open(t, ladder{}, change, func(c *Config) {
		c.Gate = &proxytest.Gate{RefuseAccept: &proxy.Refusal{Reason: proxy.Full}}
	})
	for _, l := range []*listener{d.rtsps, d.https} {
		c := tls.Client(d.client(t, onSockets(l)), trust)
		if err := c.Handshake(); err == nil {
			t.Error("handshake with somebody who was refused")
		}
		if s := l.status(); s.Refused != 1 || s.Total+s.InBytes+s.OutBytes+s.Failed != 0 {
			t.Errorf("%+v, want 1 refused and nothing else", s)
		}
	}
}

// Who takes his time over the handshake holds up nobody else, and has as long as
// for a first request.
func TestSilentHandshake(t *testing.T) {
	change, trust := underTLS(t)
	d := open(t, ladder{http: ok}, change)
	for _, l := range []*listener{d.rtsps, d.https} {
		for range 3 {
			d.client(t, onSockets(l)) // says nothing
		}
	}
	c := d.client(t, over(d.dialRTSPS, trust))
	c.send(options)
	if res := c.answer(); res.Code != 200 {
		t.Errorf("OPTIONS = %d", res.Code)
	}
	h := d.client(t, over(d.dialHTTPS, trust))
	h.send(get)
	h.response()
}

func TestSilentUnderTLS(t *testing.T) {
	change, trust := underTLS(t)
	synctest.Test(t, func(t *testing.T) {
		d := openPipes(t, ladder{http: ok}, change)
		f := func(what string, c *client, want time.Duration) {
			t.Helper()
			if got := closedAfter(c); got != want {
				t.Errorf("%s: closed after %v, want %v", what, got, want)
			}
		}
		f("rtsps without a hello", d.client(t, d.dialRTSPS), first)
		f("https without a hello", d.client(t, d.dialHTTPS), first)
		// The handshake's time is part of the first request's.
		c := d.client(t, over(d.dialRTSPS, trust))
		pass(first / 2)
		c.Conn.(*tls.Conn).Handshake() //nolint:errcheck // closed shows it
		f("rtsps without a request", c, first/2)
		c = d.client(t, over(d.dialRTSPS, trust))
		c.send(options)
		c.answer()
		f("rtsps after OPTIONS", c, idle)
		c = d.client(t, over(d.dialHTTPS, trust))
		c.send(get)
		c.response()
		f("https after a request", c, idle)
	})
}

// A read that has run into its deadline is no end under TLS either: handlers
// stop their readers so.
func TestReadDeadlineUnderTLS(t *testing.T) {
	change, trust := underTLS(t)
	d := open(t, ladder{rtsp: func(_ context.Context, c *proxy.RTSPConn) {
		io.ReadFull(c, make([]byte, len(describe))) //nolint:errcheck // replayed
		c.SetReadDeadline(time.Now())               //nolint:errcheck // Read says it
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("Read: %v, want a timeout", err)
		}
		c.SetReadDeadline(time.Time{}) //nolint:errcheck // Read says it
		io.WriteString(c, "go on\n")   //nolint:errcheck // the viewer sees it
		io.CopyN(c, c, 5)              //nolint:errcheck // the viewer sees it
	}}, change)
	c := d.client(t, over(d.dialRTSPS, trust))
	c.send(describe)
	if s, err := c.br.ReadString('\n'); s != "go on\n" {
		t.Fatalf("read %q, %v", s, err)
	}
	c.send("hello")
	if got := c.closed(); got != "hello" {
		t.Errorf("read %q, want hello", got)
	}
}

// A request on HTTP/2 that is under way at the drain is answered, and then the
// connection ends; an RTSP viewer under TLS is told as the others are.
func TestDrainUnderTLS(t *testing.T) {
	change, trust := underTLS(t)
	entered, release := make(chan struct{}, 2), make(chan struct{})
	d := open(t, ladder{
		http: func(w http.ResponseWriter, r *http.Request) {
			entered <- struct{}{}
			<-release
			io.WriteString(w, "whole") //nolint:errcheck // the client sees it
		},
		rtsp: func(ctx context.Context, c *proxy.RTSPConn) {
			entered <- struct{}{}
			<-ctx.Done()
			c.Close()
		},
	}, change, func(c *Config) { c.DrainTimeout = 2 * time.Second })
	r := d.client(t, over(d.dialRTSPS, trust))
	r.send(describe)
	body := make(chan string, 1)
	browser := d.browser(t, trust)
	go func() {
		res, err := browser.Get("https://edge/cam")
		if err != nil {
			body <- err.Error()
			return
		}
		defer res.Body.Close()
		b, _ := io.ReadAll(res.Body)
		body <- res.Proto + " " + string(b)
	}()
	<-entered
	<-entered
	d.stop()
	for _, l := range []*listener{d.rtsps, d.https} {
		proxytest.Eventually(t, time.Second, "listener closed", func() bool {
			c, err := onSockets(l)()
			if err == nil {
				c.Close()
			}
			return err != nil
		})
	}
	close(release)
	if got := <-body; got != "HTTP/2.0 whole" {
		t.Errorf("read %q", got)
	}
	if got := r.closed(); got != "" {
		t.Errorf("read %q", got)
	}
	<-d.done
	if d.rtsps.open.Load()+d.https.open.Load() != 0 {
		t.Errorf("connections are open after Run: %+v, %+v", d.rtsps.status(), d.https.status())
	}
}

// TLS alone is a whole front.
func TestOnlyTLS(t *testing.T) {
	change, trust := underTLS(t)
	d := open(t, ladder{}, change, func(c *Config) { c.HTTP, c.RTSP = "", "" })
	if d.HTTPAddr() != nil || d.RTSPAddr() != nil || d.HTTPSAddr() == nil || d.RTSPSAddr() == nil {
		t.Errorf("addresses %v %v %v %v", d.HTTPAddr(), d.RTSPAddr(), d.HTTPSAddr(), d.RTSPSAddr())
	}
	c := d.client(t, over(d.dialRTSPS, trust))
	c.send(options)
	if res := c.answer(); res.Code != 200 {
		t.Errorf("OPTIONS = %d", res.Code)
	}
}
