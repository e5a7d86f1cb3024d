package admission

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"slices"
	"time"

	"weir/proxy"
)

// Edges tell each other how many viewers they have, each its own: gauges of one
// writer that whoever reads adds up. There is nothing to be merged, a node that
// has died is forgotten after gaugeTTL, and one that has begun anew just tells
// anew. Between two tellings all edges may let in viewers for the same place:
// too many by at most what the other edges let in within tellEvery and the time
// gossip takes.
const (
	topic     = "admission"
	tellEvery = time.Second
	gaugeTTL  = 10 * time.Second
	maxGauge  = 1000 // bytes, see proxy.Peers
)

// What a count is of.
const (
	ofStream byte = iota
	ofSubject
)

// A counted is a stream or a subject, by the first bytes of its SHA-256: names
// may be long, and are nobody else's business.
type counted struct {
	of   byte
	hash uint64
}

// abroad is what all other edges have told, added up. The zero abroad is a node
// that is alone.
type abroad struct {
	edges, viewers int
	need           proxy.BitRate
	counts         map[counted]int // of the ones with most viewers on each edge
}

func (a *abroad) count(of byte, name string) int {
	if len(a.counts) == 0 || name == "" {
		return 0
	}
	return a.counts[counted{of, hash(name)}]
}

func hash(name string) uint64 {
	sum := sha256.Sum256([]byte(name))
	return binary.BigEndian.Uint64(sum[:])
}

// A gauge on the wire: version, boot, viewers, need, and as many counts as fit,
// those with the most viewers first; all big endian.
const (
	gaugeVersion = 1
	gaugeHead    = 1 + 8 + 4 + 8
	gaugeCount   = 1 + 8 + 4
	gaugeCounts  = (maxGauge - gaugeHead) / gaugeCount
)

// gauge is what this edge tells. boot tells it from others.
func (l *ledger) gauge(boot uint64) []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	b := append(make([]byte, 0, maxGauge), gaugeVersion)
	b = binary.BigEndian.AppendUint64(b, boot)
	b = binary.BigEndian.AppendUint32(b, uint32(len(l.places)))
	b = binary.BigEndian.AppendUint64(b, uint64(max(l.need, l.egress)))
	top := make([]tellable, 0, gaugeCounts)
	if l.o.PerStream > 0 {
		for name, s := range l.streams {
			top = among(top, tellable{ofStream, name, s.viewers})
		}
	}
	for name, n := range l.subjects {
		top = among(top, tellable{ofSubject, name, n})
	}
	for _, c := range top {
		b = append(b, c.of)
		b = binary.BigEndian.AppendUint64(b, hash(c.name))
		b = binary.BigEndian.AppendUint32(b, uint32(c.viewers))
	}
	return b
}

// tellable is a count that may go into a gauge.
type tellable struct {
	of      byte
	name    string
	viewers int
}

// among puts a count among the largest, which are sorted, if it is one of them.
// Most are not, and cost a comparison: the ledger is locked meanwhile.
func among(top []tellable, c tellable) []tellable {
	if n := len(top); n == cap(top) {
		if c.viewers <= top[n-1].viewers {
			return top
		}
		top = top[:n-1]
	}
	at, _ := slices.BinarySearchFunc(top, c, func(a, b tellable) int { return cmp.Compare(b.viewers, a.viewers) })
	return slices.Insert(top, at, c)
}

// add takes another edge's gauge; what it cannot read, and its own, it leaves
// out. Numbers that no edge has are cut: another edge's mistake shall not close
// this one for good.
func (a *abroad) add(b []byte, boot uint64) {
	if len(b) < gaugeHead || b[0] != gaugeVersion || binary.BigEndian.Uint64(b[1:]) == boot {
		return
	}
	a.edges++
	a.viewers += int(min(binary.BigEndian.Uint32(b[9:]), 1<<24))
	a.need += proxy.BitRate(min(binary.BigEndian.Uint64(b[13:]), 1<<42))
	for b = b[gaugeHead:]; len(b) >= gaugeCount; b = b[gaugeCount:] {
		if a.counts == nil {
			a.counts = map[counted]int{}
		}
		a.counts[counted{b[0], binary.BigEndian.Uint64(b[1:])}] += int(min(binary.BigEndian.Uint32(b[9:]), 1<<24))
	}
}

// share tells and listens until ctx is done.
func (l *ledger) share(ctx context.Context, peers proxy.Peers, boot uint64) {
	tick := time.NewTicker(tellEvery)
	defer tick.Stop()
	for {
		peers.Tell(topic, l.gauge(boot), gaugeTTL)
		others := &abroad{}
		for _, b := range peers.Told(topic) {
			others.add(b, boot)
		}
		l.mu.Lock()
		l.abroad = others
		l.mu.Unlock()
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}
