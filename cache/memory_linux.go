//go:build !386 && !arm && !mips && !mipsle

package cache

import (
	"fmt"
	"math"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"

	"weir/proxy"
)

// blocks are all blocks of one size: slots of one mapping that no swap is kept for.
//
// Most of what a block costs is the kernel's zeroing and mapping of its pages. To take
// 1 MiB, write it and free it took 520 µs; with MADV_POPULATE_WRITE before the writing
// 430 to 460, which is too little to pay for pages that may never be needed; with the
// pages of the block before, 28 (virtual EPYC, Linux 6.18, November 2026). Hence the
// few slots that are kept ready, and nothing else. Huge pages would take 80 µs, but
// cost 2 MiB where 4 KiB are used.
type blocks struct {
	size    int
	slots   int
	keep    int // how many slots are kept ready at most
	mapping []byte
	base    uintptr

	mu    sync.Mutex
	inUse []bool   // of each slot that was ever used: the others follow it
	clean []uint32 // free slots that have no memory
	ready []uint32 // free slots that still have
}

func newBlocks(size, slots int64, keep int) (*blocks, error) {
	if slots > math.MaxUint32 || slots > math.MaxInt64/size {
		return nil, fmt.Errorf("reserve address space for %d blocks of %s: more than there is; -cache.memory must be smaller",
			slots, proxy.Bytes(size))
	}
	b, err := unix.Mmap(-1, 0, int(slots*size), unix.PROT_READ|unix.PROT_WRITE,
		unix.MAP_PRIVATE|unix.MAP_ANON|unix.MAP_NORESERVE)
	if err != nil {
		return nil, fmt.Errorf("reserve %d MiB of address space for blocks of %s: %w; lift its limit (ulimit -v, "+
			"systemd's LimitAS), set vm.overcommit_memory to 0 or 1, or make -cache.memory smaller",
			slots*size>>20, proxy.Bytes(size), err)
	}
	unix.Madvise(b, unix.MADV_NOHUGEPAGE) // fails where the kernel has no huge pages
	return &blocks{size: int(size), slots: int(slots), keep: keep,
		mapping: b, base: uintptr(unsafe.Pointer(unsafe.SliceData(b)))}, nil
}

// take returns a whole block, or nil. One that has memory comes first, then one
// whose page tables are there.
func (c *blocks) take() []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	slot := uint32(len(c.inUse))
	switch {
	case len(c.ready) > 0:
		slot, c.ready = pop(c.ready)
	case len(c.clean) > 0:
		slot, c.clean = pop(c.clean)
	case len(c.inUse) < c.slots:
		c.inUse = append(c.inUse, false)
	default:
		return nil
	}
	c.inUse[slot] = true
	from, to := int(slot)*c.size, int(slot+1)*c.size
	return c.mapping[from:to:to]
}

func pop(s []uint32) (uint32, []uint32) { return s[len(s)-1], s[:len(s)-1] }

func (c *blocks) trim(b []byte) {
	c.mustUse(b)
	page := int(minBlock)
	if from := (len(b) + page - 1) / page * page; from < cap(b) {
		discard(b[from:cap(b)])
	}
}

func (c *blocks) free(b []byte) {
	slot, ready := c.release(b)
	if ready {
		return
	}
	discard(b[:cap(b)]) // takes 70 µs for 1 MiB, and the slot is nobody's meanwhile
	c.mu.Lock()
	c.clean = append(c.clean, slot)
	c.mu.Unlock()
}

// release takes a block out of use; ready is whether its slot is free with all its memory.
func (c *blocks) release(b []byte) (slot uint32, ready bool) {
	c.mu.Lock()
	defer c.mu.Unlock() // slotOf may panic
	slot = c.slotOf(b)
	c.inUse[slot] = false
	if ready = len(c.ready) < c.keep; ready {
		c.ready = append(c.ready, slot)
	}
	return slot, ready
}

func (c *blocks) mustUse(b []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.slotOf(b)
}

// slotOf returns the slot of a block that is in use, and panics if it is not.
func (c *blocks) slotOf(b []byte) uint32 {
	offset := uintptr(unsafe.Pointer(unsafe.SliceData(b))) - c.base // of what lies before base: huge
	slot := offset / uintptr(c.size)
	if slot >= uintptr(len(c.inUse)) || offset%uintptr(c.size) != 0 {
		panic("BUG: not a block of this memory")
	}
	if !c.inUse[slot] {
		panic("BUG: a block that is free already")
	}
	return uint32(slot)
}

// discard gives pages back; they read as zeros from now on. It can fail only where
// all memory is locked (mlockall): there nothing can be given back.
func discard(b []byte) { unix.Madvise(b, unix.MADV_DONTNEED) }

// close is for when no block is in use: what still read one would fall over a
// mapping that is gone, or see that of somebody else.
func (c *blocks) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, used := range c.inUse {
		if used {
			panic("BUG: memory closed while a block is in use")
		}
	}
	unix.Munmap(c.mapping) // ours, and whole: it cannot fail
	c.mapping, c.inUse, c.clean, c.ready, c.slots = nil, nil, nil, nil, 0
}
