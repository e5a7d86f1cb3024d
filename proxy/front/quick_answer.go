package front

import (
	"errors"
	"os"
	"time"

	"weir/proxy"
)

// maxStall is how long a viewer of a quick answer may take none of it, at most:
// net/http has no such limit, handlers have theirs.
const maxStall = 30 * time.Second

// minTaken is how many bytes he has to take until such a deadline, the first of
// which leaves half of maxStall: about 1 KB/s, less than any media has.
const minTaken = 16 << 10

// answerAll answers the requests that b begins with, up to the first one that
// net/http is to have. An error is the end of the connection.
func (c *quickConn) answerAll(b []byte) (done int, err error) {
	for done < len(b) {
		n, err := c.answer(b[done:])
		if err != nil || n == 0 {
			return done, err
		}
		done += n
	}
	return done, nil
}

// answer answers the request that b begins with and returns its length; 0 if
// net/http is to have it.
func (c *quickConn) answer(b []byte) (n int, err error) {
	if c.l.f.draining.Load() {
		return 0, nil // net/http knows how to leave
	}
	r, n := readPlain(b)
	if n == 0 {
		return 0, nil
	}
	c.begin()
	defer c.end()
	q := r.question(c.l.f.viewerOf(c.addr, r.get))
	if c.refusal = c.l.check(&q.viewer); c.refusal != nil {
		c.checked = &q.viewer
		return 0, nil
	}
	q.plain.Query = q.viewer.Query // without what the gate has taken
	h := c.l.hitter.Hit(&q.plain)
	if h == nil {
		c.checked = &q.viewer
		return 0, nil
	}
	return n, c.write(h)
}

// write sends an answer. It fails when the viewer takes next to nothing for too
// long; not when it is slow.
func (c *quickConn) write(h *proxy.Hit) (err error) {
	c.vec = append(append(c.vec[:0], h.Header), h.Body...)
	c.out = c.vec
	var taken progress
	sent, more := int64(-len(h.Header)), true
	for more {
		c.limitStall()
		var n int64
		n, err = c.out.WriteTo(c.Conn)
		c.sent(int(n))
		sent += n
		more = errors.Is(err, os.ErrDeadlineExceeded) && (n >= minTaken || taken.made(c.tcp, c.written.Load()))
	}
	h.Done(max(sent, 0))
	c.answered = time.Now()
	return err
}

// limitStall leaves the viewer at least half of the time there is: to move the
// deadline costs more than to read the clock.
func (c *quickConn) limitStall() {
	d := min(maxStall, c.l.f.cfg.Idle)
	if now := time.Now(); c.stall.Sub(now) < d/2 {
		c.stall = now.Add(d)
		c.SetWriteDeadline(c.stall) //nolint:errcheck // the write says it
	}
}

// recall returns the viewer and what the gate said if it was asked about the
// request for this target already; nil if not. It is for the handler of the
// request.
func (c *quickConn) recall(target string) (v *proxy.Viewer, refusal error) {
	v, refusal = c.checked, c.refusal
	c.checked, c.refusal = nil, nil
	if v == nil || v.Target != target {
		return nil, nil
	}
	return v, refusal
}
