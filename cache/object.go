package cache

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cespare/xxhash/v2"
)

var (
	errChanged = errors.New("the object has changed at the origin")
	errGone    = errors.New("the object is no longer there")
)

// An object is a stored answer, or one that is being stored: fields (meta), and
// bytes in chunks, each of which is in RAM, on disk, on its way, or missing.
type object struct {
	cache  *Cache
	id     uint64
	hash   uint64 // of key and variant: chunks keep their place in the index' memory
	meta   atomic.Pointer[meta]
	common atomic.Pointer[head]
	used   atomic.Int64 // when it was last asked for, in seconds of the Unix epoch

	mu        sync.Mutex
	slots     []slot
	fills     []*fill              // running
	followers map[*reader]struct{} // who read while a fill runs
	paced     bool                 // a fill waits for readers
	readers   int                  // all of them
	left      time.Time            // when the last one went, or the object came to be
	dead      bool                 // not to be found any more; chunks go with the last reader
	err       error                // why there is no more to come
	wake      chan struct{}        // closed when something has happened; nil if nobody waits
}

// A slot is where a chunk of an object is.
type slot struct {
	ram     *chunk
	disk    bool
	whole   bool  // ram has all of it
	loading bool  // from disk to RAM
	touched int64 // the second in which the index was last told that it is in use
}

func newObject(c *Cache, m *meta) *object {
	o := &object{cache: c, id: m.ID, left: m.Answered, hash: xxhash.Sum64String(m.Key + "\x00" + m.Variant)}
	o.meta.Store(m)
	return o
}

// item is the id of a chunk in an index.
func (o *object) item(n int) uint64 { return o.hash + uint64(n)*0x9e3779b97f4a7c15 }

// overhead is what an object costs besides its bytes; its first chunk pays.
func (o *object) overhead(n int) int64 {
	if n > 0 {
		return 128
	}
	m := o.meta.Load()
	size := 1024 + 2*len(m.Key)
	for name, values := range m.Header {
		size += 64 + len(name)
		for _, v := range values {
			size += 16 + len(v)
		}
	}
	return int64(size)
}

// chunkLen is the length of chunk n when it is complete; the full one if the
// object's size is not known.
func (m *meta) chunkLen(n int) int {
	if m.Size < 0 {
		return int(m.Chunk)
	}
	return int(min(m.Chunk, m.Size-int64(n)*m.Chunk))
}

// chunks is how many chunks the whole object has; -1 if its size is not known.
func (m *meta) chunks() int {
	if m.Size < 0 {
		return -1
	}
	return int(max(1, (m.Size+m.Chunk-1)/m.Chunk))
}

// slot returns slot n, making it if need be. mu is held.
func (o *object) slot(n int) *slot {
	for len(o.slots) <= n {
		o.slots = append(o.slots, slot{})
	}
	return &o.slots[n]
}

// notify wakes all who wait. mu is held.
func (o *object) notify() {
	if o.wake != nil {
		close(o.wake)
		o.wake = nil
	}
}

// wait gives up mu until something has happened.
func (o *object) wait(ctx context.Context) error {
	if o.wake == nil {
		o.wake = make(chan struct{})
	}
	wake := o.wake
	o.mu.Unlock()
	defer o.mu.Lock()
	select {
	case <-wake:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// completed takes over a chunk that has been filled. Its fill keeps its hold.
// mu is held; what it returns is evicted after.
func (o *object) completed(n int, c *chunk) (gone []ramItem) {
	s := o.slot(n)
	s.whole = true
	o.cache.ram.shrink(c, o.overhead(n))
	if !o.dead {
		gone = o.cache.ram.index.add(o.item(n), c.weight, ramItem{o, n, c})
	}
	return gone
}

// evicted tells that a chunk has gone from the index of the RAM.
func (o *object) evicted(n int, c *chunk) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if n >= len(o.slots) || o.slots[n].ram != c {
		return
	}
	m := o.meta.Load()
	s := &o.slots[n]
	if s.disk || m.Sliced {
		s.ram, s.whole = nil, false
		c.drop()
		if !o.anything() {
			o.die()
		}
		return
	}
	o.die() // what cannot be fetched piece by piece goes as a whole
}

// lost tells that a chunk has gone from the disk.
func (o *object) lost(n int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if n >= len(o.slots) {
		return
	}
	s := &o.slots[n]
	s.disk = false
	if s.ram == nil && !o.meta.Load().Sliced || !o.anything() {
		o.die()
	}
}

// anything reports whether anything of the object is there, or coming. mu is held.
func (o *object) anything() bool {
	if len(o.fills) > 0 || o.readers > 0 && o.meta.Load().Sliced {
		return true
	}
	for _, s := range o.slots {
		if s.ram != nil || s.disk || s.loading {
			return true
		}
	}
	return false
}

// kill makes the object one that is not found any more. Who reads it may finish.
func (o *object) kill() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.die()
}

// die is kill with mu held. Lock order: object, then table and indexes.
func (o *object) die() {
	if o.dead {
		return
	}
	o.dead = true
	o.cache.table.remove(o)
	for n := range o.slots {
		if s := &o.slots[n]; s.ram != nil && s.whole {
			o.cache.ram.index.removeIf(o.item(n), func(it ramItem) bool { return it.chunk == s.ram })
		}
	}
	if m := o.meta.Load(); m.Sliced && o.cache.huge(m.Size) {
		o.forget(m.Size) // too much to be kept for its readers, who can have it fetched again
	}
	o.bury()
}

// bury frees what a dead object has, once nobody reads or fills it. mu is held.
func (o *object) bury() {
	if !o.dead || o.readers > 0 || len(o.fills) > 0 {
		return
	}
	var onDisk []int
	for n := range o.slots {
		s := &o.slots[n]
		if s.ram != nil {
			s.ram.drop()
		}
		if s.disk {
			onDisk = append(onDisk, n)
		}
		*s = slot{}
	}
	if len(onDisk) > 0 {
		o.cache.disk.remove(o.id, onDisk...)
	}
}

// update replaces the meta; it returns the new one.
func (o *object) update(change func(m *meta)) *meta {
	for {
		old := o.meta.Load()
		m := *old
		change(&m)
		if o.meta.CompareAndSwap(old, &m) {
			if o.cache.disk != nil {
				o.cache.disk.update(&m)
			}
			return &m
		}
	}
}

// matches reports whether the object answers a request of its key.
func (o *object) matches(req http.Header) bool {
	m := o.meta.Load()
	return len(m.Vary) == 0 || variantOf(m.Vary, req) == m.Variant
}

func (o *object) isDead() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.dead
}

// abandon frees what is in RAM; what is on disk stays. It is for the end.
func (o *object) abandon() {
	o.mu.Lock()
	defer o.mu.Unlock()
	for n := range o.slots {
		o.slots[n].disk = false // or it would be removed
	}
	o.die()
}
