package cache

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/cespare/xxhash/v2"
)

// work does what there is to do, until run is to end and nothing is left.
func (d *disk) work() {
	var buf []byte // of heads
	for {
		f, o, w := d.next()
		switch {
		case f != nil:
			d.bury(f)
		case o != nil:
			buf = d.renew(o, buf)
		case w != nil:
			buf = d.write(w, buf)
		default:
			return
		}
	}
}

// next waits for something to do: a file to remove, an object without a file that has the newest meta, or
// a chunk to write.
func (d *disk) next() (*diskFile, *diskObject, *diskWrite) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for {
		able := !d.aborted && !d.faults.paused()
		switch {
		case able && len(d.doomed) > 0:
			return diskPop(&d.doomed), nil, nil
		case able && len(d.stale) > 0:
			return nil, diskPop(&d.stale), nil
		case len(d.queue) > 0:
			return nil, nil, diskPop(&d.queue)
		case d.closing:
			return nil, nil, nil
		}
		d.changed.Wait()
	}
}

// diskPop takes the first of a list that is not empty.
func diskPop[T any](list *[]*T) *T {
	first := (*list)[0]
	(*list)[0] = nil
	*list = (*list)[1:]
	return first
}

// write does what put was asked for. buf is used for the head and returned, perhaps longer.
func (d *disk) write(w *diskWrite, buf []byte) []byte {
	buf, ok := d.store(w.f, w.body, buf)
	d.mu.Lock()
	d.held -= int64(len(w.body))
	if !ok {
		d.kill(w.f, false)
		w.f.report = false // of what was never there
	}
	d.mu.Unlock()
	w.done(ok)
	d.release(w.f) // not before: if it was evicted meanwhile, Gone comes after done
	return buf
}

// store makes the file of a chunk, after making room for it.
func (d *disk) store(f *diskFile, body, buf []byte) ([]byte, bool) {
	h, buf, err := d.head(f, xxhash.Sum64(body), buf)
	if err != nil {
		d.faults.count(err)
		return buf, false
	}
	if !d.await(f, h.size()) || d.makeRoom(f, h.size()) > 0 || !d.reserve(f, h.size()) {
		return buf, false
	}
	if err := d.create(&h, buf, body); err != nil {
		d.unreserve(f, h.size())
		d.pause(err)
		return buf, false
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	f.sum, f.at, f.revision, f.verified = h.sum, h.at, h.revision, true
	return buf, d.born(f)
}

// head makes the head of a file with the newest meta, in buf, with the zeros behind it.
func (d *disk) head(f *diskFile, sum uint64, buf []byte) (diskHead, []byte, error) {
	d.mu.Lock()
	m, revision := f.object.meta, f.object.revision
	d.mu.Unlock()
	b, err := encodeMeta(m)
	if err != nil {
		return diskHead{}, buf, err
	}
	h := diskHead{id: f.id, n: f.n, revision: revision, length: f.length, sum: sum, meta: b, at: diskBlocks(diskFixed + int64(len(b)))}
	buf = h.append(buf[:0])
	n := len(buf)
	buf = slices.Grow(buf, int(h.at)-n)[:h.at]
	clear(buf[n:])
	return h, buf, nil
}

// await waits until the folder is read, if it may be full: only then it is known what may go.
func (d *disk) await(f *diskFile, weight int64) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	for !d.stuck() && !f.dying && d.unread > 0 && d.bytes+d.unread+weight > d.o.Limit {
		if d.closing {
			return false
		}
		d.changed.Wait()
	}
	return !d.stuck() && !f.dying
}

// stuck is whether nothing can be written now. mu is held.
func (d *disk) stuck() bool { return d.aborted || d.faults.paused() }

// makeRoom puts a file into the index, or changes its weight there, and removes what must go for
// it. It returns how often the index gave back the file itself: once if it was there, and once if it
// is too large.
func (d *disk) makeRoom(f *diskFile, weight int64) (self int) {
	for _, gone := range d.index.add(f.key(), weight, f) {
		if gone == f {
			self++
			continue
		}
		d.mu.Lock()
		mine := d.kill(gone, true)
		d.mu.Unlock()
		if mine {
			d.bury(gone)
		}
	}
	return self
}

// reserve waits until the files that must go are gone. They are not if the disk fails, or
// while the folder has not been read and may be full.
func (d *disk) reserve(f *diskFile, weight int64) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	for d.bytes+d.unread+weight > d.o.Limit {
		switch {
		case f.dying, d.stuck(), d.closing && d.unread > 0:
			return false
		case len(d.doomed) > 0:
			gone := diskPop(&d.doomed)
			d.mu.Unlock()
			d.bury(gone)
			d.mu.Lock()
		default:
			d.changed.Wait()
		}
	}
	if f.dying {
		return false
	}
	f.weight += weight
	d.bytes += weight
	return true
}

// unreserve gives room back.
func (d *disk) unreserve(f *diskFile, weight int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	f.weight -= weight
	d.bytes -= weight
	d.changed.Broadcast()
}

// create writes a file beside and renames it.
func (d *disk) create(h *diskHead, head, body []byte) error {
	name := d.path(chunkName{h.id, h.n})
	temp := d.temp(name)
	f, err := d.createIn(temp)
	if err != nil {
		return err
	}
	err = errors.Join(diskFill(f, h, head, body), f.Close())
	if err == nil {
		err = d.calls.rename(temp, name)
	}
	if err != nil {
		d.calls.remove(temp) //nolint:errcheck // the next start does
		return err
	}
	d.faults.worked()
	return nil
}

func diskFill(f *os.File, h *diskHead, head, body []byte) error {
	if err := allocate(f, h.at+h.length); err != nil {
		return err
	}
	if _, err := f.Write(head); err != nil {
		return err
	}
	_, err := f.Write(body)
	return err
}

// createIn creates a file, and its folder if there is none.
func (d *disk) createIn(name string) (*os.File, error) {
	f, err := d.calls.create(name)
	if !errors.Is(err, fs.ErrNotExist) {
		return f, err
	}
	err = os.Mkdir(filepath.Dir(name), 0o700)
	if errors.Is(err, fs.ErrNotExist) { // somebody has removed all of it, the lock, too
		err = d.claim()
		if err == nil {
			err = os.Mkdir(filepath.Dir(name), 0o700)
		}
	}
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	return d.calls.create(name)
}
