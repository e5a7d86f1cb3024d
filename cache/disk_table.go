package cache

import (
	"errors"
	"io/fs"
	"os"
	"slices"
	"time"
)

// A diskObject is what the disk knows of an object of which it has chunks. disk.mu guards it.
type diskObject struct {
	meta     *meta  // the newest
	revision uint32 // of meta
	current  int    // how many files have it
	stale    bool   // it is in disk.stale
	files    []*diskFile
}

// A diskFile is a chunk that is on the disk, or is to be written. disk.mu guards what may change.
//
// Who sets busy has it to himself, and lets go by release: he alone writes, replaces
// or removes the file, also if it is to die meanwhile. It stays in the table until the file
// is gone, so that no two files of a name ever meet.
type diskFile struct {
	object *diskObject
	id     uint64
	n      int
	length int64  // of the body
	sum    uint64 // of the body

	revision uint32 // of the meta in the file
	at       int64  // where the body begins; see openFile
	weight   int64  // bytes on the disk; 0 while there is no file
	stored   bool   // it can be read
	verified bool   // since the start
	busy     bool
	dying    bool
	report   bool // Gone is to be told
}

func (f *diskFile) name() chunkName { return chunkName{f.id, f.n} }

// key is what the index knows a chunk by. Ids are random: so are keys.
func (f *diskFile) key() uint64 { return f.id ^ uint64(f.n)*0x9e3779b97f4a7c15 }

// live is whether the file is there and will be.
func (f *diskFile) live() bool { return f.stored && !f.dying }

// search returns where the file of a chunk is, or would be.
func (o *diskObject) search(n int) (int, bool) {
	return slices.BinarySearchFunc(o.files, n, func(f *diskFile, n int) int { return f.n - n })
}

// chosen returns the files of these chunks, all if there are none.
func (o *diskObject) chosen(n []int) []*diskFile {
	if len(n) == 0 {
		return slices.Clone(o.files)
	}
	var files []*diskFile
	for _, n := range n {
		if i, ok := o.search(n); ok {
			files = append(files, o.files[i])
		}
	}
	return files
}

// find returns the file of a chunk, nil if there is none. mu is held.
func (d *disk) find(id uint64, n int) *diskFile {
	o := d.objects[id]
	if o == nil {
		return nil
	}
	i, ok := o.search(n)
	if !ok {
		return nil
	}
	return o.files[i]
}

// lookup returns the file of a chunk that can be read. verified asks for one that need not be verified any more.
func (d *disk) lookup(id uint64, n int, verified bool) (*diskFile, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch f := d.find(id, n); {
	case f == nil, !f.live():
		return nil, errNotOnDisk
	case verified && !f.verified:
		return nil, errUnverified
	default:
		return f, nil
	}
}

func (d *disk) verified(f *diskFile) {
	d.mu.Lock()
	defer d.mu.Unlock()
	f.verified = true
}

// admit puts a new, busy file for a piece into the table. mu is held.
func (d *disk) admit(p diskPiece) *diskFile {
	o := d.objects[p.Meta.ID]
	if o == nil {
		o = &diskObject{meta: p.Meta}
		d.objects[p.Meta.ID] = o
		if d.fresh != nil {
			d.fresh[p.Meta.ID] = struct{}{}
		}
	} else if newer(p.Meta, o.meta) {
		d.renewed(o, p.Meta)
	}
	return o.insert(&diskFile{id: p.Meta.ID, n: p.N, length: int64(len(p.Body)), busy: true})
}

func (o *diskObject) insert(f *diskFile) *diskFile {
	f.object = o
	i, _ := o.search(f.n)
	o.files = slices.Insert(o.files, i, f)
	return f
}

// newer is whether a piece came with a meta that update was not told of, but should
// have been.
func newer(a, b *meta) bool {
	return a.Answered.After(b.Answered) || a.Answered.Equal(b.Answered) && a.Size >= 0 && b.Size < 0
}

// renewed gives an object another meta. mu is held.
func (d *disk) renewed(o *diskObject, m *meta) {
	if o.meta != m {
		o.meta = m
		o.revision++
		o.current = 0
		d.settle(o)
	}
}

// settle sees to it that a file of the object has the newest meta. mu is held.
func (d *disk) settle(o *diskObject) {
	if o.current == 0 && !o.stale && o.lowest() != nil {
		o.stale = true
		d.stale = append(d.stale, o)
		d.changed.Broadcast()
	}
}

// lowest returns the first file that can be changed.
func (o *diskObject) lowest() *diskFile {
	for _, f := range o.files {
		if f.live() && !f.busy {
			return f
		}
	}
	return nil
}

// born says that a file is there now, unless it was to die meanwhile. mu is held.
func (d *disk) born(f *diskFile) bool {
	if f.dying {
		return false
	}
	f.stored = true
	if f.revision == f.object.revision {
		f.object.current++
	}
	return true
}

// kill ends the life of a file; whether it is the caller who has to remove it is returned. mu is held.
func (d *disk) kill(f *diskFile, report bool) (mine bool) {
	if f.dying {
		return false
	}
	f.dying, f.report = true, report
	if f.stored && f.revision == f.object.revision {
		f.object.current--
	}
	d.settle(f.object)
	d.changed.Broadcast()
	return !f.busy
}

// doom lets a file be removed by a writer, soon. mu is held.
func (d *disk) doom(f *diskFile, report bool) {
	if d.kill(f, report) {
		d.index.remove(f.key())
		d.doomed = append(d.doomed, f)
	}
}

// release ends what a busy file was busy for.
func (d *disk) release(f *diskFile) {
	d.mu.Lock()
	f.busy = false
	dying := f.dying
	if !dying {
		d.settle(f.object)
	}
	d.mu.Unlock()
	if dying {
		d.index.remove(f.key())
		d.bury(f)
	}
}

// forget takes a file out of the table. mu is held.
func (d *disk) forget(f *diskFile) {
	o := f.object
	if i, ok := o.search(f.n); ok {
		o.files = slices.Delete(o.files, i, i+1)
	}
	if len(o.files) == 0 {
		delete(d.objects, f.id)
	}
	d.bytes -= f.weight
	d.changed.Broadcast()
}

// bury removes the file of one that is dying and that nobody else will. If the
// disk does not let it, it is tried again after the pause.
func (d *disk) bury(f *diskFile) {
	var err error
	if f.weight > 0 {
		err = d.unlink(d.path(f.name()))
	}
	if err != nil {
		d.pause(err)
	}
	d.mu.Lock()
	report, m := f.report, f.object.meta
	f.report = false
	if err != nil {
		d.doomed = append(d.doomed, f)
	} else {
		d.forget(f)
	}
	d.mu.Unlock()
	if report {
		d.o.Gone(m, f.n)
	}
}

// unlink removes a file, if it is one and there.
func (d *disk) unlink(name string) error {
	err := d.calls.remove(name)
	if err == nil {
		return nil
	}
	if info, staterr := os.Lstat(name); errors.Is(staterr, fs.ErrNotExist) || staterr == nil && !info.Mode().IsRegular() {
		return nil
	}
	return err
}

// pause counts a failure and stops writing for a while.
func (d *disk) pause(err error) {
	time.AfterFunc(d.faults.pause(err), d.wake)
	d.wake()
}

// wake lets everybody look again.
func (d *disk) wake() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.changed.Broadcast()
}
