package main

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"weir/proxy"
	"weir/proxy/cluster"
	"weir/proxy/proxytest"
)

// gossipPatience is how long tests wait for what gossip does in a second or two; it
// matters only when it does not.
const gossipPatience = 30 * time.Second

// A gossiper is an edge's way to the others: a real node of a cluster, on loopback. It
// may be away for a while, while the edge goes on, as when its network is broken.
type gossiper struct {
	t    *testing.T
	name string
	node atomic.Pointer[cluster.Cluster]
	stop context.CancelFunc
	done chan struct{}
}

var _ proxy.Peers = (*gossiper)(nil)

// gossipers are edges that know each other.
func gossipers(t *testing.T, n int) (all []*gossiper) {
	t.Helper()
	for i := range n {
		g := &gossiper{t: t, name: fmt.Sprint("edge", i+1)}
		g.join(all[:min(i, 1)]...)
		t.Cleanup(func() { g.leave() })
		all = append(all, g)
	}
	meet(t, all...)
	return all
}

// join starts a node that looks for others.
func (g *gossiper) join(others ...*gossiper) {
	g.t.Helper()
	o := cluster.Options{Listen: "127.0.0.1:0", Name: g.name, Label: "test"}
	for _, other := range others {
		o.Join = append(o.Join, other.self().Gossip.String())
	}
	node, err := cluster.New(cluster.Config{Options: o, Identity: cluster.Identity{Role: cluster.Edge, Modes: []string{"splitter", "cache"}},
		Metrics: prometheus.NewRegistry(), Log: zap.NewNop()})
	must(g.t, err)
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := node.Run(ctx); err != nil {
			g.t.Error(err)
		}
	}()
	g.stop, g.done = stop, done
	g.node.Store(node)
}

// leave ends the node; the edge hears nothing any more of what is told from now on.
func (g *gossiper) leave() {
	g.stop()
	<-g.done
}

func (g *gossiper) self() (self cluster.Node) {
	for _, n := range g.node.Load().Nodes() {
		if n.Self {
			self = n
		}
	}
	return self
}

// meet waits until all see that exactly they are alive.
func meet(t *testing.T, all ...*gossiper) {
	t.Helper()
	var want []string
	for _, g := range all {
		want = append(want, g.name)
	}
	slices.Sort(want)
	for _, g := range all {
		proxytest.Eventually(t, gossipPatience, fmt.Sprintf("%s sees %v", g.name, want), func() bool {
			var got []string // by name
			for _, n := range g.node.Load().Nodes() {
				if n.State == cluster.Alive {
					got = append(got, n.Name)
				}
			}
			return strings.Join(got, " ") == strings.Join(want, " ")
		})
	}
}

// Owner implements proxy.Peers.
func (g *gossiper) Owner(key string) (string, bool) { return g.node.Load().Owner(key) }

// Tell implements proxy.Peers.
func (g *gossiper) Tell(topic string, b []byte, ttl time.Duration) {
	g.node.Load().Tell(topic, b, ttl)
}

// Told implements proxy.Peers.
func (g *gossiper) Told(topic string) iter.Seq2[string, []byte] { return g.node.Load().Told(topic) }
