package cache

import (
	"fmt"
	"io"
	"net"
	"testing"
)

func BenchmarkDiskPut(b *testing.B) {
	for _, size := range []int{4 << 10, 1 << 20} {
		b.Run(fmt.Sprintf("bytes=%d", size), func(b *testing.B) {
			r := startDisk(b, diskOptions{Dir: b.TempDir(), Limit: 256 << 20, Policy: "2q"})
			body := make([]byte, size)
			slots := make(chan struct{}, 32)
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				slots <- struct{}{}
				r.put(diskPiece{diskMetaOf(newDiskID()), 0, body}, func(bool) { <-slots })
			}
			for range cap(slots) {
				slots <- struct{}{}
			}
		})
	}
}

// open, and nothing of the body.
func BenchmarkDiskOpen(b *testing.B) {
	r := startDisk(b, diskOptions{Dir: b.TempDir()})
	m := diskMetaOf(newDiskID())
	r.mustWrite(m, 0, make([]byte, 1<<20))
	b.ReportAllocs()
	for b.Loop() {
		f, _, err := r.open(m.ID, 0)
		if err != nil {
			b.Fatal(err)
		}
		f.Close() //nolint:errcheck // only read
	}
}

// read verifies, too.
func BenchmarkDiskRead(b *testing.B) {
	r := startDisk(b, diskOptions{Dir: b.TempDir()})
	m := diskMetaOf(newDiskID())
	buf := make([]byte, 1<<20)
	r.mustWrite(m, 0, buf)
	b.SetBytes(int64(len(buf)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := r.read(m.ID, 0, buf); err != nil {
			b.Fatal(err)
		}
	}
}

// open and send to a socket, by sendfile where there is one.
func BenchmarkDiskSend(b *testing.B) {
	r := startDisk(b, diskOptions{Dir: b.TempDir()})
	m := diskMetaOf(newDiskID())
	r.mustWrite(m, 0, make([]byte, 1<<20))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close() //nolint:errcheck // only accepted
	out, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		b.Fatal(err)
	}
	defer out.Close() //nolint:errcheck // of no use any more
	in, err := l.Accept()
	if err != nil {
		b.Fatal(err)
	}
	go io.Copy(io.Discard, in) //nolint:errcheck // ends with out
	b.SetBytes(1 << 20)
	b.ReportAllocs()
	for b.Loop() {
		f, length, err := r.open(m.ID, 0)
		if err != nil {
			b.Fatal(err)
		}
		if n, err := io.CopyN(out, f, length); n != length {
			b.Fatal(n, err)
		}
		f.Close() //nolint:errcheck // only read
	}
}
