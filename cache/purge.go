package cache

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"

	"weir/proxy"
)

const (
	// purgeTopics is how many topics a node tells its purges under, one after the
	// other, since the newest message of a topic is all that is kept of it.
	purgeTopics = 8
	// purgeMessage bounds a message in bytes, as proxy.Peers does.
	purgeMessage = 1000
	// purgeTold is how long a purge is told: for so long another node may be away
	// and still hear of it.
	purgeTold = 90 * time.Second
	// purgeMarks is how many topics of nodes are remembered, those of nodes that
	// have gone included: 512 starts of nodes.
	purgeMarks = 512 * purgeTopics
)

// A spreader carries purges to the other nodes of the cluster and theirs to this
// one. A node that hears of one purges within two seconds and what gossip takes; one
// that comes back within 90 s still hears of it; one that was away for longer does
// not, and neither does one of another version of the message.
//
// Each node tells what it was asked to purge in the last 90 s, packed into eight
// messages of 1000 bytes: 300 to 600 URLs. What does not fit is never left out but
// told wider: the two that have most of their path in common become a purge of that
// prefix, for those who have not heard of them yet. Tags have nothing in common, so
// too many of them (350 of 16 bytes) become a purge of everything. A URL or prefix
// longer than 400 bytes is told as the prefix of that length. Hard and soft ones
// together are hard.
//
// The purges of a topic are numbered, and each message has all of them that are not
// over, so the last number heard says which are new. A node that starts again
// numbers anew under another epoch; what it told before may be lost to who is away.
//
// tell may be called by any goroutine, tick by one only.
type spreader struct {
	peers  proxy.Peers
	apply  func(purge)
	epoch  uint64 // names this start of this node
	count  uint64 // purges told
	topics [purgeTopics]purgeLog
	marks  *simplelru.LRU[purgeMark, uint64] // the last number heard

	mu      sync.Mutex
	waiting []purge // to be told at the next tick
}

// A purgeMark names a topic of one start of a node.
type purgeMark struct {
	epoch uint64
	topic int
}

// newSpreader returns a spreader that gives what other nodes tell to apply.
func newSpreader(peers proxy.Peers, apply func(purge)) *spreader {
	marks, err := simplelru.NewLRU[purgeMark, uint64](purgeMarks, nil)
	if err != nil {
		panic("BUG: room for no marks: " + err.Error())
	}
	return &spreader{peers: peers, apply: apply, epoch: rand.Uint64(), marks: marks}
}

// tell has the other nodes purge, from the next tick on.
func (s *spreader) tell(p purge) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.waiting = append(s.waiting, p)
}

// tick tells what is new and applies what others tell. It is to be called once a
// second, and once more when the node ends.
//
// All telling is done here, by one goroutine: of two at once, the older message
// could come to be the newest of its topic.
func (s *spreader) tick(now time.Time) {
	s.mu.Lock()
	fresh := s.waiting
	s.waiting = nil
	s.mu.Unlock()
	for _, p := range fresh {
		s.topics[s.count%purgeTopics].add(p, now)
		s.count++
	}
	for i := range s.topics {
		if l := &s.topics[i]; l.changed {
			s.peers.Tell(purgeTopic(i), l.message(s.epoch, now), purgeTold)
		}
	}
	for _, p := range s.heard() {
		p.At = now // by the clock of this node: what it has from before is meant
		s.apply(p)
	}
}

// heard returns what is new of what others tell.
func (s *spreader) heard() []purge {
	var all []purge
	for i := range purgeTopics {
		for _, b := range s.peers.Told(purgeTopic(i)) {
			all = append(all, s.unheard(i, b)...)
		}
	}
	return all
}

// unheard returns what is new in one message, the oldest first.
func (s *spreader) unheard(topic int, b []byte) []purge {
	epoch, told, ok := decodePurges(b)
	if !ok || epoch == s.epoch || len(told) == 0 {
		return nil
	}
	mark := purgeMark{epoch, topic}
	last, _ := s.marks.Get(mark)
	var fresh []purge
	for _, t := range slices.Backward(told) {
		if t.number > last {
			fresh = append(fresh, t.purge)
		}
	}
	s.marks.Add(mark, max(last, told[0].number))
	return fresh
}

func purgeTopic(i int) string { return fmt.Sprintf("cache.purge.%d", i) }
