package passthrough

import (
	"net"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	// idleBeats is for how many beats nothing may come before a leg waits for its
	// socket as others do: it is paused, or at its end.
	idleBeats = 10
	// lowWater is how much an origin may send before the socket wakes anybody up
	// between two beats, in bytes.
	lowWater = 64 << 10
)

// A gatherer reads from an origin. While media comes, it leaves what arrives in
// the socket until the next beat, and then reads all there is. It is for one
// goroutine; media may be set by any.
type gatherer struct {
	c     net.Conn
	raw   syscall.RawConn // nil: no beat, TLS, or a system that cannot
	media atomic.Bool
	beat  time.Duration
	began time.Time // beats are counted from then, the same for all
	low   int       // how many bytes wake up who waits for the socket

	look  func(fd uintptr) bool // g.peek, bound once
	try   func(fd uintptr)      // the same, once only
	found bool                  // something can be read, were it the end
	told  bool                  // ready has said so
	full  bool                  // the last read found so much that there may well be more

	nudged atomic.Bool // whoever reads is to come back at once
	spare  int         // how many nudges are not heeded: what is read must not be lost
	owes   bool        // one was not
}

func newGatherer(c net.Conn, beat time.Duration, began time.Time) *gatherer {
	g := &gatherer{c: c, beat: beat, began: began, low: 1}
	if beat > 0 {
		g.raw = rawConn(c)
	}
	g.look = g.peek
	g.try = func(fd uintptr) { g.peek(fd) }
	return g
}

// Read implements io.Reader.
func (g *gatherer) Read(b []byte) (n int, err error) {
	for {
		if err = g.ready(); err == nil {
			n, err = g.c.Read(b)
			g.told, g.full = false, n > len(b)/2
		}
		if g.spare == 0 || n > 0 || !woken(err) {
			return n, err
		}
		g.spare, g.owes = g.spare-1, true
		g.calm()
	}
}

// undisturbed does what reads something that must be read in one go. One nudge waits for
// that; who takes longer than until the next may be gone in the middle.
func (g *gatherer) undisturbed(read func()) {
	g.spare = 1
	read()
	if g.spare = 0; g.owes {
		g.owes = false
		g.nudge()
	}
}

// ready waits until the next Read has something, so that nobody has to hold a
// buffer while nothing comes.
func (g *gatherer) ready() error {
	if g.raw == nil || g.told {
		return nil
	}
	g.found = false
	for n := 0; !g.found && g.media.Load() && !g.nudged.Load() && n < idleBeats; n++ {
		g.wakeAt(lowWater)
		if !g.full {
			time.Sleep(g.beat - time.Since(g.began)%g.beat)
		}
		g.full = false
		if err := g.raw.Control(g.try); err != nil {
			return err
		}
	}
	if !g.found {
		g.wakeAt(1)
		if err := g.raw.Read(g.look); err != nil {
			return err
		}
	}
	g.told = true
	return nil
}

// nudge has who reads come back, with an error that says that time is over; calm
// lets him read again.
func (g *gatherer) nudge() {
	g.nudged.Store(true)
	g.c.SetReadDeadline(time.Unix(1, 0)) //nolint:errcheck // closed: the next read says it
}

func (g *gatherer) calm() {
	g.nudged.Store(false)
	g.c.SetReadDeadline(time.Time{}) //nolint:errcheck // likewise
}

// peek finds out whether there is something to be read; it is called again when
// the socket has more.
func (g *gatherer) peek(fd uintptr) bool {
	g.found = readable(fd)
	return g.found
}

// wakeAt says how many bytes are to wake up who waits for the socket.
func (g *gatherer) wakeAt(low int) {
	if low != g.low {
		g.low = low
		g.raw.Control(func(fd uintptr) { setLowWater(fd, low) }) //nolint:errcheck // closed: the next read says it
	}
}
