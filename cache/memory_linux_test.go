//go:build !386 && !arm && !mips && !mipsle

package cache

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"testing"
)

// rss is what the process has in memory, in bytes.
func rss(t *testing.T) int64 {
	t.Helper()
	b, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		t.Fatal(err)
	}
	var size, resident int64
	if _, err := fmt.Sscan(string(b), &size, &resident); err != nil {
		t.Fatal(err)
	}
	return resident * int64(os.Getpagesize())
}

// Memory is what was written to, and is given back.
func TestMemoryRSS(t *testing.T) {
	const mib = 1 << 20
	m := newTestMemory(t, 1<<30, mib)
	start := rss(t)
	f := func(what string, want int64) {
		t.Helper()
		if got := rss(t) - start; got < want-8*mib || got > want+8*mib { // the rest of the process breathes, too
			t.Errorf("%s: %d KiB more in memory than at the start, want %d", what, got>>10, want>>10)
		}
	}
	var blocks [][]byte
	for range 200 {
		blocks = append(blocks, m.block(mib))
	}
	f("nothing written", 0)
	for _, b := range blocks {
		clear(b[:mib/4])
	}
	f("a quarter written", 50*mib)
	for _, b := range blocks {
		clear(b)
	}
	f("all written", 200*mib)
	for _, b := range blocks {
		m.trim(b[:mib/2])
	}
	f("half trimmed", 100*mib)
	for _, b := range blocks {
		m.free(b)
	}
	f("all free", int64(m.classes[len(m.classes)-1].keep)*mib/2)
}

// The blocks that are kept ready are within their bound, whatever the classes.
func TestMemoryReady(t *testing.T) {
	f := func(limit, largest int64, want int) {
		t.Helper()
		m := newTestMemory(t, limit, largest)
		var sum int64
		for _, c := range m.classes {
			if c.keep != want {
				t.Errorf("limit %d MiB: %d of %d are kept ready, want %d", limit>>20, c.keep, c.size, want)
			}
			sum += int64(c.keep) * int64(c.size)
		}
		if sum > limit/100 || sum > 8<<20 {
			t.Errorf("limit %d MiB: %d bytes are kept ready", limit>>20, sum)
		}
	}
	f(16<<20, 1<<20, 0)
	f(512<<20, 1<<20, 2)
	f(1<<30, 1<<20, 4)
	f(1<<36, 1<<20, 4)
	f(1<<36, 256<<10, 16)
	f(1<<36, 16<<20, 0)
}

func TestMemoryFull(t *testing.T) {
	m := newTestMemory(t, 256<<10, 64<<10)
	f := func(n, want int) {
		t.Helper()
		var blocks [][]byte
		for b := m.block(n); b != nil; b = m.block(n) {
			blocks = append(blocks, b)
		}
		if len(blocks) < want || len(blocks) > want+2 {
			t.Errorf("%d blocks of %d, want twice the limit", len(blocks), n)
		}
		for _, b := range blocks {
			m.free(b)
		}
		if b := m.block(n); b == nil {
			t.Errorf("no block of %d, though all are free", n)
		} else {
			m.free(b)
		}
	}
	f(64<<10, 8)
	f(64<<10, 8)
	f(int(minBlock), int(512<<10/minBlock))
}

// A block that was not kept ready reads as zeros.
func TestMemoryIsGivenBack(t *testing.T) {
	m := newTestMemory(t, 1<<20, 64<<10)
	b := m.block(64 << 10)
	for i := range b {
		b[i] = 1
	}
	m.free(b)
	if b = m.block(64 << 10); !bytes.Equal(b, make([]byte, 64<<10)) {
		t.Error("a block holds what was written before it was freed")
	}
	m.free(b)
}

func TestMemoryBugs(t *testing.T) {
	m, other := newTestMemory(t, 1<<20, 64<<10), newTestMemory(t, 1<<20, 64<<10)
	b, foreign := m.block(10), other.block(10)
	wantBug(t, "a block of another memory", func() { m.free(foreign) })
	wantBug(t, "a block of the heap", func() { m.free(make([]byte, 4096)) })
	wantBug(t, "a slice of no block's size", func() { m.free(b[:5:5]) })
	wantBug(t, "nil", func() { m.free(nil) })
	wantBug(t, "close with a block in use", m.close)
	big := m.block(int(2 * minBlock))
	wantBug(t, "the second half of a block", func() { m.free(big[minBlock:]) })
	m.free(b)
	wantBug(t, "double free", func() { m.free(b) })
	wantBug(t, "trim of a free block", func() { m.trim(b) })
	m.free(big)
	other.free(foreign)
}

func TestMemoryRefused(t *testing.T) {
	f := func(limit int64, want string) {
		t.Helper()
		m, err := newMemory(limit, 1<<30)
		if err == nil {
			m.close()
			t.Fatalf("newMemory(%d) = nil, want an error", limit)
		}
		if !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "-cache.memory") {
			t.Errorf("newMemory(%d) = %q, want %q in it", limit, err, want)
		}
	}
	f(8<<40-4<<30, "cannot allocate memory") // 16 TiB of each of 19 classes
	f(8<<40-4<<30, "ulimit -v")
	f(1<<62, "more than there is")
}
