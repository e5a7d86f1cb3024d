package cache

import (
	"errors"
	"sync/atomic"
	"time"
)

// A chunk is a piece of an object in RAM. It grows while it is filled: what is
// below have never changes. Its block goes back when nobody holds it any more,
// for a socket may still be reading from it after it was evicted.
type chunk struct {
	ram    *ram
	mem    []byte       // what is there is mem[:have]
	have   int          // guarded by the object's mu
	weight int64        // what of it is counted
	refs   atomic.Int32 // the slot that it is in, and all who read or write it
}

// hold keeps the block. The caller has the object's mu, and found c in a slot.
func (c *chunk) hold() { c.refs.Add(1) }

// drop gives a hold back.
func (c *chunk) drop() {
	switch n := c.refs.Add(-1); {
	case n == 0:
		c.ram.release(c)
	case n < 0:
		panic("BUG: a chunk dropped twice")
	}
}

// A ramItem is what the RAM's index knows of a chunk.
type ramItem struct {
	object *object
	n      int
	chunk  *chunk
}

// ram is the tier of chunks. All blocks, those being filled and those that are
// only held by slow viewers too, count against the limit.
type ram struct {
	limit int64
	mem   *memory
	index *index[ramItem]
	used  atomic.Int64  // bytes of blocks, in pages, and what objects cost besides
	freed chan struct{} // somebody has given back a block; holds one

	patience time.Duration // how long a fill waits for memory that viewers hold
}

// slack is what the limit may be exceeded by while everything is in use.
func (r *ram) slack() int64 { return r.limit / 64 }

func newRAM(limit, largest int64, policy string) (*ram, error) {
	mem, err := newMemory(limit, largest)
	if err != nil {
		return nil, err
	}
	return &ram{limit: limit, mem: mem, index: newIndex[ramItem](policy, limit, largest), freed: make(chan struct{}, 1), patience: 5 * time.Second}, nil
}

// errNoMemory is why nothing can be stored.
var errNoMemory = errors.New("no memory: viewers hold all of it")

// chunk returns an empty chunk for n bytes, and extra bytes of bookkeeping, held
// once. It evicts what it must, and waits while everything is held by viewers. It
// is nil if stop comes first, or patience runs out: then nothing can be stored.
func (r *ram) chunk(n int, extra int64, stop <-chan struct{}) *chunk {
	weight := pages(n) + extra
	var timeout <-chan time.Time
	for !r.reserve(weight) {
		if timeout == nil {
			t := time.NewTimer(r.patience)
			defer t.Stop()
			timeout = t.C
		}
		select {
		case <-r.freed:
		case <-stop:
			return nil
		case <-timeout:
			return nil
		}
	}
	c := &chunk{ram: r, weight: weight}
	if n > 0 {
		if c.mem = r.mem.block(n); c.mem == nil {
			r.used.Add(-weight)
			return nil
		}
	}
	c.refs.Store(1)
	return c
}

// reserve makes room and counts it.
func (r *ram) reserve(n int64) bool {
	for {
		used := r.used.Load()
		over := used + n - r.limit
		if over > 0 {
			if gone := r.index.shed(over); len(gone) > 0 {
				evict(gone)
				continue
			}
			if over > r.slack() {
				return false
			}
		}
		if r.used.CompareAndSwap(used, used+n) {
			return true
		}
	}
}

// shrink counts a chunk that is complete by what it has.
func (r *ram) shrink(c *chunk, extra int64) {
	if c.have < len(c.mem) {
		r.mem.trim(c.mem[:c.have])
	}
	weight := pages(c.have) + extra
	r.used.Add(weight - c.weight)
	c.weight = weight
}

func (r *ram) release(c *chunk) {
	if c.mem != nil {
		r.mem.free(c.mem)
	}
	r.used.Add(-c.weight)
	select {
	case r.freed <- struct{}{}:
	default:
	}
}

// pages is what n bytes of a block cost.
func pages(n int) int64 { return (int64(n) + minBlock - 1) &^ (minBlock - 1) }

// evict tells objects which of their chunks have gone from the index.
func evict(gone []ramItem) {
	for _, it := range gone {
		it.object.evicted(it.n, it.chunk)
	}
}
