package cluster

import (
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"weir/proxy/proxytest"
)

func TestKilledNodeIsNoticed(t *testing.T) {
	all := several(t, 3)
	all[1].kill()
	for _, p := range []*peer{all[0], all[2]} {
		proxytest.Eventually(t, patient, "found dead", func() bool { return slices.Equal(p.in(Left), []string{"edge2"}) })
	}
	// It is looked for, since it went without a word.
	if got := all[0].missing(nil); len(got) != 1 || got[0] != all[1].transport.advertise {
		t.Errorf("looked for: %v", got)
	}
}

// A node that was killed comes back under its name, at another address, before the
// others have found the first one dead: they see one node, the new one, and what it
// tells wins over what it told before.
func TestRestartUnderTheSameName(t *testing.T) {
	all := several(t, 3)
	all[1].Tell("gauge", []byte("old"), time.Minute)
	hears(t, all[0], "gauge", "edge2=old")
	all[1].kill()
	again := start(t, "edge2", all[0])
	again.Tell("gauge", []byte("new"), time.Minute)
	for _, p := range []*peer{all[0], all[2]} {
		hears(t, p, "gauge", "edge2=new")
		proxytest.Eventually(t, patient, "the new one seen", func() bool { return p.node("edge2").Gossip == again.transport.advertise })
		if !slices.Equal(p.alive(), []string{"edge1", "edge2", "edge3"}) {
			t.Errorf("%s sees %v", p.self.Name, p.alive())
		}
	}
	// The old start is found dead meanwhile, and that changes nothing.
	proxytest.Eventually(t, patient, "old start gone", func() bool { return all[0].Cluster.alive.Load() == 3 && len(all[0].in(Left)) == 0 })
	meet(t, all[0], again, all[2])
}

// A node whose clock was set back is heard nevertheless.
func TestClockSetBack(t *testing.T) {
	all := several(t, 2)
	ahead := setup{name: "box", join: all[:1]}.make(t)
	ahead.epoch += 1 << 40 // milliseconds: 35 years
	ahead.run()
	ahead.Tell("gauge", []byte("old"), time.Minute)
	hears(t, all[0], "gauge", "box=old")
	hears(t, all[1], "gauge", "box=old")
	ahead.kill()
	again := start(t, "box", all[0])
	again.Tell("gauge", []byte("new"), time.Minute)
	for _, p := range all {
		hears(t, p, "gauge", "box=new")
	}
}

// A network that was broken until both halves took each other for dead comes
// together again by itself; memberlist alone would not.
func TestPartitionHeals(t *testing.T) {
	var broken atomic.Bool
	half := map[string]bool{} // whether an address is in the second half; complete before it is used
	quick := func(second bool) tuning {
		f := fast()
		f.cut = func(to string) bool { return broken.Load() && half[to] != second }
		return f
	}
	var all []*peer
	for i, name := range []string{"a", "b", "c", "d"} {
		p := setup{name: name, join: all[:min(i, 1)], tuning: quick(i > 1)}.make(t)
		half[p.transport.advertise.String()] = i > 1
		all = append(all, p)
	}
	for _, p := range all {
		p.run()
	}
	meet(t, all...)
	broken.Store(true)
	all[0].Tell("purge", []byte("/x"), time.Minute)
	meet(t, all[:2]...)
	meet(t, all[2:]...)
	if got := all[3].told("purge"); got != "" {
		t.Errorf("heard %q through a broken network", got)
	}
	broken.Store(false)
	meet(t, all...)
	for _, p := range all[1:] { // what was told meanwhile has not been missed
		hears(t, p, "purge", "a=/x")
	}
}

// As with a network that drops a lot: all is told in the end.
func TestLostPackets(t *testing.T) {
	var n atomic.Int64
	lossy := fast()
	lossy.cut = func(string) bool { return n.Add(1)%3 == 0 }
	var all []*peer
	for i, name := range []string{"a", "b", "c", "d"} {
		all = append(all, setup{name: name, join: all[:min(i, 1)], tuning: lossy}.make(t).run())
	}
	for _, p := range all {
		p.Tell("t", []byte(p.self.Name), time.Minute)
	}
	for _, p := range all {
		var want []string
		for _, other := range all {
			if other != p {
				want = append(want, other.self.Name+"="+other.self.Name)
			}
		}
		hears(t, p, "t", strings.Join(want, " "))
	}
}
