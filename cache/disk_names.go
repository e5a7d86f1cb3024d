package cache

import (
	"encoding/binary"
	"encoding/hex"
	"path/filepath"
	"strconv"
	"strings"
)

// A chunkName is what a file's name says.
type chunkName struct {
	id uint64
	n  int
}

// String is the name of the file.
func (c chunkName) String() string {
	var id [8]byte
	binary.BigEndian.PutUint64(id[:], c.id)
	b := hex.AppendEncode(make([]byte, 0, 32), id[:])
	return string(strconv.AppendInt(append(b, '.'), int64(c.n), 10))
}

// folder is the name of the folder that a chunk is in.
func (c chunkName) folder() string { return c.String()[:2] }

// path is the name of the file from the root.
func (d *disk) path(c chunkName) string {
	name := c.String()
	return d.o.Dir + string(filepath.Separator) + name[:2] + string(filepath.Separator) + name
}

const diskTemp = ".tmp"

// temp is the name of a file while it is written by this process. Those of other marks are what was left by
// a process that died.
func (d *disk) temp(name string) string { return name + "." + d.mark + diskTemp }

// parseName reads the name of a file, and the mark if it is a temporary one. It is not ok for what has
// another owner than the cache.
func parseName(name string) (c chunkName, mark string, ok bool) {
	id, rest, _ := strings.Cut(name, ".")
	if rest, ok = strings.CutSuffix(rest, diskTemp); ok {
		if rest, mark, _ = strings.Cut(rest, "."); mark == "" {
			return c, "", false
		}
	}
	x, err1 := strconv.ParseUint(id, 16, 64)
	n, err2 := strconv.ParseUint(rest, 10, 31)
	c = chunkName{x, int(n)}
	return c, mark, err1 == nil && err2 == nil && c.String() == id+"."+rest
}
