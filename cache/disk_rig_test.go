package cache

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"weir/proxy/proxytest"
)

// A diskRig is a disk that runs, and what it has told.
type diskRig struct {
	*disk
	t    testing.TB
	stop func()

	mu    sync.Mutex
	found map[chunkName]*meta
	gone  map[chunkName]int
}

const diskPatience = 10 * time.Second

// startDisk runs a disk until the test, or stop, ends it. It returns when the folder has been read.
func startDisk(t testing.TB, o diskOptions, prepare ...func(*disk)) *diskRig {
	t.Helper()
	r := &diskRig{t: t, found: map[chunkName]*meta{}, gone: map[chunkName]int{}}
	if o.Limit == 0 {
		o.Limit = 1 << 30
	}
	if o.Policy == "" {
		o.Policy = "lru"
	}
	o.Log, o.Gone = proxytest.Logger(t), r.goneIs
	d, err := openDisk(o)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range prepare {
		p(d)
	}
	r.disk = d
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := d.run(ctx, r.foundIs); err != nil {
			t.Errorf("run: %v", err)
		}
	}()
	r.stop = sync.OnceFunc(func() { cancel(); <-done })
	t.Cleanup(r.stop)
	r.eventually("the folder is read", func() bool {
		d.mu.Lock()
		defer d.mu.Unlock()
		return d.fresh == nil
	})
	return r
}

func (r *diskRig) eventually(what string, cond func() bool) {
	r.t.Helper()
	proxytest.Eventually(r.t, diskPatience, what, cond)
}

func (r *diskRig) foundIs(m *meta, n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.found[chunkName{m.ID, n}] = m
}

func (r *diskRig) goneIs(m *meta, n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.gone[chunkName{m.ID, n}]++
}

// names are what was found, sorted.
func (r *diskRig) names() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var names []string
	for c := range maps.Keys(r.found) {
		names = append(names, c.String())
	}
	slices.Sort(names)
	return names
}

func (r *diskRig) goneTimes(c chunkName) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.gone[c]
}

// write puts a chunk and waits for what becomes of it.
func (r *diskRig) write(m *meta, n int, body []byte) bool {
	r.t.Helper()
	done := make(chan bool, 2)
	r.put(diskPiece{m, n, body}, func(ok bool) { done <- ok })
	select {
	case ok := <-done:
		return ok
	case <-time.After(diskPatience):
		r.t.Fatalf("put %d: done was not called", n)
		return false
	}
}

func (r *diskRig) mustWrite(m *meta, n int, body []byte) {
	r.t.Helper()
	if !r.write(m, n, body) {
		r.t.Fatalf("put %v: refused", chunkName{m.ID, n})
	}
}

// sum is the bytes that all files of the folder take.
func folderSum(t testing.TB, dir string) (sum int64) {
	t.Helper()
	for _, f := range folderFiles(t, dir) {
		if info, err := os.Stat(f); err == nil {
			sum += diskBlocks(info.Size())
		}
	}
	return sum
}

// folderFiles are the files in the folder's folders.
func folderFiles(t testing.TB, dir string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "??", "*"))
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// diskMetaOf is a meta that is easily told from others.
func diskMetaOf(id uint64) *meta {
	return &meta{
		ID: id, Key: fmt.Sprintf("/a/%x.m4s", id), Status: 200, Size: 8 << 20, Chunk: 1 << 20, Sliced: true,
		Header:   http.Header{"Content-Type": {"video/mp4"}, "Etag": {fmt.Sprintf("\"%x\"", id)}},
		Asked:    time.Unix(1_700_000_000, 1).UTC(),
		Answered: time.Unix(1_700_000_001, 2).UTC(),
		Verdict:  verdict{Store: true, Fresh: time.Hour},
	}
}

// diskBodyOf is the body of a chunk: always the same, of some length.
func diskBodyOf(id uint64, n int) []byte {
	var seed [32]byte
	binary.LittleEndian.PutUint64(seed[:], id)
	binary.LittleEndian.PutUint64(seed[8:], uint64(n))
	c := rand.NewChaCha8(seed)
	b := make([]byte, c.Uint64()%100_000)
	c.Read(b) //nolint:errcheck // never fails
	return b
}

// newDiskID is an id in any folder.
func newDiskID() uint64 { return rand.Uint64() }

func (r *diskRig) mustRead(id uint64, n int, want []byte) {
	r.t.Helper()
	b := make([]byte, 1<<20)
	if got, err := r.read(id, n, b); err != nil || !bytes.Equal(b[:got], want) {
		r.t.Errorf("read %v: %d bytes, %v, want %d", chunkName{id, n}, got, err, len(want))
	}
}

func (r *diskRig) mustOpen(id uint64, n int, want []byte) {
	r.t.Helper()
	f, length, err := r.open(id, n)
	if err != nil {
		r.t.Errorf("open %v: %v", chunkName{id, n}, err)
		return
	}
	defer f.Close() //nolint:errcheck // only read
	got, err := io.ReadAll(io.LimitReader(f, length))
	if err != nil || !bytes.Equal(got, want) {
		r.t.Errorf("open %v: %d bytes, %v, want %d", chunkName{id, n}, len(got), err, len(want))
	}
}
