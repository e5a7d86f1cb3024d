package cache

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"weir/proxy/proxytest"
)

func TestDiskRoundTrip(t *testing.T) {
	dir := t.TempDir()
	r := startDisk(t, diskOptions{Dir: dir})
	m := diskMetaOf(newDiskID())
	bodies := [][]byte{nil, []byte("a"), diskBodyOf(1, 1), make([]byte, 1<<20)}
	for n, b := range bodies {
		r.mustWrite(m, n, b)
	}
	for n, b := range bodies {
		r.mustOpen(m.ID, n, b)
		r.mustRead(m.ID, n, b)
	}
	if got, want := r.used(), folderSum(t, dir); got != want {
		t.Errorf("used = %d, files take %d", got, want)
	}
	r.stop()

	r = startDisk(t, diskOptions{Dir: dir})
	if got := len(r.names()); got != len(bodies) {
		t.Errorf("found %d chunks after the restart, want %d: %v", got, len(bodies), r.names())
	}
	if got := r.found[chunkName{m.ID, 2}]; got == nil || got.Key != m.Key || !got.Answered.Equal(m.Answered) || got.Header.Get("Etag") != m.Header.Get("Etag") {
		t.Errorf("found %+v, want %+v", got, m)
	}
	for n, b := range bodies {
		if _, _, err := r.open(m.ID, n); !errors.Is(err, errUnverified) {
			t.Errorf("open chunk %d before it was verified: %v", n, err)
		}
		r.mustRead(m.ID, n, b)
		r.mustOpen(m.ID, n, b)
	}
	if got, want := r.used(), folderSum(t, dir); got != want {
		t.Errorf("used = %d, files take %d", got, want)
	}
}

func TestDiskPutTwice(t *testing.T) {
	r := startDisk(t, diskOptions{Dir: t.TempDir()})
	m := diskMetaOf(1)
	r.mustWrite(m, 0, []byte("a"))
	used := r.used()
	r.mustWrite(m, 0, []byte("a"))
	if r.used() != used {
		t.Errorf("used = %d after the same put, was %d", r.used(), used)
	}
}

func TestDiskRemove(t *testing.T) {
	dir := t.TempDir()
	r := startDisk(t, diskOptions{Dir: dir})
	m := diskMetaOf(newDiskID())
	for n := range 4 {
		r.mustWrite(m, n, []byte("body"))
	}
	r.remove(m.ID, 1, 7)
	r.remove(77)
	if _, _, err := r.open(m.ID, 1); !errors.Is(err, errNotOnDisk) {
		t.Errorf("open what was removed: %v", err)
	}
	r.mustOpen(m.ID, 2, []byte("body"))
	r.eventually("the file goes", func() bool { return len(folderFiles(t, dir)) == 3 })
	r.remove(m.ID)
	r.eventually("all files go", func() bool { return len(folderFiles(t, dir)) == 0 && r.used() == 0 })
	if len(r.gone) > 0 {
		t.Errorf("Gone was told of %v", r.gone)
	}
	r.mustWrite(m, 1, []byte("again"))
	r.mustOpen(m.ID, 1, []byte("again"))
}

// What is removed while it is being written must not be there afterwards.
func TestDiskRemoveWhileWritten(t *testing.T) {
	dir := t.TempDir()
	renaming, goOn := make(chan struct{}), make(chan struct{})
	r := startDisk(t, diskOptions{Dir: dir}, func(d *disk) {
		d.calls.rename = func(from, to string) error {
			renaming <- struct{}{}
			<-goOn
			return os.Rename(from, to)
		}
	})
	done := make(chan bool, 2)
	r.put(diskPiece{diskMetaOf(5), 0, []byte("body")}, func(ok bool) { done <- ok })
	<-renaming
	r.remove(5, 0)
	if r.write(diskMetaOf(5), 0, []byte("other")) {
		t.Error("put of a chunk whose file is still to be removed: accepted")
	}
	close(goOn)
	if <-done {
		t.Error("done(true) for what was removed")
	}
	r.eventually("the file goes", func() bool { return len(folderFiles(t, dir)) == 0 && r.used() == 0 })
}

func TestDiskQueueFull(t *testing.T) {
	d, err := openDisk(diskOptions{Dir: t.TempDir(), Limit: 1 << 30, Policy: "lru", Log: proxytest.Logger(t), Gone: func(*meta, int) {}})
	if err != nil {
		t.Fatal(err)
	}
	var yes, no atomic.Int32
	done := func(ok bool) {
		if ok {
			yes.Add(1)
		} else {
			no.Add(1)
		}
	}
	body := make([]byte, 1<<20)
	for n := range 70 {
		d.put(diskPiece{diskMetaOf(9), n, body}, done)
	}
	if no.Load() != 6 {
		t.Errorf("of 70 MiB %d are refused before run, want 6", no.Load())
	}
	d.put(diskPiece{diskMetaOf(9), 3, body}, done) // is in the queue
	if no.Load() != 7 {
		t.Error("a chunk that is queued was queued again")
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := d.run(ctx, nil); err != nil {
		t.Fatal(err)
	}
	if yes.Load() != 64 || no.Load() != 7 {
		t.Errorf("done: %d on the disk and %d not, want 64 and 7", yes.Load(), no.Load())
	}
	d.put(diskPiece{diskMetaOf(10), 0, nil}, done)
	if no.Load() != 8 {
		t.Error("put after the end was not refused at once")
	}
}

func TestDiskFolderInUse(t *testing.T) {
	dir := t.TempDir()
	r := startDisk(t, diskOptions{Dir: dir})
	o := diskOptions{Dir: dir, Limit: 1 << 20, Policy: "lru"}
	_, err := openDisk(o)
	if err == nil || !strings.Contains(err.Error(), dir) || !errors.Is(err, errFolderInUse) {
		t.Errorf("open a folder in use: %v", err)
	}
	r.stop()
	r = startDisk(t, o)
	r.mustWrite(diskMetaOf(1), 0, nil)
}

func TestDiskFolderImpossible(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := openDisk(diskOptions{Dir: file, Limit: 1 << 20, Policy: "lru"}); err == nil || !strings.Contains(err.Error(), file) {
		t.Errorf("open a file as a folder: %v", err)
	}
}
