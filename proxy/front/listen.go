package front

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"weir/proxy"
)

// A listener accepts connections that the gate lets in, and counts what they
// carry. It survives running out of file descriptors.
type listener struct {
	net.Listener
	protocol  string
	tls       *tls.Config // nil for none
	gate      proxy.Admitter
	firstByte time.Duration
	proxies   Prefixes // who may send PROXY headers
	room      *anteroom
	log       *zap.Logger

	open           atomic.Int64
	total, refused atomic.Uint64
	failed         atomic.Uint64 // handshakes
	broken         atomic.Uint64 // PROXY headers
	in, out        atomic.Uint64 // bytes, under TLS those of TLS
}

type listenerStatus struct {
	Address  string `json:"address"`
	Open     int64  `json:"connections"`
	Total    uint64 `json:"connections_total"`
	Refused  uint64 `json:"refused_total"`
	InBytes  uint64 `json:"in_bytes"`
	OutBytes uint64 `json:"out_bytes"`
	Failed   uint64 `json:"handshake_failures_total,omitempty"`
	Broken   uint64 `json:"broken_proxy_headers_total,omitempty"`
}

// listen returns nil without an error for an empty address.
func (f *Front) listen(protocol, addr string, secure *tls.Config) (*listener, error) {
	if addr == "" {
		return nil, nil
	}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("listen for %s on %s: %w (choose another with -%s)", protocol, addr, errors.Unwrap(err), protocol)
	}
	ln := &listener{Listener: l, protocol: protocol, tls: secure, gate: f.cfg.Gate, firstByte: f.cfg.FirstByte,
		proxies: f.cfg.ProxyProtocol, log: f.log.With(zap.String("protocol", protocol))}
	ln.room = newAnteroom(ln)
	ln.register(protocol, f.cfg.Metrics)
	return ln, nil
}

func (l *listener) register(protocol string, reg prometheus.Registerer) {
	reg = prometheus.WrapRegistererWith(prometheus.Labels{"protocol": protocol}, reg)
	counter := func(name, help string, v *atomic.Uint64) {
		reg.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Name: name, Help: help},
			func() float64 { return float64(v.Load()) }))
	}
	counter("weir_front_connections_total", "Connections accepted.", &l.total)
	counter("weir_front_refused_total", "Connections that the gate refused.", &l.refused)
	counter("weir_front_received_bytes_total", "Bytes from viewers.", &l.in)
	counter("weir_front_sent_bytes_total", "Bytes to viewers.", &l.out)
	if l.tls != nil {
		counter("weir_front_handshake_failures_total", "Connections with which TLS was not agreed on.", &l.failed)
	}
	if len(l.proxies) > 0 {
		counter("weir_front_broken_proxy_headers_total", "Connections closed because their PROXY header could not be read.", &l.broken)
	}
	reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "weir_front_connections", Help: "Connections open."},
		func() float64 { return float64(l.open.Load()) }))
}

// The following may be called on a nil listener: one that is off.

func (l *listener) addr() net.Addr {
	if l == nil {
		return nil
	}
	return l.Addr()
}

// Close implements net.Listener. Connections accepted live on.
func (l *listener) Close() error {
	if l == nil {
		return nil
	}
	err := l.Listener.Close()
	if l.room != nil {
		l.room.close()
	}
	return err
}

func (l *listener) status() *listenerStatus {
	if l == nil {
		return nil
	}
	return &listenerStatus{l.Addr().String(), l.open.Load(), l.total.Load(), l.refused.Load(), l.in.Load(), l.out.Load(), l.failed.Load(), l.broken.Load()}
}

// Accept implements net.Listener; the connections are *conn. The only error is
// net.ErrClosed.
func (l *listener) Accept() (net.Conn, error) {
	if len(l.proxies) > 0 {
		select {
		case c := <-l.room.ready:
			return c, nil
		case <-l.room.over:
			return nil, net.ErrClosed
		}
	}
	for {
		c, err := l.acceptOne()
		if err != nil {
			return nil, err
		}
		if vc := l.admit(c); vc != nil {
			return vc, nil
		}
	}
}

// start is called before Accept.
func (l *listener) start() {
	if l != nil && len(l.proxies) > 0 {
		l.room.wg.Go(l.pump)
	}
}

// pump accepts for those who wait in Accept: nobody's header holds up the others.
// It ends when the socket is closed.
func (l *listener) pump() {
	for {
		c, err := l.acceptOne()
		if err != nil {
			return
		}
		if l.proxies.contain(address(c.RemoteAddr()).Addr()) {
			l.room.enter(c, l.room.introduce)
			continue
		}
		if vc := l.admit(c); vc != nil {
			select {
			case l.room.ready <- vc:
			case <-l.room.over:
				vc.Close()
			}
		}
	}
}

// acceptOne returns no error but net.ErrClosed: anything else (EMFILE,
// ECONNABORTED) passes, and to give up would cut the door for everybody.
func (l *listener) acceptOne() (net.Conn, error) {
	pause := 5 * time.Millisecond
	for {
		c, err := l.Listener.Accept()
		switch {
		case errors.Is(err, net.ErrClosed):
			return nil, err
		case err != nil:
			l.log.Warn("accept", zap.Error(err), zap.Duration("retry", pause))
			time.Sleep(pause)
			pause = min(2*pause, time.Second)
			continue
		}
		return c, nil
	}
}

// admit is letIn for a connection that comes by itself; nil if it is refused, and
// closed soon.
func (l *listener) admit(c net.Conn) *conn {
	vc, refusal := l.letIn(c, c.RemoteAddr())
	switch {
	case refusal == nil:
	case l.tells(refusal):
		l.room.enter(c, func(c net.Conn) { l.room.refuse(c, nil, refusal) })
	default:
		c.Close()
	}
	return vc
}

// letIn asks the gate about a connection from an address.
func (l *listener) letIn(c net.Conn, from net.Addr) (*conn, *proxy.Refusal) {
	leave, err := l.gate.Accept(address(from).Addr())
	if err != nil {
		l.refused.Add(1)
		return nil, proxy.Refused(err)
	}
	l.total.Add(1)
	l.open.Add(1)
	tcp, _ := c.(*net.TCPConn)
	return &conn{Conn: c, tcp: tcp, l: l, from: from, leave: leave}, nil
}

func address(a net.Addr) netip.AddrPort {
	if t, ok := a.(*net.TCPAddr); ok {
		ap := t.AddrPort()
		return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
	}
	return netip.AddrPort{}
}

// A conn counts the bytes of a viewer's connection.
type conn struct {
	net.Conn
	tcp    *net.TCPConn // the same as Conn; nil if it is something else
	l      *listener
	from   net.Addr // the viewer's, which may not be the socket's
	before []byte   // what was read already; for the goroutine that reads
	leave  func()

	moved   atomic.Uint64 // bytes in both directions
	written atomic.Int64  // to the viewer
	closed  atomic.Bool

	lagMu sync.Mutex
	lag   lag
}

// RemoteAddr implements net.Conn.
func (c *conn) RemoteAddr() net.Addr { return c.from }

func (c *conn) Read(b []byte) (int, error) {
	if len(c.before) > 0 && len(b) > 0 {
		n := copy(b, c.before)
		c.before = c.before[n:]
		return n, nil
	}
	n, err := c.Conn.Read(b)
	c.l.in.Add(uint64(n))
	c.moved.Add(uint64(n))
	return n, err
}

func (c *conn) Write(b []byte) (int, error) {
	if said := refusedByNetHTTP(b); said != nil && c.l.protocol == "http" {
		c.l.log.Debug("bad request", zap.Stringer("viewer", c.from), zap.ByteString("said", said))
		c.l.gate.Offend(address(c.from).Addr(), proxy.BadRequest)
	}
	if c.gaveUp() {
		return 0, os.ErrDeadlineExceeded
	}
	n, err := c.Conn.Write(b)
	c.sent(n)
	for c.goesOn(err) {
		var m int
		m, err = c.Conn.Write(b[n:])
		c.sent(m)
		n += m
	}
	return n, err
}

// ReadFrom keeps sendfile and splice for net/http, which looks for it.
func (c *conn) ReadFrom(r io.Reader) (n int64, err error) {
	for {
		before := leftInFile(r)
		m, err := io.Copy(c.Conn, r) // by TCPConn's own ReadFrom
		c.sent(int(m))
		n += m
		if before < 0 || before-leftInFile(r) != m || !c.goesOn(err) {
			return n, err
		}
	}
}

// leftInFile is how much of a file is still to be sent; -1 if r is none. What was read
// of it and not sent, as by a copy instead of sendfile, is lost: there is no going on.
func leftInFile(r io.Reader) int64 {
	if l, ok := r.(*io.LimitedReader); ok {
		if _, ok := l.R.(*os.File); ok {
			return l.N
		}
	}
	return -1
}

// SetWriteDeadline implements net.Conn. A viewer over HTTP who still takes what he
// was sent before has that much time again.
func (c *conn) SetWriteDeadline(t time.Time) error {
	c.lagMu.Lock()
	defer c.lagMu.Unlock()
	c.lag.set(t)
	return c.Conn.SetWriteDeadline(t)
}

// SetDeadline implements net.Conn.
func (c *conn) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

// CloseWrite is what net/http looks for so that an answer to a request of which
// bytes are left unread is not lost to a reset.
func (c *conn) CloseWrite() error {
	if c.tcp == nil {
		return errors.ErrUnsupported
	}
	return c.tcp.CloseWrite()
}

func (c *conn) sent(n int) {
	c.l.out.Add(uint64(n))
	c.moved.Add(uint64(n))
	c.written.Add(int64(n))
}

// Close may be called more than once.
func (c *conn) Close() error {
	err := c.Conn.Close()
	if !c.closed.Swap(true) {
		c.l.open.Add(-1)
		c.leave()
	}
	return err
}
