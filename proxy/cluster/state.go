package cluster

import (
	"encoding/binary"
	"slices"
	"time"
)

// A said is what a node says of how it is, since memberlist cannot tell one that
// left from one that died.
type said byte

const (
	sayAlive said = 1 + iota
	sayDraining
	sayLeaving
)

const (
	// sayEvery is how often a node says how it is, stateTTL how long that holds: a
	// node that drains must not seem alive because a packet was lost.
	sayEvery = 20 * time.Second
	stateTTL = 90 * time.Second
)

// state is what others make of it. What a later version may say is not alive.
func (s said) state() State {
	if s <= sayAlive {
		return Alive
	}
	return Draining
}

// say tells how this node is: the epoch of its start, the state, and four bytes for
// each key that it has. The caller locks.
func (c *Cluster) say(now time.Time) {
	b := append(binary.BigEndian.AppendUint64(nil, c.self.Epoch), byte(c.state))
	for _, k := range c.keys {
		id := keyID(k)
		b = append(b, id[:]...)
	}
	c.said = now
	c.tell(record{kind: kindState, urgent: true, body: b, ttl: stateTTL}, now)
}

// stateOf is what a member said last of this start, sayAlive if nothing. The caller
// locks.
func (c *Cluster) stateOf(m *member, now time.Time) said {
	e := c.table.get(m.ID, "", now)
	if e == nil || len(e.body) < 9 || binary.BigEndian.Uint64(e.body) != m.Epoch {
		return sayAlive
	}
	return said(e.body[8])
}

// keysOf are the keys that a node said it has, for operators. The caller locks.
func (c *Cluster) keysOf(id ID, now time.Time) (ids [][]byte) {
	e := c.table.get(id, "", now)
	if e == nil || len(e.body) < 9 {
		return nil
	}
	return slices.Collect(slices.Chunk(e.body[9:], 4))
}

// sameState reports whether two entries of a node say the same of its state.
func sameState(a, b *entry) bool {
	return a != nil && !a.dead && len(a.body) >= 9 && len(b.body) >= 9 && string(a.body[:9]) == string(b.body[:9])
}
