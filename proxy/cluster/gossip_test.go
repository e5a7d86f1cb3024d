package cluster

import (
	"encoding/binary"
	"fmt"
	"testing"
	"time"
)

// sends is all that a node would put into a datagram now.
func (p *peer) sends(t *testing.T) (all []record) {
	t.Helper()
	for _, b := range (delegate{p.Cluster}).GetBroadcasts(3, packet) {
		r, why := decodeRecord(b)
		if why != taken {
			t.Errorf("%q is sent, and is %s", b, why)
		}
		all = append(all, r)
	}
	return all
}

// still makes a node that does not run.
func still(t *testing.T) *peer {
	p := setup{name: "me", quiet: true}.make(t)
	t.Cleanup(func() { p.transport.Shutdown() }) //nolint:errcheck // returns none
	return p
}

// What is told again and again is one of many; the last of them is told once more as
// news, when no other has come.
func TestSettle(t *testing.T) {
	p := still(t)
	now := time.Now()
	f := func(at time.Duration, body string, urgent bool) {
		t.Helper()
		p.mu.Lock()
		defer p.mu.Unlock()
		if body != "" {
			p.tell(record{kind: kindTold, topic: "t", body: []byte(body), ttl: time.Minute}, now.Add(at))
		}
		p.settle(now.Add(at))
		e := p.table.get(p.self.ID, "t", now.Add(at))
		if e == nil || e.urgent != urgent {
			t.Errorf("after %v: %+v, want urgent %v", at, e, urgent)
		}
	}
	f(0, "1", true)
	f(time.Second, "2", false)
	f(2*time.Second, "3", false)
	f(4*time.Second, "", false)
	f(5*time.Second, "", true)
	f(9*time.Second, "", true)
	e := p.table.get(p.self.ID, "t", now)
	if e.seq != 4 || string(e.body) != "3" || !e.expires.Equal(now.Add(62*time.Second)) {
		t.Errorf("settled as %d %q until %v, want the fourth, of %v", e.seq, e.body, e.expires, now)
	}
	f(12*time.Second, "4", true)
}

// News goes before samples, newer before older whatever queue they are in, and what
// is over is not sent.
func TestQueues(t *testing.T) {
	p := still(t)
	p.Tell("gauge", []byte("1"), time.Minute)
	p.Tell("gauge", []byte("2"), time.Minute)
	p.Tell("news", []byte("n"), time.Minute)
	got := p.sends(t)
	if len(got) != 2 || string(got[0].body) != "n" || string(got[1].body) != "2" || !got[0].urgent || got[1].urgent {
		t.Errorf("sent: %+v", got)
	}
	for range urgentTimes {
		p.sends(t)
	}
	if n := p.queued(); n != 0 {
		t.Errorf("%d queued after all was sent often enough", n)
	}
	p.mu.Lock()
	p.tell(record{kind: kindTold, topic: "over", ttl: time.Second}, time.Now().Add(-2*time.Second))
	p.mu.Unlock()
	if got := p.sends(t); len(got) != 0 {
		t.Errorf("sent when it was over: %+v", got)
	}
}

// What is news is sent on, with the time that is left to it; what is not is not.
func TestRelay(t *testing.T) {
	p := still(t)
	r := sample()
	p.hear(r.append(nil), true)
	p.mu.Lock()
	p.table.nodes[r.id][r.topic].expires = time.Now().Add(5 * time.Second)
	p.mu.Unlock()
	got := p.sends(t)
	if len(got) != 1 || got[0].seq != r.seq || got[0].ttl > 5*time.Second || got[0].ttl < 4*time.Second {
		t.Errorf("sent on: %+v", got)
	}
	for range urgentTimes {
		p.sends(t)
	}
	p.hear(r.append(nil), true)
	older := r
	older.seq--
	p.hear(older.append(nil), true)
	if got := p.sends(t); len(got) != 0 {
		t.Errorf("sent on though it was known: %+v", got)
	}
}

// All that lives is exchanged, with the time that is left to it. Who knew nothing
// does not send it on to those who told it; who knew something does.
func TestExchange(t *testing.T) {
	a := still(t)
	b := setup{name: "b", quiet: true}.make(t)
	defer b.transport.Shutdown() //nolint:errcheck // returns none
	for i := range 20 {
		a.Tell(fmt.Sprint("t", i), []byte{byte(i)}, time.Minute)
	}
	a.mu.Lock()
	a.table.nodes[a.self.ID]["t3"].expires = time.Now()
	a.mu.Unlock()
	state := delegate{a.Cluster}.LocalState(false)
	delegate{b.Cluster}.MergeRemoteState(state, true)
	b.mu.Lock()
	n, e := b.table.live(time.Now()), b.table.get(a.self.ID, "t7", time.Now())
	b.mu.Unlock()
	if n != 19 || e == nil || e.ttl > time.Minute || e.ttl < 50*time.Second {
		t.Errorf("%d live, %+v", n, e)
	}
	if n := b.queued(); n != 0 {
		t.Errorf("%d sent on by a node that has just come", n)
	}
	a.Tell("t7", []byte("newer"), time.Minute)
	b.Tell("own", nil, time.Minute)
	delegate{b.Cluster}.MergeRemoteState(delegate{a.Cluster}.LocalState(false), false)
	if got := len(b.sends(t)); got != 2 {
		t.Errorf("%d queued, want its own and the newer one", got)
	}
	f := func(what string, b2 []byte, why reason) {
		t.Helper()
		before := b.counts[why].Load()
		delegate{b.Cluster}.MergeRemoteState(b2, false)
		if b.counts[why].Load() == before {
			t.Errorf("%s: not counted as %s", what, why)
		}
	}
	f("nothing", nil, version)
	f("another version", []byte{9}, version)
	f("cut", state[:len(state)-1], malformed)
	f("half a length", []byte{recordVersion, 0}, malformed)
	f("a length only", binary.BigEndian.AppendUint16([]byte{recordVersion}, 65535), malformed)
	f("an empty record", []byte{recordVersion, 0, 0}, malformed)
}
