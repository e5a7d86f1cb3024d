package cache

import (
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// fullDisk is a folder on a file system of so many bytes.
func fullDisk(t *testing.T, size string) string {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size="+size); err != nil {
		t.Skipf("mount a tmpfs: %v", err)
	}
	t.Cleanup(func() { syscall.Unmount(dir, 0) }) //nolint:errcheck // the folder cannot be removed then
	return dir
}

// The file system is smaller than the limit, and others fill it, too.
func TestDiskFull(t *testing.T) {
	dir := fullDisk(t, "4m")
	synctest.Test(t, func(t *testing.T) {
		r := startDisk(t, diskOptions{Dir: dir})
		m := diskMetaOf(newDiskID())
		stored := 0
		for n := range 8 {
			if r.write(m, n, make([]byte, 1<<20)) {
				stored++
			}
		}
		if stored != 3 || r.failures() == 0 {
			t.Errorf("%d chunks of 1 MiB are on a disk of 4 MiB, want 3; %d failures", stored, r.failures())
		}
		for n := range stored {
			r.mustOpen(m.ID, n, make([]byte, 1<<20))
		}
		r.remove(m.ID, 0)
		time.Sleep(faultWaitMax)
		r.mustWrite(m, 9, make([]byte, 1<<20))
		r.stop()
		if got := len(folderFiles(t, dir)); got != 3 {
			t.Errorf("%d files are left, want 3: %v", got, folderFiles(t, dir))
		}
	})
}

// Room is reserved before anything is written, but not every file system can do that.
func TestDiskFullWhileWriting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := startDisk(t, diskOptions{Dir: t.TempDir()}, func(d *disk) {
			d.calls.create = func(string) (*os.File, error) { return os.OpenFile("/dev/full", os.O_WRONLY, 0) }
		})
		if r.write(diskMetaOf(1), 0, []byte("a")) || r.failures() != 1 || r.used() != 0 {
			t.Errorf("%d failures, used = %d", r.failures(), r.used())
		}
	})
}

func TestDiskReadOnly(t *testing.T) {
	dir := fullDisk(t, "4m")
	synctest.Test(t, func(t *testing.T) {
		r := startDisk(t, diskOptions{Dir: dir})
		m := diskMetaOf(newDiskID())
		for n := range 3 {
			r.mustWrite(m, n, []byte("body"))
		}
		remount := func(flags uintptr) {
			t.Helper()
			if err := syscall.Mount("tmpfs", dir, "tmpfs", syscall.MS_REMOUNT|flags, ""); err != nil {
				t.Skipf("remount: %v", err)
			}
		}
		remount(syscall.MS_RDONLY)
		if r.write(m, 3, nil) || r.failures() == 0 {
			t.Error("written to a file system that is read-only")
		}
		r.mustOpen(m.ID, 0, []byte("body"))
		r.update(changedMeta(m, "new", 0))
		r.remove(m.ID, 1)
		remount(0)
		time.Sleep(faultWaitMax)
		r.mustWrite(m, 3, nil)
		r.settled(m.ID)
		r.stop()
		if got := len(folderFiles(t, dir)); got != 3 {
			t.Errorf("%d files are left, want 3: %v", got, folderFiles(t, dir))
		}
		marks(t, dir, m.ID, 3, "new").stop()
	})
}
