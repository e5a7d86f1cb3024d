package cluster

import (
	"encoding/binary"
	"io"
	"log"
	"math"
	"math/rand/v2"
	"net"
	"reflect"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/memberlist"

	"weir/proxy/proxytest"
)

// A rogue is a node of memberlist's that says what it is told to, not a Cluster.
type rogue struct {
	list *memberlist.Memberlist
	meta []byte

	mu   sync.Mutex
	say  [][]byte // each once, as gossip
	sync []byte   // at each exchange
}

func (r *rogue) NodeMeta(int) []byte { return r.meta }
func (r *rogue) NotifyMsg([]byte)    {}
func (r *rogue) GetBroadcasts(overhead, limit int) (all [][]byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for len(r.say) > 0 && overhead+len(r.say[0]) <= limit {
		limit -= overhead + len(r.say[0])
		all, r.say = append(all, r.say[0]), r.say[1:]
	}
	return all
}
func (r *rogue) LocalState(bool) []byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.sync
}
func (r *rogue) MergeRemoteState([]byte, bool) {}

// newRogue starts a rogue that joins p; with has the way it differs.
func newRogue(t *testing.T, p *peer, i Identity, with func(*memberlist.Config)) *rogue {
	t.Helper()
	meta, err := i.encode()
	if err != nil {
		t.Fatal(err)
	}
	r := &rogue{meta: meta}
	c := memberlist.DefaultLocalConfig()
	c.BindAddr, c.BindPort, c.Name, c.Label, c.Delegate = "127.0.0.1", 0, i.boot(), "test", r
	c.Logger, c.GossipInterval, c.PushPullInterval = log.New(io.Discard, "", 0), 10*time.Millisecond, 100*time.Millisecond
	c.ProbeInterval, c.ProbeTimeout = 200*time.Millisecond, 200*time.Millisecond
	c.DelegateProtocolMin, c.DelegateProtocolMax, c.DelegateProtocolVersion = 1, 1, 1
	with(c)
	if r.list, err = memberlist.Create(c); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.list.Shutdown() })                      //nolint:errcheck // returns none
	_, _ = r.list.Join([]string{p.transport.advertise.String()}) // some are refused
	return r
}

func rogueIdentity(name string) Identity {
	return Identity{Name: name, ID: newID(name), Epoch: 1, Role: Edge, Modes: []string{"cache"}}
}

// Bytes that are nothing, over UDP and TCP, to nodes with keys and without: nothing
// changes.
func TestRoguePackets(t *testing.T) {
	for _, o := range []Options{{}, {KeyFile: keyFile(t, 'k')}} {
		a := setup{name: "a", options: o, quiet: true}.make(t).run()
		b := setup{name: "b", join: []*peer{a}, options: o, quiet: true}.make(t).run()
		meet(t, a, b)
		b.Tell("t", []byte("x"), time.Minute)
		hears(t, a, "t", "b=x")
		udp, err := net.Dial("udp", a.transport.advertise.String())
		if err != nil {
			t.Fatal(err)
		}
		good := sample()
		wire := good.append(nil)
		label := append([]byte{244, 4}, "test"...)
		rng := rand.New(rand.NewPCG(3, 4))
		junk := func(n int) []byte {
			b := make([]byte, n)
			for i := range b {
				b[i] = byte(rng.Uint32())
			}
			return b
		}
		for i := range 2000 {
			p := junk(rng.IntN(1400))
			if i%2 == 0 { // as if from a node: a label and one of memberlist's kinds
				p = slices.Concat(label, []byte{byte(i / 2 % 16)}, p)
			}
			if i%5 == 0 { // a message of ours, cut or spoilt
				p = slices.Concat(label, []byte{8}, wire[:rng.IntN(len(wire))], junk(rng.IntN(3)+1))
			}
			udp.Write(p) //nolint:errcheck // it may be refused
		}
		udp.Write(make([]byte, 60000)) //nolint:errcheck // as above
		udp.Close()                    //nolint:errcheck // the test is over
		for i := range 50 {
			tcp, err := net.Dial("tcp", a.transport.advertise.String())
			if err != nil {
				t.Fatal(err)
			}
			tcp.Write(slices.Concat(label[:6*(i%2)], []byte{byte(i % 16)}, junk(rng.IntN(5000)))) //nolint:errcheck // as above
			tcp.Close()                                                                           //nolint:errcheck // as above
		}
		b.Tell("t", []byte("y"), time.Minute)
		hears(t, a, "t", "b=y")
		meet(t, a, b)
		proxytest.Eventually(t, patient, "what is too long is counted", func() bool { return a.counts[oversize].Load() > 0 })
		if o.KeyFile == "" && a.counts[malformed].Load() == 0 {
			t.Error("no message of ours was found malformed")
		}
		a.end()
		b.end()
	}
}

// A node that belongs to the cluster and has gone mad.
func TestRogueRecords(t *testing.T) {
	a := start(t, "a")
	b := start(t, "b", a)
	meet(t, a, b)
	a.Tell("t", []byte("truth"), time.Minute)
	b.Tell("t", []byte("x"), time.Minute)
	hears(t, a, "t", "b=x")
	hears(t, b, "t", "a=truth")
	r := newRogue(t, a, rogueIdentity("mad"), func(*memberlist.Config) {})
	proxytest.Eventually(t, patient, "the rogue is seen", func() bool { return len(a.alive()) == 3 })

	stale := record{kind: kindTold, id: b.self.ID, epoch: b.self.Epoch - 1, seq: math.MaxUint64, ttl: maxTTL, topic: "t", body: []byte("stale epoch")}
	mine := record{kind: kindTold, id: a.self.ID, epoch: a.self.Epoch + 1e9, seq: 1, ttl: maxTTL, topic: "t", body: []byte("in a's name")}
	dead := record{kind: kindTold, id: newID("nobody"), epoch: 1, seq: 1, topic: "t", body: []byte("over")}
	last := record{kind: kindTold, id: newID("mad"), epoch: 1, seq: 2, ttl: maxTTL, topic: "last", body: []byte("done")}
	good := sample()
	good.topic = "t"
	wire := good.append(nil)
	rng := rand.New(rand.NewPCG(5, 6))
	var all [][]byte
	for n := range wire { // truncations
		all = append(all, wire[:n])
	}
	for v := range 256 { // versions
		if v != recordVersion {
			all = append(all, append([]byte{byte(v)}, wire[1:]...))
		}
	}
	for range 500 { // of any size
		b := make([]byte, rng.IntN(1300))
		for i := range b {
			b[i] = byte(rng.Uint32())
		}
		all = append(all, b)
	}
	all = append(all, stale.append(nil), mine.append(nil), dead.append(nil))
	exchange := []byte{recordVersion}
	for _, b := range all {
		exchange = append(binary.BigEndian.AppendUint16(exchange, uint16(len(b))), b...)
	}
	r.mu.Lock()
	r.say, r.sync = all, append(exchange, 0xff, 0xff, 1)
	r.mu.Unlock()
	proxytest.Eventually(t, patient, "all is said", func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		return len(r.say) == 0
	})
	for _, why := range []reason{malformed, version, oversize, expired} {
		proxytest.Eventually(t, patient, string(why)+" is counted", func() bool { return a.counts[why].Load()+b.counts[why].Load() > 0 })
	}
	proxytest.Eventually(t, patient, "own is counted", func() bool { return a.counts[forged].Load() > 0 })
	r.mu.Lock()
	r.say = [][]byte{last.append(nil)}
	r.sync = nil
	r.mu.Unlock()
	hears(t, b, "last", "mad=done")
	if got := a.told("t"); got != "b=x" {
		t.Errorf("a has heard %q", got)
	}
	hears(t, b, "t", "a=truth") // whoever has the key may lie, but not for long
	// Streams may carry messages of up to 20 MiB.
	for _, n := range r.list.Members() {
		if err := r.list.SendReliable(n, make([]byte, 10<<20)); err != nil {
			t.Log(err)
		}
	}
	a.Tell("t", []byte("still here"), time.Minute)
	hears(t, b, "t", "a=still here")
}

// Who does not say who it is, or claims impossible versions, does not get in: once
// memberlist knew of such a node it would end every exchange of everybody's.
func TestRogueNodes(t *testing.T) {
	a := start(t, "a")
	f := func(what string, with func(*memberlist.Config)) {
		t.Helper()
		before := a.counts[unfit].Load()
		newRogue(t, a, rogueIdentity("x"), func(c *memberlist.Config) {
			c.Transport = nil
			with(c)
		})
		proxytest.Eventually(t, patient, what+" is refused", func() bool { return a.counts[unfit].Load() > before })
	}
	f("no identity", func(c *memberlist.Config) { c.Delegate = nil })
	f("a stranger's identity", func(c *memberlist.Config) { c.Delegate = &rogue{meta: []byte("hello")} })
	f("another name", func(c *memberlist.Config) { c.Name = "somebody" })
	b := start(t, "b", a)
	meet(t, a, b)

	i := rogueIdentity("x")
	meta, _ := i.encode()
	g := func(change func(*memberlist.Node)) {
		t.Helper()
		n := &memberlist.Node{Name: i.boot(), Addr: net.IPv4(127, 0, 0, 1), Port: 1, Meta: meta, PMin: 1, PMax: 5, PCur: 2, DMin: 1, DMax: 1, DCur: 1}
		if err := (events{a.Cluster}).NotifyAlive(n); err != nil {
			t.Fatalf("%+v is refused: %v", n, err)
		}
		change(n)
		if err := (events{a.Cluster}).NotifyAlive(n); err == nil {
			t.Errorf("%+v is taken", n)
		}
	}
	g(func(n *memberlist.Node) { n.Name = "" })
	g(func(n *memberlist.Node) { n.Meta = nil })
	g(func(n *memberlist.Node) { n.Meta = meta[:len(meta)-1] })
	g(func(n *memberlist.Node) { n.Port = 0 })
	g(func(n *memberlist.Node) { n.Addr = nil })
	g(func(n *memberlist.Node) { n.Addr = net.IP{1, 2, 3} })
	g(func(n *memberlist.Node) { n.Addr = net.IPv4zero })
	g(func(n *memberlist.Node) { n.DMin, n.DMax, n.DCur = 200, 200, 200 })
	g(func(n *memberlist.Node) { n.PMin = 5 })
	if !reflect.DeepEqual(a.alive(), []string{"a", "b"}) {
		t.Errorf("alive: %v", a.alive())
	}
}
