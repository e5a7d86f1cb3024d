package cluster

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"testing"
	"time"
)

func TestTableAcceptsTheNewer(t *testing.T) {
	start := time.Unix(1000, 0)
	tb := newTable(newID("me"))
	f := func(epoch, seq uint64, want reason) {
		t.Helper()
		r := sample()
		r.epoch, r.seq = epoch, seq
		if _, why := tb.accept(r, start); why != want {
			t.Errorf("epoch %d seq %d: %q, want %q", epoch, seq, why, want)
		}
	}
	f(5, 5, taken)
	f(5, 5, known)
	f(5, 4, known)
	f(4, 9, known)
	f(5, 6, taken)
	f(6, 1, taken)
	f(5, 7, known)
	if n := tb.live(start); n != 1 {
		t.Errorf("%d live", n)
	}
}

func TestTableExpires(t *testing.T) {
	start := time.Unix(1000, 0)
	tb := newTable(newID("me"))
	r := sample()
	tb.accept(r, start)
	at := func(d time.Duration) time.Time { return start.Add(d) }
	if tb.get(r.id, r.topic, at(r.ttl-1)) == nil {
		t.Error("gone too early")
	}
	if tb.get(r.id, r.topic, at(r.ttl)) != nil || tb.live(at(r.ttl)) != 0 {
		t.Error("still there when it is over")
	}
	tb.sweep(at(r.ttl))
	if tb.bytes != recordHead {
		t.Errorf("%d bytes held of a record that is over", tb.bytes)
	}
	// What still goes round is not taken again.
	if _, why := tb.accept(r, at(r.ttl+time.Second)); why != known {
		t.Errorf("an old record: %q", why)
	}
	tb.sweep(at(r.ttl + tombstone + 1))
	if len(tb.nodes) != 0 || tb.bytes != 0 {
		t.Errorf("left: %d nodes, %d bytes", len(tb.nodes), tb.bytes)
	}
}

func TestTableSaysWhenAStateIsOver(t *testing.T) {
	start := time.Unix(1000, 0)
	tb := newTable(newID("me"))
	tb.accept(record{kind: kindState, id: newID("a"), seq: 1, ttl: time.Second}, start)
	if tb.sweep(start) {
		t.Error("over at once")
	}
	if !tb.sweep(start.Add(time.Second)) {
		t.Error("not said")
	}
	if tb.sweep(start.Add(2 * time.Second)) {
		t.Error("said twice")
	}
}

// A node gone mad, or many, cannot fill the memory, or keep this node from telling
// or others' newer words from being heard.
func TestTableIsBounded(t *testing.T) {
	now := time.Unix(1000, 0)
	me := newID("me")
	tb := newTable(me)
	honest := sample()
	tb.accept(honest, now)
	r := record{kind: kindTold, epoch: 1, ttl: maxTTL, body: bytes.Repeat([]byte{1}, maxBody)}
	for n := range 2 * maxNodes {
		binary.BigEndian.PutUint64(r.id[:], uint64(n+1))
		for i := range 2 * maxTopics {
			r.topic, r.seq = fmt.Sprint("topic", i), r.seq+1
			tb.accept(r, now)
		}
	}
	if len(tb.nodes) > maxNodes || tb.bytes > maxBytes {
		t.Errorf("%d nodes, %d bytes", len(tb.nodes), tb.bytes)
	}
	held := 0
	for _, topics := range tb.nodes {
		if len(topics) > maxTopics {
			t.Errorf("%d topics of a node", len(topics))
		}
		for _, e := range topics {
			held += e.held()
		}
	}
	if held != tb.bytes {
		t.Errorf("%d bytes held, %d counted", held, tb.bytes)
	}
	honest.seq++
	if _, why := tb.accept(honest, now); why != taken {
		t.Errorf("a newer word of a known node: %q", why)
	}
	r.id, r.topic = me, "mine"
	if _, why := tb.accept(r, now); why != taken {
		t.Errorf("this node's own: %q", why)
	}
	tb.sweep(now.Add(maxTTL + 1))
	tb.sweep(now.Add(maxTTL + tombstone + 2))
	if len(tb.nodes) != 0 || tb.bytes != 0 {
		t.Errorf("left when all is over: %d nodes, %d bytes", len(tb.nodes), tb.bytes)
	}
}
