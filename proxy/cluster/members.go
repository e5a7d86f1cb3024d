package cluster

import (
	"errors"
	"net/netip"
	"time"

	"github.com/hashicorp/memberlist"
	"go.uber.org/zap"
)

const (
	// rememberDead is how long a node is looked for that went without a word: it may
	// be on the other side of a broken network.
	rememberDead = 24 * time.Hour
	// rememberLeft is how long one is shown that said goodbye.
	rememberLeft = time.Minute
	// maxLeft is how many that have left are remembered, the last ones.
	maxLeft = 256
)

// A member is one start of a node, as memberlist tells of it. Memberlist's own
// nodes are live memory; what is here are copies.
type member struct {
	Identity
	gossip netip.AddrPort
	meta   string
	left   bool
	bye    bool // it had said so
	since  time.Time
	tries  int // to reach it since it left
}

// events are memberlist's callbacks. It holds its locks meanwhile, so nothing in
// here may call it.
type events struct{ c *Cluster }

var (
	_ memberlist.EventDelegate = events{}
	_ memberlist.AliveDelegate = events{}
)

var errUnfit = errors.New("does not say who it is, or there are too many")

// NotifyAlive implements memberlist.AliveDelegate: it keeps out who is no node of
// this kind, before memberlist remembers anything of it.
func (e events) NotifyAlive(n *memberlist.Node) error {
	if n.Name == e.c.boot {
		return nil
	}
	e.c.mu.Lock()
	defer e.c.mu.Unlock()
	old := e.c.members[n.Name]
	if old != nil && old.meta == string(n.Meta) && old.gossip == addrOf(n) && speaks(n) {
		return nil
	}
	i, err := decodeIdentity(n.Meta)
	if err != nil || n.Name != i.boot() || !reachable(addrOf(n).Addr()) || n.Port == 0 || !speaks(n) ||
		old == nil && e.c.alive.Load() > maxNodes {
		e.c.reject(unfit)
		return errUnfit
	}
	return nil
}

// speaks reports whether a node's versions are such that both can talk. Memberlist
// ends each exchange of everybody's once it knows of one with impossible ones.
func speaks(n *memberlist.Node) bool {
	const ours = memberlist.ProtocolVersion2Compatible
	return n.PMin <= ours && n.PMax >= ours && n.PCur >= n.PMin && n.PCur <= n.PMax &&
		n.DMin <= delegateVersion && n.DMax >= delegateVersion && n.DCur >= n.DMin && n.DCur <= n.DMax
}

// NotifyJoin implements memberlist.EventDelegate.
func (e events) NotifyJoin(n *memberlist.Node) { e.c.joins(n) }

// NotifyUpdate implements memberlist.EventDelegate.
func (e events) NotifyUpdate(n *memberlist.Node) { e.c.joins(n) }

// NotifyLeave implements memberlist.EventDelegate. It does not say whether the node
// died or left.
func (e events) NotifyLeave(n *memberlist.Node) { e.c.leaves(n.Name, time.Now()) }

func (c *Cluster) joins(n *memberlist.Node) {
	i, err := decodeIdentity(n.Meta)
	if n.Name == c.boot || err != nil {
		return
	}
	if c.enter(n, i, time.Now()) {
		c.log.Info("node joined", zap.String("node", i.Name), zap.String("role", string(i.Role)), zap.Stringer("address", addrOf(n)))
	}
}

// enter takes in a member, and reports whether it was not there.
func (c *Cluster) enter(n *memberlist.Node, i Identity, now time.Time) (fresh bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	m := c.members[n.Name]
	if fresh = m == nil || m.left; fresh {
		m = &member{since: now}
		c.members[n.Name] = m
	}
	m.Identity, m.gossip, m.meta = i, addrOf(n), string(n.Meta)
	for name, old := range c.members { // what is there again need not be looked for
		if old.left && (old.ID == i.ID || old.gossip == m.gossip) {
			delete(c.members, name)
		}
	}
	c.count()
	c.invalidate()
	return fresh
}

// leaves marks a member as left.
func (c *Cluster) leaves(name string, now time.Time) {
	if m, again := c.exit(name, now); m.left {
		c.log.Info("node left", zap.String("node", m.Name), zap.Stringer("address", m.gossip), zap.Bool("said_so", m.bye), zap.Bool("is_back", again))
	}
}

// exit returns the member that left. It is kept, to be looked for, unless the same
// node is there again.
func (c *Cluster) exit(name string, now time.Time) (was member, again bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	m := c.members[name]
	if m == nil || m.left {
		return member{}, false
	}
	m.left, m.since = true, now
	m.bye = c.stateOf(m, now) == sayLeaving
	for _, other := range c.members {
		again = again || !other.left && other.ID == m.ID
	}
	if again {
		delete(c.members, name)
	}
	c.count()
	c.forget(now)
	c.invalidate()
	return *m, again
}

// forget drops members that left long ago, or too many of them. The caller locks.
func (c *Cluster) forget(now time.Time) {
	left := 0
	var first string
	for name, m := range c.members {
		if bye := m.left && (m.bye || c.stateOf(m, now) == sayLeaving); bye != m.bye { // its word may come after it has gone
			m.bye = bye
			c.invalidate()
		}
		switch gone := now.Sub(m.since); {
		case !m.left:
		case gone > rememberDead || m.bye && gone > rememberLeft:
			delete(c.members, name)
			c.invalidate()
		default:
			left++
			if first == "" || m.since.Before(c.members[first].since) {
				first = name
			}
		}
	}
	if left > maxLeft {
		delete(c.members, first)
	}
}

// count keeps the number of nodes that are alive, for the queues, which must not
// take the lock. The caller locks.
func (c *Cluster) count() {
	n := int64(1)
	for _, m := range c.members {
		if !m.left {
			n++
		}
	}
	c.alive.Store(n)
}

func addrOf(n *memberlist.Node) netip.AddrPort {
	a, _ := netip.AddrFromSlice(n.Addr)
	return netip.AddrPortFrom(a.Unmap(), n.Port)
}
