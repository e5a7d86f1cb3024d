package splitter

import (
	"context"
	"net"
	"sync"
)

// A connQueue hands connections to gortsplib as a listener.
type connQueue struct {
	c      chan *conn
	closed chan struct{}
	once   sync.Once
}

func newConnQueue() *connQueue {
	return &connQueue{c: make(chan *conn), closed: make(chan struct{})}
}

// push reports whether the connection was taken.
func (q *connQueue) push(ctx context.Context, c *conn) bool {
	select {
	case q.c <- c:
		return true
	case <-ctx.Done():
	case <-q.closed:
	}
	return false
}

// Accept implements net.Listener.
func (q *connQueue) Accept() (net.Conn, error) {
	select {
	case c := <-q.c:
		return c, nil
	case <-q.closed:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (q *connQueue) Close() error {
	q.once.Do(func() { close(q.closed) })
	return nil
}

// Addr implements net.Listener.
func (q *connQueue) Addr() net.Addr { return &net.TCPAddr{} }
