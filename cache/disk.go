package cache

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"go.uber.org/zap"
)

const (
	diskQueueBytes = 64 << 20        // of bodies that wait to be written, or are being
	diskQueueLen   = 4096            // of them
	diskWriters    = 2               // more do not make a disk faster
	diskEnd        = 5 * time.Second // for what is still to be written when run is to end
)

var (
	errNotOnDisk   = errors.New("not on the disk")
	errUnverified  = errors.New("not verified since the start") // read verifies
	errFolderInUse = errors.New("it is in use by another process")
)

// A disk is the tier of files: one per chunk, each with all that is known of its
// object, so that the folder alone is the store. It never makes anything wait but its
// own goroutines; what goes wrong is counted, logged once a minute, and costs hits,
// never answers. Its methods may be called by any goroutine.
//
// Files are written beside and renamed, so that a process that dies leaves nothing torn; nothing is
// synced, so that a machine that dies may: checksums tell. The sum of all files, the temporary ones
// included, stays within the limit; one that is removed while viewers still read it is no longer counted.
type disk struct {
	o      diskOptions
	index  *index[*diskFile] // its locks are taken while mu is held, never the other way round
	calls  diskCalls
	faults diskFaults
	mark   string // of the temporary files of this process

	mu      sync.Mutex
	changed sync.Cond // there is work, or room, or an end
	lock    *os.File
	objects map[uint64]*diskObject
	fresh   map[uint64]struct{} // objects put while the folder is read, which does not look at them; nil afterwards
	bytes   int64               // of all files that are there, or are being written
	unread  int64               // of those that the reading of the folder has not come to
	queue   []*diskWrite        // to be written
	held    int64               // bytes of bodies whose done has not been called
	doomed  []*diskFile         // to be removed
	stale   []*diskObject       // no file of theirs has the newest meta
	closing bool                // nothing more is put
	aborted bool                // nothing more is written
}

// diskCalls are what tests of faults replace.
type diskCalls struct {
	create func(name string) (*os.File, error)
	rename func(from, to string) error
	remove func(name string) error
}

// A diskWrite is what put was told.
type diskWrite struct {
	f    *diskFile
	body []byte
	done func(ok bool)
}

// A diskPiece is one chunk of an object, on its way to the disk or there.
type diskPiece struct {
	Meta *meta
	N    int    // which chunk of the object
	Body []byte // nil where only the rest is of interest
}

// diskOptions are what a disk needs.
type diskOptions struct {
	Dir     string
	Limit   int64  // bytes, files' overhead included
	Largest int64  // bytes of the longest body. A longer one may find no room
	Policy  string // of what goes when it is full
	Log     *zap.Logger
	Gone    func(*meta, int) // told of each chunk that is there no more, evicted or broken; not while a lock of the disk is held
}

// openDisk makes the folder if need be and locks it. It fails if another process has it, or nothing can be
// written there.
func openDisk(o diskOptions) (*disk, error) {
	dir, err := filepath.Abs(o.Dir)
	if err != nil {
		return nil, fmt.Errorf("cache folder %s: %w", o.Dir, err)
	}
	o.Dir = dir
	d := &disk{o: o, mark: rand.Text(), objects: map[uint64]*diskObject{}, fresh: map[uint64]struct{}{}}
	d.index = newIndex[*diskFile](o.Policy, o.Limit, diskBlocks(o.Largest)+diskBlock)
	d.calls = diskCalls{create: createFile, rename: os.Rename, remove: os.Remove}
	d.faults.log = o.Log
	d.changed.L = &d.mu
	if err := d.claim(); err != nil {
		return nil, fmt.Errorf("cache folder %s: %w", o.Dir, err)
	}
	return d, nil
}

func createFile(name string) (*os.File, error) {
	return os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
}

// claim makes the folder if need be, tries to write there, and locks it.
func (d *disk) claim() error {
	if err := os.MkdirAll(d.o.Dir, 0o700); err != nil {
		return err
	}
	lock, err := lockFile(filepath.Join(d.o.Dir, "lock"))
	if err != nil {
		return err
	}
	probe := filepath.Join(d.o.Dir, d.mark+diskTemp)
	f, err := createFile(probe)
	if err == nil {
		err = errors.Join(f.Close(), os.Remove(probe))
	}
	if err != nil {
		lock.Close() //nolint:errcheck // nothing was written
		return err
	}
	d.mu.Lock()
	old := d.lock
	d.lock = lock
	d.mu.Unlock()
	if old != nil {
		old.Close() //nolint:errcheck // nothing was written
	}
	return nil
}

// run writes what is put, removes what must go, and first reads the folder: found is
// told of each chunk with the newest meta of its object that any of its files has.
// It ends, and unlocks the folder, when ctx is done and all that was put until then is written (at most 5 s,
// unless the system does not come back from a write).
func (d *disk) run(ctx context.Context, found func(*meta, int)) error {
	d.weigh(ctx)
	var writers sync.WaitGroup
	for range diskWriters {
		writers.Go(d.work)
	}
	d.scan(ctx, found)
	<-ctx.Done()
	d.end(&d.closing)
	abort := time.AfterFunc(diskEnd, d.abort)
	writers.Wait()
	abort.Stop()
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.lock.Close()
}

func (d *disk) abort() { d.end(&d.aborted) }

// end sets one of the flags, which are guarded by mu, and lets everybody see it.
func (d *disk) end(flag *bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	*flag = true
	d.changed.Broadcast()
}

// put queues a piece to be written; done is called when Body is not needed any more,
// with whether it is on the disk. A queue that is full refuses at once: done may be
// called before put returns.
func (d *disk) put(p diskPiece, done func(ok bool)) {
	if there, queued := d.enqueue(p, done); !queued {
		done(there)
	}
}

func (d *disk) enqueue(p diskPiece, done func(ok bool)) (there, queued bool) {
	paused := d.faults.paused()
	d.mu.Lock()
	defer d.mu.Unlock()
	if f := d.find(p.Meta.ID, p.N); f != nil {
		return f.stored && !f.dying, false // a chunk's bytes never change
	}
	n := int64(len(p.Body))
	if paused || d.closing || len(d.queue) >= diskQueueLen || d.held > 0 && d.held+n > diskQueueBytes {
		return false, false
	}
	d.held += n
	d.queue = append(d.queue, &diskWrite{d.admit(p), p.Body, done})
	d.changed.Broadcast()
	return false, true
}

// update tells that an object's meta has changed.
func (d *disk) update(m *meta) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if o := d.objects[m.ID]; o != nil {
		d.renewed(o, m)
	}
}

// remove takes chunks of an object away, or all there are if none is named. Gone is not told.
func (d *disk) remove(id uint64, n ...int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	o := d.objects[id]
	if o == nil {
		return
	}
	for _, f := range o.chosen(n) {
		d.doom(f, false)
	}
}

// used is the bytes on the disk.
func (d *disk) used() int64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.bytes + d.unread
}

// failures is how often something went wrong on the disk.
func (d *disk) failures() uint64 { return d.faults.failures() }
