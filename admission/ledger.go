package admission

import (
	"net/netip"
	"strings"
	"sync"
	"time"

	"weir/proxy"
)

// maxWeb bounds the viewers over HTTP that are remembered, whatever the limits: 40
// MB of them, and 220 MB if all their paths are as long as a path may be.
const maxWeb = 1 << 17

// A ledger counts who is in. All of it is under one mutex: whether there is room
// and to take it is one step, and no two viewers take the last place.
type ledger struct {
	o     *Options
	begin func(netip.Addr) error // is asked last of those for whom there is room; may be nil
	news  chan struct{}          // of one: somebody has come or gone. Nil if nobody wants to know

	mu       sync.Mutex
	places   []*place // in no order
	clients  map[netip.Addr]int
	streams  map[string]*streamCount
	subjects map[string]int
	web      map[webKey]*place
	idle     place         // the ends of the list of viewers over HTTP without an open request
	need     proxy.BitRate // of all places
	egress   proxy.BitRate // measured, of all places
	leastMax int           // of all identity.max so far; 0 for none
	abroad   *abroad       // on other edges
}

// A streamCount is a stream somebody watches.
type streamCount struct {
	viewers int
	rate    proxy.BitRate // that viewers were measured to need; 0 before that
}

func newLedger(o *Options, begin func(netip.Addr) error) *ledger {
	l := &ledger{o: o, begin: begin, clients: map[netip.Addr]int{}, streams: map[string]*streamCount{},
		subjects: map[string]int{}, web: map[webKey]*place{}, abroad: &abroad{}}
	l.idle.prev, l.idle.next = &l.idle, &l.idle
	if o.Cluster == "sum" {
		l.news = make(chan struct{}, 1)
	}
	return l
}

// known is the place of a viewer over HTTP who is in, for what is asked now; nil for
// none. It is vague if what it needs is only assumed.
func (l *ledger) known(id *identity) (p *place, vague bool) {
	if id.key == (webKey{}) {
		return nil, false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if p = l.web[id.key]; p == nil || p.download && !id.download {
		return nil, false
	}
	l.wake(p)
	return p, p.vague
}

// correct replaces what was assumed of a viewer who is in. That may be more than
// there is: it keeps others out, not him.
func (l *ledger) correct(p *place, rate proxy.BitRate) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !p.gone && p.vague && rate > 0 {
		l.set(p, rate)
	}
}

// set changes what is set aside for a viewer, known by now. mu is held.
func (l *ledger) set(p *place, rate proxy.BitRate) {
	l.need += rate - p.need
	p.need, p.vague = rate, false
}

// admit finds a viewer's place, or takes one.
func (l *ledger) admit(id identity, now time.Time) (*place, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	web := id.key != (webKey{})
	if web {
		if p := l.web[id.key]; p != nil {
			if err := l.watch(p, &id); err != nil {
				return nil, err
			}
			l.wake(p)
			return p, nil
		}
	}
	l.forget(now)
	if err := l.room(&id); err != nil {
		return nil, err
	}
	if web && len(l.web) >= maxWeb && !l.forgetOldest() {
		return nil, noRoom(proxy.Full, "too many viewers to remember")
	}
	if l.begin != nil {
		if err := l.begin(id.client); err != nil {
			return nil, err
		}
	}
	return l.enter(id), nil
}

// watches reports whether a viewer over HTTP is in. l.mu is not held.
func (l *ledger) watches(k webKey) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.web[k] != nil
}

// knows reports whether any viewer of a client is in.
func (l *ledger) knows(client netip.Addr) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.clients[client] > 0
}

// room needs mu. It says why there is none, cheap to tell or not: the viewer's
// own limits first, so that he hears what he can do something about.
func (l *ledger) room(id *identity) error {
	o, a := l.o, l.abroad
	subject := l.subjects[id.subject] + a.count(ofSubject, id.subject)
	share := func(n int) int { return int(o.Classes.share(id.class, int64(n))) }
	switch {
	case id.subject != "" && over(subject, o.PerSubject), id.subject != "" && over(subject, id.max):
		return noRoom(proxy.TooMany, "too many viewers with one name")
	case over(l.clients[id.client], o.PerClient):
		return noRoom(proxy.TooMany, "too many viewers from one address")
	case over(l.watching(id.stream)+a.count(ofStream, id.stream), share(o.PerStream)):
		return noRoom(proxy.Full, "too many viewers on one stream")
	case over(len(l.places)+a.viewers, share(o.Viewers)):
		return noRoom(proxy.Full, "too many viewers")
	}
	if id.key == (webKey{}) {
		return l.bandwidth(id.class, 0, 0) // it is going to be declared
	}
	return l.bandwidth(id.class, 0, l.aside(id))
}

// over reports whether one more than n is too many; a limit of zero is none.
func over(n, limit int) bool { return limit > 0 && n >= limit }

// bandwidth needs mu. It says whether what a viewer needs may change. Nothing
// fits any more where all is in use, though the viewer's need is not known.
func (l *ledger) bandwidth(class string, was, will proxy.BitRate) error {
	limit := l.limitOf(class)
	if limit == 0 {
		return nil
	}
	others := max(l.need, l.egress) - was + l.abroad.need
	if others >= limit || others+will > limit {
		return noRoom(proxy.NoBandwidth, "bandwidth is used up")
	}
	return nil
}

// limitOf is the bandwidth that a class may fill; 0 for no limit.
func (l *ledger) limitOf(class string) proxy.BitRate {
	return proxy.BitRate(l.o.Classes.share(class, int64(l.o.Bandwidth)))
}

// watching needs mu: how many watch a stream.
func (l *ledger) watching(stream string) int {
	if s := l.streams[stream]; s != nil {
		return s.viewers
	}
	return 0
}

// guess is a rate, or if that is 0 what others on the stream were measured to need,
// or what is assumed. mu is held.
func (l *ledger) guess(stream string, rate proxy.BitRate) proxy.BitRate {
	if rate > 0 {
		return rate
	}
	if s := l.streams[stream]; s != nil && s.rate > 0 {
		return s.rate
	}
	return l.o.Assume
}

// enter needs mu. What it keeps of a request is copied: it would keep all of it.
func (l *ledger) enter(id identity) *place {
	id.stream, id.subject = strings.Clone(id.stream), strings.Clone(id.subject)
	p := &place{ledger: l, identity: id, vague: id.rate == 0 && !id.download, index: len(l.places)}
	if id.key != (webKey{}) {
		p.need = l.aside(&id)
	}
	l.places = append(l.places, p)
	l.need += p.need
	l.clients[p.client]++
	if l.streams[p.stream] == nil {
		l.streams[p.stream] = &streamCount{}
	}
	l.streams[p.stream].viewers++
	if p.subject != "" {
		l.subjects[p.subject]++
	}
	if p.key != (webKey{}) {
		p.key.stream = p.stream
		if p.key.subject != "" {
			p.key.subject = p.subject
		}
		l.web[p.key], p.open = p, 1
	}
	if p.max > 0 && (l.leastMax == 0 || p.max < l.leastMax) {
		l.leastMax = p.max
	}
	l.changed()
	return p
}

// changed is to be called when counts have. It never blocks.
func (l *ledger) changed() {
	select {
	case l.news <- struct{}{}:
	default:
	}
}

// leave gives a place back, once.
func (l *ledger) leave(p *place) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.remove(p)
}

// remove needs mu.
func (l *ledger) remove(p *place) {
	if p.gone {
		return
	}
	p.gone = true
	last := l.places[len(l.places)-1]
	l.places[p.index], last.index = last, p.index
	l.places[len(l.places)-1] = nil
	l.places = l.places[:len(l.places)-1]
	l.need -= p.need
	if l.clients[p.client]--; l.clients[p.client] == 0 {
		delete(l.clients, p.client)
	}
	if l.streams[p.stream].viewers--; l.streams[p.stream].viewers == 0 {
		delete(l.streams, p.stream)
	}
	if p.subject != "" {
		if l.subjects[p.subject]--; l.subjects[p.subject] == 0 {
			delete(l.subjects, p.subject)
		}
	}
	if p.key != (webKey{}) {
		delete(l.web, p.key)
		p.unlink()
	}
	l.changed()
}

// declare says what a viewer is going to need.
func (l *ledger) declare(p *place, rate proxy.BitRate) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	said := withOverhead(rate)
	rate = l.guess(p.stream, said)
	if p.gone || p.meter.n > 0 { // what was measured is better
		return nil
	}
	if err := l.bandwidth(p.class, p.need, rate); err != nil {
		return err
	}
	l.set(p, rate)
	p.vague = said == 0
	l.changed()
	return nil
}

// withOverhead adds what stands around media on the wire.
func withOverhead(rate proxy.BitRate) proxy.BitRate { return rate + rate/10 }
