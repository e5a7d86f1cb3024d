package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"time"

	"go.uber.org/zap"

	"weir/passthrough"
	"weir/proxy/admin"
	"weir/proxy/cluster"
)

const (
	// agentDoor is another than an edge's, which may live on the same machine.
	agentDoor = "127.0.0.1:9091"
	// agentGossip is where an agent listens that joins somebody and does not say where.
	agentGossip = ":7946"
	// agentSuffix makes an agent's name another than that of an edge on the machine.
	agentSuffix = "-origin"
)

// An agentConfig is what an agent's flags say. Of config it has what reads flags and
// makes the log, the door and the cluster.
type agentConfig struct {
	config
	origin       *passthrough.AgentOptions
	notice       time.Duration
	drain, ready bool
}

// agentCommand is the process beside an origin that knows nothing of it.
func agentCommand(ctx context.Context, in invocation) error {
	c := newAgentConfig(in.stderr)
	if err := c.parse(in.args); err != nil {
		return err
	}
	if c.drain || c.ready {
		return c.order(ctx, in)
	}
	if err := c.complete(); err != nil {
		return err
	}
	log, level := c.logger(in.stderr)
	a, err := newAgentNode(c, log, level)
	if err != nil {
		return err
	}
	return a.run(ctx, in.signals)
}

func newAgentConfig(stderr io.Writer) *agentConfig {
	fs := flag.NewFlagSet("weir agent", flag.ContinueOnError)
	fs.SetOutput(io.Discard) // mistakes are reported once, by main
	c := &agentConfig{config: config{fs: fs, admin: admin.Flags(fs), cluster: cluster.Flags(fs)}, origin: passthrough.AgentFlags(fs)}
	c.set("admin", agentDoor)
	fs.BoolVar(&c.drain, "drain", false, "have the agent that runs here, at -admin, take its origin out of rotation, until -ready or until the agent is started anew, and end; nobody who is connected is cut")
	fs.BoolVar(&c.ready, "ready", false, "have the agent that runs here, at -admin, bring its origin back into rotation, and end")
	fs.DurationVar(&c.notice, "drain.notice", 5*time.Second, "after a signal, how long the agent says that its origin is going before it leaves; less than a balancer's check interval loses viewers; a second signal does not wait")
	c.logFlags()
	fs.String("config", "", "`file` in YAML with the flags' names as keys; command line and environment override it")
	fs.Usage = func() {}
	c.help = func() { agentUsage(fs, stderr) }
	return c
}

// logFlags are those of an edge.
func (c *agentConfig) logFlags() {
	c.fs.StringVar(&c.logLevel, "log.level", "info", "`debug|info|warn|error`")
	c.fs.StringVar(&c.logFormat, "log.format", "", "`console|json`; console on a terminal, else json")
}

func agentUsage(fs *flag.FlagSet, w io.Writer) {
	fs.SetOutput(w)
	defer fs.SetOutput(io.Discard)
	fmt.Fprintf(w, "Usage: %s [flags]\n\n"+
		"Stands beside an origin, which needs no change, tells edges of it, and balancers of other kinds, for example:\n\n"+
		"  weir agent -rtsp 127.0.0.1:554 -http 127.0.0.1:8888 -weight 2 -capacity 500 -path /vod/ -cluster.join edge1 -cluster.key-file keys\n"+
		"  weir agent -drain\n  weir agent -ready\n\n"+
		"A signal takes the origin out of rotation and ends the agent; the origin itself is never touched.\n"+
		"Every flag can stand in the environment (WEIR_CLUSTER_JOIN=edge1) or in -config.\n\n", fs.Name())
	fs.PrintDefaults()
}

// complete works out what was not said, and reports all mistakes together.
func (c *agentConfig) complete() error {
	if len(c.cluster.Join) > 0 && c.cluster.Listen == "" {
		c.cluster.Listen = agentGossip
	}
	if c.cluster.Name == "" {
		if host, err := os.Hostname(); err == nil {
			c.cluster.Name = host + agentSuffix
		}
	}
	errs := []error{c.origin.Validate(), c.cluster.Validate()}
	if c.cluster.Off() && c.origin.AgentCheck == "" {
		errs = append(errs, errors.New("-cluster.join, -cluster.listen or -agent-check: one is needed, or nobody would hear of the origin"))
	}
	if c.notice < 0 {
		errs = append(errs, fmt.Errorf("-drain.notice %v: must not be negative", c.notice))
	}
	if _, err := zap.ParseAtomicLevel(c.logLevel); err != nil {
		errs = append(errs, fmt.Errorf("-log.level: %w", err))
	}
	if f := c.logFormat; f != "" && f != "console" && f != "json" {
		errs = append(errs, fmt.Errorf("-log.format %q: must be console or json", f))
	}
	return errors.Join(errs...)
}

// identity is what the agent says of its origin.
func (c *agentConfig) identity() cluster.Identity {
	id := cluster.Identity{Role: cluster.Origin, Weight: c.origin.Weight, Capacity: c.origin.Capacity, Paths: c.origin.Paths}
	for _, s := range c.origin.Services() {
		id.Services = append(id.Services, cluster.Service{Proto: s.Proto, Host: s.Host, Port: s.Port})
	}
	return id
}
