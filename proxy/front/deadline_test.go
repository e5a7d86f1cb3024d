package front

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"weir/proxy"
)

// idle and first are those of build.
const (
	idle  = 2 * time.Minute
	first = 10 * time.Second
)

// closedAfter says how long the other side takes to close.
func closedAfter(c *client) time.Duration {
	start := time.Now()
	c.closed()
	return time.Since(start)
}

func TestSilentConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := openPipes(t, ladder{})
		f := func(dial func() (net.Conn, error), want time.Duration) {
			t.Helper()
			if got := closedAfter(d.client(t, dial)); got != want {
				t.Errorf("closed after %v, want %v", got, want)
			}
		}
		f(d.dialRTSP, first)
		f(d.dialHTTP, first)
	})
}

// Real sockets keep the same deadline.
func TestSilentSocket(t *testing.T) {
	d := open(t, ladder{}, func(c *Config) { c.FirstByte = 20 * time.Millisecond })
	d.client(t, d.dialRTSP).closed()
	d.client(t, d.dialHTTP).closed()
}

// A byte now and then buys no time.
func TestSlowLoris(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := openPipes(t, ladder{})
		f := func(dial func() (net.Conn, error), request string) {
			t.Helper()
			c := d.client(t, dial)
			var wg sync.WaitGroup
			defer wg.Wait()
			wg.Go(func() { drip(c, request) })
			if got := closedAfter(c); got != first {
				t.Errorf("%.10q: closed after %v, want %v", request, got, first)
			}
		}
		f(d.dialRTSP, describe)
		f(d.dialHTTP, get)
	})
}

// drip writes a byte a second until it cannot.
func drip(w io.Writer, s string) {
	for i := range s {
		if _, err := io.WriteString(w, s[i:i+1]); err != nil {
			return
		}
		pass(time.Second)
	}
}

// Load balancers keep connections on which they ask with OPTIONS.
func TestOptionsKeepsTheConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := openPipes(t, ladder{})
		c := d.client(t, d.dialRTSP)
		for range 5 {
			c.send(options)
			c.answer()
			pass(idle - time.Second)
		}
		if got := closedAfter(c); got < time.Second || got > idle {
			t.Errorf("closed %v after the idle time began to run out, want at most %v", got, idle)
		}
	})
}

func TestHTTPIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := openPipes(t, ladder{http: ok})
		c := d.viaHTTP(t, get)
		c.response()
		if got := closedAfter(c); got != idle {
			t.Errorf("closed after %v, want %v", got, idle)
		}
	})
}

// untilIdle runs use as a handler's work and returns how long Read waited in
// vain after use had returned.
func untilIdle(t *testing.T, use func(c *proxy.RTSPConn, viewer *client)) (waited time.Duration) {
	synctest.Test(t, func(t *testing.T) {
		conns, release := make(chan *proxy.RTSPConn), make(chan struct{})
		d := openPipes(t, ladder{rtsp: func(_ context.Context, c *proxy.RTSPConn) {
			io.ReadFull(c, make([]byte, len(describe))) //nolint:errcheck // replayed
			conns <- c
			<-release
		}})
		defer close(release)
		viewer := d.viaRTSP(t, describe)
		c := <-conns
		read := make(chan error, 1)
		go func() { read <- drainReads(c) }()
		use(c, viewer)
		start := time.Now()
		if err := <-read; !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("Read: %v, want a timeout", err)
		}
		waited = time.Since(start)
	})
	return waited
}

func drainReads(r io.Reader) error {
	for b := make([]byte, 100); ; {
		if _, err := r.Read(b); err != nil {
			return err
		}
	}
}

func TestIdle(t *testing.T) {
	f := func(what string, use func(*proxy.RTSPConn, *client)) {
		t.Helper()
		if got := untilIdle(t, use); got < idle || got > 2*idle {
			t.Errorf("%s: Read waited for %v after the last byte, want %v to %v", what, got, idle, 2*idle)
		}
	}
	often := func(do func(c *proxy.RTSPConn, v *client)) func(*proxy.RTSPConn, *client) {
		return func(c *proxy.RTSPConn, v *client) {
			for range 20 {
				pass(idle * 3 / 4)
				do(c, v)
			}
		}
	}
	f("nothing moves", func(*proxy.RTSPConn, *client) {})
	f("the viewer sends", often(func(_ *proxy.RTSPConn, v *client) { v.send("x") }))
	f("sent past the connection", often(func(c *proxy.RTSPConn, _ *client) { c.Sent(1) }))
	f("the handler writes", often(func(c *proxy.RTSPConn, v *client) {
		go io.WriteString(c, "x") //nolint:errcheck // read by v
		v.br.ReadByte()           //nolint:errcheck // written by c
	}))
}

// The handler's own read deadline works besides: the earlier one wins.
func TestReadDeadline(t *testing.T) {
	f := func(what string, want time.Duration, use func(*proxy.RTSPConn, *client)) {
		t.Helper()
		if got := untilIdle(t, use); got != want {
			t.Errorf("%s: Read waited for %v, want %v", what, got, want)
		}
	}
	in := func(d time.Duration) func(*proxy.RTSPConn, *client) {
		return func(c *proxy.RTSPConn, _ *client) { c.SetReadDeadline(time.Now().Add(d)) } //nolint:errcheck // Read says it
	}
	f("sooner than idle", time.Second, in(time.Second))
	f("later than idle", idle, in(10*idle))
	f("in the past", 0, in(-time.Second))
	f("the epoch", 0, func(c *proxy.RTSPConn, _ *client) { c.SetReadDeadline(time.Unix(0, 0)) }) //nolint:errcheck // Read says it
	f("both ways", time.Second, func(c *proxy.RTSPConn, _ *client) {
		c.SetDeadline(time.Now().Add(time.Second)) //nolint:errcheck // Read says it
	})
	f("lifted", idle, func(c *proxy.RTSPConn, _ *client) {
		in(time.Second)(c, nil)
		c.SetReadDeadline(time.Time{}) //nolint:errcheck // Read says it
	})
	f("in spite of what moves", 0, func(c *proxy.RTSPConn, _ *client) {
		in(idle*3/2)(c, nil)
		pass(idle / 2)
		c.Sent(1)
		pass(idle)
	})
}

// SetReadDeadline wakes a Read at whatever point it is: it is how handlers stop
// their readers.
func TestReadDeadlineMeetsRead(t *testing.T) {
	near, far := net.Pipe()
	defer near.Close()
	defer far.Close()
	m := &meeting{Conn: far, entered: make(chan struct{}), passed: make(chan struct{})}
	c := &rtspConn{Conn: m, socket: &conn{Conn: m, l: &listener{}}, idle: time.Second}
	start, read := time.Now(), make(chan error)
	go func() { read <- drainReads(c) }()
	<-m.entered                   // Read is about to set the idle deadline
	c.SetReadDeadline(time.Now()) //nolint:errcheck // Read says it
	close(m.passed)
	<-read
	if d := time.Since(start); d >= time.Second {
		t.Errorf("Read noticed its deadline after %v", d)
	}
}

// A meeting holds up the first SetReadDeadline until another has passed, if it
// can: who holds a lock meanwhile goes on after 50ms.
type meeting struct {
	net.Conn
	once            sync.Once
	entered, passed chan struct{}
}

func (m *meeting) SetReadDeadline(t time.Time) error {
	m.once.Do(func() {
		close(m.entered)
		wait(50*time.Millisecond, m.passed)
	})
	return m.Conn.SetReadDeadline(t)
}

// The limit on the front's own answers is not the handler's.
func TestWriteDeadlineIsLifted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		wrote := make(chan error, 1)
		d := openPipes(t, ladder{rtsp: func(_ context.Context, c *proxy.RTSPConn) {
			pass(2 * first)
			_, err := io.WriteString(c, "late")
			wrote <- err
		}})
		c := d.viaRTSP(t, options)
		c.answer()
		c.send(describe)
		if got := c.closed(); got != "late" {
			t.Errorf("read %q, want late", got)
		}
		if err := <-wrote; err != nil {
			t.Error(err)
		}
	})
}

// A viewer who does not read its answer is not waited for.
func TestAnswerNobodyReads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := openPipes(t, ladder{})
		d.viaRTSP(t, options)
		pass(first)
		synctest.Wait()
		if n := d.rtsp.open.Load(); n != 0 {
			t.Errorf("%d connections open", n)
		}
	})
}
