package cache

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Whatever happens at once, the files never take more than the limit.
func TestDiskBudget(t *testing.T) {
	dir := t.TempDir()
	const limit = 2 << 20
	r := startDisk(t, diskOptions{Dir: dir, Limit: limit, Largest: 128 << 10, Policy: "2q"})
	var wg sync.WaitGroup
	ended := make(chan struct{})
	var stored, refused atomic.Int32
	for range 4 {
		wg.Go(func() {
			for range 40 {
				m := diskMetaOf(newDiskID())
				n := rand.IntN(3)
				if r.write(m, n, diskBodyOf(m.ID, n)) {
					stored.Add(1)
				} else {
					refused.Add(1)
				}
				changed := *m
				changed.Header = http.Header{"X-Long": {strings.Repeat("x", rand.IntN(8000))}}
				r.update(&changed)
				if rand.IntN(10) == 0 {
					r.remove(m.ID)
				}
			}
		})
	}
	go func() { wg.Wait(); close(ended) }()
	for most := int64(0); ; {
		sum := folderSum(t, dir)
		most = max(most, sum)
		if sum > limit || r.used() > limit {
			t.Errorf("files take %d, used is %d, the limit %d", sum, r.used(), limit)
		}
		select {
		case <-ended:
			t.Logf("%d stored, %d refused, at most %d of %d bytes, %d failures", stored.Load(), refused.Load(), most, limit, r.failures())
			r.stop()
			if got, want := r.used(), folderSum(t, dir); got != want || got < limit/2 {
				t.Errorf("used = %d at the end, files take %d", got, want)
			}
			if r.failures() > 0 || refused.Load() > 0 {
				t.Error("there were failures")
			}
			return
		default:
		}
	}
}

// What a disk says is gone is gone, and what it has not said so of is there.
func TestDiskGone(t *testing.T) {
	dir := t.TempDir()
	r := startDisk(t, diskOptions{Dir: dir, Limit: 1 << 20, Largest: 64 << 10})
	m := diskMetaOf(newDiskID())
	body := make([]byte, 60<<10)
	for n := range 40 {
		r.mustWrite(m, n, body)
	}
	for n := range 40 {
		_, _, err := r.open(m.ID, n)
		if gone := r.goneTimes(chunkName{m.ID, n}); gone > 1 || (gone == 1) != errors.Is(err, errNotOnDisk) {
			t.Errorf("chunk %d: gone was told %d times, open: %v", n, gone, err)
		}
	}
}

func TestDiskSmallerLimit(t *testing.T) {
	dir := t.TempDir()
	r := startDisk(t, diskOptions{Dir: dir, Largest: 64 << 10})
	for n := range 64 {
		r.mustWrite(diskMetaOf(newDiskID()), n, make([]byte, 60<<10))
	}
	r.stop()
	const limit = 1 << 20
	r = startDisk(t, diskOptions{Dir: dir, Limit: limit, Largest: 64 << 10})
	if sum := folderSum(t, dir); sum > limit || sum < limit/2 || sum != r.used() {
		t.Errorf("files take %d, used is %d, the limit is %d", sum, r.used(), limit)
	}
	for c := range r.found {
		_, _, err := r.open(c.id, c.n)
		if gone := r.goneTimes(c); gone > 1 || (gone == 1) != errors.Is(err, errNotOnDisk) {
			t.Errorf("chunk %v: gone was told %d times, open: %v", c, gone, err)
		}
	}
	if got := len(r.found) - len(r.gone); got != len(folderFiles(t, dir)) {
		t.Errorf("%d chunks were found and are not gone, %d files", got, len(folderFiles(t, dir)))
	}
}

// At the end all that was put is written, and done is called once for each.
func TestDiskEnd(t *testing.T) {
	dir := t.TempDir()
	r := startDisk(t, diskOptions{Dir: dir})
	var calls [200]atomic.Int32
	var stored atomic.Int32
	for n := range calls {
		r.put(diskPiece{diskMetaOf(uint64(n) << 56), n, diskBodyOf(1, n)}, func(ok bool) {
			calls[n].Add(1)
			if ok {
				stored.Add(1)
			}
		})
	}
	r.stop()
	for n := range calls {
		if got := calls[n].Load(); got != 1 {
			t.Errorf("done of chunk %d was called %d times", n, got)
		}
	}
	if got := len(folderFiles(t, dir)); int(stored.Load()) != len(calls) || got != len(calls) {
		t.Errorf("%d stored, %d files, want %d", stored.Load(), got, len(calls))
	}
}

// All at once, for the race detector.
func TestDiskEverythingAtOnce(t *testing.T) {
	dir := t.TempDir()
	r := startDisk(t, diskOptions{Dir: dir, Limit: 1 << 20, Largest: 128 << 10, Policy: "2q"})
	var wg sync.WaitGroup
	var called, put atomic.Int64
	for range 4 {
		wg.Go(func() {
			b := make([]byte, 1<<20)
			for i := range 300 {
				id, n := uint64(rand.IntN(8))<<56, rand.IntN(4)
				m := *diskMetaOf(id)
				m.Answered = m.Answered.Add(time.Duration(i))
				switch rand.IntN(6) {
				case 0, 1:
					put.Add(1)
					r.put(diskPiece{&m, n, diskBodyOf(id, n)}, func(bool) { called.Add(1) })
				case 2:
					m.Header = http.Header{"X-Long": {strings.Repeat("x", rand.IntN(5000))}}
					r.update(&m)
				case 3:
					if got, err := r.read(id, n, b); err == nil && !bytes.Equal(b[:got], diskBodyOf(id, n)) {
						t.Errorf("read %v: other bytes", chunkName{id, n})
					}
				case 4:
					if f, length, err := r.open(id, n); err == nil {
						got, err := io.ReadAll(io.LimitReader(f, length))
						if err != nil || !bytes.Equal(got, diskBodyOf(id, n)) {
							t.Errorf("open %v: other bytes, %v", chunkName{id, n}, err)
						}
						f.Close() //nolint:errcheck // only read
					}
				case 5:
					r.remove(id, n)
				}
			}
		})
	}
	wg.Wait()
	r.stop()
	if called.Load() != put.Load() {
		t.Errorf("%d puts, done was called %d times", put.Load(), called.Load())
	}
	if sum := folderSum(t, dir); sum != r.used() || sum > 1<<20 {
		t.Errorf("files take %d, used is %d", sum, r.used())
	}
	if n := r.failures(); n > 0 {
		t.Errorf("%d failures", n)
	}
	for _, f := range folderFiles(t, dir) {
		if strings.HasSuffix(f, diskTemp) {
			t.Errorf("%s was left", f)
		}
	}
}
