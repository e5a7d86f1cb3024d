// Package passthrough is the way to the origins: the Balancer turns "this path,
// please" into a connection to a server that has it.
//
// Its list of origins is static and is tried in the order given; the first that
// accepts a connection serves. It does not probe, weigh or share load, never
// follows redirects and asks no second origin for what the first may have seen.
// One dial is bounded by -origin.timeout, an answer only by the caller's
// context.
package passthrough

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"time"

	"go.uber.org/zap"

	"weir/proxy"
)

const (
	keepAlive  = 15 * time.Second // between probes of a silent connection
	retryAfter = 5 * time.Second  // what viewers are told when no origin answers
)

// A Balancer is a proxy.Upstream and a proxy.Part.
type Balancer struct {
	media   []*origin // rtsp, rtsps
	web     []*origin // http, https
	sources map[string]*origin
	timeout time.Duration
	log     *zap.Logger
	http    *http.Transport
	dial    func(ctx context.Context, network, addr string) (net.Conn, error) // replaced by tests of faults
}

var (
	_ proxy.Upstream = (*Balancer)(nil)
	_ proxy.Part     = (*Balancer)(nil)
)

// New returns a Balancer of options that Validate has passed.
func NewBalancer(opts OriginOptions, log *zap.Logger) *Balancer {
	if err := opts.Validate(); err != nil {
		panic(fmt.Sprintf("BUG: passthrough.NewBalancer with options that were not validated: %v", err))
	}
	origins, _ := opts.origins()
	sources, _ := opts.sources()
	b := &Balancer{sources: sources, timeout: opts.Timeout, log: log.Named("passthrough")}
	for _, o := range origins {
		if o.rtsp() {
			b.media = append(b.media, o)
		} else {
			b.web = append(b.web, o)
		}
	}
	b.dial = (&net.Dialer{KeepAlive: keepAlive}).DialContext
	b.http = b.newTransport()
	return b
}

// DialRTSP implements proxy.Upstream. A source for exactly this path is the only
// candidate; else the RTSP origins are tried in order.
func (b *Balancer) DialRTSP(ctx context.Context, w proxy.Want) (*proxy.Link, error) {
	var errs []error
	for _, o := range b.candidates(w) {
		c, err := b.connect(ctx, o)
		if err == nil {
			return b.link(c, o, w.Path), nil
		}
		errs = append(errs, err)
		if ctx.Err() != nil {
			break
		}
	}
	return nil, refusal(ctx, errs)
}

func (b *Balancer) candidates(w proxy.Want) []*origin {
	if o := b.sources[w.Path]; o != nil {
		return []*origin{o}
	}
	if w.Origin == "" {
		return b.media
	}
	if i := slices.IndexFunc(b.media, func(o *origin) bool { return o.name == w.Origin }); i >= 0 {
		return b.media[i : i+1]
	}
	return nil
}

func (b *Balancer) link(c net.Conn, o *origin, path string) *proxy.Link {
	return &proxy.Link{
		Conn:   c,
		URL:    o.target((&url.URL{Path: path}).EscapedPath()),
		TLS:    o.tls(),
		Origin: o.name,
		Fail: func(err error) {
			b.log.Debug("link failed", zap.String("origin", o.name), zap.String("error", o.failed(err)))
		},
	}
}

// A dialError is a connection that did not come about: the origin has seen
// nothing of the request.
type dialError struct {
	origin string
	err    error
}

func (e *dialError) Error() string { return fmt.Sprintf("origin %s: %v", e.origin, e.err) }
func (e *dialError) Unwrap() error { return e.err }

// connect dials an origin; its errors are *dialError and hold no credentials.
func (b *Balancer) connect(ctx context.Context, o *origin) (net.Conn, error) {
	dctx, cancel := context.WithTimeout(ctx, b.timeout)
	defer cancel()
	c, err := b.dial(dctx, "tcp", o.addr)
	if err != nil {
		err = &dialError{o.name, err}
	}
	if errors.Is(ctx.Err(), context.Canceled) {
		return c, err // the viewer has gone, which says nothing of the origin
	}
	switch changed := o.dialed(err); {
	case changed && err != nil:
		b.log.Info("origin down", zap.String("origin", o.name), zap.Error(err))
	case changed:
		b.log.Info("origin up", zap.String("origin", o.name))
	}
	return c, err
}

// refusal is the error for a viewer when none of the candidates could be
// reached; errs are those of the dials.
func refusal(ctx context.Context, errs []error) error {
	err := errors.Join(errs...)
	switch {
	case errors.Is(ctx.Err(), context.Canceled):
		return ctx.Err() // nobody is left to be told
	case len(errs) == 0:
		return &proxy.Refusal{Reason: proxy.NoOrigin}
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

// Run implements proxy.Part: it waits, and closes the idle connections to HTTP
// origins at the end. Links belong to their callers.
func (b *Balancer) Run(ctx context.Context) error {
	<-ctx.Done()
	b.http.CloseIdleConnections()
	return nil
}

// Status is what the status page shows of the way to the origins.
type Status struct {
	Origins []OriginStatus `json:"origins"` // in the order they are tried, sources last
}

// Status implements proxy.Part.
func (b *Balancer) Status() any {
	s := Status{Origins: []OriginStatus{}}
	for _, o := range b.all() {
		s.Origins = append(s.Origins, o.status())
	}
	return s
}

// Ready implements proxy.Part. A node without an origin that answers is
// degraded only: what it has already, it can still give.
func (b *Balancer) Ready() error {
	all := b.all()
	if len(all) == 0 {
		return proxy.Degraded("no origin is configured")
	}
	tried := false
	for _, o := range all {
		s := o.status()
		if s.State == "up" {
			return nil
		}
		tried = tried || s.Dials > 0
	}
	if !tried {
		return nil
	}
	return proxy.Degraded("no origin answers")
}

func (b *Balancer) all() []*origin {
	all := slices.Concat(b.media, b.web)
	for _, path := range slices.Sorted(maps.Keys(b.sources)) {
		all = append(all, b.sources[path])
	}
	return all
}
