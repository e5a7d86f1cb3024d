package splitter

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"net"
	"sync"
	"syscall"
	"time"

	"github.com/bluenviron/gortsplib/v4"
	"go.uber.org/zap"

	"weir/proxy"
	"weir/proxy/wire"
)

// Bounds of what a connection writes and keeps, in bytes.
const (
	requestBuffer = 1 << 10   // each viewer has one; requests are rarely longer
	maxWrite      = 256 << 10 // one write
	maxPiece      = 16 << 10  // one write that waits: each has the whole lag
	maxAnswer     = 64 << 10  // answers waiting for a viewer who does not read; more closes
	maxBehind     = 1 << 20   // a viewer further behind than that jumps when a newer key frame is there
)

var errSlow = errors.New("viewer took nothing for too long")

// A conn is a viewer's connection as gortsplib sees it: it reads requests and
// writes answers. What gortsplib does not see is the media: while a session
// plays over TCP the conn has a cursor, and flush writes from the ring.
//
// Reading (in vet.go): only well-formed requests that the gate has let in reach
// gortsplib; interleaved data from the viewer does not.
//
// Writing: all goes through pump, with mu held, by one goroutine at a time (the
// one that set busy). out goes first: answers, and the rest of a packet that a
// short write has cut. A viewer who takes no more stays busy and gets a
// goroutine of its own until it has caught up; workers pass it by. Nobody else
// may write to the socket meanwhile, answers included.
type conn struct {
	*proxy.RTSPConn
	s   *Splitter
	log *zap.Logger
	lag time.Duration
	raw syscall.RawConn // nil: no writes without waiting (TLS, not unix)

	ctx     context.Context // ServeRTSP's, for waits while reading; net.Conn's Read has none
	in      *wire.Reader    // the reading goroutine's, like all in this block
	pending []byte          // of the request that gortsplib is reading
	viewer  *proxy.Viewer   // as the gate has checked him last; of the present path
	guesses int             // requests that were refused for what they show, up to maxGuesses
	carries []*conn         // that have gone, and whose sessions were named over this one

	// request is the one being answered, and what follows is what it is about. Set
	// before gortsplib sees the request; gortsplib reads the next one after it has
	// answered.
	request *wire.Request
	about   *userData // the session that it names; nil for none
	feed    *feed     // of DESCRIBE and SETUP
	track   int       // of SETUP
	offer   offer     // of SETUP, the one that is taken
	rtpInfo string    // for the answer, if it is PLAY
	setUp   *userData // the session that the last good SETUP was for, until its TEARDOWN

	mu     sync.Mutex
	out    []byte
	lent   *[]byte  // what out began in, if it was lent by the splitter
	play   *session // plays over this connection; nil for none
	armed  *opening // of a session that plays as soon as its 200 has been written
	busy   bool     // somebody is in pump, or waits for the socket
	dead   error
	wrote  func(fd uintptr) bool // c.tryPump, made once
	waited func(fd uintptr) bool // c.waitPump

	sessions []*gortsplib.ServerSession // made on this connection and not ended; guarded by mu
	views    []*session                 // our parts of these; guarded by mu
	holds    int                        // these, and work on their behalf; guarded by mu
	gone     bool                       // gortsplib has done with the connection; guarded by mu
	over     bool                       // ended is closed; guarded by mu
	orphans  *time.Timer                // ends its sessions once it has gone; guarded by mu
	carriers int                        // open connections that carry on its sessions; guarded by mu
	ended    chan struct{}              // closed when gone and not held
	work     sync.WaitGroup
}

func newConn(ctx context.Context, s *Splitter, rc *proxy.RTSPConn) *conn {
	c := &conn{RTSPConn: rc, ctx: ctx, s: s, lag: s.opt.Lag, ended: make(chan struct{}),
		in: wire.NewReader(bufio.NewReaderSize(rc, requestBuffer)), viewer: rc.Viewer,
		log: s.log.WithLazy(zap.Stringer("viewer", rc.RemoteAddr()))}
	c.wrote, c.waited = c.tryPump, c.waitPump
	c.raw = rawConn(rc.TCP())
	endStuck(c.raw, c.lag)
	return c
}

// Write takes an answer from gortsplib. It does not wait for the viewer.
func (c *conn) Write(b []byte) (int, error) {
	c.mu.Lock()
	if c.dead != nil {
		defer c.mu.Unlock()
		return 0, c.dead
	}
	if len(c.out)+len(b) > maxAnswer+maxWrite {
		c.mu.Unlock()
		c.fail(errSlow)
		return 0, errSlow
	}
	c.out = append(c.out, b...)
	o := c.armed
	c.armed = nil
	if o != nil && !bytes.HasPrefix(b, []byte("RTSP/1.0 200")) {
		o = nil
	}
	if o != nil && o.of.udp == nil {
		c.out = o.of.appendReports(c.out, o.reports())
		c.play = o.of
		o.of.starting(o)
	}
	c.mu.Unlock()
	c.kick()
	if o != nil {
		o.of.begin(o)
	}
	return len(b), nil
}

// write takes what is neither an answer nor stands in the ring, behind a whole packet.
func (c *conn) write(b []byte) {
	c.mu.Lock()
	c.out = append(c.out, b...)
	c.mu.Unlock()
	c.kick()
}

// arm makes the next answer, if it is 200, the start of a session's media.
func (c *conn) arm(o *opening) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.armed = o
}

// rest stops a session's media. The rest of a packet that is under way follows.
func (c *conn) rest(s *session) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.play == s {
		c.play, s.at, s.waits = nil, cursor{}, false // a cursor left behind keeps all that follows alive
	}
	if c.armed != nil && c.armed.of == s {
		c.armed = nil
	}
}

// SetWriteDeadline does nothing: gortsplib sets one before each answer and leaves
// it standing, which would end the media seconds later. Who waits for the
// socket here has a deadline of his own.
func (c *conn) SetWriteDeadline(time.Time) error { return nil }

// flush implements receiver. What a viewer does not take is left to a goroutine of
// his own.
func (c *conn) flush(*batch) (left bool) {
	c.kick()
	return false
}

// kick writes what there is, unless somebody does already: he will see it.
func (c *conn) kick() {
	c.mu.Lock()
	if c.busy && c.play != nil {
		c.play.catchUp() // he may take long over what is in out
	}
	if c.busy || c.dead != nil || !c.more() {
		c.mu.Unlock()
		return
	}
	c.busy = true
	if c.raw == nil {
		c.work.Go(c.waitBlocking) // with mu held: nobody may begin after Close
		c.mu.Unlock()
		return
	}
	c.mu.Unlock()
	if err := c.raw.Write(c.wrote); err != nil {
		c.fail(err)
	}
}

// more reports whether there is anything to write; mu is held.
func (c *conn) more() bool {
	if len(c.out) > 0 {
		return true
	}
	if c.play == nil || !c.play.starts() {
		return false
	}
	at, n := c.play.at.settle()
	return at.i < n
}

// served reports whether all that the ring has for a session is written.
func (c *conn) served(s *session) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.dead != nil || c.play != s || !c.busy && !c.more()
}

// told reports whether all that does not stand in the ring is written.
func (c *conn) told() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.dead != nil || !c.busy && len(c.out) == 0
}

// closeSocket closes the connection after pump has found it dead.
func (c *conn) closeSocket() {
	c.mu.Lock()
	err := c.dead
	c.mu.Unlock()
	c.ending(err)
	c.RTSPConn.Close()
}

// unstuck is errSlow for what the kernel says of a viewer who takes nothing: see
// endStuck.
func unstuck(err error) error {
	if errors.Is(err, syscall.ETIMEDOUT) {
		return errSlow
	}
	return err
}

// ending takes note of a viewer who is too slow.
func (c *conn) ending(err error) {
	if !errors.Is(err, errSlow) {
		return
	}
	c.s.met.slow.Inc()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.play != nil {
		c.play.setReason("too slow")
	}
}

// fail closes the connection for a reason.
func (c *conn) fail(err error) {
	err = unstuck(err)
	c.mu.Lock()
	first := c.dead == nil
	if first {
		c.dead = err
	}
	c.busy = false
	c.mu.Unlock()
	if first {
		c.ending(err)
	}
	c.RTSPConn.Close()
}

// Close implements net.Conn.
func (c *conn) Close() error {
	c.fail(net.ErrClosed)
	return nil
}
