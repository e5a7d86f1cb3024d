package passthrough

import (
	"math/rand/v2"
	"slices"
	"time"
)

// A leaving is what a link is told when its origin drains: to go elsewhere, when its
// turn comes. The balancer's lock guards it.
type leaving struct {
	path string
	due  time.Time     // zero: the origin does not drain
	tell chan struct{} // closed when it is time
}

// joins notes a link, and returns what tells it to leave.
func (b *Balancer) joins(o *origin, c *linkConn, path string) <-chan struct{} {
	l := &leaving{path: path, tell: make(chan struct{})}
	b.mu.Lock()
	defer b.mu.Unlock()
	if o.links == nil {
		o.links = map[*linkConn]*leaving{}
	}
	o.links[c] = l
	return l.tell
}

// parts is the opposite of joins.
func (b *Balancer) parts(o *origin, c *linkConn) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(o.links, c)
}

// handOver tells links of origins that drain to leave, each in its turn within
// -origin.handover, and as long as there is somewhere to go. It is called about once a
// second.
func (b *Balancer) handOver(now time.Time) {
	if b.opts.Handover <= 0 || !b.opts.Failover.Has("live") {
		return
	}
	all := b.all()
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, o := range all {
		for c, l := range o.links {
			switch {
			case !o.word.draining:
				l.due = time.Time{}
			case l.due.IsZero():
				l.due = now.Add(rand.N(b.opts.Handover))
			case !now.Before(l.due) && b.elsewhere(l.path, []string{o.name}, (*origin).usable):
				close(l.tell)
				delete(o.links, c)
			}
		}
	}
}

// Others reports whether a live path has an origin that is up besides some, by their names,
// or besides the one that an edge of such a name may have it from. One that is ejected is up:
// it has answered badly, but who is silent does not answer at all.
// With -origin.failover without live nobody is to leave one for another.
func (b *Balancer) Others(path string, than ...string) bool {
	if !b.opts.Failover.Has("live") {
		return false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.elsewhere(path, than, (*origin).reachable)
}

// Gone reports whether an origin, by its name, is believed to be dead, by dials, probes or
// its agent's word: if it is silent besides, that is no pause.
func (b *Balancer) Gone(origin string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, s := range b.sites {
		for _, o := range b.origins[s] {
			if o.name == origin {
				return o.health.down || o.word.unwell || o.word.silent
			}
		}
	}
	return false
}

// elsewhere reports whether a live path has an origin besides some that will do. The lock
// is held.
func (b *Balancer) elsewhere(path string, than []string, does func(*origin) bool) bool {
	p := b.pool(false, path)
	if p == nil {
		return false
	}
	n, strangers := 0, slices.Clone(than)
	for _, o := range p.origins {
		if slices.Contains(than, o.name) {
			strangers = slices.DeleteFunc(strangers, func(name string) bool { return name == o.name })
		} else if does(o) && !o.full(time.Now()) {
			n++
		}
	}
	return n > 1 || n == 1 && len(strangers) == 0 // whoever is none of ours may have it from the only one
}

// reachable reports whether viewers may go there, if only for want of something better.
func (o *origin) reachable() bool {
	return !o.health.down && !o.health.undialed && !o.word.refuses()
}
