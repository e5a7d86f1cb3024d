package cache

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/cespare/xxhash/v2"
)

// A file of the disk tier is a head, zeros up to a multiple of diskBlock, and the
// body. All numbers are little-endian.
//
//	 0  magic; its last byte is the version, of this table and of the meta
//	 8  id of the object
//	16  number of the chunk, 4 bytes
//	20  revision of the meta, 4 bytes
//	24  length of the meta, 4 bytes
//	28  where the body begins, 4 bytes
//	32  length of the body
//	40  xxhash64 of the body
//	48  xxhash64 of all before this and of the meta
//	56  the meta, JSON
//
// The body is the end of the file. Where it begins does not change as long as the
// file is the same one, so that it may be read from the file at any time.
const (
	diskMagic = "WeirCch\x01"
	diskFixed = 56
	diskBlock = 4096    // bytes: what files are counted in, and what a head may be rewritten in
	diskMeta  = 1 << 20 // bytes: the longest meta
)

// errBroken is of a file that is not, or no longer, what was written.
var errBroken = errors.New("broken")

// A diskHead is what stands before the body.
type diskHead struct {
	id       uint64
	n        int
	revision uint32 // counts the metas of an object: the highest is the newest
	at       int64  // where the body begins
	length   int64  // of the body
	sum      uint64 // of the body
	meta     []byte
}

// size is the bytes that the file takes on the disk.
func (h *diskHead) size() int64 { return diskBlocks(h.at + h.length) }

// diskBlocks rounds bytes up to what a file system takes for them.
func diskBlocks(n int64) int64 { return (n + diskBlock - 1) &^ (diskBlock - 1) }

// append adds the head to b, which is empty, without the zeros behind it.
func (h *diskHead) append(b []byte) []byte {
	b = append(b, diskMagic...)
	b = binary.LittleEndian.AppendUint64(b, h.id)
	b = binary.LittleEndian.AppendUint32(b, uint32(h.n))
	b = binary.LittleEndian.AppendUint32(b, h.revision)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(h.meta)))
	b = binary.LittleEndian.AppendUint32(b, uint32(h.at))
	b = binary.LittleEndian.AppendUint64(b, uint64(h.length))
	b = binary.LittleEndian.AppendUint64(b, h.sum)
	b = binary.LittleEndian.AppendUint64(b, headSum(b, h.meta))
	return append(b, h.meta...)
}

func headSum(fixed, meta []byte) uint64 {
	var x xxhash.Digest
	x.Reset()
	x.Write(fixed) //nolint:errcheck // cannot fail
	x.Write(meta)  //nolint:errcheck // cannot fail
	return x.Sum64()
}

// parseFixed reads all of a head but the meta, of which it returns the length. Nothing is
// verified yet but that it can be a head of a file of size bytes.
func parseFixed(b []byte, size int64) (h diskHead, meta int, err error) {
	if len(b) < diskFixed || string(b[:8]) != diskMagic {
		return h, 0, fmt.Errorf("%w: not a file of this version", errBroken)
	}
	le := binary.LittleEndian
	h.id, h.n, h.revision = le.Uint64(b[8:]), int(le.Uint32(b[16:])), le.Uint32(b[20:])
	m := int64(le.Uint32(b[24:]))
	h.at, h.length, h.sum = int64(le.Uint32(b[28:])), int64(le.Uint64(b[32:])), le.Uint64(b[40:])
	switch {
	case m > diskMeta, h.at != diskBlocks(diskFixed+m):
		return h, 0, fmt.Errorf("%w: a head of impossible lengths", errBroken)
	case h.length < 0, size-h.at != h.length:
		return h, 0, fmt.Errorf("%w: %d bytes of file for a body of %d", errBroken, size, h.length)
	}
	return h, int(m), nil
}

// readHead reads and verifies the head of a file of size bytes. buf is used if it is long
// enough; the meta may be a part of it. What is not right is errBroken; else err is the reader's.
func readHead(r io.ReaderAt, size int64, buf []byte) (diskHead, error) {
	first := buf[:min(int64(cap(buf)), size)]
	if _, err := r.ReadAt(first, 0); err != nil && err != io.EOF {
		return diskHead{}, err
	}
	h, m, err := parseFixed(first, size)
	if err != nil {
		return h, err
	}
	if diskFixed+m > len(first) {
		first = make([]byte, diskFixed+m)
		if _, err := r.ReadAt(first, 0); err != nil && err != io.EOF {
			return h, err
		}
	}
	h.meta = first[diskFixed : diskFixed+m]
	if binary.LittleEndian.Uint64(first[48:]) != headSum(first[:48], h.meta) {
		return h, fmt.Errorf("%w: checksum of the head", errBroken)
	}
	return h, nil
}
