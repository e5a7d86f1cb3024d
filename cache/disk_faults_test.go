package cache

import (
	"errors"
	"os"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
)

func TestDiskFaults(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		core, lines := observer.New(zapcore.WarnLevel)
		f := diskFaults{log: zap.New(core)}
		if f.paused() {
			t.Error("paused before anything went wrong")
		}
		for _, want := range []time.Duration{1, 2, 4, 8, 16, 32, 60, 60} {
			want *= time.Second
			if got := f.pause(syscall.EIO); got != want || !f.paused() {
				t.Errorf("pause = %v, want %v", got, want)
			}
			if got := f.pause(syscall.EIO); got != want {
				t.Errorf("pause during a pause = %v, want the same %v", got, want)
			}
			time.Sleep(want)
			if f.paused() {
				t.Errorf("paused for more than %v", want)
			}
		}
		if got := f.failures(); got != 16 {
			t.Errorf("failures = %d, want 16", got)
		}
		if got := lines.Len(); got < 3 || got > 4 {
			t.Errorf("%d lines were logged in 183 s, want one a minute", got)
		}
		f.worked()
		if got := f.pause(syscall.EIO); got != time.Second {
			t.Errorf("pause after something worked = %v, want 1s", got)
		}
	})
}

// faultyDisk makes one of the calls fail until it is told to work.
func faultyDisk(t *testing.T, dir string, inject func(c *diskCalls, broken func() error)) (r *diskRig, set func(error)) {
	t.Helper()
	var err error
	r = startDisk(t, diskOptions{Dir: dir, Limit: 1 << 20, Largest: 128 << 10}, func(d *disk) {
		inject(&d.calls, func() error { d.mu.Lock(); defer d.mu.Unlock(); return err })
	})
	return r, func(e error) { r.disk.mu.Lock(); defer r.disk.mu.Unlock(); err = e }
}

// A disk that does not take anything costs no answer: what is there can be read, and when it
// works again it is used again.
func TestDiskFails(t *testing.T) {
	f := func(what string, inject func(c *diskCalls, broken func() error)) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			dir := t.TempDir()
			r, set := faultyDisk(t, dir, inject)
			m := diskMetaOf(newDiskID())
			r.mustWrite(m, 0, diskBodyOf(1, 1))
			set(syscall.ENOSPC)
			if r.write(m, 1, []byte("b")) {
				t.Errorf("%s: written", what)
			}
			n := r.failures()
			if n == 0 {
				t.Errorf("%s: no failure was counted", what)
			}
			for range 100 {
				if r.write(m, 1, []byte("b")) {
					t.Errorf("%s: written", what)
				}
			}
			if got := r.failures(); got != n {
				t.Errorf("%s: the disk was tried during the pause: %d failures more", what, got-n)
			}
			r.mustOpen(m.ID, 0, diskBodyOf(1, 1))
			r.mustRead(m.ID, 0, diskBodyOf(1, 1))
			time.Sleep(faultWait)
			if r.write(m, 1, []byte("b")) || r.failures() == n {
				t.Errorf("%s: not tried again after the pause", what)
			}
			set(nil)
			time.Sleep(2 * faultWait)
			r.mustWrite(m, 1, []byte("b"))
			r.mustOpen(m.ID, 1, []byte("b"))
			r.stop()
			if got, want := r.used(), folderSum(t, dir); got != want || len(folderFiles(t, dir)) != 2 {
				t.Errorf("%s: used = %d, files take %d: %v", what, got, want, folderFiles(t, dir))
			}
		})
	}
	f("create", func(c *diskCalls, broken func() error) {
		c.create = func(name string) (*os.File, error) {
			if err := broken(); err != nil {
				return nil, &os.PathError{Op: "open", Path: name, Err: err}
			}
			return createFile(name)
		}
	})
	f("rename", func(c *diskCalls, broken func() error) {
		c.rename = func(from, to string) error {
			if err := broken(); err != nil {
				return err
			}
			return os.Rename(from, to)
		}
	})
	f("write", func(c *diskCalls, broken func() error) {
		c.create = func(name string) (*os.File, error) {
			if broken() == nil {
				return createFile(name)
			}
			return os.Open(os.DevNull) // cannot be written to
		}
	})
}

// What cannot be removed counts, is not read any more, and goes when the disk lets it.
func TestDiskRemoveFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		r, set := faultyDisk(t, dir, func(c *diskCalls, broken func() error) {
			c.remove = func(name string) error {
				if err := broken(); err != nil {
					return err
				}
				return os.Remove(name)
			}
		})
		m := diskMetaOf(newDiskID())
		for n := range 9 {
			r.mustWrite(m, n, make([]byte, 100<<10))
		}
		set(syscall.EROFS)
		if r.write(m, 9, make([]byte, 128<<10)) {
			t.Error("written without room")
		}
		if got := folderSum(t, dir); got > 1<<20 || got != r.used() {
			t.Errorf("files take %d, used = %d", got, r.used())
		}
		r.eventually("Gone is told", func() bool { return r.goneTimes(chunkName{m.ID, 0}) == 1 })
		if _, _, err := r.open(m.ID, 0); !errors.Is(err, errNotOnDisk) {
			t.Errorf("open what was evicted: %v", err)
		}
		set(nil)
		time.Sleep(faultWait)
		r.mustWrite(m, 9, make([]byte, 128<<10))
		r.stop()
		if got := folderSum(t, dir); got != r.used() {
			t.Errorf("files take %d, used = %d", got, r.used())
		}
	})
}

// A meta that could not be written is written after the pause.
func TestDiskUpdateFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		r, set := faultyDisk(t, dir, func(c *diskCalls, broken func() error) {
			c.create = func(name string) (*os.File, error) {
				if err := broken(); err != nil {
					return nil, err
				}
				return createFile(name)
			}
		})
		m := diskMetaOf(newDiskID())
		r.mustWrite(m, 0, diskBodyOf(m.ID, 0))
		set(syscall.ENOSPC)
		r.update(changedMeta(m, "new", 8000))
		r.eventually("the disk is tried", func() bool { return r.failures() > 0 })
		r.mustOpen(m.ID, 0, diskBodyOf(m.ID, 0))
		set(nil)
		r.settled(m.ID)
		r.mustOpen(m.ID, 0, diskBodyOf(m.ID, 0))
		r.stop()
		marks(t, dir, m.ID, 1, "new")
	})
}

// Somebody removes the folder of a running process: it makes another one.
func TestDiskFolderRemoved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir() + "/cache"
		r := startDisk(t, diskOptions{Dir: dir})
		m := diskMetaOf(newDiskID())
		r.mustWrite(m, 0, []byte("a"))
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
		r.mustWrite(m, 1, []byte("b"))
		r.mustOpen(m.ID, 1, []byte("b"))
		if _, _, err := r.open(m.ID, 0); err == nil {
			t.Error("opened what was removed")
		}
		r.eventually("Gone is told", func() bool { return r.goneTimes(chunkName{m.ID, 0}) == 1 })
		if _, err := openDisk(diskOptions{Dir: dir, Limit: 1 << 20, Policy: "lru"}); !errors.Is(err, errFolderInUse) {
			t.Errorf("open the new folder: %v, want that it is in use", err)
		}
	})
}

// A disk that hangs does not keep those waiting who put, nor the process from ending when it comes back.
func TestDiskHangsAtTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir, goOn := t.TempDir(), make(chan struct{})
		r := startDisk(t, diskOptions{Dir: dir}, func(d *disk) {
			d.calls.rename = func(from, to string) error { <-goOn; return os.Rename(from, to) }
		})
		var yes, no atomic.Int32
		for n := range 10 {
			r.put(diskPiece{diskMetaOf(1), n, nil}, func(ok bool) {
				if ok {
					yes.Add(1)
				} else {
					no.Add(1)
				}
			})
		}
		go func() {
			time.Sleep(diskEnd + time.Second)
			close(goOn)
		}()
		r.stop()
		if yes.Load() != diskWriters || no.Load() != 10-diskWriters {
			t.Errorf("%d written and %d not, want %d and the rest", yes.Load(), no.Load(), diskWriters)
		}
	})
}
