package front

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"sync"
	"time"

	"weir/proxy"
)

// quick makes the connections of l, in the clear, answer plain requests by
// themselves where the handler has the answer at hand. ctx is that of net/http's
// requests.
func (f *Front) quick(ctx context.Context, l *listener) net.Listener {
	h, ok := f.cfg.Handler.(proxy.Hitter)
	if !ok {
		return l
	}
	return &quickListener{listener: l, f: f, hitter: h, check: func(v *proxy.Viewer) error { return f.cfg.Gate.Check(ctx, v) }}
}

type quickListener struct {
	*listener
	f      *Front
	hitter proxy.Hitter
	check  func(*proxy.Viewer) error // the gate's; ends with the front, not when the viewer leaves
}

// Accept implements net.Listener; the connections are *quickConn.
func (l *quickListener) Accept() (net.Conn, error) {
	c, err := l.listener.Accept()
	if err != nil {
		return nil, err
	}
	return &quickConn{conn: c.(*conn), l: l, addr: address(c.RemoteAddr())}, nil
}

// A quickConn is a connection that net/http serves. When net/http waits in vain
// for the next request, it has nothing to lose: a Read that it then calls answers
// plain requests by itself and returns only when something else comes. The first
// request of a connection is always net/http's, whose states then are what
// Shutdown needs: a connection that answers quickly is an idle one.
//
// Between requests means that net/http says it is idle and was given exactly one
// header block since it last was. A connection on which it ever gets more than
// that and a byte, such as a body or requests before their turn, is left to it
// for good: how much of that it has used is not to be known from outside.
//
// All that is said of net/http here is so in Go 1.26 (server.go), and tests would
// tell if it were no longer.
//
// Fields that no comment gives to mu belong to the goroutine that net/http reads
// on; where it uses two, in turn, it orders them.
type quickConn struct {
	*conn
	l    *quickListener
	addr netip.AddrPort

	given    place         // where what net/http was given ends
	between  bool          // requests; Read is to be quick
	answered time.Time     // when the last quick answer had been sent; zero for none since net/http waits
	stall    time.Time     // the write deadline; zero for none
	checked  *proxy.Viewer // of the request that net/http was given last, if the gate was asked
	refusal  error         // what it said
	vec, out net.Buffers   // of the answer being written; out is what is left of vec

	mu      sync.Mutex // before Front.mu
	busy    bool       // a request has come and is not answered yet: to close is to wait for that
	closing bool       // Close was called meanwhile; the connection is one of Front.viewers
}

var _ interface { // what net/http looks for
	net.Conn
	io.ReaderFrom
	CloseWrite() error
} = (*quickConn)(nil)

// connState is http.Server.ConnState.
func connState(nc net.Conn, s http.ConnState) {
	c, ok := nc.(*quickConn)
	switch {
	case !ok:
	case s == http.StateHijacked:
		c.given = beyond
	case s == http.StateIdle && c.given == whole:
		c.between = true
	case s == http.StateIdle && c.given == ahead:
		c.given = inLine
	case s == http.StateIdle:
		c.given = beyond
	}
}

// Read implements net.Conn.
func (c *quickConn) Read(b []byte) (int, error) {
	if c.between {
		return c.readQuickly(b)
	}
	n, err := c.conn.Read(b)
	if n > 0 && c.given != beyond {
		c.follow(b, n)
	}
	return n, err
}

// follow notes that n bytes of b are given to net/http. While a handler works,
// it reads one byte to see whether the viewer has left: one who is quick to ask
// again often hits that. It reads single bytes for nothing else then: all it
// reads besides goes into an empty buffer.
func (c *quickConn) follow(b []byte, n int) {
	if c.given == whole && len(b) == 1 && b[0] > ' ' {
		c.given = ahead
		return
	}
	c.given = c.given.after(b[:n])
}

// readQuickly returns what is not to be answered here. net/http reads into a
// buffer of 4 KiB, more than most viewers' requests need.
func (c *quickConn) readQuickly(b []byte) (int, error) {
	for {
		n, err := c.conn.Read(b)
		if n == 0 && c.mayStay(err) {
			continue
		}
		if n == 0 || err != nil {
			return c.handOver(b, b[:n]), err
		}
		done, err := c.answerAll(b[:n])
		if err != nil {
			return 0, err
		}
		if done < n {
			return c.handOver(b, b[done:n]), nil
		}
	}
}

// mayStay reports whether a read has ended before the viewer was idle for long
// enough: net/http's deadline knows nothing of quick answers, and to move it at
// each of them would cost more than to do so when it comes.
func (c *quickConn) mayStay(err error) bool {
	if c.answered.IsZero() || !errors.Is(err, os.ErrDeadlineExceeded) {
		return false
	}
	by := c.answered.Add(c.l.f.cfg.Idle)
	return time.Now().Before(by) && c.SetReadDeadline(by) == nil
}

// handOver gives rest, part of b, to net/http, with the deadlines as they would
// be had it sent the answers.
func (c *quickConn) handOver(b, rest []byte) int {
	c.between, c.given = false, inLine.after(rest)
	if !c.answered.IsZero() {
		c.SetReadDeadline(c.answered.Add(c.l.f.cfg.Idle)) //nolint:errcheck // the next read says it
		c.SetWriteDeadline(time.Time{})                   //nolint:errcheck // the next write says it
		c.answered, c.stall = time.Time{}, time.Time{}
	}
	return copy(b, rest)
}

// Close implements net.Conn. net/http calls it during a drain, as it takes the
// connection for idle: an answer that is under way then becomes a viewer's
// like others, to be waited for and told to go.
func (c *quickConn) Close() error {
	if c.closeLater() {
		return nil
	}
	return c.conn.Close()
}

func (c *quickConn) closeLater() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.busy && !c.closing {
		c.closing = true
		c.l.f.add(c, func() { c.conn.Close() })
	}
	return c.busy
}

func (c *quickConn) begin() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.busy = true
}

// end also closes, if that had to wait: the next read finds out.
func (c *quickConn) end() {
	c.mu.Lock()
	closing := c.closing
	c.busy = false
	c.mu.Unlock()
	if closing {
		c.conn.Close() //nolint:errcheck // nothing is left to be sent
		c.l.f.remove(c)
	}
}
