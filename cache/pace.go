package cache

import (
	"context"
	"errors"
	"time"
)

// huge reports whether an object would push too much else out: an eighth of the
// RAM. A fill of one does not run far ahead of its fastest reader.
func (c *Cache) huge(size int64) bool { return size > c.ram.limit/8 }

// lead is how far that is.
func (c *Cache) lead(m *meta) int64 { return max(c.ram.limit/32, 2*m.Chunk) }

// grace is how long a fill of a huge object goes on without anybody who reads it.
const grace = 2 * time.Second

// idleGrace is how long a fill goes on without readers if nobody knows that it ever ends.
const idleGrace = 30 * time.Second

// pace holds a fill back that would push everything else out, or ends it if
// nobody reads any more. What a huge object of unknown size has, it keeps only as
// long as somebody reads it: it cannot be stored.
func (f *fill) pace(ctx context.Context) (done bool, err error) {
	o := f.o
	m := o.meta.Load()
	if f.partial {
		return false, nil
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if f.idle(m, time.Now()) {
		o.die()
		return true, errAbandoned
	}
	if !o.cache.huge(max(m.Size, f.pos)) {
		return false, nil
	}
	if !m.Sliced {
		o.die()
	}
	if len(o.followers) == 0 {
		f.awaitFollower(ctx)
	}
	o.paced = true
	defer func() { o.paced = false }()
	for {
		if len(o.followers) == 0 {
			return true, errAbandoned
		}
		first, last := f.ends()
		if o.dead {
			o.forget(first)
		}
		if !m.Sliced {
			last = first // the slowest sets the pace: nothing can be fetched again
		}
		if f.pos-last < o.cache.lead(m) {
			return false, nil
		}
		if err := o.wait(ctx); err != nil {
			return true, err
		}
	}
}

// idle reports whether what comes is for nobody: there is no reader, and there
// will be none, or the end of it is not in sight. o.mu is held.
func (f *fill) idle(m *meta, now time.Time) bool {
	o := f.o
	alone := now.Sub(o.left)
	switch {
	case o.readers > 0 || m.Size >= 0 && !o.dead:
		return false
	case o.dead, m.Verdict.Fresh <= 0 && validation(m.Header) == nil:
		return alone > grace
	}
	return alone > idleGrace
}

// awaitFollower waits for the first reader: viewers learn of an object when its
// fill has begun. o.mu is held.
func (f *fill) awaitFollower(ctx context.Context) {
	ctx, cancel := context.WithDeadline(ctx, f.began.Add(grace))
	defer cancel()
	for len(f.o.followers) == 0 && f.o.wait(ctx) == nil {
	}
}

var errAbandoned = errors.New("nobody reads it any more")

// ends returns the offsets of the slowest and the fastest follower. o.mu is held.
func (f *fill) ends() (first, last int64) {
	first = f.pos
	for r := range f.o.followers {
		first, last = min(first, r.off), max(last, min(r.off, f.pos))
	}
	return first, last
}

// forget drops the chunks before an offset. o.mu is held, and the object is dead.
func (o *object) forget(before int64) {
	m := o.meta.Load()
	for n := range min(len(o.slots), int(before/m.Chunk)) {
		if s := &o.slots[n]; s.ram != nil && s.whole {
			s.ram.drop()
			s.ram = nil
		}
	}
}
