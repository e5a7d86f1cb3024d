package main

import (
	"context"
	"errors"
	"os"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"go.uber.org/zap"

	"weir/passthrough"
	"weir/proxy"
	"weir/proxy/admin"
	"weir/proxy/cluster"
)

// An agentNode is a running agent: its parts in the order in which they start.
type agentNode struct {
	log    *zap.Logger
	admin  *admin.Admin
	parts  []admin.Named    // without the admin door
	peers  *cluster.Cluster // nil without
	notice time.Duration
}

// newAgentNode builds all parts and binds their sockets. Nothing runs yet.
func newAgentNode(c *agentConfig, log *zap.Logger, level zap.AtomicLevel) (*agentNode, error) {
	reg := prometheus.NewRegistry()
	reg.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	n := &agentNode{log: log, notice: c.notice}
	peers := proxy.Alone
	if !c.cluster.Off() {
		gossip, err := cluster.New(cluster.Config{Options: *c.cluster, Identity: c.identity(), Metrics: reg, Log: log})
		if err != nil {
			return nil, err
		}
		peers, n.peers = gossip, gossip
		n.parts = append(n.parts, admin.Named{Name: "cluster", Part: gossip})
	}
	a, err := passthrough.NewAgent(*c.origin, peers, reg, log)
	if err != nil {
		return nil, err
	}
	n.parts = append(n.parts, admin.Named{Name: "agent", Part: a})
	n.admin, err = admin.New(*c.admin, admin.Config{Parts: n.parts, Level: level, Metrics: reg, Version: version, Log: log})
	return n, err
}

// run starts the parts and waits for a signal, for ctx, or for a part that fails; then
// it says that the origin is going, and leaves. A second signal returns errTwice at
// once, with parts still running.
func (n *agentNode) run(ctx context.Context, signals <-chan os.Signal) error {
	base := context.WithoutCancel(ctx) // parts end in order, not all at once
	failed := make(chan error, 1)
	heeding, enough := context.WithCancel(base)
	defer enough()
	go heedHangups(heeding, n.peers, n.log)
	parts := []*running{start(base, "admin", n.admin, failed)}
	for _, p := range n.parts {
		parts = append(parts, start(base, p.Name, p.Part, failed))
	}
	var err error
	notice := n.notice
	select {
	case sig := <-signals:
		n.log.Info("draining", zap.Stringer("signal", sig), zap.Duration("notice", notice))
	case <-ctx.Done():
	case err = <-failed:
		n.log.Error("part failed", zap.Error(err))
		notice = 0
	}
	n.drain()
	down := make(chan error, 1)
	go n.takeDown(notice, parts, down)
	select {
	case downErr := <-down:
		return errors.Join(err, downErr)
	case <-signals:
		return errTwice
	}
}

// drain tells edges and balancers that the origin is going.
func (n *agentNode) drain() {
	n.admin.Drain()
	for _, p := range n.parts {
		if d, ok := p.Part.(proxy.Drainer); ok {
			d.Drain()
		}
	}
}

// takeDown waits until all have heard, and ends the parts in the opposite order of
// their start.
func (n *agentNode) takeDown(notice time.Duration, parts []*running, down chan<- error) {
	time.Sleep(notice) // a second signal does not wait for it: see run
	var errs []error
	for i := len(parts) - 1; i >= 0; i-- {
		parts[i].stop()
		if err := <-parts[i].done; err != nil {
			errs = append(errs, err)
		}
	}
	n.log.Info("stopped")
	down <- errors.Join(errs...)
}
