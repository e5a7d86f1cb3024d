package front

import (
	"errors"
	"net"
	"os"
	"strings"
	"time"
)

// A progress tells a viewer who takes little from one who takes nothing, when a
// write to him has not ended in time. The kernel lets a writer go on when a third
// of the send buffer is free, which may have grown to megabytes: on a line of
// 300 kbit/s that takes longer than a write may, though bytes flow all the time.
type progress struct {
	asked bool
	taken int64 // bytes of the connection that had been acknowledged when it was asked last
}

// made reports whether the viewer has taken at least minTaken bytes since it was
// asked last. The first time it is, as there is nothing to compare with. written
// is how many bytes the socket has been given in all.
func (p *progress) made(c *net.TCPConn, written int64) bool {
	if c == nil {
		return false
	}
	q, ok := unacknowledged(c)
	if !ok {
		return false
	}
	first, before := !p.asked, p.taken
	p.asked, p.taken = true, written-int64(q)
	return first || p.taken-before >= minTaken
}

// A lag is the time that whoever writes to a viewer has set for it.
type lag struct {
	within time.Duration // 0 or less: no second try
	over   bool          // a viewer over HTTP has let it pass
	progress
}

// set notes a new deadline.
func (l *lag) set(deadline time.Time) {
	l.within, l.progress = 0, progress{}
	if !deadline.IsZero() {
		l.within = time.Until(deadline)
	}
}

// goesOn reports whether a write that ended with err may go on, with a new
// deadline: the viewer has taken something in the time there was. Where it is false
// because he has not, his connection takes no more: TLS would have a last word, and
// wait for him again.
func (c *conn) goesOn(err error) bool {
	if err == nil || strings.HasPrefix(c.l.protocol, "rtsp") || !errors.Is(err, os.ErrDeadlineExceeded) {
		return false
	}
	c.lagMu.Lock()
	defer c.lagMu.Unlock()
	if c.lag.within > 0 && c.lag.made(c.tcp, c.written.Load()) {
		return c.Conn.SetWriteDeadline(time.Now().Add(c.lag.within)) == nil
	}
	c.lag.over = true
	return false
}

// gaveUp reports whether the viewer has let a deadline pass.
func (c *conn) gaveUp() bool {
	c.lagMu.Lock()
	defer c.lagMu.Unlock()
	return c.lag.over
}
