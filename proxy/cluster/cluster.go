// Package cluster is who else is there: it finds the other nodes by gossip (hashicorp's
// memberlist), knows what each says of itself, tells them what parts of this node have to tell
// (proxy.Peers), and says which edge is to fetch what (Owner).
//
// It is for discovery and for hints. A node that dies is noticed after six to twenty-five seconds, so
// whoever moves media finds out by itself, and asks here only where else to go. What is
// gossiped may be late, and is lost when its time to live has passed; it is never a lock, and
// no counter. Nothing here is for data: a message has at most 1000 bytes, and a node sends
// about 36 KB/s at most, thirty datagrams; beyond that messages come later than they might.
// That is reached by 20 nodes that tell 1000 bytes each second (some of it comes 8 s late), or
// 300 bytes (then it comes within a second).
//
// A node has a name and an ID made of it, for ever, and an epoch, the time of its start. What
// it says of itself (Identity, at most 220 bytes) is part of its membership and does not
// change. What it tells are records under topics, each with one writer: the newer (epoch,
// sequence) wins, is sent on by all who take it for news, and is forgotten when its time to
// live has passed. All that is live is exchanged when a node joins, and every 30 s with some
// node, so that who was away hears of it too.
//
// Who has a key of the cluster is trusted with everything but this node's own words; who has
// none is not heard. There is no protection against packets recorded and sent again but that
// what is older than what is known counts for nothing.
//
// Limits: 1024 nodes, 32 topics of each, 8 MiB of records, 10 minutes to live; 256 nodes that
// have left are remembered, for a day at most; 128 connections from others at once. What does
// not fit is refused and counted. Datagrams are of 1280 bytes at most, headers included.
//
// Locks: memberlist calls us holding its own, so it is never called with Cluster.mu held:
// memberlist's, then Cluster.mu, then a queue's. The queues take no lock of ours. Some
// goroutines of memberlist's outlive Run for as long as a probe takes, and do nothing more.
package cluster

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/memberlist"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"weir/proxy"
)

// Config is what New needs.
type Config struct {
	Options  Options  // with Listen
	Identity Identity // but for Name, ID and Epoch
	Metrics  prometheus.Registerer
	Log      *zap.Logger
}

// A Cluster is this node's view of all, and its voice. All methods may be called by
// any goroutine at any time, before Run and after it too.
type Cluster struct {
	o         Options
	tuning    tuning
	log       *zap.Logger
	self      Identity
	boot      string // this start's name for memberlist
	meta      []byte
	since     time.Time
	transport *transport
	ring      *memberlist.Keyring // nil without keys
	budget    int                 // the longest record that fits into a packet
	counts    map[reason]*atomic.Uint64
	shared    *Upstream // nil: edges do not share
	urgent    *memberlist.TransmitLimitedQueue
	bulk      *memberlist.TransmitLimitedQueue

	list    atomic.Pointer[memberlist.Memberlist]
	view    atomic.Pointer[view] // nil when it is to be made anew
	alive   atomic.Int64         // nodes, this one included
	joined  atomic.Bool          // some seed has answered
	late    atomic.Bool          // the patience with seeds is over
	changed chan struct{}        // of one: something about nodes
	watches []func()

	reload sync.Mutex // held by Reload, before mu

	mu      sync.Mutex
	members map[string]*member
	table   *table
	epoch   uint64 // of this node's records
	seq     uint64
	state   said
	said    time.Time // when state was told last
	keys    [][]byte
	keyFile os.FileInfo // as it was read last
	lost    []string    // seeds whose names have no address
	warned  string      // the start of another node that was complained of
}

var (
	_ proxy.Peers   = (*Cluster)(nil)
	_ proxy.Part    = (*Cluster)(nil)
	_ proxy.Drainer = (*Cluster)(nil)
)

// New reads the keys and binds the sockets; its errors name the flag. It starts
// nothing.
func New(cfg Config) (*Cluster, error) { return newCluster(cfg, usual) }

func newCluster(cfg Config, t tuning) (*Cluster, error) {
	if err := cfg.Options.Validate(); err != nil {
		return nil, err
	}
	if cfg.Options.Off() {
		return nil, errors.New("-cluster.listen: needed for a cluster")
	}
	now := time.Now()
	c := &Cluster{
		o: cfg.Options, tuning: t, log: cfg.Log.Named("cluster"), self: cfg.Identity, since: now,
		budget: packet - around, counts: map[reason]*atomic.Uint64{}, changed: make(chan struct{}, 1),
		members: map[string]*member{}, state: sayAlive,
	}
	for _, why := range reasons {
		c.counts[why] = &atomic.Uint64{}
	}
	c.alive.Store(1)
	nodes := func() int { return int(c.alive.Load()) }
	c.urgent = &memberlist.TransmitLimitedQueue{NumNodes: nodes, RetransmitMult: urgentTimes}
	c.bulk = &memberlist.TransmitLimitedQueue{NumNodes: nodes, RetransmitMult: bulkTimes}
	if err := c.identify(now); err != nil {
		return nil, err
	}
	if err := c.firstKeys(); err != nil {
		return nil, err
	}
	if err := c.bind(); err != nil {
		return nil, err
	}
	cfg.Metrics.MustRegister(collector{c})
	return c, nil
}

// identify fills in what this node says of itself.
func (c *Cluster) identify(now time.Time) (err error) {
	if c.self.Name, err = c.o.name(); err != nil {
		return err
	}
	c.self.ID, c.self.Epoch = newID(c.self.Name), uint64(max(0, now.UnixMilli()))
	c.self.Weight = max(1, c.self.Weight)
	c.epoch, c.boot = c.self.Epoch, c.self.boot()
	c.table = newTable(c.self.ID)
	c.meta, err = c.self.encode()
	return err
}

func (c *Cluster) bind() error {
	var advertise netip.AddrPort
	listen, err := c.o.listen()
	if err == nil {
		advertise, err = c.o.advertise(listen)
	}
	if err == nil {
		c.transport, err = bind(listen, advertise)
	}
	if err != nil {
		return err
	}
	c.transport.reject, c.transport.cut = c.reject, c.tuning.cut
	return nil
}

// Serve sets where this node serves viewers. It is to be called before Run.
func (c *Cluster) Serve(services []Service) (err error) {
	c.self.Services = services
	c.meta, err = c.self.encode()
	return err
}

// Address is the one at which others reach this node's gossip.
func (c *Cluster) Address() netip.Addr { return c.transport.advertise.Addr() }

// Name is this node's.
func (c *Cluster) Name() string { return c.self.Name }

// OnChange has f called, by one goroutine and never twice at once, when Nodes or
// Owner may say something else than before. It is to be called before Run.
func (c *Cluster) OnChange(f func()) { c.watches = append(c.watches, f) }

// Run takes part in the cluster until ctx is done, and then leaves it, which takes
// one to four seconds if there is anybody else.
func (c *Cluster) Run(ctx context.Context) error {
	c.transport.start()
	list, err := memberlist.Create(c.config())
	if err != nil {
		c.transport.Shutdown() //nolint:errcheck // returns none
		return fmt.Errorf("cluster: %w", err)
	}
	c.list.Store(list)
	c.log.Info("started", zap.String("node", c.self.Name), zap.Stringer("address", c.transport.advertise), zap.Bool("encrypted", c.ring != nil))
	patience := time.AfterFunc(c.tuning.patience, func() { c.late.Store(true) })
	defer patience.Stop()
	var wg sync.WaitGroup
	wg.Go(func() { c.rejoin(ctx, list) })
	c.work(ctx)
	c.transport.stopDialling()
	wg.Wait()
	c.leave(list)
	c.log.Info("stopped")
	return nil
}

// work does what is due until ctx is done.
func (c *Cluster) work(ctx context.Context) {
	tick := time.NewTicker(c.tuning.tick)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-c.changed:
			for _, f := range c.watches {
				f()
			}
		case <-tick.C:
			c.lookAtKeys()
			c.tend(time.Now())
		}
	}
}

// tend forgets what is over and says what is to be said again.
func (c *Cluster) tend(now time.Time) {
	c.mu.Lock()
	if c.table.sweep(now) {
		c.invalidate()
	}
	c.forget(now)
	c.settle(now)
	if now.Sub(c.said) >= sayEvery {
		c.say(now)
	}
	double, complain := c.double(now)
	c.mu.Unlock()
	if complain {
		c.log.Error("another node has this node's name, give one of them another -cluster.name", zap.Stringer("address", double))
	}
}

// Drain implements proxy.Drainer: the others are told that this node takes nothing
// new.
func (c *Cluster) Drain() { c.become(sayDraining) }

func (c *Cluster) become(s said) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state < s {
		c.state = s
		c.invalidate()
		c.say(time.Now())
	}
}
