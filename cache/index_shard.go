package cache

import (
	"math"
	"sync"

	"github.com/hashicorp/golang-lru/v2/simplelru"
)

// often is which touch makes an item a frequent one however soon it comes. So many
// touches inARow, with nothing else touched or added in between, count as one: they may
// be one viewer's, who reads an object bit by bit.
const (
	often  = 3
	inARow = 8
)

// An indexShard is a part of an index with its own share of the budget.
//
// "2q" is the policy of Johnson and Shasha (VLDB 1994), in bytes: what is new goes
// through a queue of a quarter of the budget, and a scan with it; what is used
// more is kept in a list of its own, least recently used first to go. Into that
// list comes
//
//   - what is added again soon after it was evicted: the ids of half a budget of
//     items are remembered as ghosts;
//   - what is touched when half of the queue has gone by since it came. A viewer who
//     reads an object in a few requests does not make it popular;
//   - what is touched often. Without that, what was used a thousand times while
//     nothing came would be the first to go when something does.
//
// "lru" is the same without the queue.
type indexShard[V any] struct {
	mu       sync.Mutex
	budget   int64
	queue    int64 // of which this is for recent, when there is no room
	twoQueue bool
	recent   list[V] // in the order they came
	frequent list[V] // in the order they were used
	ghosts   list[V] // items without their values
	came     int64   // bytes ever added to recent
	last     uint64  // the id touched last, known or not
	lastHere bool    // nothing was added since, nor that taken out
	row      int     // how often in a row
}

// An item is what an index knows of an id.
type item[V any] struct {
	v       V
	weight  int64
	came    int64 // when it was added to recent: came of the shard
	touches int8  // while in recent
}

func newIndexShard[V any](twoQueue bool, budget int64) *indexShard[V] {
	return &indexShard[V]{
		budget:   budget,
		queue:    budget / 4,
		twoQueue: twoQueue,
		recent:   newList[V](),
		frequent: newList[V](),
		ghosts:   newList[V](),
	}
}

func (s *indexShard[V]) add(id uint64, weight int64, v V) (gone []V) {
	s.lastHere = false
	old, known := s.take(id)
	if old != nil {
		gone = append(gone, old.v)
	}
	if weight > s.budget {
		return append(gone, v)
	}
	// First, so that the ghost is not pushed out by what has to go for it.
	known = s.ghosts.take(id) != nil || known || !s.twoQueue
	queued := weight
	if known {
		queued = 0
	}
	for s.recent.weight+s.frequent.weight+weight > s.budget {
		gone = append(gone, s.evict(queued))
	}
	it := &item[V]{v: v, weight: weight}
	if known {
		s.frequent.add(id, it)
		return gone
	}
	s.came += weight
	it.came = s.came
	s.recent.add(id, it)
	return gone
}

func (s *indexShard[V]) touch(id uint64) {
	if s.again(id) { // it is in front, or was counted
		return
	}
	if _, ok := s.frequent.lru.Get(id); ok {
		return
	}
	it, ok := s.recent.lru.Peek(id)
	if !ok {
		return
	}
	it.touches++
	if it.touches >= often || s.came-it.came > s.queue/2 {
		s.recent.take(id)
		s.frequent.add(id, it)
	}
}

// again reports whether a touch is to be passed over, as one of several in a row.
func (s *indexShard[V]) again(id uint64) bool {
	if id != s.last || !s.lastHere {
		s.last, s.lastHere, s.row = id, true, 0
		return false
	}
	s.row++
	return s.row%inARow != 0
}

// take takes an item out, nil if it is not there.
func (s *indexShard[V]) take(id uint64) (it *item[V], frequent bool) {
	s.lastHere = s.lastHere && id != s.last
	if it = s.frequent.take(id); it != nil {
		return it, true
	}
	return s.recent.take(id), false
}

// evict takes out the item that is to go for one of which so many bytes go to
// recent. There must be one.
func (s *indexShard[V]) evict(queued int64) V {
	if s.recent.lru.Len() == 0 || s.frequent.lru.Len() > 0 && s.recent.weight+queued <= s.queue {
		_, it := s.frequent.takeOldest()
		return it.v
	}
	id, it := s.recent.takeOldest()
	if s.twoQueue {
		s.ghosts.add(id, &item[V]{weight: it.weight})
	}
	for s.ghosts.weight > s.budget/2 {
		s.ghosts.takeOldest()
	}
	return it.v
}

func (s *indexShard[V]) shed(n int64) (gone []V, freed int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	before := s.recent.weight + s.frequent.weight
	for freed < n && s.recent.lru.Len()+s.frequent.lru.Len() > 0 {
		gone = append(gone, s.evict(0))
		freed = before - s.recent.weight - s.frequent.weight
	}
	return gone, freed
}

// A list is an LRU that knows its weight.
type list[V any] struct {
	lru    *simplelru.LRU[uint64, *item[V]]
	weight int64
}

func newList[V any]() list[V] {
	lru, _ := simplelru.NewLRU[uint64, *item[V]](math.MaxInt, nil) // fails for a size of 0 only
	return list[V]{lru: lru}
}

// add puts an item in front; its id is not there.
func (l *list[V]) add(id uint64, it *item[V]) {
	l.lru.Add(id, it)
	l.weight += it.weight
}

// take takes an item out, nil if it is not there.
func (l *list[V]) take(id uint64) *item[V] {
	it, ok := l.lru.Peek(id)
	if !ok {
		return nil
	}
	l.lru.Remove(id)
	l.weight -= it.weight
	return it
}

// takeOldest takes out the item that came, or was used, longest ago; nil if there is none.
func (l *list[V]) takeOldest() (id uint64, it *item[V]) {
	id, it, ok := l.lru.RemoveOldest()
	if ok {
		l.weight -= it.weight
	}
	return id, it
}
