package cache

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestPurgesSpread: each other node purges, once, within two seconds.
func TestPurgesSpread(t *testing.T) {
	c := newFakeCluster("a", "b", "c")
	one, two := purge{URL: "/live/a.m3u8"}, purge{Tag: "title", Soft: true}
	c.nodes["a"].spread.tell(one)
	c.pass(2 * time.Second)
	c.nodes["b"].spread.tell(two)
	c.pass(5 * time.Minute)
	c.nodes["a"].check(t, two)
	c.nodes["b"].check(t, one)
	c.nodes["c"].check(t, one, two)
}

// TestPurgeOfThoseAway: who comes back within 90 s purges then, whatever was told
// in between; and what he was asked for himself is told.
func TestPurgeOfThoseAway(t *testing.T) {
	c := newFakeCluster("a", "b", "c")
	c.nodes["a"].spread.tell(purge{URL: "/before"})
	c.pass(3 * time.Second)
	c.nodes["c"].away = true
	own := purge{Prefix: "/own/"}
	c.nodes["c"].spread.tell(own)
	want := []purge{}
	for i := range 100 { // a dozen for each topic
		p := purge{URL: fmt.Sprintf("/vod/%d.ts", i)}
		want = append(want, p)
		c.nodes["a"].spread.tell(p)
		if i%3 == 0 {
			c.pass(time.Second)
		}
	}
	c.pass(40 * time.Second)
	c.nodes["c"].check(t, purge{URL: "/before"})
	c.nodes["c"].away = false
	c.gossip()
	c.pass(time.Second)
	got := c.nodes["c"].shelf[1:]
	slices.SortFunc(got, byText)
	slices.SortFunc(want, byText)
	if !reflect.DeepEqual(got, want) {
		t.Errorf("who was away was told %v, want %v", got, want)
	}
	if !slices.Contains(c.nodes["a"].shelf, own) || !slices.Contains(c.nodes["b"].shelf, own) {
		t.Errorf("what was asked of him meanwhile: told %v and %v", c.nodes["a"].shelf, c.nodes["b"].shelf)
	}
}

func byText(a, b purge) int {
	_, s := a.packed()
	_, u := b.packed()
	return strings.Compare(s, u)
}

// TestPurgeAfterRestart: a node that starts again hears what is still told, and is
// heard although it counts from 1 again.
func TestPurgeAfterRestart(t *testing.T) {
	c := newFakeCluster("a", "b")
	c.nodes["a"].spread.tell(purge{URL: "/1"})
	c.pass(10 * time.Second)
	b := c.start("b")
	c.pass(time.Second)
	b.check(t, purge{URL: "/1"})
	a := c.start("a")
	a.spread.tell(purge{URL: "/2"})
	c.pass(2 * time.Second)
	b.check(t, purge{URL: "/1"}, purge{URL: "/2"})
}

// covered reports whether one of several purges does what p was to do.
func covered(p purge, by []purge) bool {
	return slices.ContainsFunc(by, func(q purge) bool { return q.covers(&p) })
}

// TestPurgeBurst: more than there is room for is told wider, and nothing is left
// out; nobody purges wider what he has purged already.
func TestPurgeBurst(t *testing.T) {
	f := func(what string, of func(i int) purge, everything bool) {
		t.Helper()
		c := newFakeCluster("a", "b", "c")
		c.nodes["c"].away = true
		var all []purge
		for i := range 3000 {
			all = append(all, of(i))
			c.nodes["a"].spread.tell(of(i))
			if i%100 == 99 {
				c.pass(time.Second)
			}
		}
		c.pass(time.Second)
		c.nodes["c"].away = false
		c.gossip()
		c.pass(2 * time.Second)
		for _, n := range []*fakeNode{c.nodes["b"], c.nodes["c"]} {
			for _, p := range all {
				if !covered(p, n.shelf) {
					t.Fatalf("%s: %s was not told of %+v", what, n.name, p)
				}
			}
			if got := covered(purge{Prefix: "/", Soft: true}, n.shelf); got != everything {
				t.Errorf("%s: %s purged everything: %v, want %v", what, n.name, got, everything)
			}
		}
	}
	f("segments", func(i int) purge { return purge{URL: fmt.Sprintf("/vod/title-%d/seg-%05d.ts", i/500, i)} }, false)
	f("hard and soft", func(i int) purge { return purge{URL: fmt.Sprintf("/vod/%05d.ts", i), Soft: i%2 == 0} }, false)
	f("queries", func(i int) purge { return purge{URL: fmt.Sprintf("/vod/a.ts?track=%d", i)} }, false)
	f("tags", func(i int) purge { return purge{Tag: fmt.Sprintf("production-title-%d", i)} }, true)
}

// TestPurgeRoom holds what the comment of spreader says there is room for.
func TestPurgeRoom(t *testing.T) {
	f := func(n int, of func(i int) purge) {
		t.Helper()
		c := newFakeCluster("a", "b")
		for i := range n {
			c.nodes["a"].spread.tell(of(i))
		}
		c.pass(2 * time.Second)
		if got := c.nodes["b"].shelf; len(got) != n {
			t.Errorf("%d purges like %+v became %d", n, of(7), len(got))
		}
	}
	f(300, func(i int) purge { return purge{URL: fmt.Sprintf("/vod/%x/master.m3u8", uint32(i)*2654435761)} })
	f(600, func(i int) purge { return purge{URL: fmt.Sprintf("/vod/title-0007/720p/segment-%05d.ts", i)} })
	f(350, func(i int) purge { return purge{Tag: fmt.Sprintf("%016x", uint64(i)*11400714819323198485)} })
}
