package cluster

import (
	"bytes"
	"encoding/binary"
	"iter"
	"maps"
	"slices"
	"time"

	"github.com/hashicorp/memberlist"
	"go.uber.org/zap"
)

// settled is after how long without a newer one a record that was spread as one of
// many is spread once more as news: of many, the next one makes good what got lost.
const settled = 3 * time.Second

// Tell implements proxy.Peers. A message under a topic that was told within the last
// three seconds counts as one of many, whose loss the next one makes good; others
// are spread before those and more often. Topics are of 1 to 32 visible characters
// of ASCII, at most 31 of them for a node; a ttl is at most ten minutes.
func (c *Cluster) Tell(topic string, b []byte, ttl time.Duration) {
	if !validTopic(topic) || len(b) > maxBody || ttl < time.Millisecond {
		c.reject(oversize)
		c.log.Error("not told: it has no topic, or is too long or over at once", zap.String("topic", topic[:min(len(topic), maxTopic)]), zap.Int("bytes", len(b)), zap.Duration("ttl", ttl))
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.tell(record{kind: kindTold, topic: topic, body: bytes.Clone(b), ttl: min(ttl, maxTTL)}, time.Now())
}

// tell takes a record of this node's own and spreads it. The caller locks.
func (c *Cluster) tell(r record, now time.Time) {
	c.seq++
	r.id, r.epoch, r.seq = c.self.ID, c.epoch, c.seq
	old := c.table.get(r.id, r.topic, now)
	r.urgent = r.urgent || old == nil || now.Sub(old.heard) >= settled
	e, why := c.table.accept(r, now)
	if why != taken {
		c.reject(why)
		return
	}
	c.spread(e)
}

// settle tells once more, as news, what was told as one of many and stayed the last
// of them. The caller locks.
func (c *Cluster) settle(now time.Time) {
	for _, e := range c.table.nodes[c.self.ID] {
		if e.live(now) && !e.urgent && now.Sub(e.heard) >= settled {
			r := e.record
			r.urgent, r.ttl = true, e.expires.Sub(now)
			c.tell(r, now)
		}
	}
}

// Told implements proxy.Peers: what the other nodes told last, as long as it lives.
// A node that this one never met goes by its ID. Nobody may change what is yielded.
func (c *Cluster) Told(topic string) iter.Seq2[string, []byte] {
	return func(yield func(string, []byte) bool) {
		names := c.look().names
		all := map[string][]byte{}
		now := time.Now()
		c.mu.Lock()
		for id := range c.table.nodes {
			e := c.table.get(id, topic, now)
			if e == nil || id == c.self.ID || e.kind != kindTold {
				continue
			}
			name, ok := names[id]
			if !ok {
				name = id.String()
			}
			all[name] = e.body
		}
		c.mu.Unlock()
		for _, name := range slices.Sorted(maps.Keys(all)) {
			if !yield(name, all[name]) {
				return
			}
		}
	}
}

// hear takes a record that another node sent; relay says whether to send it on.
func (c *Cluster) hear(b []byte, relay bool) {
	r, why := decodeRecord(b)
	now := time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	var e *entry
	before := c.table.nodes[r.id][""]
	switch {
	case why != taken:
	case r.id == c.self.ID:
		why = c.mine(r, now)
	default:
		e, why = c.table.accept(r, now)
	}
	if why != taken {
		c.reject(why)
		return
	}
	if r.kind == kindState && !sameState(before, e) {
		c.invalidate()
	}
	if relay {
		c.spread(e)
	}
}

// A broadcast is a record that waits in a queue. Its ttl runs on meanwhile.
type broadcast struct {
	name string
	wire []byte
	e    *entry
}

var _ memberlist.NamedBroadcast = (*broadcast)(nil)

// Name implements memberlist.NamedBroadcast: a newer record takes the place of an
// older one.
func (b *broadcast) Name() string { return b.name }

// Invalidates implements memberlist.Broadcast.
func (b *broadcast) Invalidates(other memberlist.Broadcast) bool {
	o, ok := other.(*broadcast)
	return ok && o.name == b.name
}

// Finished implements memberlist.Broadcast.
func (b *broadcast) Finished() {}

// Message implements memberlist.Broadcast. It is a copy: memberlist reads it after
// having given up the queue's lock. It is empty if the record is not to be sent any
// more: a newer one may stand in the other queue, and a queue cannot be told to drop
// one.
func (b *broadcast) Message() []byte {
	left := time.Until(b.e.expires).Milliseconds()
	if left <= 0 || b.e.replaced.Load() {
		return nil
	}
	m := bytes.Clone(b.wire)
	binary.BigEndian.PutUint32(m[ttlAt:], uint32(left))
	return m
}

// spread queues a record. The caller locks, so that an older one cannot come to
// stand in a newer one's place; the queues call nothing that locks.
func (c *Cluster) spread(e *entry) {
	if e.size() > c.budget { // it would never be sent, and stay in the queue for ever
		c.reject(oversize)
		return
	}
	b := &broadcast{string(e.id[:]) + e.topic, e.append(nil), e}
	queue := c.bulk
	if e.urgent {
		queue = c.urgent
	}
	queue.QueueBroadcast(b)
}

// A delegate is memberlist's way to the records.
type delegate struct{ c *Cluster }

var _ memberlist.Delegate = delegate{}

// NodeMeta implements memberlist.Delegate.
func (d delegate) NodeMeta(int) []byte { return d.c.meta }

// NotifyMsg implements memberlist.Delegate.
func (d delegate) NotifyMsg(b []byte) { d.c.hear(b, true) }

// GetBroadcasts implements memberlist.Delegate.
func (d delegate) GetBroadcasts(overhead, limit int) [][]byte {
	empty := func(b []byte) bool { return len(b) == 0 }
	all := slices.DeleteFunc(d.c.urgent.GetBroadcasts(overhead, limit), empty)
	for _, b := range all {
		limit -= overhead + len(b)
	}
	if limit > overhead {
		all = append(all, slices.DeleteFunc(d.c.bulk.GetBroadcasts(overhead, limit), empty)...)
	}
	return all
}

// LocalState implements memberlist.Delegate: a version, and then all that is live,
// each record after its length.
func (d delegate) LocalState(bool) []byte {
	now := time.Now()
	d.c.mu.Lock()
	defer d.c.mu.Unlock()
	b := []byte{recordVersion}
	for e := range d.c.table.all(now) {
		r := e.record
		r.ttl = e.expires.Sub(now)
		b = binary.BigEndian.AppendUint16(b, uint16(r.size()))
		b = r.append(b)
	}
	return b
}

// MergeRemoteState implements memberlist.Delegate. What is new goes on to others:
// they may have been cut off. What the first node has told to one that has just
// started, they know.
func (d delegate) MergeRemoteState(b []byte, _ bool) {
	d.c.mu.Lock()
	relay := len(d.c.table.nodes) > 1
	d.c.mu.Unlock()
	if len(b) == 0 || b[0] != recordVersion {
		d.c.reject(version)
		return
	}
	for b = b[1:]; len(b) > 0; {
		if len(b) < 2 || len(b)-2 < int(binary.BigEndian.Uint16(b)) {
			d.c.reject(malformed)
			return
		}
		n := int(binary.BigEndian.Uint16(b))
		d.c.hear(b[2:2+n], relay)
		b = b[2+n:]
	}
}
