package cluster

import (
	"net"
	"testing"
	"time"

	"github.com/hashicorp/memberlist"

	"weir/proxy/proxytest"
)

// Nodes without number do not fill the memory, and those that have left make room.
func TestManyNodes(t *testing.T) {
	p := setup{name: "me", quiet: true}.make(t)
	defer p.transport.Shutdown() //nolint:errcheck // returns none
	e := events{p.Cluster}
	join := func(n int) (*memberlist.Node, error) {
		i := rogueIdentity("n")
		i.Epoch = uint64(n)
		i.ID = ID{byte(n), byte(n >> 8), byte(n >> 16)}
		meta, _ := i.encode()
		m := &memberlist.Node{Name: i.boot(), Addr: net.IPv4(10, byte(n>>16), byte(n>>8), byte(n)), Port: 1, Meta: meta, PMin: 1, PMax: 5, PCur: 2, DMin: 1, DMax: 1, DCur: 1}
		err := e.NotifyAlive(m)
		if err == nil {
			e.NotifyJoin(m)
		}
		return m, err
	}
	in := 0
	for n := range 2 * maxNodes {
		if _, err := join(n); err == nil {
			in++
		}
	}
	if in != maxNodes {
		t.Errorf("%d nodes got in, want %d", in, maxNodes)
	}
	for n := range maxNodes {
		m, _ := join(n)
		e.NotifyLeave(m)
	}
	if len(p.members) > maxLeft {
		t.Errorf("%d nodes are remembered", len(p.members))
	}
	if _, err := join(10 * maxNodes); err != nil {
		t.Errorf("no room for a new one: %v", err)
	}
}

// Connections of strangers are bounded, and given back.
func TestStreamsAreBounded(t *testing.T) {
	a := setup{name: "a", quiet: true}.make(t).run()
	var all []net.Conn
	for range maxStreams + 20 {
		c, err := net.Dial("tcp", a.transport.advertise.String())
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, c)
	}
	open := func() int {
		a.transport.mu.Lock()
		defer a.transport.mu.Unlock()
		return a.transport.inbound
	}
	proxytest.Eventually(t, patient, "all places are taken", func() bool { return open() == maxStreams })
	refused := all[len(all)-1]
	if err := refused.SetReadDeadline(time.Now().Add(patient)); err != nil {
		t.Fatal(err)
	}
	if _, err := refused.Read(make([]byte, 1)); err == nil {
		t.Error("one too many is served")
	}
	for _, c := range all {
		c.Close() //nolint:errcheck // nothing was sent
	}
	proxytest.Eventually(t, patient, "all are given back", func() bool { return open() == 0 })
	b := start(t, "b", a)
	meet(t, a, b)
}
