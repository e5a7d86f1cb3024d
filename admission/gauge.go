package admission

import (
	"cmp"
	"encoding/binary"
	"slices"
	"strings"
	"time"

	"weir/proxy"
)

// A gauge on the wire: version, boot, viewers, need, and counts, those with the most
// viewers first; all big endian.
const (
	gaugeVersion = 1
	gaugeHead    = 1 + 8 + 4 + 8
	gaugeCount   = 1 + 8 + 4
	gaugeCounts  = (maxGauge - gaugeHead) / gaugeCount
	// allGauges is how many bytes the gauges of all edges together may have, since each
	// of them goes through each edge; leastCounts there are in any case.
	allGauges   = 4000
	leastCounts = 8
)

// countsAmong is how many counts each of so many edges tells: 75 of up to four, 13 of
// twenty, and 8 of thirty or more.
func countsAmong(edges int) int {
	return min(gaugeCounts, max(leastCounts, (allGauges/edges-gaugeHead)/gaugeCount))
}

// A gauge is what an edge tells of its viewers.
type gauge struct {
	viewers int
	need    proxy.BitRate
	counts  []tellable // the largest, in the order of larger; with the room there was
}

// tellable is a count that may go into a gauge.
type tellable struct {
	of      byte
	name    string
	viewers int
}

// larger compares so that those with more viewers come first. Among equals the same
// ones do each time, or a gauge would change while nothing does.
func larger(a, b tellable) int {
	return cmp.Or(cmp.Compare(b.viewers, a.viewers), cmp.Compare(a.of, b.of), strings.Compare(a.name, b.name))
}

// among puts c among the first, which are sorted, if it is one of them. Most are not,
// and cost a comparison: whoever calls it holds a lock.
func among[T any](top []T, c T, order func(a, b T) int) []T {
	if n := len(top); n == cap(top) {
		if order(c, top[n-1]) >= 0 {
			return top
		}
		top = top[:n-1]
	}
	at, _ := slices.BinarySearchFunc(top, c, order)
	return slices.Insert(top, at, c)
}

// gauge is how things are, with at most so many counts: only what some limit is on
// is worth telling.
func (l *ledger) gauge(counts int) *gauge {
	l.mu.Lock()
	defer l.mu.Unlock()
	g := &gauge{len(l.places), max(l.need, l.egress), make([]tellable, 0, counts)}
	if l.limit(ofStream) > 0 {
		for name, s := range l.streams {
			g.counts = among(g.counts, tellable{ofStream, name, s.viewers}, larger)
		}
	}
	if l.limit(ofSubject) > 0 {
		for name, n := range l.subjects {
			g.counts = among(g.counts, tellable{ofSubject, name, n}, larger)
		}
	}
	return g
}

// limit is the least there is on counts of a kind, 0 for none. It needs mu.
func (l *ledger) limit(of byte) int {
	switch {
	case of == ofStream:
		return l.o.PerStream
	case l.leastMax == 0 || l.o.PerSubject > 0 && l.o.PerSubject < l.leastMax:
		return l.o.PerSubject
	}
	return l.leastMax
}

// far reports whether what was told is too far from what is, so that others have to
// know soon: by more than a twentieth, or one, and in any case by more than a
// twentieth of the limit, of small ones by anything. Without a limit nothing is.
func far[T int | proxy.BitRate](told, is, one, limit T) bool {
	return max(told-is, is-told) > min(max(one, told/20), limit/20) && limit > 0
}

// far reports whether anything in g, which was told, is too far from what is.
func (l *ledger) far(g, is *gauge) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if far(g.viewers, is.viewers, 1, l.o.Viewers) || far(g.need, is.need, l.o.Assume, l.o.Bandwidth) {
		return true
	}
	return slices.ContainsFunc(g.counts, func(c tellable) bool { return far(c.viewers, l.counting(c), 1, l.limit(c.of)) }) ||
		slices.ContainsFunc(is.counts, func(c tellable) bool { return far(g.count(c), c.viewers, 1, l.limit(c.of)) })
}

// counting is how many viewers a stream or subject has now. It needs mu.
func (l *ledger) counting(c tellable) int {
	if c.of == ofStream {
		return l.watching(c.name)
	}
	return l.subjects[c.name]
}

// count is what g tells of a stream or subject. Of one that had no room it is as if
// it told the most that it may have had, or those that are no larger than the ones in
// it would change g for ever.
func (g *gauge) count(c tellable) int {
	for _, t := range g.counts {
		if t.of == c.of && t.name == c.name {
			return t.viewers
		}
	}
	if n := len(g.counts); n > 0 && n == cap(g.counts) {
		return min(g.counts[n-1].viewers, c.viewers)
	}
	return 0
}

// encode is what is told. boot tells this edge from others.
func (g *gauge) encode(boot uint64) []byte {
	b := append(make([]byte, 0, maxGauge), gaugeVersion)
	b = binary.BigEndian.AppendUint64(b, boot)
	b = binary.BigEndian.AppendUint32(b, uint32(g.viewers))
	b = binary.BigEndian.AppendUint64(b, uint64(g.need))
	for _, c := range g.counts {
		b = append(b, c.of)
		b = binary.BigEndian.AppendUint64(b, hash(c.name))
		b = binary.BigEndian.AppendUint32(b, uint32(c.viewers))
	}
	return b
}

// A teller tells what has changed, and anything now and then. It is one goroutine's.
type teller struct {
	ledger *ledger
	peers  proxy.Peers
	boot   uint64
	news   bool      // somebody has come or gone since it looked
	looked time.Time // when it did last
	at     time.Time // when it told last
	told   *gauge    // and what
}

// turn tells if it is time to: after tellAgain in any case, and of what is too far
// from what was told as soon as it is tellEvery ago.
func (t *teller) turn(now time.Time) {
	due := t.told == nil || now.Sub(t.at) >= tellAgain
	if !due && (!t.news || now.Sub(t.looked) < tellEvery) {
		return
	}
	t.looked, t.news = now, false
	if g := t.ledger.gauge(countsAmong(t.ledger.edges())); due || t.ledger.far(t.told, g) {
		t.say(g)
		t.at, t.told = now, g
	}
}

func (t *teller) say(g *gauge) { t.peers.Tell(topic, g.encode(t.boot), gaugeTTL) }

// edges is how many edges tell, this one included.
func (l *ledger) edges() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.abroad.edges + 1
}
