package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"go.uber.org/zap"

	"weir/admission"
	"weir/passthrough"
	"weir/proxy"
	"weir/proxy/admin"
	"weir/proxy/cluster"
	"weir/proxy/front"
)

// quickDrain is how long viewers may stay when a person at a terminal ends the
// node.
const quickDrain = 3 * time.Second

// errTwice says that a second signal came: everything ends at once.
var errTwice = errors.New("second signal")

// A node is one edge: its parts in the order in which they start. They end in
// the opposite order.
type node struct {
	log    *zap.Logger
	admin  *admin.Admin
	front  *front.Front
	peers  *cluster.Cluster // nil: this node is alone
	shared proxy.Upstream   // through the peers; nil likewise
	parts  []admin.Named    // front last; without the admin door
	notice time.Duration
}

// newNode builds all parts and binds their sockets. Nothing runs yet. It reports
// all mistakes in the configuration together.
func newNode(c *config, log *zap.Logger, level zap.AtomicLevel) (*node, error) {
	reg := prometheus.NewRegistry()
	reg.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	n := &node{log: log, notice: c.front.DrainNotice}
	env := proxy.Env{Next: proxy.Refuse, Gate: proxy.Open, Peers: proxy.Alone, Log: log, Metrics: reg}
	if err := c.validate(); err != nil {
		_, modeErr := n.addModes(c, env) // what is built here never runs
		return nil, errors.Join(err, modeErr)
	}
	if err := n.addCluster(c, &env); err != nil {
		return nil, err
	}
	gate, err := admission.New(admission.Config{Options: *c.gate, Trusted: c.front.Trusted(), Certificates: c.front.ClientCA != "", Peers: env.Peers, Edge: n.edge(), Metrics: reg, Log: log})
	if err != nil {
		return nil, err
	}
	env.Gate = gate
	n.parts = append(n.parts, admin.Named{Name: "admission", Part: gate})
	balancer := passthrough.NewBalancer(*c.origins, reg, log)
	n.parts = append(n.parts, admin.Named{Name: "origins", Part: balancer})
	env.Upstream = balancer
	if n.peers != nil {
		n.shared = n.peers.Upstream(balancer)
		n.parts = append(n.parts, admin.Named{Name: "discovery", Part: newDiscovery(n.peers, balancer)})
	}
	handler, err := n.addModes(c, env)
	if err != nil {
		return nil, err
	}
	n.front, err = front.New(front.Config{Options: *c.front, Handler: gate.Wrap(handler), Gate: gate, Peer: n.peer(), Metrics: reg, Log: log})
	if err != nil {
		return nil, err
	}
	if err := n.serve(); err != nil {
		return nil, err
	}
	n.parts = append(n.parts, admin.Named{Name: "front", Part: n.front})
	n.admin, err = admin.New(*c.admin, admin.Config{Parts: n.parts, Level: level, Metrics: reg, Version: version, Log: log})
	return n, err
}

// addModes builds the ladder from the right and returns its first rung.
func (n *node) addModes(c *config, env proxy.Env) (proxy.Handler, error) {
	var errs []error
	for _, name := range slices.Backward(c.ladder()) {
		build := c.builds[name]
		if build == nil {
			continue // validate says so
		}
		given := env
		if name != "passthrough" && n.shared != nil { // what it relays never goes through a peer
			given.Upstream = n.shared
		}
		m, err := build(given)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		n.parts = append(n.parts, admin.Named{Name: name, Part: m})
		env.Next = m
	}
	return env.Next, errors.Join(errs...)
}

// A running part.
type running struct {
	name string
	stop context.CancelFunc
	done chan error // one value, when Run has returned
}

func start(ctx context.Context, name string, p interface{ Run(context.Context) error }, failed chan<- error) *running {
	ctx, stop := context.WithCancel(ctx)
	r := &running{name, stop, make(chan error, 1)}
	go r.run(ctx, p, failed)
	return r
}

func (r *running) run(ctx context.Context, p interface{ Run(context.Context) error }, failed chan<- error) {
	err := p.Run(ctx)
	if err == nil && ctx.Err() == nil {
		err = errors.New("ended by itself")
	}
	if err != nil {
		err = fmt.Errorf("%s: %w", r.name, err)
		select {
		case failed <- err:
		default: // another part has failed before
		}
	}
	r.done <- err
}

// run starts the parts and waits for a signal, for ctx, or for a part that fails;
// then it lets viewers go and takes the parts down. SIGTERM leaves time for load
// balancers to notice and for viewers to end; anything else is quick. A second
// signal returns errTwice at once, with parts still running.
func (n *node) run(ctx context.Context, signals <-chan os.Signal) error {
	base := context.WithoutCancel(ctx) // parts end in order, not all at once
	failed := make(chan error, 1)
	heeding, enough := context.WithCancel(base)
	defer enough()
	go heedHangups(heeding, n.peers, n.log)
	door := start(base, "admin", n.admin, failed)
	var parts []*running
	for _, p := range n.parts {
		parts = append(parts, start(base, p.Name, p.Part, failed))
	}
	var err error
	patient := false
	select {
	case sig := <-signals:
		patient = sig != os.Interrupt
		n.log.Info("draining", zap.Stringer("signal", sig))
	case <-ctx.Done():
	case err = <-failed:
		n.log.Error("part failed", zap.Error(err))
	}
	down := make(chan error, 1)
	go n.takeDown(patient, append([]*running{door}, parts...), down)
	select {
	case downErr := <-down:
		return errors.Join(err, downErr)
	case <-signals:
		return errTwice
	}
}

// takeDown tells the parts that drain, and ends them in the opposite order of their start. The admin door
// is first in parts: it tells how things are until the end.
func (n *node) takeDown(patient bool, parts []*running, down chan<- error) {
	n.admin.Drain()
	for _, p := range n.parts {
		if d, ok := p.Part.(proxy.Drainer); ok {
			d.Drain()
		}
	}
	if patient {
		time.Sleep(n.notice) // a second signal does not wait for it: see run
	} else {
		n.front.SetDrainTimeout(quickDrain)
	}
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
