package proxy

import (
	"net"

	"weir/proxy/wire"
)

// RTSPMethods is what Public says to those who ask with OPTIONS (RFC 2326 §12.28).
const RTSPMethods = "OPTIONS, DESCRIBE, SETUP, PLAY, PAUSE, GET_PARAMETER, SET_PARAMETER, TEARDOWN"

// An RTSPConn is a viewer's connection whose first request other than OPTIONS
// has been read, and will be read again: Read returns the bytes of First and
// then all that follows. RemoteAddr is a *net.TCPAddr, the viewer's. Whoever is
// given an RTSPConn closes it.
type RTSPConn struct {
	net.Conn
	First  *wire.Request
	Viewer *Viewer

	tcp   *net.TCPConn
	count func(n int)
}

// NewRTSPConn wraps c. tcp is the socket below c, nil where there is none to
// write to directly (TLS); count is told of bytes written past c, nil if nobody
// wants to know.
func NewRTSPConn(c net.Conn, first *wire.Request, v *Viewer, tcp *net.TCPConn, count func(n int)) *RTSPConn {
	if count == nil {
		count = func(int) {}
	}
	return &RTSPConn{Conn: c, First: first, Viewer: v, tcp: tcp, count: count}
}

// TCP returns the socket below the connection, for raw writes; nil under TLS.
// Reading from it loses what Conn has buffered.
func (c *RTSPConn) TCP() *net.TCPConn { return c.tcp }

// Sent reports n bytes written past Conn: by TCP, or by UDP for a session of
// this connection. They are counted as the connection's, and keep it from being
// closed as idle.
func (c *RTSPConn) Sent(n int) { c.count(n) }
