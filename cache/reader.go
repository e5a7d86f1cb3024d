package cache

import (
	"context"
	"errors"
	"os"
	"slices"
	"time"
)

// A reader reads an object from somewhere on, while it may still be growing. It
// is used by one goroutine.
type reader struct {
	o    *object
	off  int64 // of the next byte; guarded by o.mu
	want int64 // one behind the last byte that is wanted; -1: all there is

	follows bool // a fill was under way when it began
	waited  bool // what it wanted was not there at once
	fetched bool // it had a slice fetched
	loaded  int  // one more than the chunk that it had read from disk into RAM; 0: none

	asked int64 // where it had a slice fetched, and how often
	tried int
}

// A piece is what a reader gets: bytes of a chunk that is held, or a file of
// which n bytes are to be sent. It must be closed.
type piece struct {
	c *chunk
	b []byte
	f *os.File
	n int64

	disk bool // it was on disk a moment ago
}

func (p *piece) close() {
	if p.c != nil {
		p.c.drop()
	}
	if p.f != nil {
		p.f.Close() //nolint:errcheck // only read from
	}
}

// read begins to read from off to want, or to the end if want is -1. The reader
// must be closed.
func (o *object) read(off, want int64) *reader {
	r := &reader{o: o, off: off, want: want}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.readers++
	if len(o.fills) > 0 {
		r.follows = true
		o.follow(r)
		o.notify() // a fill may wait for its first follower
	}
	return r
}

// lookAhead bounds how many chunks are looked at before an answer begins.
const lookAhead = 256

// lacks reports whether a part of an object that is fetched in slices is neither here nor
// on its way, from from to to (-1: its end).
func (o *object) lacks(from, to int64) bool {
	m := o.meta.Load()
	if !m.Sliced || m.Size < 0 {
		return false
	}
	if to < 0 {
		to = m.Size
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	first := from / m.Chunk
	for n := first; n*m.Chunk < to && n < first+lookAhead; n++ {
		var s slot
		if n < int64(len(o.slots)) {
			s = o.slots[n]
		}
		next := max(from, n*m.Chunk) // that is not here
		if s.ram != nil {
			next = max(next, n*m.Chunk+int64(s.ram.have))
		}
		here := s.whole || s.disk || s.loading || next >= min(to, (n+1)*m.Chunk)
		if !here && !slices.ContainsFunc(o.fills, func(f *fill) bool { return f.covers(next) }) {
			return true
		}
	}
	return false
}

func (o *object) follow(r *reader) {
	if o.followers == nil {
		o.followers = map[*reader]struct{}{}
	}
	o.followers[r] = struct{}{}
}

func (r *reader) close() {
	o := r.o
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.readers--; o.readers == 0 {
		o.left = time.Now()
	}
	if o.followers != nil {
		delete(o.followers, r)
		o.notify() // a fill may wait for its slowest, or its last, follower
	}
	if o.readers == 0 && !o.anything() {
		o.die()
	}
	o.bury()
}

// size is the size of the object, -1 if it is not known yet.
func (o *object) size() int64 { return o.meta.Load().Size }

// next returns what is there at the reader's offset; it waits for it, or has it
// fetched. The end is a piece without bytes. Errors are visible to the viewer: the
// answer is cut.
func (r *reader) next(ctx context.Context) (p piece, err error) {
	o := r.o
	o.mu.Lock()
	defer o.mu.Unlock()
	for {
		m := o.meta.Load()
		if m.Size >= 0 && r.off >= m.Size || r.want >= 0 && r.off >= r.want {
			return piece{}, nil
		}
		n := int(r.off / m.Chunk)
		s := o.slot(n)
		if p, ok := r.inRAM(s.ram, n, m); ok {
			return p, nil
		}
		if s.disk && !s.loading {
			if p, ok := r.onDisk(n, m); ok {
				return p, nil
			}
			continue // it was loaded, or is not there
		}
		if !s.loading {
			if err := r.need(n, m); err != nil {
				return piece{}, err
			}
		}
		r.waited = true
		if err := o.wait(ctx); err != nil {
			return piece{}, err
		}
	}
}

// inRAM returns what a chunk has. o.mu is held.
func (r *reader) inRAM(c *chunk, n int, m *meta) (piece, bool) {
	if c == nil {
		return piece{}, false
	}
	from := int(r.off - int64(n)*m.Chunk)
	to := c.have
	if r.want >= 0 {
		to = int(min(int64(to), r.want-int64(n)*m.Chunk))
	}
	if from >= to {
		return piece{}, false
	}
	c.hold()
	r.moved(int64(to - from))
	if s := &r.o.slots[n]; s.whole && s.touched != r.o.used.Load() {
		s.touched = r.o.used.Load()
		r.o.cache.ram.index.touch(r.o.item(n))
	}
	return piece{c: c, b: c.mem[from:to], n: int64(to - from), disk: r.loaded == n+1}, true
}

// moved notes that the reader has got further. o.mu is held.
func (r *reader) moved(n int64) {
	r.off += n
	if r.o.paced {
		r.o.notify()
	}
}

// near is how far a fill may be behind a reader's offset for the reader to wait
// for it, rather than to ask for a slice of his own.
func (m *meta) near() int64 { return m.Chunk }

// tries bounds how often one reader has the same bytes fetched.
const tries = 3

// need sees to it that the byte at r.off comes: by a fill that is near, by a slice
// of its own, or by a fill that gets there in the end. o.mu is held.
func (r *reader) need(n int, m *meta) error {
	o := r.o
	var later bool
	for _, f := range o.fills {
		if !f.covers(r.off) {
			continue
		}
		o.follow(r)
		if !m.Sliced || r.off-f.pos <= m.near() {
			return nil
		}
		later = true
	}
	if r.asked != r.off {
		r.asked, r.tried = r.off, 0
	}
	switch {
	case o.err != nil && (!m.Sliced || errors.Is(o.err, errChanged) || r.tried >= tries || r.tried > 0 && errors.Is(o.err, errNoMemory)):
		return o.err
	case m.Sliced && r.tried < tries:
		r.tried++
		r.fetched = true
		if !o.startSlice(n, r.want) {
			return errGone
		}
		o.follow(r)
		return nil
	case later:
		return nil
	}
	if !m.Sliced { // after a crash the disk may have a part of it, and it cannot be completed
		o.die()
	}
	return errGone
}
