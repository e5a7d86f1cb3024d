package admission

import (
	"iter"
	"math"
	"os"
	"path"
	"strconv"
	"strings"
)

// A group is a control group (cgroups(7)), and where its files are found.
type group struct {
	v1         bool
	root, path string // a mount point, and what is below it; "" for no group
}

// groupOf finds the one of a controller in the text of /proc/self/cgroup. Where
// both versions are mounted, the controller is in version 1 if it has a line.
func groupOf(text, mounts, controller string) group {
	var v2 group
	for line := range strings.Lines(text) {
		f := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(f) < 3 {
			continue
		}
		p := path.Clean("/" + f[2]) // it climbs if the group is not below that of the namespace
		for c := range strings.SplitSeq(f[1], ",") {
			if c == controller {
				return group{true, path.Join(mounts, c), p}
			}
		}
		if f[0] == "0" {
			v2 = group{false, mounts, p}
		}
	}
	return v2
}

// dirs are the group's directory and those that it is in, up to the mount
// point. In a container the path may be that outside: then there is only the
// mount point.
func (g group) dirs() iter.Seq[string] {
	return func(yield func(string) bool) {
		for p := g.path; p != "" && yield(path.Join(g.root, p)) && p != "/"; {
			p = path.Dir(p)
		}
	}
}

// processors is how many this group may use, infinite without a quota.
func (g group) processors() float64 {
	n := math.Inf(1)
	for dir := range g.dirs() {
		var quota, period float64
		if g.v1 {
			quota, period = value(dir+"/cpu.cfs_quota_us"), value(dir+"/cpu.cfs_period_us")
		} else if f := strings.Fields(content(dir + "/cpu.max")); len(f) == 2 {
			quota, period = number(f[0]), number(f[1])
		}
		if quota > 0 && period > 0 { // "max" and -1 are no number
			n = min(n, quota/period)
		}
	}
	return n
}

// memory is the percentage used of the nearest limit, of this group or one that
// it is in; unknown if there is none, or none below what the machine has.
func (g group) memory(machine float64) float64 {
	name := "/memory.max"
	if g.v1 {
		name = "/memory.limit_in_bytes"
	}
	for dir := range g.dirs() {
		limit := value(dir + name)
		if limit > 0 && (machine == 0 || limit < machine) {
			return 100 * g.used(dir) / limit
		}
	}
	return unknown
}

// used is without the pages of files, which the kernel drops when it needs
// memory. Those that were read more than once are no different: a cache that
// sends from disk would look full for ever.
func (g group) used(dir string) float64 {
	name, prefix := "/memory.current", ""
	if g.v1 {
		name, prefix = "/memory.usage_in_bytes", "total_"
	}
	stat := content(dir + "/memory.stat")
	files := field(stat, prefix+"inactive_file") + field(stat, prefix+"active_file")
	return max(value(dir+name)-files, 0)
}

// content is what a file holds; one that cannot be read holds nothing.
func content(name string) string {
	text, _ := os.ReadFile(name)
	return string(text)
}

func value(name string) float64 { return number(strings.TrimSpace(content(name))) }

// field is the number behind a name at the beginning of a line, 0 if it is not there.
func field(text, name string) float64 {
	for line := range strings.Lines(text) {
		if f := strings.Fields(line); len(f) > 1 && f[0] == name {
			return number(f[1])
		}
	}
	return 0
}

// number reads a count, 0 for what is none. A float64 is exact enough for all
// that are there.
func number(s string) float64 {
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil {
		return 0
	}
	return float64(n)
}
