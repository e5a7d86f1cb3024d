package cluster

import (
	"fmt"
	"math"
	"testing"
	"time"

	"weir/proxy/proxytest"
)

func edges(n int, modes ...string) (all []Node) {
	for i := range n {
		name := fmt.Sprintf("edge%d", i)
		all = append(all, Node{Identity: Identity{Name: name, ID: newID(name), Role: Edge, Modes: modes}, State: Alive})
	}
	return all
}

// Each edge owns about as many keys as any other, and the order in which they are
// seen does not matter.
func TestOwnerShares(t *testing.T) {
	all := edges(5, "cache")
	reversed := []Node{all[4], all[3], all[2], all[1], all[0]}
	owned := map[string]int{}
	const keys = 10000
	for i := range keys {
		key := fmt.Sprintf("cache:/vod/%d.ts", i)
		n := owner(all, "cache", key, nobody)
		if other := owner(reversed, "cache", key, nobody); other.Name != n.Name {
			t.Fatalf("%s is owned by %s or %s", key, n.Name, other.Name)
		}
		owned[n.Name]++
	}
	for name, n := range owned {
		if math.Abs(float64(n)-keys/5) > keys/50 {
			t.Errorf("%s owns %d of %d", name, n, keys)
		}
	}
}

// When an edge goes, its keys move and no others do; the same when one comes.
func TestOwnerMovesLittle(t *testing.T) {
	all := edges(5, "cache")
	fewer := all[:4]
	moved := 0
	const keys = 10000
	for i := range keys {
		key := fmt.Sprintf("cache:/vod/%d.ts", i)
		before, after := owner(all, "cache", key, nobody).Name, owner(fewer, "cache", key, nobody).Name
		if before != after {
			moved++
			if before != all[4].Name {
				t.Fatalf("%s moved from %s to %s", key, before, after)
			}
		}
	}
	if moved < keys/5-keys/50 || moved > keys/5+keys/50 {
		t.Errorf("%d of %d keys moved, want about a fifth", moved, keys)
	}
}

func TestOwnerCarriesTheMode(t *testing.T) {
	all := append(edges(1, "cache"), edges(3, "splitter")[2])
	f := func(mode, key, want string) {
		t.Helper()
		got := "none"
		if n := owner(all, mode, key, nobody); n != nil {
			got = n.Name
		}
		if got != want {
			t.Errorf("owner(%q, %q) = %s, want %s", mode, key, got, want)
		}
	}
	for i := range 20 {
		f("cache", fmt.Sprintf("cache:/%d", i), "edge0")
		f("splitter", fmt.Sprintf("splitter:/%d", i), "edge2")
		f("other", fmt.Sprintf("other:/%d", i), "none")
	}
}

// All nodes agree who owns what, agents too, which own nothing; an edge that drains
// or goes owns nothing any more.
func TestOwnerAcrossNodes(t *testing.T) {
	all := several(t, 3)
	agent := setup{name: "agent", join: all[:1], identity: Identity{Role: Origin, Modes: []string{"cache"}}}.make(t).run()
	splitter := setup{name: "only-splitter", join: all[:1], identity: Identity{Role: Edge, Modes: []string{"splitter"}}}.make(t).run()
	all = append(all, agent, splitter)
	meet(t, all...)
	// agreed is the owner of each key once all say the same.
	agreed := func() (owners map[string]bool) {
		proxytest.Eventually(t, patient, "all agree", func() bool {
			owners = map[string]bool{}
			for i := range 100 {
				key := fmt.Sprintf("cache:/%d", i)
				first, _ := all[0].Owner(key)
				owners[first] = true
				for _, p := range all {
					if name, self := p.Owner(key); name != first || self != (name == p.self.Name) {
						return false
					}
				}
			}
			return true
		})
		return owners
	}
	f := func(want ...string) {
		t.Helper()
		got := agreed()
		ok := len(got) == len(want)
		for _, w := range want {
			ok = ok && got[w]
		}
		if !ok {
			t.Errorf("owners are %v, want %v", got, want)
		}
	}
	f("edge1", "edge2", "edge3")
	all[1].Drain()
	for _, p := range all {
		proxytest.Eventually(t, patient, "draining seen", func() bool { return p.node("edge2").State == Draining })
	}
	f("edge1", "edge3")
	all[2].kill()
	all = append(all[:2:2], all[3:]...)
	for _, p := range all {
		proxytest.Eventually(t, patient, "death seen", func() bool { return p.node("edge3").State == Left })
	}
	f("edge1")
	all[0].Drain()
	proxytest.Eventually(t, patient, "nobody left", func() bool { name, self := agent.Owner("cache:/x"); return self && name == "agent" })
	if name, self := splitter.Owner("splitter:/x"); name != "only-splitter" || !self {
		t.Errorf("the splitter's owner is %q, %v", name, self)
	}
}

// A request asks for the owner of what it wants: this must cost next to nothing.
func BenchmarkOwner(b *testing.B) {
	for _, n := range []int{4, 20} {
		b.Run(fmt.Sprintf("nodes=%d", n), func(b *testing.B) {
			p := setup{name: "me", quiet: true}.make(b)
			defer p.transport.Shutdown() //nolint:errcheck // returns none
			now := time.Now()
			for i := range n - 1 {
				name := fmt.Sprintf("edge%d", i)
				id := Identity{Name: name, ID: newID(name), Epoch: 1, Role: Edge, Modes: []string{"splitter", "cache"}}
				p.members[id.boot()] = &member{Identity: id, since: now}
			}
			p.view.Store(nil)
			b.ReportAllocs()
			for b.Loop() {
				p.Owner("cache:/vod/film/segment-000123.ts")
			}
		})
	}
}
