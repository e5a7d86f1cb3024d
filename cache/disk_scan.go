package cache

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
)

// scanBatch is how many names are read from a folder at once.
const scanBatch = 1024

// weigh adds up all files, before anything is written, and removes temporary ones that were left.
func (d *disk) weigh(ctx context.Context) {
	var sum int64
	for i := range 256 {
		d.walk(ctx, fmt.Sprintf("%02x", i), func(_ chunkName, e fs.DirEntry) {
			if info, err := e.Info(); err == nil {
				sum += diskBlocks(info.Size())
			}
		})
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.unread = sum
}

// scan tells found what is in the folder. Of what is put meanwhile it takes no notice.
func (d *disk) scan(ctx context.Context, found func(*meta, int)) {
	for i := range 256 {
		d.scanFolder(ctx, fmt.Sprintf("%02x", i), found)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if ctx.Err() == nil {
		d.unread = 0
	}
	d.fresh = nil
	d.changed.Broadcast()
}

// scanFolder takes the objects of one folder one by one: all chunks of an object are in the same. What it needs to
// remember is 16 bytes for each file of the folder.
func (d *disk) scanFolder(ctx context.Context, folder string, found func(*meta, int)) {
	var names []chunkName
	d.walk(ctx, folder, func(c chunkName, _ fs.DirEntry) {
		if c.folder() == folder {
			names = append(names, c)
		}
	})
	slices.SortFunc(names, func(a, b chunkName) int { return cmp.Or(cmp.Compare(a.id, b.id), a.n-b.n) })
	buf := make([]byte, diskBlock)
	for len(names) > 0 && ctx.Err() == nil {
		n := 1
		for n < len(names) && names[n].id == names[0].id {
			n++
		}
		d.scanObject(names[:n], buf, found)
		names = names[n:]
	}
}

// walk calls f for each file of a folder that is the cache's.
func (d *disk) walk(ctx context.Context, folder string, f func(chunkName, fs.DirEntry)) {
	dir, err := os.Open(filepath.Join(d.o.Dir, folder))
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	if err != nil {
		d.faults.count(err)
		return
	}
	defer dir.Close() //nolint:errcheck // only read
	for ctx.Err() == nil {
		entries, _ := dir.ReadDir(scanBatch) // none at the end, and after an error
		if len(entries) == 0 {
			return
		}
		for _, e := range entries {
			if c, mark, ok := parseName(e.Name()); ok && e.Type().IsRegular() {
				d.visit(folder, c, mark, e, f)
			}
		}
	}
}

// visit calls f for a file of the cache, and removes it if it is a temporary one of another process: there is no other.
func (d *disk) visit(folder string, c chunkName, mark string, e fs.DirEntry, f func(chunkName, fs.DirEntry)) {
	switch mark {
	case d.mark:
	case "":
		f(c, e)
	default:
		d.discard(filepath.Join(d.o.Dir, folder, e.Name()))
	}
}

// scanObject reads the heads of an object's files, and takes in those that are right.
func (d *disk) scanObject(names []chunkName, buf []byte, found func(*meta, int)) {
	if d.isFresh(names[0].id) {
		return
	}
	o := &diskObject{}
	var newest []byte
	for _, c := range names {
		h, size, err := d.inspect(c, buf)
		if err != nil {
			d.reject(c, size, err)
			continue
		}
		o.insert(&diskFile{id: h.id, n: h.n, length: h.length, sum: h.sum, revision: h.revision, at: h.at, weight: h.size(),
			stored: true, busy: true})
		if newest == nil || h.revision > o.revision {
			newest, o.revision = slices.Clone(h.meta), h.revision
		}
	}
	if newest == nil {
		return
	}
	m, err := decodeMeta(newest)
	switch {
	case err != nil:
	case m.ID != names[0].id:
		err = fmt.Errorf("%w: the meta of another object", errBroken)
	case m.Size < 0 || !m.Sliced && len(o.files) != m.chunks():
		err = errPart
	}
	if err != nil {
		for _, f := range o.files {
			d.reject(f.name(), f.weight, err)
		}
		return
	}
	o.meta = m
	d.takeIn(o, found)
}

func (d *disk) isFresh(id uint64) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	_, ok := d.fresh[id]
	return ok
}

// inspect reads and verifies the head of a file; size is that of the file.
func (d *disk) inspect(c chunkName, buf []byte) (h diskHead, size int64, err error) {
	f, err := os.Open(d.path(c))
	if err != nil {
		return h, 0, err
	}
	defer f.Close() //nolint:errcheck // only read
	info, err := f.Stat()
	if err != nil {
		return h, 0, err
	}
	h, err = readHead(f, info.Size(), buf)
	if err == nil && (chunkName{h.id, h.n}) != c {
		err = fmt.Errorf("%w: %s is another chunk", errBroken, f.Name())
	}
	return h, diskBlocks(info.Size()), err
}

// errPart is for files of what cannot be completed by slices, and is not whole: a
// crash cut its fill off.
var errPart = errors.New("a part of what cannot be fetched in parts")

// reject removes a file that is not right, or of no use.
func (d *disk) reject(c chunkName, size int64, err error) {
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	if err != errPart {
		d.faults.count(err)
		if !isLost(err) {
			return
		}
	}
	d.discard(d.path(c))
	d.mu.Lock()
	defer d.mu.Unlock()
	d.unread = max(0, d.unread-size)
	d.changed.Broadcast()
}

// discard removes a file that nobody knows.
func (d *disk) discard(name string) {
	if err := d.unlink(name); err != nil {
		d.faults.count(err)
	}
}

// takeIn puts an object into the table and tells of its chunks. What has to go for them may be some of
// themselves.
func (d *disk) takeIn(o *diskObject, found func(*meta, int)) {
	files := slices.Clone(o.files)
	if !d.register(o) {
		return
	}
	for _, f := range files {
		if d.makeRoom(f, f.weight) > 0 {
			d.mu.Lock()
			d.kill(f, false)
			d.mu.Unlock()
		}
	}
	for _, f := range files {
		if m := d.announced(f); m != nil {
			found(m, f.n)
		}
		d.release(f) // not before: if it was evicted meanwhile, Gone comes after found
	}
}

// register puts an object into the table, unless it was put meanwhile.
func (d *disk) register(o *diskObject) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	id := o.meta.ID
	if _, ok := d.fresh[id]; ok {
		return false
	}
	d.objects[id] = o
	for _, f := range o.files {
		d.unread = max(0, d.unread-f.weight)
		d.bytes += f.weight
		if f.revision == o.revision {
			o.current++
		}
	}
	return true
}

// announced returns the meta to tell of a file with, nil if it is to go.
func (d *disk) announced(f *diskFile) *meta {
	d.mu.Lock()
	defer d.mu.Unlock()
	if f.dying {
		f.report = false
		return nil
	}
	return f.object.meta
}
