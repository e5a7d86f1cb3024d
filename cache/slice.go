package cache

import (
	"context"
	"fmt"
	"net/http"
)

// startSlice has chunk n fetched, and what follows it: at least to the end of
// its slice, at most up to want or 8 slices, and not what is there already. It is
// false if the cache has stopped. o.mu is held.
func (o *object) startSlice(n int, want int64) bool {
	m := o.meta.Load()
	unit := o.cache.opt.slice()
	from := int64(n) * m.Chunk
	to := (from/unit + 1) * unit
	if want < 0 {
		want = m.Size
	}
	to = min(max(to, min(want, from+8*unit)), m.Size)
	for k := n + 1; k < len(o.slots) && int64(k)*m.Chunk < to; k++ {
		if s := o.slots[k]; s.ram != nil || s.disk || s.loading {
			to = int64(k) * m.Chunk
		}
	}
	to = min((to+m.Chunk-1)/m.Chunk*m.Chunk, m.Size)
	f := &fill{o: o, from: from, to: to, partial: true}
	f.begin()
	if !o.cache.spawn(f.work) {
		o.fills = o.fills[:len(o.fills)-1]
		return false
	}
	return true
}

// work is a slice's own goroutine.
func (f *fill) work() { f.end(f.fetch(f.o.cache.base)) }

// fetch asks the origin for a slice and reads it.
func (f *fill) fetch(ctx context.Context) error {
	c, m := f.o.cache, f.o.meta.Load()
	ctx, w := newWatch(ctx, c.opt.Timeout)
	defer w.stop()
	a := c.again(m)
	req := a.request(c.shared(ctx, a))
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
		if size != m.Size || differ(res.Header, m.Header, "Etag") || differ(res.Header, m.Header, "Last-Modified") {
			return errChanged // whatever the origin made of If-Range
		}
		return nil
	case http.StatusOK, http.StatusRequestedRangeNotSatisfiable, http.StatusNotFound, http.StatusGone:
		return errChanged
	}
	return fmt.Errorf("asked for a slice, got %s", res.Status)
}

// differ reports whether two answers say different things in a field that both have.
func differ(a, b http.Header, name string) bool {
	return a.Get(name) != "" && b.Get(name) != "" && a.Get(name) != b.Get(name)
}
