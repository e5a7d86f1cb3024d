package cluster

import (
	"iter"
	"sync/atomic"
	"time"
)

// What a table holds at most. A node that has gone mad can fill its own topics and
// no more; what is full goes on with what it has.
const (
	maxNodes  = 1024
	maxTopics = 32      // of a node
	maxBytes  = 8 << 20 // bodies and what is around them
	// tombstone is how long the number of a record is remembered after it expired,
	// so that what still goes round is not taken for news.
	tombstone = 2 * time.Minute
)

// A table is what all nodes told last, by node and topic. The caller locks.
type table struct {
	nodes map[ID]map[string]*entry
	own   ID // never refused for want of room
	bytes int
}

// An entry is a record with times of this node's clock. Once expired it has no body.
type entry struct {
	record
	heard, expires time.Time
	dead           bool
	replaced       atomic.Bool // there is a newer one; also read without the lock
}

func newTable(own ID) *table { return &table{nodes: map[ID]map[string]*entry{}, own: own} }

// accept takes a record iff it is newer than what was told before under its topic.
func (t *table) accept(r record, now time.Time) (*entry, reason) {
	topics := t.nodes[r.id]
	old := topics[r.topic]
	if old != nil && (r.epoch < old.epoch || r.epoch == old.epoch && r.seq <= old.seq) {
		return nil, known
	}
	grows := r.size()
	if old != nil {
		grows -= old.held()
	}
	if r.id != t.own && t.bytes+grows > maxBytes || old == nil && !t.room(r.id) {
		return nil, full
	}
	if topics == nil {
		topics = map[string]*entry{}
		t.nodes[r.id] = topics
	}
	if old != nil {
		old.replaced.Store(true)
	}
	t.bytes += grows
	e := &entry{record: r, heard: now, expires: now.Add(r.ttl)}
	topics[r.topic] = e
	return e, taken
}

// room reports whether a node may have one more topic.
func (t *table) room(id ID) bool {
	topics, there := t.nodes[id]
	return len(topics) < maxTopics && (there || len(t.nodes) < maxNodes || id == t.own)
}

// held is what an entry counts in bytes.
func (e *entry) held() int {
	if e.dead {
		return recordHead
	}
	return e.size()
}

// live reports whether an entry still holds. Before a sweep there may be expired
// ones with a body.
func (e *entry) live(now time.Time) bool { return e != nil && !e.dead && now.Before(e.expires) }

// get is the live entry of a node and topic, or nil.
func (t *table) get(id ID, topic string, now time.Time) *entry {
	if e := t.nodes[id][topic]; e.live(now) {
		return e
	}
	return nil
}

// all yields what is live, in no order.
func (t *table) all(now time.Time) iter.Seq[*entry] {
	return func(yield func(*entry) bool) {
		for _, topics := range t.nodes {
			for _, e := range topics {
				if e.live(now) && !yield(e) {
					return
				}
			}
		}
	}
}

// sweep forgets what has expired, and reports whether any node's state did.
func (t *table) sweep(now time.Time) (state bool) {
	for id, topics := range t.nodes {
		for topic, e := range topics {
			switch {
			case !e.dead && !now.Before(e.expires):
				t.bytes -= e.held()
				e.dead, e.body = true, nil
				t.bytes += e.held()
				state = state || e.kind == kindState
			case e.dead && now.Sub(e.expires) > tombstone:
				t.bytes -= e.held()
				delete(topics, topic)
			}
		}
		if len(topics) == 0 {
			delete(t.nodes, id)
		}
	}
	return state
}

// live counts what is live.
func (t *table) live(now time.Time) (n int) {
	for range t.all(now) {
		n++
	}
	return n
}
