package cluster

import (
	"slices"
	"strings"
	"time"
)

// A view is what follows from members and states: one node per ID.
type view struct {
	nodes []Node // by name
	edges []Node // those that may own a key
	names map[ID]string
}

// Nodes returns the nodes of the cluster by name, this one among them, and those
// that have left lately.
func (c *Cluster) Nodes() []Node { return slices.Clone(c.look().nodes) }

// look is the view as of now.
func (c *Cluster) look() *view {
	if v := c.view.Load(); v != nil {
		return v
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	v := c.see(time.Now())
	c.view.Store(v)
	return v
}

// invalidate makes the next look a new one. The caller locks.
func (c *Cluster) invalidate() {
	c.view.Store(nil)
	select {
	case c.changed <- struct{}{}:
	default:
	}
}

// see makes a view. Of several starts of a node it is the last one that lives, or
// the last one. The caller locks.
func (c *Cluster) see(now time.Time) *view {
	self := Node{Identity: c.self, Gossip: c.transport.advertise, State: c.state.state(), Since: c.since, Self: true}
	best := map[ID]*member{}
	for _, m := range c.members {
		b := best[m.ID]
		if m.ID != c.self.ID && (b == nil || b.left && !m.left || b.left == m.left && m.Epoch > b.Epoch) {
			best[m.ID] = m
		}
	}
	v := &view{nodes: []Node{self}, names: map[ID]string{c.self.ID: c.self.Name}}
	for id, m := range best {
		n := Node{Identity: m.Identity, Gossip: m.gossip, State: Alive, Since: m.since}
		if e := c.table.get(id, "", now); m.left {
			n.State, n.Bye = Left, m.bye
		} else if said := c.stateOf(m, now).state(); said != Alive {
			n.State, n.Since = said, e.heard
		}
		v.nodes = append(v.nodes, n)
		v.names[id] = m.Name
	}
	slices.SortFunc(v.nodes, func(a, b Node) int { return strings.Compare(a.Name, b.Name) })
	for _, n := range v.nodes {
		if n.Role == Edge && n.State == Alive {
			v.edges = append(v.edges, n)
		}
	}
	return v
}
