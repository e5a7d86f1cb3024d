package cache

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"weir/proxy/proxytest"
)

// smallFiles fills a folder.
func smallFiles(t testing.TB, dir string, files int) {
	t.Helper()
	r := startDisk(t, diskOptions{Dir: dir})
	slots := make(chan struct{}, 1000)
	for range files {
		slots <- struct{}{}
		r.put(diskPiece{diskMetaOf(newDiskID()), 0, []byte("small")}, func(ok bool) {
			if !ok {
				t.Error("refused")
			}
			<-slots
		})
	}
	r.stop()
}

func TestDiskScanMany(t *testing.T) {
	dir := t.TempDir()
	const files = 500
	smallFiles(t, dir, files)
	r := startDisk(t, diskOptions{Dir: dir})
	if len(r.found) != files || r.used() != files*2*diskBlock {
		t.Errorf("found %d, used = %d, want %d and %d", len(r.found), r.used(), files, files*2*diskBlock)
	}
}

func BenchmarkDiskScan(b *testing.B) {
	const files = 20_000
	b.Run(fmt.Sprintf("files=%d", files), func(b *testing.B) {
		dir := b.TempDir()
		smallFiles(b, dir, files)
		b.ReportAllocs()
		for b.Loop() {
			startDisk(b, diskOptions{Dir: dir}).stop()
		}
	})
}

// What is put, changed and removed while the folder is read.
func TestDiskScanMeanwhile(t *testing.T) {
	dir := t.TempDir()
	r := startDisk(t, diskOptions{Dir: dir})
	const objects = 200
	for i := range uint64(objects) {
		for n := range 2 {
			r.mustWrite(diskMetaOf(i*7919<<44), n, []byte("old"))
		}
	}
	r.stop()

	d, err := openDisk(diskOptions{Dir: dir, Limit: 1 << 30, Policy: "lru", Log: proxytest.Logger(t),
		Gone: func(m *meta, n int) { t.Errorf("gone: %v", chunkName{m.ID, n}) }})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	found, removed, put := map[chunkName]*meta{}, map[chunkName]bool{}, map[uint64]bool{}
	var puts sync.WaitGroup
	last := make(chan struct{})
	meanwhile := func(m *meta, n int) {
		c := chunkName{m.ID, n}
		if found[c] != nil || removed[c] || put[c.id] {
			t.Errorf("found %v: twice, or after it was removed, or it was put", c)
		}
		found[c] = m
		switch {
		case n == 1:
		case len(found)%3 == 0: // the other one is not to be found then
			d.remove(m.ID)
			removed[c], removed[chunkName{m.ID, 1}] = true, true
		case len(found)%3 == 1: // in folders that were read and that were not
			id := newDiskID()
			put[id] = true
			puts.Add(1)
			d.put(diskPiece{diskMetaOf(id), 0, []byte("new")}, func(ok bool) {
				if !ok {
					t.Error("refused")
				}
				puts.Done()
			})
		default:
			d.update(changedMeta(m, "changed", 0))
		}
		if len(found)+len(removed)/2 == 2*objects {
			close(last)
		}
	}
	ended := make(chan struct{})
	go func() { defer close(ended); d.run(ctx, meanwhile) }() //nolint:errcheck // has none
	select {
	case <-last:
	case <-time.After(diskPatience):
		t.Error("not all was found")
	}
	puts.Wait()
	cancel()
	<-ended
	if got := folderSum(t, dir); got != d.used() {
		t.Errorf("files take %d, used = %d", got, d.used())
	}
	want := 2*objects - len(removed) + len(put)
	if got := len(folderFiles(t, dir)); got != want {
		t.Errorf("%d files, want %d", got, want)
	}
}

// A disk that was full at the end is full at the start: nothing is written before it is known what may go.
func TestDiskScanOfFullDisk(t *testing.T) {
	dir := t.TempDir()
	o := diskOptions{Dir: dir, Limit: 1 << 20, Largest: 64 << 10}
	r := startDisk(t, o)
	for range 30 {
		r.mustWrite(diskMetaOf(newDiskID()), 0, make([]byte, 60<<10))
	}
	r.stop()
	full := folderSum(t, dir)
	o.Policy, o.Log, o.Gone = "lru", proxytest.Logger(t), func(*meta, int) {}
	d, err := openDisk(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan bool, 1)
	d.put(diskPiece{diskMetaOf(newDiskID()), 0, make([]byte, 60<<10)}, func(ok bool) { done <- ok })
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		d.run(ctx, func(*meta, int) { //nolint:errcheck // has none
			if got := folderSum(t, dir); got > full {
				t.Errorf("files take %d while the folder is read, the limit is %d", got, o.Limit)
			}
		})
	}()
	if !<-done {
		t.Error("refused")
	}
	cancel()
	<-ended
	if got := folderSum(t, dir); got > o.Limit || got != d.used() {
		t.Errorf("files take %d, used = %d, the limit is %d", got, d.used(), o.Limit)
	}
}

// Run may be told to end at any moment.
func TestDiskScanCancelled(t *testing.T) {
	dir := t.TempDir()
	r := startDisk(t, diskOptions{Dir: dir})
	for range 50 {
		r.mustWrite(diskMetaOf(newDiskID()), 0, []byte("body"))
	}
	r.stop()
	for stopAt := range 5 {
		d, err := openDisk(diskOptions{Dir: dir, Limit: 50 * 2 * diskBlock, Policy: "lru", Log: proxytest.Logger(t), Gone: func(*meta, int) {}})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		if stopAt == 0 {
			cancel()
		}
		called := 0
		d.put(diskPiece{diskMetaOf(newDiskID()), 0, []byte("body")}, func(bool) { called++ })
		found := 0
		if err := d.run(ctx, func(*meta, int) {
			if found++; found == stopAt {
				cancel()
			}
		}); err != nil {
			t.Fatal(err)
		}
		cancel()
		if called != 1 {
			t.Errorf("done was called %d times", called)
		}
	}
}
