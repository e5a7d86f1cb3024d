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

// closed is the opposite of opened.
func (c *conn) closed(ss *gortsplib.ServerSession) {
	c.mu.Lock()
	c.sessions = slices.DeleteFunc(c.sessions, func(x *gortsplib.ServerSession) bool { return x == ss })
	c.mu.Unlock()
	c.release()
}

// shut ends the connection and its sessions.
func (c *conn) shut() {
	c.mu.Lock()
	left := slices.Clone(c.sessions)
	c.mu.Unlock()
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
// gortsplib would wait for a minute.
const orphanGrace = 15 * time.Second

// left tells that gortsplib has done with the connection.
func (c *conn) left() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.gone = true
	if c.checkEnded(); !c.over {
		c.orphans = time.AfterFunc(c.s.orphanGrace, c.orphaned)
	}
}

// lives tells of a word from the viewer by another way than the connection.
func (c *conn) lives() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.orphans != nil {
		c.orphans.Reset(c.s.orphanGrace)
	}
}

// orphaned ends the sessions of a connection that has gone.
func (c *conn) orphaned() {
	c.mu.Lock()
	left := slices.Clone(c.sessions)
	c.mu.Unlock()
	for _, ss := range left {
		if s := sessionOf(ss); s != nil {
			s.setReason("gone without a word")
		}
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
