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
	o     *object
	from  int64
	to    int64 // one behind its last byte; -1: the end, wherever it is
	pos   int64 // of the next byte; guarded by o.mu
	slice bool  // not the whole object
	began time.Time

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
	case !f.slice, errors.Is(err, errChanged):
		o.die() // its readers may still have slices fetched, if nothing has changed
	}
	if len(o.fills) == 0 {
		o.followers = nil
	}
	if !o.left() {
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

// run reads a body until its end, or until there is no more to be filled. stop ends it.
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
	if f.slice {
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
	n := int(f.pos / m.Slice)
	if n != f.n {
		if err := f.enter(n, m, stop); err != nil {
			return nil, err
		}
	}
	at := int(f.pos - int64(n)*m.Slice)
	switch {
	case f.c != nil:
		return f.c.mem[at:f.full], nil
	case f.slice:
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
		return fmt.Errorf("no memory: all %d bytes are in use", o.cache.ram.limit)
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
	if f.slice {
		want = f.to
	}
	if want >= 0 && f.pos != want {
		return fmt.Errorf("body ends at byte %d of %d: %w", f.pos, want, io.ErrUnexpectedEOF)
	}
	if want >= 0 && (want > 0 || f.slice) {
		return nil
	}
	o.update(func(m *meta) { m.Size = f.pos })
	if f.pos%m.Slice == 0 && f.pos > 0 {
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

// huge reports whether an object would push too much else out: an eighth of the
// RAM. A fill of one does not run far ahead of its fastest reader.
func (c *Cache) huge(size int64) bool { return size > c.ram.limit/8 }

// lead is how far that is.
func (c *Cache) lead(m *meta) int64 { return max(c.ram.limit/32, 2*m.Slice) }

// grace is how long a fill of a huge object goes on without anybody who reads it.
const grace = 2 * time.Second

// pace holds a fill back that would push everything else out, or ends it if
// nobody reads any more. What a huge object of unknown size has, it keeps only as
// long as somebody reads it: it cannot be stored.
func (f *fill) pace(ctx context.Context) (done bool, err error) {
	o := f.o
	m := o.meta.Load()
	if f.slice || !o.cache.huge(max(m.Size, f.pos)) {
		return false, nil
	}
	o.mu.Lock()
	defer o.mu.Unlock()
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
	for n := range min(len(o.slots), int(before/m.Slice)) {
		if s := &o.slots[n]; s.ram != nil && s.whole {
			s.ram.drop()
			s.ram = nil
		}
	}
}

// startSlice has chunk n fetched, and what follows it: at least to the end of
// its slice, at most up to want or 8 slices, and not what is there already. o.mu is held.
func (o *object) startSlice(n int, want int64) {
	m := o.meta.Load()
	unit := o.cache.opt.slice()
	from := int64(n) * m.Slice
	to := (from/unit + 1) * unit
	if want < 0 {
		want = m.Size
	}
	to = min(max(to, min(want, from+8*unit)), m.Size)
	for k := n + 1; k < len(o.slots) && int64(k)*m.Slice < to; k++ {
		if s := o.slots[k]; s.ram != nil || s.disk || s.loading {
			to = int64(k) * m.Slice
		}
	}
	to = min((to+m.Slice-1)/m.Slice*m.Slice, m.Size)
	f := &fill{o: o, from: from, to: to, slice: true}
	f.begin()
	if !o.cache.spawn(f.work) {
		o.fills = o.fills[:len(o.fills)-1]
		o.err = errGone
		o.notify()
	}
}

// work is a slice's own goroutine.
func (f *fill) work() { f.end(f.fetch(f.o.cache.base)) }

// fetch asks the origin for a slice and reads it.
func (f *fill) fetch(ctx context.Context) error {
	c, m := f.o.cache, f.o.meta.Load()
	ctx, w := newWatch(ctx, c.opt.Timeout)
	defer w.stop()
	req := c.again(m).request(ctx)
	req.Header["Range"] = []string{rangeField(span{f.from, f.to})}
	req.Header["If-Range"] = []string{strongValidator(m.Header)}
	res, err := c.trip(req)
	if err != nil {
		return why(ctx, err)
	}
	defer res.Body.Close() //nolint:errcheck // read from only
	if err := f.check(res, m); err != nil {
		return err
	}
	return why(ctx, f.run(ctx, w.body(res.Body)))
}

// check holds an answer for a slice against what is known of the object.
func (f *fill) check(res *http.Response, m *meta) error {
	switch res.StatusCode {
	case http.StatusPartialContent:
		s, size, ok := parseContentRange(res.Header.Get("Content-Range"))
		if !ok || s.from != f.from || s.to != f.to {
			return fmt.Errorf("asked for bytes %d to %d, got Content-Range %q", f.from, f.to-1, res.Header.Get("Content-Range"))
		}
		if size != m.Size || strongValidator(res.Header) != "" && res.Header.Get("Etag") != m.Header.Get("Etag") {
			return errChanged
		}
		return nil
	case http.StatusOK, http.StatusRequestedRangeNotSatisfiable, http.StatusNotFound, http.StatusGone:
		return errChanged
	}
	return fmt.Errorf("asked for a slice, got %s", res.Status)
}
