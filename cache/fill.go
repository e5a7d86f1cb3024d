package cache

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"time"
)

// A fill is one body on its way into an object: all of it, or a slice. It has a
// context of its own: it outlives the viewer who caused it. Readers do not slow
// it, but for objects so large that a fill far ahead would push everything else
// out.
type fill struct {
	o       *object
	from    int64
	to      int64 // one behind its last byte; -1: the end, wherever it is
	pos     int64 // of the next byte; guarded by o.mu
	partial bool  // not the whole object
	began   time.Time

	n     int     // the chunk that is being filled
	c     *chunk  // nil: not by this fill
	full  int     // its length when it is complete
	skip  []byte  // where bytes go that are there already
	ready []ready // for the disk
}

// A ready is a chunk that is complete, held once more.
type ready struct {
	n int
	c *chunk
}

// covers reports whether the fill is going to bring a byte. o.mu is held.
func (f *fill) covers(off int64) bool { return f.pos <= off && (f.to < 0 || off < f.to) }

// begin enters the fill. o.mu is held.
func (f *fill) begin() {
	f.pos, f.n, f.began = f.from, -1, time.Now()
	f.o.fills = append(f.o.fills, f)
}

// end takes it out again; what was left incomplete goes.
func (f *fill) end(err error) {
	o := f.o
	o.mu.Lock()
	defer o.mu.Unlock()
	f.letGo()
	o.fills = slices.DeleteFunc(o.fills, func(g *fill) bool { return g == f })
	o.err = err
	switch {
	case err == nil, errors.Is(err, errAbandoned):
	case !f.partial, !o.meta.Load().Sliced, errors.Is(err, errChanged):
		o.die() // its readers may still have slices fetched, if nothing has changed
	}
	if len(o.fills) == 0 {
		o.followers = nil
	}
	if !o.anything() {
		o.die()
	}
	o.notify()
	o.bury()
}

// letGo drops the hold on the current chunk, and the chunk if it is not
// complete. o.mu is held.
func (f *fill) letGo() {
	if f.c == nil {
		return
	}
	if s := f.o.slot(f.n); s.ram == f.c && !s.whole {
		s.ram = nil
		f.c.drop()
	}
	f.c.drop()
	f.c = nil
}

// run reads a body until its end, or until there is no more to be filled. ctx ends it.
func (f *fill) run(ctx context.Context, body io.Reader) error {
	for {
		if done, err := f.pace(ctx); done || err != nil {
			return err
		}
		dst, err := f.place(ctx.Done())
		if err != nil {
			return err
		}
		if len(dst) == 0 {
			return f.beyond(body)
		}
		k, err := body.Read(dst)
		if k > 0 {
			evict(f.took(k))
			f.store()
		}
		switch {
		case err == io.EOF:
			return f.finish()
		case err != nil:
			return err
		}
	}
}

// beyond is called when all that was wanted has come.
func (f *fill) beyond(body io.Reader) error {
	if f.partial {
		return nil
	}
	// The size was known: what a transport of HTTP gives ends here.
	if k, err := body.Read(make([]byte, 1)); k > 0 || err != nil && err != io.EOF {
		return fmt.Errorf("body is not of %d bytes as announced: %w", f.o.size(), errChanged)
	}
	return f.finish()
}

// place returns where the next bytes go; nothing if no more are wanted.
func (f *fill) place(stop <-chan struct{}) ([]byte, error) {
	o := f.o
	m := o.meta.Load()
	if f.to >= 0 && f.pos >= f.to || m.Size > 0 && f.pos >= m.Size {
		return nil, nil
	}
	n := int(f.pos / m.Chunk)
	if n != f.n {
		if err := f.enter(n, m, stop); err != nil {
			return nil, err
		}
	}
	at := int(f.pos - int64(n)*m.Chunk)
	switch {
	case f.c != nil:
		return f.c.mem[at:f.full], nil
	case f.partial:
		return nil, nil // somebody else has this, and what comes behind it
	}
	if f.skip == nil {
		f.skip = make([]byte, 32<<10)
	}
	return f.skip[:min(len(f.skip), f.full-at)], nil
}

// enter begins chunk n, if nobody else has it.
func (f *fill) enter(n int, m *meta, stop <-chan struct{}) error {
	o := f.o
	f.n, f.full = n, m.chunkLen(n)
	o.mu.Lock()
	s := o.slot(n)
	there := s.ram != nil || s.disk || s.loading
	o.mu.Unlock()
	if there {
		return nil
	}
	c := o.cache.ram.chunk(f.full, o.overhead(n), stop)
	if c == nil {
		return errNoMemory
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if s := o.slot(n); s.ram == nil {
		s.ram, s.whole = c, false
		c.hold()
		f.c = c
		return nil
	}
	c.drop()
	return nil
}

// took accounts for k bytes that have come, and wakes who waits for them.
func (f *fill) took(k int) (gone []ramItem) {
	o := f.o
	o.cache.met.filled.add(int64(k))
	o.mu.Lock()
	defer o.mu.Unlock()
	f.pos += int64(k)
	if f.c != nil {
		f.c.have += k
		if f.c.have == f.full {
			gone = f.complete()
		}
	}
	o.notify()
	return gone
}

// complete hands the current chunk over. o.mu is held.
func (f *fill) complete() (gone []ramItem) {
	c := f.c
	o := f.o
	gone = o.completed(f.n, c)
	if o.cache.disk != nil && !o.dead && o.meta.Load().durable() {
		f.ready = append(f.ready, ready{f.n, c}) // takes over the hold
	} else {
		c.drop()
	}
	f.c = nil
	return gone
}

// finish is the end of a body: the size is known now, if it was not.
func (f *fill) finish() error {
	o := f.o
	m := o.meta.Load()
	want := m.Size
	if f.partial {
		want = f.to
	}
	if want >= 0 && f.pos != want {
		return fmt.Errorf("body ends at byte %d of %d: %w", f.pos, want, io.ErrUnexpectedEOF)
	}
	if want >= 0 && (want > 0 || f.partial) {
		return nil
	}
	o.update(func(m *meta) { m.Size = f.pos })
	if f.pos%m.Chunk == 0 && f.pos > 0 {
		return nil // the last chunk was a full one
	}
	if f.n < 0 || f.pos == 0 { // an empty body has a place in the index, too
		f.n = -1
		if err := f.enter(0, o.meta.Load(), nil); err != nil {
			return err
		}
	}
	o.mu.Lock()
	var gone []ramItem
	if f.c != nil {
		gone = f.complete()
	}
	o.mu.Unlock()
	evict(gone)
	f.store()
	return nil
}

// durable reports whether an object is worth a file: live playlists are gone
// before it is written.
func (m *meta) durable() bool {
	return m.Status == http.StatusOK && m.Class != livePlaylist && m.Class != liveMPD && (m.Verdict.Fresh > 0 || validation(m.Header) != nil)
}

// store hands complete chunks to the disk.
func (f *fill) store() {
	for _, r := range f.ready {
		o, m := f.o, f.o.meta.Load()
		o.cache.disk.put(diskPiece{m, r.n, r.c.mem[:r.c.have]}, func(ok bool) {
			r.c.drop()
			o.stored(r.n, ok)
		})
	}
	f.ready = f.ready[:0]
}

func (o *object) stored(n int, ok bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !ok {
		return
	}
	if o.dead && o.readers == 0 && len(o.fills) == 0 {
		o.cache.disk.remove(o.id, n)
		return
	}
	o.slot(n).disk = true
}
