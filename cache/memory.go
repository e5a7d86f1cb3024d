package cache

import (
	"math/bits"
	"os"
)

// minBlock is the smallest size of blocks, in bytes: a page, for no less can be given
// back. That is 4 KiB, on some arm64 systems 16 or 64.
var minBlock = int64(max(4<<10, os.Getpagesize()))

// A memory gives out blocks that are not on the Go heap. Its methods may be called by
// any goroutine.
//
// There is a class of blocks for each power of two from minBlock up, so that nothing
// fragments. What a block costs is what was written to of it, in whole pages: who
// counts bytes, and that is the caller, counts those. Up to 1 % of the limit, 8 MiB at
// most, lies ready besides.
//
// The race detector does not look at what is outside the heap: it finds no races on
// the bytes of blocks.
type memory struct {
	classes []*blocks // of minBlock, and twice the one before
}

// newMemory reserves room for limit bytes in blocks of up to largest bytes: address
// space for twice the limit in each class, so that there is room for whatever mix of
// sizes the limit allows. Nothing is taken from the system until it is written to.
func newMemory(limit, largest int64) (*memory, error) {
	m := &memory{}
	n := classOf(largest) + 1
	for i := range n {
		size := minBlock << i
		c, err := newBlocks(size, limit/size*2+2, int(readyBytes(limit)/2/(minBlock<<(n-1))))
		if err != nil {
			m.close()
			return nil, err
		}
		m.classes = append(m.classes, c)
	}
	return m, nil
}

// readyBytes bounds what freed blocks may keep so that the next ones are cheap.
// Half of it, as often as the largest class goes into that, is the number for each
// class: together they are less than twice the largest class's.
func readyBytes(limit int64) int64 { return min(limit/100, 8<<20) }

// classOf returns the class of blocks of n bytes.
func classOf(n int64) int { return bits.Len64(uint64((max(n, 1) - 1) / minBlock)) }

// block returns n bytes, of any content; nil if there is no room. What of it is never
// written to costs nothing, but see trim. Its capacity is all of the block.
func (m *memory) block(n int) []byte {
	i := classOf(int64(n))
	if n < 0 || i >= len(m.classes) {
		panic("BUG: a block larger than the largest")
	}
	b := m.classes[i].take()
	if b == nil {
		return nil
	}
	return b[:n]
}

// trim gives back what lies behind the first len(b) bytes of a block, which stays in
// use. It is for blocks that were asked for before it was known how little would be
// written: the block may have been used before, and still hold all it did.
func (m *memory) trim(b []byte) { m.classOfBlock(b).trim(b) }

// free gives a block back, as it was returned by block or shorter. Its memory goes
// back to the system, or to the next that asks.
func (m *memory) free(b []byte) { m.classOfBlock(b).free(b) }

func (m *memory) classOfBlock(b []byte) *blocks {
	i := classOf(int64(cap(b)))
	if i >= len(m.classes) || int64(cap(b)) != minBlock<<i {
		panic("BUG: not a block of this memory")
	}
	return m.classes[i]
}

// close gives everything back. No block may be in use.
func (m *memory) close() {
	for _, c := range m.classes {
		c.close()
	}
	m.classes = nil
}
