package cache

import (
	"bytes"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"
)

// changedMeta is a meta with a mark and a header of about size bytes.
func changedMeta(m *meta, mark string, size int) *meta {
	c := *m
	c.Header = http.Header{"X-Mark": {mark}, "X-Long": {strings.Repeat("x", size)}}
	return &c
}

// settled waits until the newest meta of an object is on the disk.
func (r *diskRig) settled(id uint64) {
	r.t.Helper()
	r.eventually("the meta is written", func() bool {
		r.disk.mu.Lock()
		defer r.disk.mu.Unlock()
		o := r.objects[id]
		return o.current > 0 && !o.stale
	})
}

// marks checks that after a restart all chunks of an object are found with the mark.
func marks(t *testing.T, dir string, id uint64, chunks int, mark string) *diskRig {
	t.Helper()
	r := startDisk(t, diskOptions{Dir: dir})
	for c, m := range r.found {
		if got := m.Header.Get("X-Mark"); c.id == id && got != mark {
			t.Errorf("found %v with the meta %q, want %q", c, got, mark)
		}
	}
	if len(r.found) != chunks {
		t.Errorf("found %v, want %d chunks", r.names(), chunks)
	}
	return r
}

func TestDiskUpdate(t *testing.T) {
	dir := t.TempDir()
	f := func(size int) {
		t.Helper()
		r := startDisk(t, diskOptions{Dir: dir})
		m := diskMetaOf(newDiskID())
		for n := range 3 {
			r.mustWrite(m, n, diskBodyOf(m.ID, n))
		}
		r.update(changedMeta(m, "first", size))
		r.update(changedMeta(m, "second", size))
		r.settled(m.ID)
		for n := range 3 {
			r.mustOpen(m.ID, n, diskBodyOf(m.ID, n))
		}
		r.stop()
		if got, want := r.used(), folderSum(t, dir); got != want {
			t.Errorf("header of %d bytes: used = %d, files take %d", size, got, want)
		}
		r = marks(t, dir, m.ID, 3, "second")
		for n := range 3 {
			r.mustRead(m.ID, n, diskBodyOf(m.ID, n))
		}
		r.update(changedMeta(m, "third", 0))
		r.settled(m.ID)
		r.mustOpen(m.ID, 0, diskBodyOf(m.ID, 0))
		r.stop()
		r = marks(t, dir, m.ID, 3, "third")
		r.remove(m.ID)
		r.stop()
	}
	f(10)
	f(5000)
	f(50_000)
}

// An update also reaches the disk when what had it goes.
func TestDiskUpdateSurvivesItsFile(t *testing.T) {
	dir := t.TempDir()
	r := startDisk(t, diskOptions{Dir: dir})
	m := diskMetaOf(newDiskID())
	for n := range 3 {
		r.mustWrite(m, n, diskBodyOf(m.ID, n))
	}
	r.update(changedMeta(m, "new", 0))
	r.settled(m.ID)
	r.remove(m.ID, 0)
	r.settled(m.ID)
	r.remove(m.ID, 1)
	r.settled(m.ID)
	r.stop()
	marks(t, dir, m.ID, 1, "new")
}

// A chunk that comes later has the meta of the last update, unless its own is newer.
func TestDiskUpdateThenPut(t *testing.T) {
	dir := t.TempDir()
	r := startDisk(t, diskOptions{Dir: dir})
	m := diskMetaOf(newDiskID())
	r.mustWrite(m, 0, nil)
	r.update(changedMeta(m, "purged", 0))
	r.mustWrite(m, 1, nil)
	r.settled(m.ID)
	r.stop()
	r = marks(t, dir, m.ID, 2, "purged")
	newer := changedMeta(m, "newer", 0)
	newer.Answered = m.Answered.Add(time.Second)
	r.mustWrite(newer, 2, nil)
	r.settled(m.ID)
	r.remove(m.ID, 2)
	r.settled(m.ID)
	r.stop()
	r = marks(t, dir, m.ID, 2, "newer")
	growing := changedMeta(newer, "growing", 0)
	growing.Size, growing.Answered = -1, newer.Answered.Add(time.Second)
	r.update(growing)
	r.settled(m.ID)
	whole := changedMeta(growing, "whole", 0)
	whole.Size = newer.Size
	r.mustWrite(whole, 2, nil)
	r.settled(m.ID)
	r.stop()
	marks(t, dir, m.ID, 3, "whole")
}

// Of many updates only the newest is written.
func TestDiskUpdatesCoalesce(t *testing.T) {
	dir := t.TempDir()
	renaming, goOn := make(chan struct{}), make(chan struct{})
	r := startDisk(t, diskOptions{Dir: dir})
	m := diskMetaOf(newDiskID())
	r.mustWrite(m, 0, []byte("body"))
	r.calls.rename = func(from, to string) error {
		renaming <- struct{}{}
		<-goOn
		return os.Rename(from, to)
	}
	for n := 1; n <= diskWriters; n++ {
		r.put(diskPiece{m, n, nil}, func(bool) {})
		<-renaming
	}
	for range 1000 {
		r.update(changedMeta(m, "not this", 10))
	}
	r.update(changedMeta(m, "this", 10))
	r.disk.mu.Lock()
	if len(r.stale) != 1 {
		t.Errorf("%d updates wait, want 1", len(r.stale))
	}
	r.disk.mu.Unlock()
	close(goOn)
	r.settled(m.ID)
	r.stop()
	b, err := os.ReadFile(r.path(chunkName{m.ID, 0}))
	if err != nil || !bytes.HasSuffix(b, []byte("body")) || bytes.Contains(b, []byte("not this")) {
		t.Errorf("file: %v", err)
	}
	marks(t, dir, m.ID, 1+diskWriters, "this")
}

// A meta that no file can have must not leave the object as it once was.
func TestDiskUpdateImpossible(t *testing.T) {
	dir := t.TempDir()
	r := startDisk(t, diskOptions{Dir: dir})
	m := diskMetaOf(newDiskID())
	for n := range 3 {
		r.mustWrite(m, n, nil)
	}
	r.update(changedMeta(m, "too long", diskMeta))
	for n := range 3 {
		r.eventually("Gone is told", func() bool { return r.goneTimes(chunkName{m.ID, n}) == 1 })
	}
	if files := folderFiles(t, dir); len(files) > 0 {
		t.Errorf("%v is left", files)
	}
}
