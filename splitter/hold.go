package splitter

import (
	"slices"
	"time"

	"github.com/bluenviron/gortsplib/v4"
)

// A connection has ended when gortsplib has done with it, and so have the
// sessions made on it (over UDP they outlive their connection, RFC 2326 §1.1) and
// what works on their behalf.

// opened counts a session that was made on the connection.
func (c *conn) opened(ss *gortsplib.ServerSession) {
	c.hold()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sessions = append(c.sessions, ss)
}

// made notes our part of a session that was made on the connection.
func (c *conn) made(s *session) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.views = append(c.views, s)
}

// closed is the opposite of opened, and of made.
func (c *conn) closed(ss *gortsplib.ServerSession, s *session) {
	c.mu.Lock()
	c.sessions = slices.DeleteFunc(c.sessions, func(x *gortsplib.ServerSession) bool { return x == ss })
	c.views = slices.DeleteFunc(c.views, func(x *session) bool { return x == s })
	c.mu.Unlock()
	c.release()
}

// shut ends the connection and its sessions, with a goodbye.
func (c *conn) shut() {
	c.mu.Lock()
	left, views := slices.Clone(c.sessions), slices.Clone(c.views)
	c.mu.Unlock()
	letGo(views)
	for _, ss := range left {
		ss.Close()
	}
	c.Close()
}

// hold keeps the connection from having ended, whatever its socket does.
func (c *conn) hold() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.holds++
}

// release is the opposite of hold.
func (c *conn) release() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.holds--
	c.checkEnded()
}

// orphanGrace is how long a session over UDP whose connection has gone is sent to
// without a word from its viewer: receivers report every five seconds or so.
// gortsplib would wait for a minute, and does where another connection of the
// viewer's carries the session on.
const orphanGrace = 15 * time.Second

// left tells that gortsplib has done with the connection, which is read no more.
func (c *conn) left() {
	c.mu.Lock()
	c.gone = true
	c.checkEnded()
	c.awaitWord()
	c.mu.Unlock()
	for _, old := range c.carries {
		old.carried(-1)
	}
	c.carries = nil
}

// lives tells of a word from the viewer by another way than the connection.
func (c *conn) lives() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.awaitWord()
}

// carry tells that the viewer goes on over c with what he has on a connection that
// has gone. It is the reading goroutine's.
func (c *conn) carry(old *conn) {
	if slices.Contains(c.carries, old) {
		return
	}
	c.carries = append(slices.DeleteFunc(c.carries, (*conn).hasEnded), old)
	old.carried(1)
}

// carried counts the open connections that carry on what was made on this one.
func (c *conn) carried(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.carriers += n
	c.awaitWord()
}

// awaitWord gives the sessions of a connection that has gone another grace, or all
// the time while other connections carry them on; mu is held.
func (c *conn) awaitWord() {
	switch {
	case !c.gone || c.over:
	case c.orphans == nil:
		c.orphans = time.AfterFunc(c.s.orphanGrace, c.orphaned)
	case c.carriers > 0:
		c.orphans.Stop()
	default:
		c.orphans.Reset(c.s.orphanGrace)
	}
}

// orphaned ends the sessions of a connection that has gone.
func (c *conn) orphaned() {
	c.mu.Lock()
	var left []*gortsplib.ServerSession
	if c.carriers == 0 { // else somebody has come just in time
		left = slices.Clone(c.sessions)
		for _, s := range c.views {
			s.setReason("gone without a word")
		}
	}
	c.mu.Unlock()
	for _, ss := range left {
		ss.Close()
	}
}

func (c *conn) checkEnded() {
	if c.gone && c.holds == 0 && !c.over {
		c.over = true
		close(c.ended)
		if c.orphans != nil {
			c.orphans.Stop()
		}
	}
}

func (c *conn) hasEnded() bool {
	select {
	case <-c.ended:
		return true
	default:
		return false
	}
}
