package admission

import (
	"math"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"testing"
	"time"

	"weir/proxy/proxytest"
)

func TestPressureWindow(t *testing.T) {
	var w cpuWindow
	f := func(at, used time.Duration, procs, want float64) {
		t.Helper()
		if got := w.add(cpuTime{noon.Add(at), used}, procs); math.Abs(got-want) > 0.01 {
			t.Errorf("%v used after %v: %v %%, want %v", used, at, got, want)
		}
	}
	s := time.Second
	f(0, 0, 2, unknown)
	f(1*s, 2*s, 2, unknown) // beginning takes all there is
	f(2*s, 4*s, 2, unknown)
	f(3*s, 4*s, 2, unknown)
	f(4*s, 4*s, 2, unknown)
	f(5*s, 5*s, 2, 50)
	f(6*s, 5*s, 2, 30)
	f(7*s, 5*s, 2, 10)
	f(8*s, 6*s, 0.5, 80)
	f(20*s, 6*s, 1, 0)    // the machine had no time for the gate
	f(21*s, 19*s, 1, 100) // over 13 s: never over less than five
	if len(w) > 6 {
		t.Errorf("%d samples are kept", len(w))
	}
}

func TestPressureGroupOf(t *testing.T) {
	f := func(text, controller string, want group) {
		t.Helper()
		if got := groupOf(text, "/m", controller); got != want {
			t.Errorf("groupOf(%q, %s) = %+v, want %+v", text, controller, got, want)
		}
	}
	f("0::/system.slice/weir.service\n", "memory", group{false, "/m", "/system.slice/weir.service"})
	f("0::/\n", "cpu", group{false, "/m", "/"})
	f("0::/../../x\n", "cpu", group{false, "/m", "/x"})
	f("4:memory:/docker/1\n3:cpu,cpuacct:/docker/2\n0::/\n", "memory", group{true, "/m/memory", "/docker/1"})
	f("4:memory:/docker/1\n3:cpu,cpuacct:/docker/2\n0::/\n", "cpu", group{true, "/m/cpu", "/docker/2"})
	f("1:name=systemd:/a:b\n0::/c:d", "memory", group{false, "/m", "/c:d"})
	f("", "memory", group{})
	f("nonsense\n::\n", "memory", group{})
}

// writeGroup writes a file of a control group.
func writeGroup(t *testing.T, name, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		t.Fatal(err)
	}
	writeList(t, name, text)
}

func TestPressureGroupMemory(t *testing.T) {
	root := t.TempDir()
	const machine = 1000
	f := func(v1 bool, path string, want float64) {
		t.Helper()
		g := group{v1, filepath.Join(root, map[bool]string{true: "memory"}[v1]), path}
		if got := g.memory(machine); got != want {
			t.Errorf("%+v uses %v %%, want %v", g, got, want)
		}
	}
	f(false, "/none", unknown)
	f(false, "", unknown) // no group
	writeGroup(t, root+"/a/memory.max", "400\n")
	writeGroup(t, root+"/a/memory.current", "300\n")
	writeGroup(t, root+"/a/memory.stat", "anon 7\nfile 140\ninactive_file 100\nactive_file 40\n")
	f(false, "/a", 40)
	writeGroup(t, root+"/a/b/memory.max", "max\n")
	writeGroup(t, root+"/a/b/memory.current", "1\n")
	f(false, "/a/b", 40)
	f(false, "/a/b/gone", 40)
	writeGroup(t, root+"/a/b/memory.max", "100\n")
	f(false, "/a/b", 1) // the nearest, not the tightest
	writeGroup(t, root+"/a/memory.max", "1000\n")
	f(false, "/a", unknown) // as much as the machine has is no limit

	writeGroup(t, root+"/memory/memory.limit_in_bytes", "500\n")
	writeGroup(t, root+"/memory/memory.usage_in_bytes", "300\n")
	writeGroup(t, root+"/memory/memory.stat", "inactive_file 1\ntotal_inactive_file 40\ntotal_active_file 10\n")
	f(true, "/", 50)
	f(true, "/docker/outside", 50)
	writeGroup(t, root+"/memory/x/memory.limit_in_bytes", "9223372036854771712\n")
	writeGroup(t, root+"/memory/x/memory.usage_in_bytes", "300\n")
	f(true, "/x", 50)
}

func TestPressureGroupProcessors(t *testing.T) {
	root := t.TempDir()
	f := func(v1 bool, path string, want float64) {
		t.Helper()
		g := group{v1, filepath.Join(root, map[bool]string{true: "cpu"}[v1]), path}
		if got := g.processors(); got != want {
			t.Errorf("%+v may use %v processors, want %v", g, got, want)
		}
	}
	f(false, "/none", math.Inf(1))
	writeGroup(t, root+"/a/cpu.max", "50000 100000\n")
	writeGroup(t, root+"/a/b/cpu.max", "max 100000\n")
	writeGroup(t, root+"/a/c/cpu.max", "200000 100000\n")
	f(false, "/a", 0.5)
	f(false, "/a/b", 0.5)
	f(false, "/a/c", 0.5) // the tightest
	writeGroup(t, root+"/cpu/x/cpu.cfs_quota_us", "150000\n")
	writeGroup(t, root+"/cpu/x/cpu.cfs_period_us", "100000\n")
	writeGroup(t, root+"/cpu/y/cpu.cfs_quota_us", "-1\n")
	writeGroup(t, root+"/cpu/y/cpu.cfs_period_us", "100000\n")
	f(true, "/x", 1.5)
	f(true, "/y", math.Inf(1))
}

// What is measured here is this process.
func TestPressureMeasures(t *testing.T) {
	debug.FreeOSMemory() // or what is allocated below may be resident already
	measure, now := newSampler(), time.Now()
	first := measure(now)
	if first.cpu != unknown || first.memory <= 0 || first.memory > 100 || first.files <= 0 || first.files > 100 {
		t.Fatalf("measured %+v", first)
	}
	burn(t, 200*time.Millisecond)
	for range 100 {
		f, err := os.Open(os.DevNull)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
	}
	held := make([]byte, 64<<20)
	for i := 0; i < len(held); i += os.Getpagesize() {
		held[i] = 1
	}
	second := measure(now.Add(cpuSpan))
	least := 100 * 0.2 / 5 / float64(runtime.GOMAXPROCS(0))
	if second.cpu < least || second.cpu > 200 {
		t.Errorf("%v %% of cpu, want %v at least", second.cpu, least)
	}
	if second.files <= first.files {
		t.Errorf("%v %% of files after 100 more, %v before", second.files, first.files)
	}
	if second.memory <= first.memory {
		t.Errorf("%v %% of memory after 64 MiB more, %v before", second.memory, first.memory)
	}
	runtime.KeepAlive(held)
}

// burn uses a processor for d, as the kernel counts it.
func burn(t *testing.T, d time.Duration) {
	t.Helper()
	var m sampler
	one := group{}
	m.processors(one, noon)
	proxytest.Eventually(t, 30*time.Second, "a processor was used", func() bool {
		for x := range uint64(1 << 22) {
			sink += x
		}
		m.cpu = m.cpu[:1]
		return m.processors(one, noon.Add(cpuSpan))/100*5*float64(runtime.GOMAXPROCS(0)) > d.Seconds()
	})
}

var sink uint64

// Both ways of counting files agree.
func TestPressureFiles(t *testing.T) {
	for range 1500 {
		f, err := os.Open(os.DevNull)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
	}
	fast, slow := openFiles(), countFiles()
	if slow < 1500 || fast < slow-5 || fast > slow+5 {
		t.Errorf("%d open files by size, %d by name", fast, slow)
	}
}

// Many files are not counted each second.
func TestPressureManyFiles(t *testing.T) {
	m := &sampler{open: manyFiles, counted: noon}
	m.files(noon.Add(4 * time.Second))
	if m.open != manyFiles {
		t.Error("many files are counted again after 4 s")
	}
	m.files(noon.Add(manyFilesEvery))
	if m.open == manyFiles {
		t.Error("many files are not counted again after 5 s")
	}
}

func BenchmarkPressureMeasure(b *testing.B) {
	measure, now := newSampler(), noon
	b.ReportAllocs()
	for b.Loop() {
		now = now.Add(time.Second)
		measure(now)
	}
}

func BenchmarkPressureFiles(b *testing.B) {
	for range 5000 {
		f, err := os.Open(os.DevNull)
		if err != nil {
			b.Fatal(err)
		}
		defer f.Close()
	}
	f := func(name string, count func() int) {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				count()
			}
		})
	}
	f("size", openFiles)
	f("names", countFiles)
}
