package admission

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"time"

	"weir/proxy"
)

// Edges tell each other how many viewers they have, each its own: gauges of one
// writer that whoever reads adds up. There is nothing to be merged, a node that
// has died is forgotten after gaugeTTL, and one that has begun anew just tells
// anew.
//
// Until it is told and heard of, all edges may let in viewers for the same place:
// too many by at most those who begin on the other edges within staleness and the
// time gossip takes, which is a half second or one. Of changes that are too small to
// be told at once (see far) it is tellAgain instead of tellEvery. So it is what begins
// on the others in about two seconds, or, where that is a trickle, in about four.
// What an edge that starts has not heard yet counts for nothing.
const (
	topic     = "admission"
	tellEvery = time.Second // at most so often
	// tellAgain is less than the three seconds after which package cluster would take it
	// for news, and send it twice as often.
	tellAgain   = 2500 * time.Millisecond
	listenEvery = time.Second / 4
	gaugeTTL    = 10 * time.Second
	maxGauge    = 1000 // bytes, see proxy.Peers

	// staleness is from somebody's coming on one edge until another has added him up,
	// but for the time gossip takes: tellEvery, and both look that often.
	staleness = tellEvery + 2*listenEvery
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

// share tells and listens until ctx is done. In the end there is nobody here.
func (l *ledger) share(ctx context.Context, peers proxy.Peers, boot uint64) {
	t := &teller{ledger: l, peers: peers, boot: boot}
	defer t.say(&gauge{})
	tick := time.NewTicker(listenEvery)
	defer tick.Stop()
	l.listen(peers, boot)
	for {
		t.turn(time.Now())
		select {
		case <-ctx.Done():
			return
		case <-l.news:
			t.news = true
		case <-tick.C:
			l.listen(peers, boot)
		}
	}
}

// listen adds up what others tell.
func (l *ledger) listen(peers proxy.Peers, boot uint64) {
	others := &abroad{}
	for _, b := range peers.Told(topic) {
		others.add(b, boot)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.abroad = others
}
