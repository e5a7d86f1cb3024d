package splitter

import "sync/atomic"

// A budget bounds what all rings of an edge keep for viewers who are yet to come.
// A ring that nobody watches gives up what it keeps before one that is watched,
// and among these the large ones do; its next viewers wait for a key frame. What
// viewers who lag hold is bounded elsewhere, by maxBehind for each.
type budget struct {
	max     int64 // bytes; 0: no bound
	used    atomic.Int64
	rings   atomic.Int64 // that keep something
	dropped atomic.Int64 // times that one gave up what it kept
}

// spend notes that a ring now keeps size bytes, and reports whether it may.
func (b *budget) spend(r *ring, size int64) bool {
	if b == nil {
		return true
	}
	switch {
	case r.held == 0 && size > 0:
		b.rings.Add(1)
	case r.held > 0 && size == 0:
		b.rings.Add(-1)
	}
	used := b.used.Add(size - r.held)
	r.held = size
	if b.max == 0 || size == 0 || used <= b.max-b.max/8 {
		return true
	}
	if r.watched == nil || r.watched() {
		// Those that are not watched are first, and come to it within a burst.
		if used <= b.max || size < b.max/max(b.rings.Load(), 1) {
			return true
		}
	}
	b.dropped.Add(1)
	return false
}
