package cache

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// broken writes two objects, lets change do something to the file of the one, and checks
// that after a restart the other is there. It returns the disk and the name of the one.
func broken(t *testing.T, change func(file string)) (*diskRig, chunkName) {
	t.Helper()
	dir := t.TempDir()
	r := startDisk(t, diskOptions{Dir: dir})
	good, bad := chunkName{newDiskID(), 0}, chunkName{newDiskID(), 3}
	for _, c := range []chunkName{good, bad} {
		r.mustWrite(diskMetaOf(c.id), c.n, diskBodyOf(1, 1))
	}
	r.stop()
	change(r.path(bad))
	r = startDisk(t, diskOptions{Dir: dir})
	r.mustRead(good.id, good.n, diskBodyOf(1, 1))
	r.mustOpen(good.id, good.n, diskBodyOf(1, 1))
	return r, bad
}

// What is wrong with the head is seen at the start.
func TestDiskBrokenHead(t *testing.T) {
	f := func(what string, change func(b []byte) []byte) {
		t.Helper()
		r, bad := broken(t, func(file string) { rewriteFile(t, file, change) })
		if r.found[bad] != nil {
			t.Errorf("%s: found", what)
		}
		if _, _, err := r.open(bad.id, bad.n); !errors.Is(err, errNotOnDisk) {
			t.Errorf("%s: open: %v", what, err)
		}
		if _, err := os.Stat(r.path(bad)); err == nil {
			t.Errorf("%s: the file was left", what)
		}
		if got, want := r.used(), folderSum(t, r.o.Dir); got != want {
			t.Errorf("%s: used = %d, files take %d", what, got, want)
		}
		if r.failures() == 0 {
			t.Errorf("%s: no failure was counted", what)
		}
	}
	flip := func(at int) func([]byte) []byte {
		return func(b []byte) []byte { b[at] ^= 4; return b }
	}
	f("magic", flip(0))
	f("version", flip(7))
	f("id", flip(9))
	f("number", flip(16))
	f("revision", flip(20))
	f("length of the meta", flip(24))
	f("place of the body", flip(29))
	f("length of the body", flip(32))
	f("checksum of the body", flip(40))
	f("checksum of the head", flip(48))
	f("meta", flip(60))
	f("empty", func(b []byte) []byte { return nil })
	f("less than a head", func(b []byte) []byte { return b[:50] })
	f("half a meta", func(b []byte) []byte { return b[:100] })
	f("no body", func(b []byte) []byte { return b[:diskBlock] })
	f("truncated", func(b []byte) []byte { return b[:len(b)-1] })
	f("longer", func(b []byte) []byte { return append(b, 0) })
	f("torn head", func(b []byte) []byte { clear(b[100:diskBlock]); return b })
}

func rewriteFile(t *testing.T, file string, change func([]byte) []byte) {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, change(b), 0o600); err != nil {
		t.Fatal(err)
	}
}

// What is wrong with the body is seen when it is first used.
func TestDiskBrokenBody(t *testing.T) {
	f := func(what string, change func(b []byte) []byte) {
		t.Helper()
		r, bad := broken(t, func(file string) { rewriteFile(t, file, change) })
		if r.found[bad] == nil {
			t.Errorf("%s: not found", what)
		}
		if _, _, err := r.open(bad.id, bad.n); !errors.Is(err, errUnverified) {
			t.Errorf("%s: open: %v", what, err)
		}
		if _, err := r.read(bad.id, bad.n, make([]byte, 1<<20)); !errors.Is(err, errBroken) {
			t.Errorf("%s: read: %v", what, err)
		}
		r.eventually("Gone is told", func() bool { return r.goneTimes(bad) == 1 })
		if _, err := r.read(bad.id, bad.n, make([]byte, 1<<20)); !errors.Is(err, errNotOnDisk) {
			t.Errorf("%s: read again: %v", what, err)
		}
		if _, err := os.Stat(r.path(bad)); err == nil {
			t.Errorf("%s: the file was left", what)
		}
	}
	f("first byte", func(b []byte) []byte { b[diskBlock] ^= 1; return b })
	f("last byte", func(b []byte) []byte { b[len(b)-1] ^= 128; return b })
	f("torn", func(b []byte) []byte { clear(b[2*diskBlock:]); return b })
}

// What changes behind the back of a running process.
func TestDiskChangedWhileRunning(t *testing.T) {
	f := func(what string, change func(file string) error) {
		t.Helper()
		r := startDisk(t, diskOptions{Dir: t.TempDir()})
		c := chunkName{newDiskID(), 0}
		r.mustWrite(diskMetaOf(c.id), 0, diskBodyOf(1, 1))
		if err := change(r.path(c)); err != nil {
			t.Fatal(err)
		}
		if _, _, err := r.open(c.id, 0); err == nil {
			t.Errorf("%s: opened", what)
		}
		r.eventually("Gone is told", func() bool { return r.goneTimes(c) == 1 })
		if got := r.used(); got != 0 {
			t.Errorf("%s: used = %d", what, got)
		}
		r.mustWrite(diskMetaOf(c.id), 1, []byte("b"))
	}
	f("removed", os.Remove)
	f("truncated", func(file string) error { return os.Truncate(file, 2*diskBlock) })
	f("emptied", func(file string) error { return os.Truncate(file, 0) })
	f("a folder", func(file string) error {
		return errors.Join(os.Remove(file), os.MkdirAll(filepath.Join(file, "x"), 0o700))
	})
}

// What is not the cache's is left alone; what a process that died has left is not.
func TestDiskForeignFiles(t *testing.T) {
	dir := t.TempDir()
	plant := func(name string) string {
		name = filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o700), os.WriteFile(name, []byte("mine"), 0o600)); err != nil {
			t.Fatal(err)
		}
		return name
	}
	var mine []string
	for _, name := range []string{"notes.txt", "ab/notes.txt", "xy/0123456789abcdef.1", "ab/ab23456789abcdef.1/deep", "cd", "ab/ab23456789abcdef.01"} {
		mine = append(mine, plant(name))
	}
	notMine := []string{plant("ab/ab00000000000000.1.OLD.tmp"), plant("ab/ab00000000000000.1")}
	elsewhere := plant("01/0223456789abcdef.0") // in the folder of others

	r := startDisk(t, diskOptions{Dir: dir})
	if len(r.found) > 0 {
		t.Errorf("found %v", r.names())
	}
	for _, f := range append(mine, elsewhere) {
		if _, err := os.Stat(f); err != nil {
			t.Errorf("what is not the cache's: %v", err)
		}
	}
	for _, f := range notMine {
		if _, err := os.Stat(f); err == nil {
			t.Errorf("%s was left", f)
		}
	}
	if r.used() != 0 {
		t.Errorf("used = %d", r.used())
	}
	r.mustWrite(diskMetaOf(0xab<<56), 0, nil)
	if r.write(diskMetaOf(0xcd<<56), 0, nil) {
		t.Error("written to a folder that is a file")
	}
}

// A file of a chunk under the name of another is not that chunk.
func TestDiskRenamedFile(t *testing.T) {
	other := chunkName{newDiskID(), 9}
	r, bad := broken(t, func(file string) {
		if err := os.Rename(file, filepath.Join(filepath.Dir(file), chunkName{other.id, other.n}.String())); err != nil {
			t.Fatal(err)
		}
	})
	if r.found[bad] != nil || r.found[other] != nil {
		t.Errorf("found %v", r.names())
	}
}
