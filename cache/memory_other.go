//go:build !linux || 386 || arm || mips || mipsle

package cache

// blocks are all blocks of one size, on the heap after all: elsewhere pages cannot be
// given back one by one (darwin keeps those of MADV_DONTNEED until it is short of
// memory), or there is too little address space to reserve. What is freed waits for the
// garbage collector, and blocks cost all their bytes.
type blocks struct{ size int }

func newBlocks(size, _ int64, _ int) (*blocks, error) { return &blocks{int(size)}, nil }

func (c *blocks) take() []byte { return make([]byte, c.size) }
func (c *blocks) trim([]byte)  {}
func (c *blocks) free([]byte)  {}
func (c *blocks) close()       {}
