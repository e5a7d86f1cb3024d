package splitter

import (
	"errors"
	"os"
	"time"
)

// tryPump writes without waiting, and leaves a full socket to a goroutine.
func (c *conn) tryPump(fd uintptr) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, done := c.pump(fd); !done {
		c.work.Go(c.waitSocket)
	}
	return true
}

// waitSocket serves a viewer whose socket is full until it has caught up.
func (c *conn) waitSocket() {
	c.progress()
	if err := c.raw.Write(c.waited); err != nil {
		if errors.Is(err, os.ErrDeadlineExceeded) {
			err = errSlow
		}
		c.fail(err)
	}
}

// waitPump is called whenever the socket takes more, and returns false to wait.
func (c *conn) waitPump(fd uintptr) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	n, done := c.pump(fd)
	switch {
	case done:
		c.RTSPConn.SetWriteDeadline(time.Time{}) //nolint:errcheck // a dead socket shows at the next write
	case n > 0:
		c.progress()
	}
	return done
}

func (c *conn) progress() {
	c.RTSPConn.SetWriteDeadline(time.Now().Add(c.lag)) //nolint:errcheck // as above
}

// pump writes until nothing is left (done: busy is off then), or the socket is
// full. mu is held.
func (c *conn) pump(fd uintptr) (total int, done bool) {
	for c.dead == nil {
		b := c.chunk()
		if len(b) == 0 {
			break
		}
		n, err := writeSocket(fd, b)
		if n > 0 {
			total += n
			c.Sent(n) // it has gone past the connection that counts
			c.took(n)
		}
		if err != nil {
			c.dead = unstuck(err)
			c.work.Go(c.closeSocket) // not here: the caller holds the socket
			break
		}
		if n < len(b) {
			return total, false
		}
	}
	c.busy = false
	return total, true
}

// chunk is the next bytes to write: out, else a piece of the ring.
func (c *conn) chunk() []byte {
	if len(c.out) > 0 {
		return c.out
	}
	if c.play == nil || !c.play.starts() {
		return nil
	}
	c.play.catchUp()
	if !c.play.starts() {
		return nil
	}
	if c.play.mapped() {
		c.lent = c.s.scratch.Get().(*[]byte)
		c.out = c.play.appendMapped((*c.lent)[:0])
		if len(c.out) > 0 {
			c.play.sent(len(c.out))
			return c.out
		}
		c.giveBack()
		if c.play.mapped() {
			return nil
		}
	}
	b, _ := c.play.at.run(maxWrite)
	return b
}

// took notes that n bytes of the last chunk have been written.
func (c *conn) took(n int) {
	if len(c.out) > 0 {
		if c.out = c.out[n:]; len(c.out) == 0 {
			c.giveBack()
		}
		return
	}
	rest := c.play.advance(n)
	c.play.sent(n + len(rest)) // what has left the ring goes out, whatever happens
	c.out = append(c.out, rest...)
}

// giveBack returns what was lent for mapped packets; out is empty.
func (c *conn) giveBack() {
	c.out = nil
	if c.lent != nil {
		c.s.scratch.Put(c.lent)
		c.lent = nil
	}
}

// waitBlocking is pump for connections that can only wait: one piece at a time,
// each with a deadline.
func (c *conn) waitBlocking() {
	var buf []byte
	for {
		c.mu.Lock()
		b := c.chunk()
		if len(b) == 0 || c.dead != nil {
			c.busy = false
			c.mu.Unlock()
			return
		}
		b = b[:min(len(b), maxPiece)]
		buf = append(buf[:0], b...)
		c.took(len(b))
		c.mu.Unlock()
		c.progress()
		if _, err := c.RTSPConn.Write(buf); err != nil {
			if errors.Is(err, os.ErrDeadlineExceeded) {
				err = errSlow
			}
			c.fail(err)
			return
		}
	}
}
