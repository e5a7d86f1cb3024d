package cache

import (
	"errors"
	"io"
)

// smallOnDisk is what is read back into RAM when it is asked for: opening a file costs more than copying
// this many bytes.
const smallOnDisk = 64 << 10

// onDisk returns a file, or loads a chunk that is small or not verified yet into
// RAM, where the caller looks next. o.mu is held; it is given up while files are
// read.
func (r *reader) onDisk(n int, m *meta) (piece, bool) {
	o := r.o
	o.slot(n).loading = true
	o.mu.Unlock()
	p, c, err := o.fromDisk(n, r.off, r.want, m)
	o.mu.Lock()
	s := o.slot(n)
	s.loading = false
	o.notify()
	switch {
	case err != nil:
		s.disk = false
	case c == nil:
		r.moved(p.n)
		return p, true
	case s.ram == nil: // also of a dead object: its readers need it, and the last one takes it along
		r.loaded = n + 1
		o.keep(n, c)
	default:
		c.drop()
	}
	return piece{}, false
}

// keep puts a chunk that was loaded from disk into its slot, hold and all. mu is
// held, and given up for a moment.
func (o *object) keep(n int, c *chunk) {
	o.slot(n).ram = c
	gone := o.completed(n, c)
	o.mu.Unlock()
	evict(gone)
	o.mu.Lock()
}

// fromDisk opens chunk n at off, or reads it into a chunk of its own.
func (o *object) fromDisk(n int, off, want int64, m *meta) (p piece, c *chunk, err error) {
	length := m.chunkLen(n)
	if length > smallOnDisk {
		f, size, err := o.cache.disk.open(o.id, n)
		if err == nil {
			at := off - int64(n)*m.Chunk
			left := size - at
			if want >= 0 {
				left = min(left, want-off)
			}
			if _, err = f.Seek(at, io.SeekCurrent); err == nil && left > 0 {
				return piece{f: f, n: left}, nil, nil
			}
			f.Close() //nolint:errcheck // only read from
		}
		if !errors.Is(err, errUnverified) {
			return piece{}, nil, err
		}
	}
	c = o.cache.ram.chunk(length, o.overhead(n), nil)
	if c == nil {
		return piece{}, nil, errGone
	}
	c.have, err = o.cache.disk.read(o.id, n, c.mem)
	if err == nil && c.have != length {
		err = errGone
	}
	if err != nil {
		c.drop()
		return piece{}, nil, err
	}
	return piece{}, c, nil
}
