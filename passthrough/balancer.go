package passthrough

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"weir/proxy"
)

const (
	keepAlive  = 15 * time.Second // between probes of a silent connection
	retryAfter = 5 * time.Second  // what viewers are told when no origin answers
)

// A Balancer is a proxy.Upstream and a proxy.Part.
type Balancer struct {
	opts    OriginOptions
	timeout time.Duration // of one dial
	log     *zap.Logger
	met     *metrics
	sites   []*site          // in the order they were given, sources last, and then those that were discovered; guarded by mu
	pools   []*pool          // likewise
	sources map[string]*pool // by path

	// Replaced by tests of faults.
	dial   func(ctx context.Context, network, addr string) (net.Conn, error)
	lookup func(ctx context.Context, host string) ([]netip.Addr, error)

	resumed atomic.Uint64 // bodies that went on with another origin
	memory  *streamMemory

	discovering sync.Mutex       // held by Discover, before mu
	finds       map[string]*site // what was discovered, by its URL
	unfit       map[string]bool  // URLs that were complained of
	changed     chan struct{}    // of one: sites have come or gone

	mu      sync.Mutex
	origins map[*site][]*origin
	probing bool // Run will bring up again what is down
}

var (
	_ proxy.Upstream = (*Balancer)(nil)
	_ proxy.Part     = (*Balancer)(nil)
)

// NewBalancer returns a Balancer of options that Validate has passed; it panics
// where that is not so.
func NewBalancer(o OriginOptions, reg prometheus.Registerer, log *zap.Logger) *Balancer {
	origins, err1 := o.origins()
	sources, err2 := o.sources()
	if err := errors.Join(err1, err2, o.validateRest()); err != nil {
		panic(fmt.Sprintf("BUG: passthrough.NewBalancer with options that were not validated: %v", err))
	}
	b := &Balancer{opts: o, timeout: o.Timeout, log: log.Named("passthrough"), sites: slices.Concat(origins, sources),
		sources: map[string]*pool{}, origins: map[*site][]*origin{},
		finds: map[string]*site{}, unfit: map[string]bool{}, changed: make(chan struct{}, 1)}
	b.dial = (&net.Dialer{KeepAlive: keepAlive}).DialContext
	b.lookup = lookup
	for _, s := range origins {
		b.addSite(s)
	}
	for _, s := range sources {
		b.sources[s.source] = &pool{path: s.source, source: true, sites: []*site{s}, turns: turns{}}
	}
	for _, s := range b.sites {
		b.replace(s, b.unresolved(s))
	}
	b.met = newMetrics(reg, b)
	b.memory = newStreamMemory(reg)
	return b
}

// Always returns the paths of the sources that are to be pulled also while nobody
// watches, sorted.
func (b *Balancer) Always() (paths []string) {
	for _, path := range slices.Sorted(maps.Keys(b.sources)) {
		if b.sources[path].sites[0].always {
			paths = append(paths, path)
		}
	}
	return paths
}

// refusal is the error for a viewer when none of the candidates could be
// reached; errs are those of the dials.
func refusal(ctx context.Context, errs []error) error {
	err := errors.Join(errs...)
	switch {
	case errors.Is(ctx.Err(), context.Canceled):
		return ctx.Err() // nobody is left to be told
	case len(errs) == 0:
		return &proxy.Refusal{Reason: proxy.Full, RetryAfter: retryAfter}
	case ctx.Err() != nil || !slices.ContainsFunc(errs, inTime):
		return &proxy.Refusal{Reason: proxy.OriginSlow, RetryAfter: retryAfter, Err: err}
	default:
		return &proxy.Refusal{Reason: proxy.OriginDown, RetryAfter: retryAfter, Err: err}
	}
}

// inTime reports whether a dial failed before anybody's patience had ended.
func inTime(err error) bool {
	return !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, os.ErrDeadlineExceeded)
}

// Run implements proxy.Part: it probes the origins and looks their names up, and
// closes the idle connections to HTTP origins at the end. Links belong to their
// callers.
func (b *Balancer) Run(ctx context.Context) error {
	if len(b.all()) == 0 {
		b.log.Warn("no origin is configured (-origin), or known yet: viewers are answered 404")
	}
	b.setProbing(b.opts.Check > 0)
	running := tenders{}
	start := func(s *site) *watcher {
		ctx, stop := context.WithCancel(ctx)
		w := &watcher{stop, make(chan struct{})}
		go func() {
			defer close(w.done)
			b.tend(ctx, s)
		}()
		return w
	}
	for ctx.Err() == nil {
		b.follow(start, running)
		select {
		case <-ctx.Done():
		case <-b.changed:
		}
	}
	for _, w := range running {
		w.stop()
		<-w.done
	}
	b.setProbing(false)
	for _, o := range b.all() {
		o.closeIdle()
	}
	return nil
}

func (b *Balancer) setProbing(on bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.probing = on
}

func (o *origin) closeIdle() {
	if o.http != nil {
		o.http.CloseIdleConnections()
	}
}

// all returns the origins there are now, in the order they were given, sources
// last.
func (b *Balancer) all() (all []*origin) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, s := range b.sites {
		all = append(all, b.origins[s]...)
	}
	return all
}
