package passthrough

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"time"

	"go.uber.org/zap"
)

func lookup(ctx context.Context, host string) ([]netip.Addr, error) {
	return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
}

func hostport(addr netip.Addr, port string) string { return net.JoinHostPort(addr.String(), port) }

// literal returns the address that a site has instead of a name.
func (s *site) literal() (netip.Addr, bool) {
	addr, err := netip.ParseAddr(s.url.Hostname())
	return addr, err == nil
}

// unresolved is a site whose name has not been looked up yet: one origin, dialed
// by its name.
func (b *Balancer) unresolved(s *site) []*origin {
	addr, _ := s.literal()
	return []*origin{b.newOrigin(s, b.newState(s), addr, false)}
}

// tend looks a site's name up again and again, and has its origins probed. A
// look-up that fails leaves what there is.
func (b *Balancer) tend(ctx context.Context, s *site) {
	w := &watchers{b: b, running: map[*origin]*watcher{}}
	defer w.set(ctx, nil)
	if _, ok := s.literal(); ok {
		w.set(ctx, b.of(s))
		<-ctx.Done()
		return
	}
	for failing := false; ; {
		addrs, err := b.resolve(ctx, s)
		switch {
		case ctx.Err() != nil:
			return
		case err == nil:
			b.settle(s, addrs)
		default:
			b.unresolvable(s, err, !failing)
		}
		failing = err != nil
		w.set(ctx, b.of(s))
		if !sleep(ctx, b.opts.Resolve) {
			return
		}
	}
}

// sleep waits for d, for ever if that is 0; it reports whether ctx still goes on.
func sleep(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		<-ctx.Done()
		return false
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// resolve returns the addresses of a site's name, sorted; at least one.
func (b *Balancer) resolve(ctx context.Context, s *site) ([]netip.Addr, error) {
	ctx, cancel := context.WithTimeout(ctx, b.timeout)
	defer cancel()
	addrs, err := b.lookup(ctx, s.url.Hostname())
	if err != nil {
		return nil, err
	}
	for i := range addrs {
		addrs[i] = addrs[i].Unmap()
	}
	slices.SortFunc(addrs, netip.Addr.Compare)
	if addrs = slices.Compact(addrs); len(addrs) == 0 {
		return nil, &net.DNSError{Err: "no address", Name: s.url.Hostname(), IsNotFound: true}
	}
	return addrs, nil
}

// unresolvable takes note of a look-up that failed; it is logged at the first in
// a row.
func (b *Balancer) unresolvable(s *site, err error, tell bool) {
	if tell {
		b.log.Warn("origin not resolved", zap.String("origin", s.name), zap.Error(err))
	}
	for _, o := range b.of(s) {
		b.observe(o, err, func(time.Time) {})
	}
}

// settle makes these addresses the origins of s. An address that was there before
// keeps its state; so does the one that a name stood for before it was looked up.
func (b *Balancer) settle(s *site, addrs []netip.Addr) {
	before := b.of(s)
	several := len(addrs) > 1
	var now []*origin
	for _, addr := range addrs {
		now = append(now, b.successor(s, before, addr, several))
	}
	if slices.Equal(now, before) {
		return
	}
	b.replace(s, now)
	for _, o := range before {
		if !slices.ContainsFunc(now, func(n *origin) bool { return n.http == o.http }) {
			o.closeIdle()
		}
	}
	b.log.Info("origin resolved", zap.String("origin", s.name), zap.Int("addresses", len(addrs)))
}

// successor returns the origin for an address: the one that is there, or that
// under another name, or a new one.
func (b *Balancer) successor(s *site, before []*origin, addr netip.Addr, several bool) *origin {
	st := b.newState(s)
	for _, o := range before {
		if o.addr == hostport(addr, s.port) {
			if o.name == s.name != several {
				return o
			}
			n := *o
			if n.name = s.name; several {
				n.name += "@" + addr.String()
			}
			return &n
		}
		if o.addr == s.hostport() && !several { // the name itself, so far
			st = o.state
		}
	}
	return b.newOrigin(s, st, addr, several)
}

// of returns the origins of a site.
func (b *Balancer) of(s *site) []*origin {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.origins[s])
}

// replace sets the origins of a site, and what its pools have of it.
func (b *Balancer) replace(s *site, origins []*origin) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.origins[s] = origins
	for _, p := range b.pools {
		if slices.Contains(p.sites, s) {
			p.refill(b.origins)
		}
	}
	if s.source != "" {
		b.sources[s.source].refill(b.origins)
	}
}
