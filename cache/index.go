package cache

import "math/bits"

// Bounds of the shards of an index. Each has room for 64 of the largest items: what
// one shard has too much of cannot go where another has room. In a scan (see
// TestIndexScan) a hot set of 60 % of the budget lost 1 % of its hits by that, but 6 %
// where a shard had room for 16.
const (
	maxShards  = 16
	shardItems = 64
)

// An index decides what goes when a tier is full: a policy over weighted items,
// sharded. It owns nothing: what is to go is returned. V is what the tier keeps of
// an item. Its methods may be called by any goroutine.
//
// An id must be the same whenever the same thing comes back, or "2q" does not know
// it again.
type index[V any] struct {
	shards []*indexShard[V] // a power of two
	shift  int              // of a mixed id, down to the number of its shard
}

// newIndex returns an index for a budget in bytes, of the policy "2q" or "lru".
// largest is the weight of the largest item.
func newIndex[V any](policy string, budget, largest int64) *index[V] {
	if policy != "2q" && policy != "lru" {
		panic("BUG: no such policy: " + policy)
	}
	n := 1
	for n < maxShards && budget/int64(2*n) >= shardItems*max(largest, 1) {
		n *= 2
	}
	x := &index[V]{shift: 64 - bits.TrailingZeros(uint(n))}
	for range n {
		x.shards = append(x.shards, newIndexShard[V](policy == "2q", budget/int64(n)))
	}
	return x
}

// of returns the shard of an id. Fibonacci hashing: ids need not be random.
func (x *index[V]) of(id uint64) *indexShard[V] {
	return x.shards[id*0x9E3779B97F4A7C15>>x.shift]
}

// add puts an item in, and returns those that must go: never the new one, unless
// it is alone too heavy. An item of that id which is there already is replaced
// and returned, too.
func (x *index[V]) add(id uint64, weight int64, v V) (gone []V) {
	if weight < 0 {
		panic("BUG: an item of negative weight")
	}
	s := x.of(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.add(id, weight, v)
}

// touch says that an item was used. It is cheap enough for each hit, and allocates
// nothing but when it moves an item of "2q" to the frequent ones: once in its life.
//
// It takes the lock of the shard for 20 to 30 ns, on two processors at once too
// (BenchmarkTouch, virtual EPYC, November 2026). A hit costs a thousand times that:
// stamps that spare the lock would not be noticed.
func (x *index[V]) touch(id uint64) {
	s := x.of(id)
	s.mu.Lock()
	s.touch(id)
	s.mu.Unlock()
}

// remove takes an item out; it is not remembered as one that was evicted.
func (x *index[V]) remove(id uint64) (v V, ok bool) {
	s := x.of(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	it, _ := s.take(id)
	s.ghosts.take(id)
	if it == nil {
		return v, false
	}
	return it.v, true
}

// removeIf is remove of an item that is the one meant: another may have come under
// its id.
func (x *index[V]) removeIf(id uint64, meant func(V) bool) {
	s := x.of(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	it, ok := s.frequent.lru.Peek(id)
	if !ok {
		it, ok = s.recent.lru.Peek(id)
	}
	if ok && meant(it.v) {
		s.take(id)
		s.ghosts.take(id)
	}
}

// shed takes out about n bytes, or all there are, for want of memory.
func (x *index[V]) shed(n int64) (gone []V) {
	each := (n + int64(len(x.shards)) - 1) / int64(len(x.shards))
	for _, s := range x.shards {
		items, freed := s.shed(min(each, n))
		gone, n = append(gone, items...), n-freed
	}
	for _, s := range x.shards { // some shards had not so much
		items, freed := s.shed(n)
		gone, n = append(gone, items...), n-freed
	}
	return gone
}

// weight is the sum of all weights. It never exceeds the budget.
func (x *index[V]) weight() (sum int64) {
	for _, s := range x.shards {
		s.mu.Lock()
		sum += s.recent.weight + s.frequent.weight
		s.mu.Unlock()
	}
	return sum
}
