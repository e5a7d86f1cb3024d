package cache

import (
	"errors"
	"os"
	"syscall"
)

// allocate reserves room for a file, so that it lies in one piece, and a full disk is
// noticed before anything is written. Not every file system can.
func allocate(f *os.File, size int64) error {
	err := syscall.Fallocate(int(f.Fd()), 0, 0, size)
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return &os.PathError{Op: "fallocate", Path: f.Name(), Err: err}
	}
	return nil
}
