package main

import (
	"context"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"weir/passthrough"
	"weir/proxy/cluster"
	"weir/proxy/proxytest"
)

// newListener is another node of the agent's cluster.
func newListener(t *testing.T) *cluster.Cluster {
	t.Helper()
	edge, err := cluster.New(cluster.Config{
		Options:  cluster.Options{Listen: "127.0.0.1:0", Name: "edge1", Label: "weir"},
		Identity: cluster.Identity{Role: cluster.Edge}, Metrics: prometheus.NewRegistry(), Log: proxytest.Logger(t),
	})
	if err != nil {
		t.Fatal(err)
	}
	return edge
}

// newHeardAgent is an agent that joins edge.
func newHeardAgent(t *testing.T, origin net.Listener, edge *cluster.Cluster) *agentNode {
	t.Helper()
	c := newAgentConfig(io.Discard)
	err := c.parse([]string{"-http", origin.Addr().String(), "-path", "/vod/", "-admin", "127.0.0.1:0", "-drain.notice", "0s",
		"-cluster.listen", "127.0.0.1:0", "-cluster.name", "origin1", "-cluster.join", edge.Nodes()[0].Gossip.String()})
	if err == nil {
		err = c.complete()
	}
	if err != nil {
		t.Fatal(err)
	}
	n, err := newAgentNode(c, proxytest.Logger(t), zap.NewAtomicLevel())
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestAgentIsHeard: by real gossip another node learns of the origin, of what is
// reported of it, and that it is out of rotation and back.
func TestAgentIsHeard(t *testing.T) {
	origin, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer origin.Close()
	edge := newListener(t)
	n := newHeardAgent(t, origin, edge)
	ctx, stop := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { edge.Run(ctx) })   //nolint:errcheck // what it does is looked at
	wg.Go(func() { n.run(ctx, nil) }) //nolint:errcheck // likewise
	defer wg.Wait()
	defer stop()

	heard := func(what string, is func(passthrough.Report) bool) {
		t.Helper()
		began := time.Now()
		proxytest.Eventually(t, 30*time.Second, what, func() bool {
			for node, b := range edge.Told(passthrough.ReportTopic) {
				if r, err := passthrough.ParseReport(b); err == nil && node == "origin1" && is(r) {
					return true
				}
			}
			return false
		})
		t.Logf("%s after %v", what, time.Since(began))
	}
	heard("the origin is well", func(r passthrough.Report) bool { return r.Well == 1 && !r.Draining })
	for _, node := range edge.Nodes() {
		if addr, ok := node.Addr("http"); node.Name == "origin1" && (node.Role != cluster.Origin || !ok || addr != origin.Addr().String()) {
			t.Errorf("the edge sees %+v", node)
		}
	}
	order := func(verb string) {
		t.Helper()
		if _, err := runAgentCommand(t, verb, "-admin", n.admin.Addr().String()); err != nil {
			t.Error(err)
		}
	}
	order("-drain")
	heard("the origin drains", func(r passthrough.Report) bool { return r.Draining })
	order("-ready")
	heard("the origin is back", func(r passthrough.Report) bool { return !r.Draining && r.Well == 1 })
	origin.Close()
	heard("the origin is unwell", func(r passthrough.Report) bool { return r.Well == 0 })
}
