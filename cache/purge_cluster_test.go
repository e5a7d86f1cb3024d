package cache

import (
	"fmt"
	"iter"
	"maps"
	"reflect"
	"slices"
	"testing"
	"time"

	"weir/proxy"
)

// A fakeCluster connects nodes as proxy.Peers promises: the newest message of each
// topic and node, until its time is over. Nodes that are away hear and tell
// nothing, and catch up when they are back.
type fakeCluster struct {
	now   time.Time
	nodes map[string]*fakeNode
}

type fakeNode struct {
	cluster *fakeCluster
	name    string
	away    bool
	has     map[[2]string]fakeMessage // by topic and node
	shelf   []purge
	spread  *spreader
}

type fakeMessage struct {
	b           []byte
	told, until time.Time
}

func newFakeCluster(names ...string) *fakeCluster {
	c := &fakeCluster{now: time.Now(), nodes: map[string]*fakeNode{}}
	for _, name := range names {
		c.start(name)
	}
	return c
}

func (c *fakeCluster) start(name string) *fakeNode {
	n := &fakeNode{cluster: c, name: name, has: map[[2]string]fakeMessage{}}
	n.spread = newSpreader(n, func(p purge) {
		if !p.At.Equal(c.now) {
			panic(fmt.Sprintf("%s purges as of %v at %v", name, p.At, c.now))
		}
		p.At = time.Time{}
		n.shelf = append(n.shelf, p)
	})
	c.nodes[name] = n
	c.gossip()
	return n
}

func (n *fakeNode) Owner(string) (string, bool) { return "", true }

func (n *fakeNode) Tell(topic string, b []byte, ttl time.Duration) {
	if len(b) > 1000 {
		panic(fmt.Sprintf("%d bytes told", len(b)))
	}
	now := n.cluster.now
	n.has[[2]string{topic, n.name}] = fakeMessage{slices.Clone(b), now, now.Add(ttl)}
	n.cluster.gossip()
}

func (n *fakeNode) Told(topic string) iter.Seq2[string, []byte] {
	return func(yield func(string, []byte) bool) {
		for at, m := range n.has {
			if at[0] == topic && n.cluster.now.Before(m.until) && !yield(at[1], m.b) {
				return
			}
		}
	}
}

// gossip exchanges what those have that are not away.
func (c *fakeCluster) gossip() {
	for from := range maps.Values(c.nodes) {
		for to := range maps.Values(c.nodes) {
			if from.away || to.away {
				continue
			}
			for at, m := range from.has {
				if !m.told.Before(to.has[at].told) {
					to.has[at] = m
				}
			}
		}
	}
}

// pass lets time pass, second by second.
func (c *fakeCluster) pass(d time.Duration) {
	for end := c.now.Add(d); c.now.Before(end); {
		c.now = c.now.Add(time.Second)
		for _, name := range slices.Sorted(maps.Keys(c.nodes)) {
			c.nodes[name].spread.tick(c.now)
		}
	}
}

var _ proxy.Peers = (*fakeNode)(nil)

func (n *fakeNode) check(t *testing.T, want ...purge) {
	t.Helper()
	if !reflect.DeepEqual(n.shelf, want) {
		t.Errorf("%s was told %+v, want %+v", n.name, n.shelf, want)
	}
}
