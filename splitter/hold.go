package splitter

import (
	"slices"

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

// left tells that gortsplib has done with the connection.
func (c *conn) left() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.gone = true
	c.checkEnded()
}

func (c *conn) checkEnded() {
	if c.gone && c.holds == 0 && !c.over {
		c.over = true
		close(c.ended)
	}
}
