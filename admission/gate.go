package admission

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"weir/proxy"
)

// Config is what a Gate is made of.
type Config struct {
	Options
	// Certificates says that the front verifies viewers' certificates: they are
	// credentials then, and who has none needs others.
	Certificates bool
	Trusted      []netip.Prefix // load balancers and proxies, whose connections are many viewers': not limited one by one, never banned
	// Edge reports whether an address is one of the cluster's nodes; nil: none is. They
	// come with requests of many viewers, over many connections from one address: those
	// are neither limited one by one nor ever banned, only -admission.connections holds
	// for them too. It is asked of each connection that would be limited, so it must be
	// quick; what it is asked has no zone and is not 4-in-6. Viewers who share an address
	// with a node, by NAT or on its host, are spared with it.
	Edge    func(netip.Addr) bool
	Peers   proxy.Peers
	Metrics prometheus.Registerer
	Log     *zap.Logger
}

// A Gate is a proxy.Admitter, and a proxy.Part.
type Gate struct {
	o           Options
	log         *zap.Logger
	peers       proxy.Peers
	lists       *lists
	bans        *bans
	rates       *rates
	connections *connections
	pressure    *pressure
	credentials *credentials
	streams     *streams
	ledger      *ledger
	refusals    refusals
}

var (
	_ proxy.Admitter = (*Gate)(nil)
	_ proxy.Part     = (*Gate)(nil)
)

// New reads the files that the options name, and starts nothing. Its errors are
// all mistakes, each with its flag.
func New(cfg Config) (*Gate, error) {
	g := &Gate{o: cfg.Options, log: cfg.Log.Named("admission"), peers: cfg.Peers, streams: newStreams()}
	g.o.certificates, g.o.trusted = cfg.Certificates, cfg.Trusted
	var listErr, credErr error
	g.lists, listErr = newLists(&g.o, g.log)
	g.credentials, credErr = newCredentials(&g.o, g.log)
	if err := errors.Join(g.o.Validate(), listErr, credErr); err != nil {
		return nil, err
	}
	spared := spare(cfg.Trusted, cfg.Edge)
	g.bans = newBans(g.o.Ban, spared, g.log)
	g.rates = newRates(&g.o)
	g.connections = newConnections(g.o.Connections, g.o.ClientConnections, spared)
	g.pressure = newPressure(&g.o, g.log)
	g.ledger = newLedger(&g.o, g.begins)
	g.register(cfg.Metrics)
	return g, nil
}

// Wrap puts around a ladder what of the gate has to do with answers: the cookie
// that keeps a token, the pace of downloads, and a look at playlists, which say
// what belongs together.
func (g *Gate) Wrap(next proxy.Handler) proxy.Handler { return newWrap(next, &g.o, g.streams) }

// Run implements proxy.Part.
func (g *Gate) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	wg.Go(func() { g.lists.run(ctx) })
	wg.Go(func() { g.pressure.run(ctx) })
	wg.Go(func() { g.credentials.run(ctx) })
	if g.o.Cluster == "sum" {
		boot := rand.Uint64()
		wg.Go(func() { g.ledger.share(ctx, g.peers, boot) })
		wg.Go(func() { g.bans.share(ctx, g.peers, boot) })
	}
	tick := time.NewTicker(sampleEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			wg.Wait()
			return nil
		case now := <-tick.C:
			g.ledger.sample(now)
		}
	}
}

// Ready implements proxy.Part. A hook that failed the last time, and files that
// cannot be read any more, are Degraded; a hook that is down is for a while more than that.
func (g *Gate) Ready() error {
	return worst(g.pressure.ready(), g.lists.ready(), g.credentials.ready())
}

// Accept implements proxy.Admitter.
func (g *Gate) Accept(a netip.Addr) (leave func(), err error) {
	if err = g.bans.check(a, time.Now()); err == nil {
		leave, err = g.connections.enter(a)
	}
	return leave, g.counted(err)
}

// Check implements proxy.Admitter.
func (g *Gate) Check(ctx context.Context, v *proxy.Viewer) error {
	now := time.Now()
	err := g.check(ctx, v, now)
	if errors.Is(err, errBadCredentials) {
		g.bans.offend(v.Addr.Addr(), proxy.Unauthorized, now)
	}
	return g.refused(v, err)
}

// refused is counted, with a line for the log; what is in err has nothing secret.
func (g *Gate) refused(v *proxy.Viewer, err error) error {
	if err != nil {
		g.log.Debug("refused", zap.Stringer("viewer", v.Addr), zap.String("protocol", v.Protocol), zap.String("path", v.Path), zap.Error(err))
	}
	return g.counted(err)
}

func (g *Gate) check(ctx context.Context, v *proxy.Viewer, now time.Time) error {
	if v.Peer {
		return nil
	}
	if err := g.bans.check(v.Addr.Addr(), now); err != nil { // by its own address, behind a load balancer
		return err
	}
	if err := g.lists.check(v.Addr.Addr()); err != nil {
		return err
	}
	if a := client(v.Addr.Addr()); g.rates != nil && !g.ledger.knows(a) {
		if err := g.rates.full(a, now); err != nil {
			return err
		}
	}
	return g.credentials.check(ctx, v, now)
}

// Admit implements proxy.Admitter.
func (g *Gate) Admit(_ context.Context, v *proxy.Viewer) (proxy.Ticket, error) {
	if v.Peer || v.Protocol == "http" && v.Method == http.MethodOptions {
		return free{}, nil
	}
	now := time.Now()
	if c, ok := v.Grant.(*grant); ok && v.Protocol == "rtsp" { // it may be long since they were looked at
		if err := c.admits(v, now); err != nil {
			return nil, g.refused(v, err)
		}
	}
	id := g.identify(v)
	p, vague := g.ledger.known(&id)
	if p != nil && !vague {
		return p, nil
	}
	if v.Protocol == "http" {
		id.rate = withOverhead(g.streams.rate(id.stream, v.Path))
	}
	if p != nil {
		g.ledger.correct(p, id.rate)
		return p, nil
	}
	p, err := g.ledger.admit(id, now)
	if err != nil {
		return nil, g.refused(v, err)
	}
	return p, nil
}

// begins is asked of each viewer for whom there is room, once.
func (g *Gate) begins(a netip.Addr) error {
	if err := g.pressure.check(); err != nil {
		return err
	}
	return g.rates.take(a, time.Now())
}

// Offend implements proxy.Admitter.
func (g *Gate) Offend(a netip.Addr, r proxy.Reason) {
	g.bans.offend(a, r, time.Now())
	g.counted(refuse(r, "said elsewhere")) //nolint:errcheck // it was said
}

// identify says what a viewer is counted by.
func (g *Gate) identify(v *proxy.Viewer) identity {
	id := identity{client: client(v.Addr.Addr()), stream: v.Path, subject: v.Subject, class: v.Class}
	if c, ok := v.Grant.(*grant); ok {
		id.max = c.max
	}
	if v.Protocol != "http" {
		return id
	}
	id.key.subject, id.key.addr = v.Subject, id.client
	k := kindOf(v.Path)
	id.download = k != playlist && k != segment
	stream, single := g.streams.of(v.Path)
	id.key.stream = stream
	if single { // or a part of a stream that is being watched
		id.key.stream = g.streams.around(v.Path)
		if !g.ledger.watches(id.key) {
			id.key.stream = stream
		}
	}
	id.stream = id.key.stream
	return id
}
