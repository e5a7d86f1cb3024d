package cluster

import (
	"math/rand/v2"
	"net"
	"time"
)

// handOverWithin is over how long the pulls from an edge that drains are spread, so that
// the next owner is not met by all of them at once.
const handOverWithin = 2 * time.Second

// A peerLink is a connection to another edge, and what tells its user to leave when that
// one drains.
type peerLink struct {
	*net.TCPConn
	u     *Upstream
	to    ID
	leave chan struct{}
	due   *time.Timer // nil: the edge does not drain
}

// joins notes a connection to a peer until it is closed.
func (u *Upstream) joins(to ID, c net.Conn) *peerLink {
	l := &peerLink{TCPConn: c.(*net.TCPConn), u: u, to: to, leave: make(chan struct{})}
	u.mu.Lock()
	u.links[l] = true
	u.mu.Unlock()
	u.handOver() // the edge may have begun to drain while it was dialed
	return l
}

func (l *peerLink) Close() error {
	l.u.mu.Lock()
	delete(l.u.links, l)
	if l.due != nil {
		l.due.Stop()
	}
	l.u.mu.Unlock()
	return l.TCPConn.Close()
}

// handOver tells whoever pulls from an edge that drains to pull from another one, before
// it is cut off there. It is called when the cluster has changed.
func (u *Upstream) handOver() {
	draining := map[ID]bool{}
	for _, n := range u.c.look().nodes {
		if n.State == Draining {
			draining[n.ID] = true
		}
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	for l := range u.links {
		if l.due == nil && draining[l.to] {
			l.due = time.AfterFunc(rand.N(handOverWithin), func() { close(l.leave) })
		}
	}
}
