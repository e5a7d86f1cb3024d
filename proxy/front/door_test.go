package front

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"weir/proxy"
	"weir/proxy/proxytest"
	"weir/proxy/wire"
)

const (
	options  = "OPTIONS * RTSP/1.0\r\nCSeq: 1\r\n\r\n"
	describe = "DESCRIBE rtsp://edge/cam RTSP/1.0\r\nCSeq: 2\r\n\r\n"
	get      = "GET /cam HTTP/1.1\r\nHost: edge\r\n\r\n"
)

// A ladder is a handler whose missing methods nobody may reach.
type ladder struct {
	t    testing.TB
	rtsp func(context.Context, *proxy.RTSPConn)
	http http.HandlerFunc
}

func (l ladder) ServeRTSP(ctx context.Context, c *proxy.RTSPConn) {
	if l.rtsp == nil {
		l.t.Errorf("%s %s has reached the ladder", c.First.Method, c.First.URL)
		return
	}
	l.rtsp(ctx, c)
}

// Hit implements proxy.Hitter, so that whatever is tested is tested on
// connections that might have been answered quickly.
func (l ladder) Hit(*proxy.Plain) *proxy.Hit { return nil }

func (l ladder) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if l.http == nil {
		l.t.Errorf("%s %s has reached the ladder", r.Method, r.RequestURI)
		return
	}
	l.http(w, r)
}

// A door is a Front that runs until its test ends.
type door struct {
	*Front
	gate *proxytest.Gate
	stop context.CancelFunc // as SIGTERM does
	done chan struct{}      // closed when Run has returned
	// Where viewers dial; in a bubble, where sockets do not wait for the fake
	// clock, these are pipes.
	dialRTSP, dialHTTP   func() (net.Conn, error)
	dialRTSPS, dialHTTPS func() (net.Conn, error) // TLS is the client's to begin
	patience             time.Duration            // of clients; 0 is none
}

// open runs a front on real sockets.
func open(t testing.TB, l ladder, change ...func(*Config)) *door {
	t.Helper()
	d := build(t, l, change...)
	d.dialRTSP, d.dialHTTP = onSockets(d.rtsp), onSockets(d.http)
	d.dialRTSPS, d.dialHTTPS = onSockets(d.rtsps), onSockets(d.https)
	d.patience = 5 * time.Second
	d.start(t)
	return d
}

// openPipes runs a front for a synctest bubble.
func openPipes(t testing.TB, l ladder, change ...func(*Config)) *door {
	t.Helper()
	d := build(t, l, change...)
	d.dialRTSP, d.dialHTTP = onPipes(d.rtsp), onPipes(d.http)
	d.dialRTSPS, d.dialHTTPS = onPipes(d.rtsps), onPipes(d.https)
	d.start(t)
	return d
}

func build(t testing.TB, l ladder, change ...func(*Config)) *door {
	t.Helper()
	l.t = t
	d := &door{gate: &proxytest.Gate{}, done: make(chan struct{})}
	cfg := Config{
		Options: Options{
			HTTP: "127.0.0.1:0", RTSP: "127.0.0.1:0",
			FirstByte: 10 * time.Second, Idle: 2 * time.Minute,
			DrainNotice: 5 * time.Second, DrainTimeout: 100 * time.Second,
		},
		Handler: l, Gate: d.gate, Metrics: prometheus.NewRegistry(), Log: proxytest.Logger(t),
	}
	for _, c := range change {
		c(&cfg)
	}
	var err error
	if d.Front, err = New(cfg); err != nil {
		t.Fatal(err)
	}
	return d
}

func (d *door) start(t testing.TB) {
	ctx, stop := context.WithCancel(context.Background())
	d.stop = stop
	go func() {
		defer close(d.done)
		if err := d.Run(ctx); err != nil {
			t.Errorf("Run: %v", err)
		}
	}()
	t.Cleanup(func() {
		d.SetDrainTimeout(0)
		stop()
		<-d.done
	})
}

// A client is a viewer by hand.
type client struct {
	net.Conn
	t  testing.TB
	br *bufio.Reader
}

func (d *door) client(t testing.TB, dial func() (net.Conn, error)) *client {
	t.Helper()
	c, err := dial()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if d.patience > 0 {
		c.SetDeadline(time.Now().Add(d.patience)) //nolint:errcheck // whoever reads will see
	}
	return &client{c, t, bufio.NewReader(c)}
}

// viaRTSP and viaHTTP connect and send what is given.
func (d *door) viaRTSP(t testing.TB, send string) *client {
	t.Helper()
	c := d.client(t, d.dialRTSP)
	c.send(send)
	return c
}

func (d *door) viaHTTP(t testing.TB, send string) *client {
	t.Helper()
	c := d.client(t, d.dialHTTP)
	c.send(send)
	return c
}

func (c *client) send(s string) {
	c.t.Helper()
	if _, err := io.WriteString(c, s); err != nil {
		c.t.Fatalf("send %.60q: %v", s, err)
	}
}

// answer reads an RTSP response.
func (c *client) answer() *wire.Response {
	c.t.Helper()
	m, err := wire.NewReader(c.br).Next()
	if err != nil {
		c.t.Fatalf("answer: %v", err)
	}
	return m.(*wire.Response)
}

// response reads an HTTP response and its body.
func (c *client) response() (*http.Response, string) {
	c.t.Helper()
	res, err := http.ReadResponse(c.br, nil)
	if err != nil {
		c.t.Fatalf("response: %v", err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		c.t.Fatalf("body: %v", err)
	}
	return res, string(b)
}

// closed waits until the other side closes, and returns what came before that.
func (c *client) closed() string {
	c.t.Helper()
	b, err := io.ReadAll(c.br)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		c.t.Fatalf("not closed; read %.60q", b)
	}
	return string(b)
}

// pipes is a listener without sockets.
type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func onSockets(l *listener) (dial func() (net.Conn, error)) {
	return func() (net.Conn, error) { return net.Dial("tcp", l.Addr().String()) }
}

// onPipes makes l, if it is on, listen without sockets, and returns how to dial it.
func onPipes(l *listener) (dial func() (net.Conn, error)) {
	if l == nil {
		return nil
	}
	l.Listener.Close() //nolint:errcheck // it is not used
	p := &pipes{conns: make(chan net.Conn), closed: make(chan struct{})}
	l.Listener = p
	return p.dial
}

func (p *pipes) dial() (net.Conn, error) {
	near, far := net.Pipe()
	select {
	case p.conns <- pipeEnd{far}:
		return near, nil
	case <-p.closed:
		return nil, errors.New("connection refused")
	}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { p.once.Do(func() { close(p.closed) }); return nil }
func (p *pipes) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1} }

type pipeEnd struct{ net.Conn }

func (pipeEnd) RemoteAddr() net.Addr { return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 7), Port: 50000} }

// lines joins header lines to a message.
func lines(l ...string) string { return strings.Join(l, "\r\n") + "\r\n\r\n" }

// pass lets time of a bubble go by.
func pass(d time.Duration) { <-time.After(d) }
