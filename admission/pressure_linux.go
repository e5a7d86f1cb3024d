package admission

import (
	"os"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// manyFiles is how many open ones are counted name by name only so often: 10 000
// names take some 10 ms.
const (
	manyFiles      = 1000
	manyFilesEvery = 5 * time.Second
)

const groupMounts = "/sys/fs/cgroup"

// A sampler measures this process. It is used by one goroutine.
type sampler struct {
	cpu     cpuWindow
	machine float64 // bytes of memory; 0 if not known
	open    int     // files, as counted last
	counted time.Time
}

func newSampler() func(time.Time) load {
	m := &sampler{machine: 1024 * field(content("/proc/meminfo"), "MemTotal:")}
	return m.measure
}

func (m *sampler) measure(now time.Time) load {
	groups := content("/proc/self/cgroup")
	return load{
		cpu:    m.processors(groupOf(groups, groupMounts, "cpu"), now),
		memory: m.memory(groupOf(groups, groupMounts, "memory")),
		files:  m.files(now),
	}
}

// processors is of GOMAXPROCS, or of the control group's quota where that is
// less: the runtime rounds it up, and to 2 at least.
func (m *sampler) processors(g group, now time.Time) float64 {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		return unknown
	}
	used := time.Duration(u.Utime.Nano() + u.Stime.Nano())
	return m.cpu.add(cpuTime{now, used}, min(float64(runtime.GOMAXPROCS(0)), g.processors()))
}

// A cpuWindow holds the samples of the last five seconds and one before them.
type cpuWindow []cpuTime

type cpuTime struct {
	at   time.Time
	used time.Duration // since the process began
}

const cpuSpan = 5 * time.Second

// add returns the percentage of procs processors that were used over the last
// five seconds, unknown while there are fewer: beginning takes much.
func (w *cpuWindow) add(t cpuTime, procs float64) float64 {
	*w = append(*w, t)
	// Ticks come a little early and late, and the window is about five of them.
	for len(*w) > 1 && t.at.Sub((*w)[1].at) >= cpuSpan-cpuSpan/20 {
		*w = append((*w)[:0], (*w)[1:]...)
	}
	first := (*w)[0]
	span := t.at.Sub(first.at)
	if span < cpuSpan-cpuSpan/20 {
		return unknown
	}
	return 100 * float64(t.used-first.used) / (float64(span) * procs)
}

// memory is the control group's, and without a limit there this process's share
// of the machine's.
func (m *sampler) memory(g group) float64 {
	if percent := g.memory(m.machine); percent >= 0 {
		return percent
	}
	f := strings.Fields(content("/proc/self/statm")) // proc_pid_statm(5): the second is what is resident, in pages
	if len(f) < 2 || m.machine == 0 {
		return unknown
	}
	return 100 * number(f[1]) * float64(os.Getpagesize()) / m.machine
}

func (m *sampler) files(now time.Time) float64 {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil || limit.Cur == 0 {
		return unknown
	}
	if m.open < manyFiles || now.Sub(m.counted) >= manyFilesEvery {
		m.open, m.counted = openFiles(), now
	}
	if m.open == 0 {
		return unknown
	}
	return 100 * float64(m.open) / float64(limit.Cur)
}

// openFiles counts them, 0 for not known. Since Linux 6.2 their number is the
// size of the directory; before that it is 0, and the names are counted.
func openFiles() int {
	if i, err := os.Stat("/proc/self/fd"); err == nil && i.Size() > 0 {
		return int(i.Size())
	}
	return countFiles()
}

func countFiles() int {
	d, err := os.Open("/proc/self/fd")
	if err != nil {
		return 0
	}
	defer d.Close()
	n := -1 // the one that is reading
	for {
		names, err := d.Readdirnames(1000)
		n += len(names)
		if err != nil {
			return max(n, 0)
		}
	}
}
