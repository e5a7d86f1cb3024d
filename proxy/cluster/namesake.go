package cluster

import (
	"net/netip"
	"time"
)

// doubled is somebody else who goes by this node's name: another start of it, or a
// mistake. The caller locks.
func (c *Cluster) doubled() *member {
	for _, m := range c.members {
		if m.ID == c.self.ID && !m.left {
			return m
		}
	}
	return nil
}

// double is where somebody else goes by this node's name, for longer than a former
// start of it would seem to live. It is said once of each. The caller locks.
func (c *Cluster) double(now time.Time) (at netip.AddrPort, complain bool) {
	m := c.doubled()
	if m == nil || now.Sub(m.since) < time.Minute || c.warned == m.boot() {
		return at, false
	}
	c.warned = m.boot()
	return m.gossip, true
}

// mine judges a record in this node's name: an echo, or one from before it started,
// is nothing. One that looks newer is from a start before the clock was set back,
// and would be in the way of what this node tells: it counts on from there, unless
// somebody else goes by the same name. The caller locks.
func (c *Cluster) mine(r record, now time.Time) reason {
	if r.epoch < c.epoch || r.epoch == c.epoch && r.seq <= c.seq {
		return known
	}
	if c.doubled() == nil {
		c.epoch = r.epoch + 1
		for _, e := range c.table.nodes[c.self.ID] {
			if e.live(now) {
				again := e.record
				again.ttl = e.expires.Sub(now)
				c.tell(again, now)
			}
		}
	}
	return forged
}
