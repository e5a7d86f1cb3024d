package passthrough

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"weir/proxy"
)

// Status is what the status page shows of the way to the origins.
type Status struct {
	Origins []OriginStatus `json:"origins"` // in the order they were given, sources last
}

// OriginStatus is what the status page shows of an origin.
type OriginStatus struct {
	Name     string   `json:"name"`
	Scheme   string   `json:"scheme"`
	Path     string   `json:"path,omitempty"`  // of a source: the one path it is for
	Pools    []string `json:"pools,omitempty"` // path prefixes
	Weight   int      `json:"weight"`
	Sessions int      `json:"sessions"`         // and requests in progress
	State    string   `json:"state"`            // idle (not tried yet), up, down or ejected
	Reason   string   `json:"reason,omitempty"` // it is down or ejected

	Discovered bool     `json:"discovered,omitempty"` // by its agent; not configured
	Agent      string   `json:"agent,omitempty"`
	Word       string   `json:"word,omitempty"`    // its agent's: ready, draining, unwell or silent
	Counted    *int     `json:"counted,omitempty"` // sessions, all edges', as its agent counts; nil: not known
	Load       *float64 `json:"load,omitempty"`    // of its machine, 1 is full
	Reported   float64  `json:"reported_s_ago,omitempty"`

	Dials       uint64    `json:"dials"`    // for viewers
	Failures    uint64    `json:"failures"` // of these
	Ejections   uint64    `json:"ejections"`
	LastError   string    `json:"last_error,omitempty"` // of anything
	LastErrorAt time.Time `json:"last_error_at,omitzero"`

	Probe         string    `json:"probe"` // its kind, "off" if there is none
	Probes        uint64    `json:"probes"`
	ProbeFailures uint64    `json:"probe_failures"`
	LastProbeAt   time.Time `json:"last_probe_at,omitzero"`
	LastProbe     float64   `json:"last_probe_s"` // how long it took
}

// Status implements proxy.Part.
func (b *Balancer) Status() any {
	s := Status{Origins: []OriginStatus{}}
	for _, o := range b.all() {
		s.Origins = append(s.Origins, b.status(o))
	}
	return s
}

func (b *Balancer) status(o *origin) OriginStatus {
	probe := o.site.probe.Kind
	if b.opts.Check == 0 {
		probe = "off"
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	o.health.settle(time.Now())
	s := OriginStatus{
		Name: o.name, Scheme: o.url.Scheme, Path: o.source, Pools: o.paths, Weight: o.weight, Sessions: o.sessions, Discovered: o.found,
		State: o.health.state(),
		Dials: o.dials, Failures: o.failures, Ejections: o.ejects,
		LastError: o.lastErr, LastErrorAt: o.lastErrAt,
		Probe: probe, Probes: o.probes, ProbeFailures: o.probeFails,
		LastProbeAt: o.probedAt, LastProbe: o.probeTook.Seconds(),
	}
	if !o.health.usable() {
		s.Reason = o.why
	}
	o.word.status(&s, time.Now())
	return s
}

// errNone is what is wrong where there is nothing to go to.
var errNone = errors.New("no origin is configured")

// Ready implements proxy.Part. A node without a usable origin for something is
// degraded only: what it has already, it can still give.
func (b *Balancer) Ready() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.sites) == 0 {
		return proxy.Degraded(errNone.Error())
	}
	pools := slices.Clone(b.pools)
	for _, s := range b.sites {
		if s.source != "" {
			pools = append(pools, b.sources[s.source])
		}
	}
	if gone := gone(pools); gone != "" {
		return proxy.Degraded(gone)
	}
	return nil
}

// Usable returns an error if no pool of -origin has a usable origin, with each and
// why; so it does where no origin is configured at all. While one has, the node
// can do something: every other edge has the same origins, and if one dead pool
// made all of them unready, balancers would turn off what works. Sources do not
// count likewise.
func (b *Balancer) Usable() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.sites) == 0 {
		return errNone
	}
	if len(b.pools) == 0 || slices.ContainsFunc(b.pools, func(p *pool) bool { return p.gone(time.Now()) == "" }) {
		return nil
	}
	return errors.New(gone(b.pools))
}

// KeepsHost reports whether HTTP origins are asked for the viewer's Host
// (-origin.host preserve): for whoever stores answers it is part of the key.
func (b *Balancer) KeepsHost() bool { return b.opts.Host == "preserve" }

// mostGone is how many pools are named.
const mostGone = 5

// gone names the pools without a usable origin, "" if there are none; the balancer's
// lock is held.
func gone(pools []*pool) string {
	var all []string
	for _, p := range pools {
		if why := p.gone(time.Now()); why != "" {
			all = append(all, why)
		}
	}
	if more := len(all) - mostGone; more > 0 {
		all = append(all[:mostGone], fmt.Sprintf("and %d more", more))
	}
	return strings.Join(all, "; ")
}

// gone says why the pool has no usable origin, "" if it has one; the balancer's
// lock is held.
func (p *pool) gone(now time.Time) string {
	var why []string
	for _, o := range p.origins {
		o.health.settle(now)
		if o.usable() {
			return ""
		}
		state, reason := o.health.state(), o.why
		if o.word.refuses() {
			state, reason = o.word.says(), "its agent says so"
		}
		why = append(why, fmt.Sprintf("%s %s (%s)", o.name, state, reason))
	}
	return fmt.Sprintf("no origin for %s: %s", p.title(), strings.Join(why, ", "))
}

func (p *pool) title() string {
	switch {
	case p.source:
		return "source " + p.path
	case p.web:
		return "http " + p.path
	}
	return "rtsp " + p.path
}
