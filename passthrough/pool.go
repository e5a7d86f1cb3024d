package passthrough

import (
	"net"
	"slices"
	"strings"
	"time"

	"weir/proxy"
)

// A pool is the origins of one kind that have the paths below one prefix, or the
// one source for a path. Nothing crosses over from one pool to another. The
// balancer's lock guards origins and turns.
type pool struct {
	web     bool
	path    string // the prefix, or the source's one path
	source  bool
	sites   []*site
	origins []*origin
	turns   turns
	budget  budget // the streamMemory's lock guards it
}

// A query says what an origin is wanted for.
type query struct {
	web    bool     // HTTP, not RTSP
	path   string   // canonical
	stick  string   // requests with the same one go to the same origin; "" for any
	origin string   // only this one, by name or host:port; "" for any
	avoid  []string // names that are not to be tried, unless origin is one
	prefer string   // who goes first if he is usable, by name
	look   bool     // nobody is about to go there
}

// lastResort is how many origins that look dead are tried.
const lastResort = 2

// candidates returns the origins to try in order, and counts on the first to be
// entered. Its error is a *proxy.Refusal: NoOrigin if none is configured for the
// path, Full if all that are usable are. Origins that look dead are no error but a
// last resort, for one may have come back.
func (b *Balancer) candidates(q query) ([]*origin, error) {
	now := time.Now()
	b.mu.Lock()
	defer b.mu.Unlock()
	p := b.pool(q.web, q.path)
	if p == nil {
		return nil, &proxy.Refusal{Reason: proxy.NoOrigin}
	}
	f := p.sift(q, now, b.opts.SlowStart)
	switch {
	case f.named == 0:
		return nil, &proxy.Refusal{Reason: proxy.NoOrigin}
	case f.full && len(f.usable) == 0:
		return nil, &proxy.Refusal{Reason: proxy.Full, RetryAfter: retryAfter}
	}
	f.guess()
	b.sort(p, q, f.usable)
	slices.SortStableFunc(f.usable, b.lastLast)
	f.first(q.prefer)
	all := make([]*origin, 0, len(p.origins))
	for _, c := range f.usable {
		all = append(all, c.origin)
	}
	all = f.addLastResort(all)
	if len(all) == 0 {
		return nil, &proxy.Refusal{Reason: f.left(), RetryAfter: retryAfter}
	}
	if !q.look {
		all[0].promise(now)
	}
	return all, nil
}

// sort puts the best choice first; b.mu is held.
func (b *Balancer) sort(p *pool, q query, cs []choice) {
	switch {
	case q.stick != "":
		rendezvous(cs, q.stick)
	case b.opts.Balance == "hash":
		rendezvous(cs, q.path)
	case b.opts.Balance == "roundrobin" && !q.look: // looking costs nobody a turn
		p.turns.sort(cs)
	case b.opts.Balance == "leastconn":
		leastBusy(cs)
	default:
		powerOfTwo(cs)
	}
}

// first puts the usable origin of that name before the others.
func (f *find) first(name string) {
	if i := slices.IndexFunc(f.usable, func(c choice) bool { return c.name == name }); i > 0 {
		c := f.usable[i]
		f.usable = slices.Insert(slices.Delete(f.usable, i, i+1), 0, c)
	}
}

// A find is what a pool has for a query.
type find struct {
	named         int  // origins that the query means
	full, clogged bool // a usable one is full, any one is
	usable        []choice
	ejected, down []*origin
}

// sift is called with the balancer's lock held.
func (p *pool) sift(q query, now time.Time, slowStart time.Duration) *find {
	f := &find{usable: make([]choice, 0, len(p.origins))}
	for _, o := range p.origins {
		if q.origin != "" && !p.source && !o.is(q.origin) {
			continue
		}
		f.named++
		if q.origin == "" && slices.Contains(q.avoid, o.name) {
			continue
		}
		o.health.settle(now)
		switch load := o.load(now); {
		case o.word.draining && q.origin == "": // who is there already may come back
		case o.full(now):
			f.full = f.full || o.usable()
			f.clogged = true
		case o.usable():
			f.add(o, float64(o.weight)*o.health.share(now, slowStart), load)
		case o.health.down || o.word.unwell:
			f.down = append(f.down, o)
		default:
			f.ejected = append(f.ejected, o)
		}
	}
	return f
}

// add takes a choice. If the origin's agent counts, its count is the load: the other
// edges' sessions are in it.
func (f *find) add(o *origin, weight float64, own int) {
	c := choice{origin: o, weight: weight, load: own}
	if n, ok := o.word.load(); ok {
		c.load, c.known = n+o.promised, true
	}
	f.usable = append(f.usable, c)
}

// guess gives origins whose load nobody tells what the others have, for their weight,
// where some tell: not to be heard of is not to be idle.
func (f *find) guess() {
	load, weight := 0, 0.0
	for _, c := range f.usable {
		if c.known {
			load, weight = load+c.load, weight+c.weight
		}
	}
	if weight == 0 {
		return
	}
	for i := range f.usable {
		if c := &f.usable[i]; !c.known {
			c.load = max(c.load, int(float64(load)/weight*c.weight))
		}
	}
}

// lastLast puts behind the others who gets sessions last: also those that were
// discovered and not reached yet, since that gossip passes does not mean that media does.
// b.mu is held.
func (b *Balancer) lastLast(x, y choice) int {
	last := func(c *choice) bool { return c.word.last() || b.probing && c.found && !c.health.known }
	switch lx := last(&x); {
	case lx == last(&y):
		return 0
	case lx:
		return 1
	}
	return -1
}

// left is why nothing is left to be tried.
func (f *find) left() proxy.Reason {
	if f.clogged {
		return proxy.Full
	}
	return proxy.OriginDown // what there is has just failed, and is to be avoided
}

// addLastResort appends what is ejected, and without anything better what is
// down, the one that was not tried for longest first. The ejected come last even
// behind what is usable, since they do accept connections; the down would only
// keep a viewer waiting.
func (f *find) addLastResort(all []*origin) []*origin {
	longest := func(a, b *origin) int { return a.lastDial.Compare(b.lastDial) }
	slices.SortStableFunc(f.ejected, longest)
	slices.SortStableFunc(f.down, longest)
	rest := f.ejected
	if len(all) == 0 {
		rest = append(rest, f.down...)
	}
	return append(all, rest[:min(len(rest), lastResort)]...)
}

// is reports whether o is the origin of that name, or one at that host:port; the
// port may be left out where it is the scheme's own.
func (o *origin) is(where string) bool {
	if where == o.name || where == o.site.name || where == o.addr {
		return true
	}
	host, port, err := net.SplitHostPort(where)
	if err != nil {
		host, port = strings.TrimSuffix(strings.TrimPrefix(where, "["), "]"), defaultPorts[o.url.Scheme]
	}
	return port == o.port && strings.EqualFold(host, o.url.Hostname())
}

// pool returns the pool of a path: that of a source, or the one with the longest
// prefix that ends where a segment does. The balancer's lock is held.
func (b *Balancer) pool(web bool, path string) *pool {
	if p := b.sources[path]; p != nil && !web {
		return p
	}
	var best *pool
	for _, p := range b.pools {
		if p.web == web && within(path, p.path) && (best == nil || len(p.path) > len(best.path)) {
			best = p
		}
	}
	return best
}

// within reports whether path is prefix or below it.
func within(path, prefix string) bool {
	rest, ok := strings.CutPrefix(path, strings.TrimSuffix(prefix, "/"))
	return ok && (rest == "" || rest[0] == '/')
}

// addSite puts s in the pools of its paths. The balancer's lock is held.
func (b *Balancer) addSite(s *site) {
	for _, path := range s.paths {
		i := slices.IndexFunc(b.pools, func(p *pool) bool { return p.web == s.web() && p.path == path })
		if i < 0 {
			i = len(b.pools)
			b.pools = append(b.pools, &pool{web: s.web(), path: path, turns: turns{}})
		}
		b.pools[i].sites = append(b.pools[i].sites, s)
	}
}

// refill takes over the origins that its sites have now; the balancer's lock is
// held.
func (p *pool) refill(origins map[*site][]*origin) {
	p.origins = nil
	kept := turns{}
	for _, s := range p.sites {
		for _, o := range origins[s] {
			p.origins = append(p.origins, o)
			kept[o.state] = p.turns[o.state]
		}
	}
	p.turns = kept
}

// mayEject reports whether the pool can do without one more: at most half of it
// is ejected at once. Those that no dial reaches do not count, for that is no
// matter of opinion. The balancer's lock is held.
func (p *pool) mayEject(now time.Time) bool {
	n := 0
	for _, o := range p.origins {
		o.health.settle(now)
		if o.health.state() == stateEjected && !o.health.undialed {
			n++
		}
	}
	return n+1 <= len(p.origins)/2
}
