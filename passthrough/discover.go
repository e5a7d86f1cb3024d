package passthrough

import (
	"net"
	"net/url"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"
)

// Discover says which origins there are besides those of -origin, and how they say
// they are. It replaces what was said before, and is to be called again at least every
// few seconds. One that has the address of an -origin is that one: its weight and
// paths stay those of the flag. Sessions of an origin that is not found any more go on.
//
// What cannot be an origin is logged, once, and left out.
func (b *Balancer) Discover(found []Found) {
	now := time.Now()
	b.discovering.Lock()
	defer b.discovering.Unlock()
	kept := map[*site]bool{}
	spoken := map[*state]bool{}
	seen := map[string]bool{}
	found = slices.Clone(found)
	slices.SortStableFunc(found, func(a, b Found) int { return a.rank() - b.rank() })
	for _, f := range found {
		if seen[f.URL] { // of two agents beside one origin the first has the word that is there
			continue
		}
		seen[f.URL] = true
		if o := b.configured(f); o != nil {
			if !f.Gone {
				b.hear(o, f, now)
				spoken[o.state] = true
			}
			continue
		}
		s := b.discovered(f)
		if s == nil {
			continue
		}
		kept[s] = true
		for _, o := range b.of(s) {
			b.hear(o, f, now)
			spoken[o.state] = true
		}
	}
	b.forget(kept, spoken)
	b.handOver(now)
	select {
	case b.changed <- struct{}{}:
	default: // it has been told
	}
}

// rank is 0 for what an agent says that is there.
func (f *Found) rank() int {
	switch {
	case f.Gone:
		return 2
	case f.Silent:
		return 1
	}
	return 0
}

// hear takes an agent's word. An origin that comes back into rotation starts slowly.
func (b *Balancer) hear(o *origin, f Found, now time.Time) {
	b.mu.Lock()
	was := o.word.refuses()
	before := o.word.says()
	o.word.told(f, now)
	if was && !o.word.refuses() {
		o.health.recovered = now
	}
	after := o.word.says()
	b.mu.Unlock()
	if before != after && (before != "" || after != "ready") {
		b.log.Info("origin says it is "+after, zap.String("origin", o.name), zap.String("agent", f.Node))
	}
}

// configured returns the origin of the flags that is found, nil if it is none.
func (b *Balancer) configured(f Found) *origin {
	u, err := url.Parse(f.URL)
	if err != nil {
		return nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, s := range b.sites {
		if s.found || s.url.Scheme != u.Scheme {
			continue
		}
		for _, o := range b.origins[s] {
			if o.addr == u.Host || strings.EqualFold(s.hostport(), u.Host) {
				return o
			}
		}
	}
	return nil
}

// discovered returns the site of what is found: the one there is, if it is as it was,
// else a new one, whose origin keeps what is known of it.
func (b *Balancer) discovered(f Found) *site {
	s, err := foundSite(f)
	if err != nil {
		if !b.unfit[f.URL] && len(b.unfit) < maxUnfit {
			b.unfit[f.URL] = true
			b.log.Warn("discovered origin is left out", zap.String("agent", f.Node), zap.Error(err))
		}
		return nil
	}
	old := b.finds[f.URL]
	if old != nil && old.weight == s.weight && slices.Equal(old.paths, s.paths) {
		return old
	}
	st := b.newState(s)
	if old != nil {
		st = b.of(old)[0].state
		b.remove(old)
	} else {
		b.log.Info("origin discovered", zap.String("origin", s.name), zap.String("agent", f.Node), zap.Strings("paths", s.paths))
	}
	b.finds[f.URL] = s
	b.mu.Lock()
	b.sites = append(b.sites, s)
	b.addSite(s)
	b.mu.Unlock()
	addr, _ := s.literal()
	b.replace(s, []*origin{b.newOrigin(s, st, addr, false)})
	return s
}

// maxUnfit is how many are complained of.
const maxUnfit = 1000

// maxFoundWeight is the most that -origin takes.
const maxFoundWeight = 1000

// foundSite makes a site of what is found. Its host is an address: names are looked up
// where they are configured.
func foundSite(f Found) (*site, error) {
	s, mistakes := newSite(f.URL)
	if len(mistakes) > 0 {
		return nil, mistakes[0]
	}
	if _, ok := s.literal(); !ok {
		return nil, &net.AddrError{Err: "not an IP address", Addr: s.url.Hostname()}
	}
	s.url = &url.URL{Scheme: s.url.Scheme, Host: s.url.Host}
	s.found, s.weight = true, min(max(1, f.Weight), maxFoundWeight)
	for _, p := range f.Paths {
		if err := s.addPath(p); err != nil {
			return nil, err
		}
	}
	if len(s.paths) == 0 {
		s.paths = []string{"/"}
	}
	slices.Sort(s.paths)
	return s, nil
}

// forget takes out sites that were discovered and are not kept, and the words of
// origins whose agent did not speak.
func (b *Balancer) forget(kept map[*site]bool, spoken map[*state]bool) {
	for where, s := range b.finds {
		if !kept[s] {
			delete(b.finds, where)
			b.log.Info("discovered origin is gone", zap.String("origin", s.name))
			b.remove(s)
		}
	}
	for _, o := range b.all() {
		b.mu.Lock()
		if !spoken[o.state] {
			o.word = word{}
		}
		b.mu.Unlock()
	}
}

// remove takes a site out of its pools.
func (b *Balancer) remove(s *site) {
	gone := b.of(s)
	b.mu.Lock()
	b.sites = slices.DeleteFunc(b.sites, func(x *site) bool { return x == s })
	delete(b.origins, s)
	for _, p := range b.pools {
		if slices.Contains(p.sites, s) {
			p.sites = slices.DeleteFunc(slices.Clone(p.sites), func(x *site) bool { return x == s })
			p.refill(b.origins)
		}
	}
	b.pools = slices.DeleteFunc(b.pools, func(p *pool) bool { return len(p.sites) == 0 })
	b.mu.Unlock()
	for _, o := range gone {
		o.closeIdle()
	}
}

// tenders are the goroutines that tend sites, while Run runs.
type tenders map[*site]*watcher

// follow starts and ends them as sites come and go.
func (b *Balancer) follow(start func(*site) *watcher, running tenders) {
	b.mu.Lock()
	sites := slices.Clone(b.sites)
	b.mu.Unlock()
	for s, w := range running {
		if !slices.Contains(sites, s) {
			w.stop()
			<-w.done
			delete(running, s)
		}
	}
	for _, s := range sites {
		if running[s] == nil {
			running[s] = start(s)
		}
	}
}
