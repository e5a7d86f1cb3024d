package cache

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"

	"github.com/cespare/xxhash/v2"
)

// open returns the file of a chunk at its first byte, to be read by a sendfile of length bytes; the
// caller closes it. It fails with errNotOnDisk, with errUnverified (see read), or with what the system says.
func (d *disk) open(id uint64, n int) (f *os.File, length int64, err error) {
	c, err := d.lookup(id, n, true)
	if err != nil {
		return nil, 0, err
	}
	f, at, err := d.openFile(c)
	if err != nil {
		return nil, 0, d.failed(c, err)
	}
	if _, err := f.Seek(at, io.SeekStart); err != nil {
		f.Close() //nolint:errcheck // only read
		return nil, 0, d.failed(c, err)
	}
	d.index.touch(c.key())
	return f, c.length, nil
}

// read reads a chunk whole into b and verifies it; a broken one is removed.
func (d *disk) read(id uint64, n int, b []byte) (int, error) {
	c, err := d.lookup(id, n, false)
	if err != nil {
		return 0, err
	}
	if int64(len(b)) < c.length {
		return 0, fmt.Errorf("read %s into %d bytes: it has %d", c.name(), len(b), c.length)
	}
	b = b[:c.length]
	if err := d.readFile(c, b); err != nil {
		return 0, d.failed(c, err)
	}
	d.verified(c)
	d.index.touch(c.key())
	return len(b), nil
}

func (d *disk) readFile(c *diskFile, b []byte) error {
	f, at, err := d.openFile(c)
	if err != nil {
		return err
	}
	defer f.Close() //nolint:errcheck // only read
	if _, err := f.ReadAt(b, at); err != nil && !(errors.Is(err, io.EOF) && len(b) == 0) {
		return err
	}
	if xxhash.Sum64(b) != c.sum {
		return fmt.Errorf("%w: checksum of %s", errBroken, f.Name())
	}
	return nil
}

// openFile opens the file of a chunk and says where its body begins. It asks the file itself: another
// one may take its place at any time, with the same body elsewhere (see move).
func (d *disk) openFile(c *diskFile) (*os.File, int64, error) {
	f, err := os.Open(d.path(c.name()))
	if err != nil {
		return nil, 0, err
	}
	h, err := fixedOf(f)
	if err == nil && (h.id != c.id || h.n != c.n || h.length != c.length) {
		err = fmt.Errorf("%w: %s is another chunk", errBroken, f.Name())
	}
	if err != nil {
		f.Close() //nolint:errcheck // only read
		return nil, 0, err
	}
	return f, h.at, nil
}

// fixedOf reads what stands first in a file, and compares it with its length.
func fixedOf(f *os.File) (diskHead, error) {
	info, err := f.Stat()
	if err != nil {
		return diskHead{}, err
	}
	if !info.Mode().IsRegular() {
		return diskHead{}, fmt.Errorf("%w: %s is no file", errBroken, f.Name())
	}
	var b [diskFixed]byte
	if _, err := f.ReadAt(b[:], 0); err != nil && !errors.Is(err, io.EOF) {
		return diskHead{}, err
	}
	h, _, err := parseFixed(b[:], info.Size())
	return h, err
}

// failed is what becomes of a chunk that could not be read: it goes, unless the reason may be another one
// (too many open files).
func (d *disk) failed(f *diskFile, err error) error {
	d.mu.Lock()
	gone := f.dying // while it was read
	if !gone && isLost(err) {
		d.doom(f, true)
	}
	d.mu.Unlock()
	if gone {
		return errNotOnDisk
	}
	d.faults.count(err)
	return err
}

// isLost is whether what could not be read will not be read the next time either.
func isLost(err error) bool {
	return errors.Is(err, errBroken) || errors.Is(err, fs.ErrNotExist) || errors.Is(err, io.EOF) || errors.Is(err, syscall.EIO)
}
