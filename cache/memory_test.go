package cache

import (
	"math/rand/v2"
	"sync"
	"testing"
)

func newTestMemory(t testing.TB, limit, largest int64) *memory {
	t.Helper()
	m, err := newMemory(limit, largest)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.close)
	return m
}

func TestMemoryClasses(t *testing.T) {
	m := newTestMemory(t, 16<<20, 1<<20)
	f := func(n int, want int64) {
		t.Helper()
		b := m.block(n)
		if len(b) != n || int64(cap(b)) != max(want, minBlock) {
			t.Errorf("block(%d): len %d, cap %d, want cap %d", n, len(b), cap(b), want)
		}
		for i := range b {
			b[i] = byte(i)
		}
		m.free(b)
	}
	f(0, 4<<10)
	f(1, 4<<10)
	f(4<<10, 4<<10)
	f(4<<10+1, 8<<10)
	f(200_000, 256<<10)
	f(512<<10, 512<<10)
	f(512<<10+1, 1<<20)
	f(1<<20, 1<<20)
}

// A largest that is no power of two is rounded up.
func TestMemoryLargest(t *testing.T) {
	f := func(largest int64) {
		t.Helper()
		m := newTestMemory(t, 16<<20, largest)
		m.free(m.block(int(largest)))
	}
	f(1)
	f(4096)
	f(4097)
	f(1_000_000)
	f(3 << 20)
}

// Blocks that are in use at once share no byte.
func TestMemoryBlocksAreApart(t *testing.T) {
	const limit = 4 << 20
	m := newTestMemory(t, limit, 256<<10)
	rnd := rand.New(rand.NewPCG(1, 2))
	type held struct {
		b    []byte
		mark byte
	}
	var blocks []held
	for i := range 3000 {
		if n := len(blocks); n > 0 && (n > 60 || rnd.IntN(2) == 0) {
			j := rnd.IntN(n)
			for k, c := range blocks[j].b {
				if c != blocks[j].mark {
					t.Fatalf("byte %d of a block of %d is %d, want %d", k, len(blocks[j].b), c, blocks[j].mark)
				}
			}
			m.free(blocks[j].b)
			blocks[j] = blocks[n-1]
			blocks = blocks[:n-1]
			continue
		}
		h := held{m.block(rnd.IntN(1 << (6 + rnd.IntN(13)))), byte(i)}
		for k := range h.b {
			h.b[k] = h.mark
		}
		blocks = append(blocks, h)
	}
	for _, h := range blocks {
		m.free(h.b)
	}
}

// Run with -race: that sees the books, though not the bytes of blocks.
func TestMemoryTogether(t *testing.T) {
	m := newTestMemory(t, 1<<30, 256<<10) // large enough for blocks that are kept ready
	var wg sync.WaitGroup
	for mark := range byte(4) {
		wg.Go(func() { m.useAtRandom(t, mark+1) })
	}
	wg.Wait()
}

func (m *memory) useAtRandom(t *testing.T, mark byte) {
	rnd := rand.New(rand.NewPCG(uint64(mark), 3))
	for range 1000 {
		b := m.block(1 + rnd.IntN(256<<10))
		b[0], b[len(b)-1] = mark, mark
		c := m.block(1)
		c[0] = ^mark
		if b[0] != mark || b[len(b)-1] != mark || c[0] != ^mark {
			t.Errorf("somebody else wrote into a block")
		}
		m.trim(b[:1])
		if b[0] != mark {
			t.Errorf("what was to stay was trimmed")
		}
		m.free(b[:1])
		m.free(c)
	}
}

// What is counted is what is taken, whatever the size of a page is.
func TestPages(t *testing.T) {
	defer func(n int64) { minBlock = n }(minBlock)
	for _, minBlock = range []int64{4 << 10, 16 << 10, 64 << 10} {
		if a, b, c := pages(0), pages(1), pages(int(minBlock)+1); a != 0 || b != minBlock || c != 2*minBlock {
			t.Errorf("with pages of %d bytes: %d, %d and %d", minBlock, a, b, c)
		}
	}
}

func TestMemoryTooLarge(t *testing.T) {
	m := newTestMemory(t, 1<<20, 64<<10)
	wantBug(t, "a larger block than the largest", func() { m.block(64<<10 + 1) })
	wantBug(t, "a block of less than nothing", func() { m.block(-1) })
}

// wantBug expects a panic that begins with "BUG: ".
func wantBug(t *testing.T, what string, do func()) {
	t.Helper()
	defer func() {
		t.Helper()
		if s, _ := recover().(string); len(s) < 5 || s[:5] != "BUG: " {
			t.Errorf("%s: panic %q, want BUG: ...", what, s)
		}
	}()
	do()
}

// What a fill of 1 MiB costs in memory alone.
func BenchmarkBlock(b *testing.B) {
	src := make([]byte, 1<<20)
	for i := range src {
		src[i] = byte(i)
	}
	f := func(name string, limit int64) {
		b.Run(name, func(b *testing.B) {
			m := newTestMemory(b, limit, 1<<20)
			b.SetBytes(1 << 20)
			b.ReportAllocs()
			for b.Loop() {
				block := m.block(1 << 20)
				copy(block, src)
				m.free(block)
			}
		})
	}
	f("ready", 1<<30)
	f("fresh", 100<<20) // too small for anything to be kept
}
