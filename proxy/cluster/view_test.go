package cluster

import (
	"net"
	"slices"
	"testing"
	"time"

	"github.com/hashicorp/memberlist"
)

// joined has p hear of a start of a node.
func (p *peer) joined(t *testing.T, name string, epoch uint64) *memberlist.Node {
	t.Helper()
	i := rogueIdentity(name)
	i.Epoch = epoch
	meta, err := i.encode()
	if err != nil {
		t.Fatal(err)
	}
	n := &memberlist.Node{Name: i.boot(), Addr: net.IPv4(10, 0, 0, byte(epoch)), Port: 7946, Meta: meta, PMin: 1, PMax: 5, PCur: 2, DMin: 1, DMax: 1, DCur: 1}
	e := events{p.Cluster}
	if err := e.NotifyAlive(n); err != nil {
		t.Fatal(err)
	}
	e.NotifyJoin(n)
	return n
}

// says has p hear the state of a start of a node.
func (p *peer) says(name string, epoch uint64, s said) {
	r := record{kind: kindState, id: newID(name), epoch: epoch, seq: uint64(s), ttl: time.Minute, body: []byte{0, 0, 0, 0, 0, 0, 0, byte(epoch), byte(s)}}
	p.hear(r.append(nil), false)
}

// What a node said before it started again does not count, in whatever order things
// are heard.
func TestStateIsOfOneStart(t *testing.T) {
	p := still(t)
	f := func(what string, state State, epoch uint64) {
		t.Helper()
		if n := p.node("x"); n.State != state || n.Epoch != epoch {
			t.Errorf("%s: %v, epoch %d, want %v, %d", what, n.State, n.Epoch, state, epoch)
		}
	}
	first := p.joined(t, "x", 1)
	f("joined", Alive, 1)
	p.says("x", 1, sayDraining)
	f("drains", Draining, 1)
	p.says("x", 1, sayLeaving)
	f("is about to leave", Draining, 1)
	second := p.joined(t, "x", 2)
	f("is there again", Alive, 2)
	events{p.Cluster}.NotifyLeave(first)
	f("its first start has left", Alive, 2)
	if p.Cluster.alive.Load() != 2 || len(p.members) != 1 {
		t.Errorf("%d alive, %d members", p.Cluster.alive.Load(), len(p.members))
	}
	p.says("x", 2, sayLeaving+1) // of a later version
	f("is in a state that is not known", Draining, 2)
	events{p.Cluster}.NotifyLeave(second)
	f("left", Left, 2)
	p.joined(t, "x", 1)
	f("an older start is all there is", Alive, 1)
}

// Its word may come when it has gone already.
func TestByeComesLate(t *testing.T) {
	p := still(t)
	n := p.joined(t, "x", 1)
	events{p.Cluster}.NotifyLeave(n)
	if got := p.missing(nil); len(got) != 1 {
		t.Errorf("looked for: %v", got)
	}
	p.says("x", 1, sayLeaving)
	p.tend(time.Now())
	if got := p.missing(nil); len(got) != 0 {
		t.Errorf("looked for though it said goodbye: %v", got)
	}
	p.tend(time.Now().Add(rememberLeft + time.Second))
	if n := p.node("x"); n.State != "" {
		t.Errorf("still shown: %+v", n)
	}
}

// A state that is not said again is no more.
func TestStateExpires(t *testing.T) {
	p := still(t)
	p.joined(t, "x", 1)
	p.says("x", 1, sayDraining)
	if got := p.in(Draining); !slices.Equal(got, []string{"x"}) {
		t.Errorf("draining: %v", got)
	}
	p.mu.Lock()
	p.table.nodes[newID("x")][""].expires = time.Now()
	p.mu.Unlock()
	p.tend(time.Now())
	if got := p.in(Draining); len(got) != 0 {
		t.Errorf("draining: %v", got)
	}
}

// Somebody else of the same name is not a second node, and is complained of once, if
// it lasts.
func TestNamesake(t *testing.T) {
	p := still(t)
	p.joined(t, "me", 7)
	if n := p.Nodes(); len(n) != 1 || !n[0].Self {
		t.Errorf("nodes: %+v", n)
	}
	f := func(after time.Duration, want bool) {
		t.Helper()
		p.mu.Lock()
		defer p.mu.Unlock()
		if _, complain := p.double(time.Now().Add(after)); complain != want {
			t.Errorf("after %v: complained %v", after, complain)
		}
	}
	f(0, false)
	f(2*time.Minute, true)
	f(3*time.Minute, false)
}
