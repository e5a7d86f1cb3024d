package passthrough

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
)

// readMachine reads what the kernel counts. What it cannot read is left out, and said.
func readMachine(iface string) (c counters, err error) {
	var errs [3]error
	c.cpu, errs[0] = parsed("/proc/stat", parseCPU)
	c.sent, errs[1] = parsed("/proc/net/dev", func(text string) (uint64, error) { return parseSent(text, iface) })
	c.hasSent = errs[1] == nil
	c.pressure, errs[2] = parsed("/proc/pressure/cpu", parsePressure)
	if errors.Is(errs[2], fs.ErrNotExist) || errors.Is(errs[2], errors.ErrUnsupported) {
		errs[2] = nil // a kernel made or started without it
	}
	return c, errors.Join(errs[:]...)
}

func parsed[T any](file string, parse func(string) (T, error)) (v T, err error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return v, err
	}
	if v, err = parse(string(b)); err != nil {
		err = fmt.Errorf("%s: %w", file, err)
	}
	return v, err
}

var errKernel = errors.New("is not as expected")

// parseCPU reads the first line of /proc/stat: the word cpu, and ticks for user, nice,
// system, idle, waiting for a disk, two kinds of interrupts and what other machines on
// the same host took; guests, who come then, are in user and nice already.
func parseCPU(text string) (t cpuTime, err error) {
	line, _, _ := strings.Cut(text, "\n")
	f := strings.Fields(line)
	if len(f) < 5 || f[0] != "cpu" {
		return cpuTime{}, errKernel
	}
	for i, word := range f[1:min(len(f), 9)] {
		n, err := strconv.ParseUint(word, 10, 64)
		if err != nil {
			return cpuTime{}, errKernel
		}
		t.total += n
		if i != 3 && i != 4 {
			t.busy += n
		}
	}
	return t, nil
}

// parseSent reads /proc/net/dev: two lines of headings and one for each interface, a
// name, a colon, eight numbers of what was received and eight of what was sent, bytes
// first. Without a name it adds up all but loopback.
func parseSent(text, iface string) (sum uint64, err error) {
	found := false
	for line := range strings.Lines(text) {
		name, rest, ok := strings.Cut(line, ":")
		name = strings.TrimSpace(name)
		if !ok || iface != "" && name != iface || iface == "" && name == "lo" {
			continue
		}
		f := strings.Fields(rest)
		if len(f) < 9 {
			return 0, errKernel
		}
		n, err := strconv.ParseUint(f[8], 10, 64)
		if err != nil {
			return 0, errKernel
		}
		sum, found = sum+n, true
	}
	if iface != "" && !found {
		return 0, fmt.Errorf("there is no interface %s any more", iface)
	}
	return sum, nil
}

// parsePressure reads /proc/pressure/cpu: the share of the last ten seconds, in
// percent, in which some process waited for the CPU.
func parsePressure(text string) (share float64, err error) {
	_, rest, ok := strings.Cut(text, "some avg10=")
	word, _, _ := strings.Cut(rest, " ")
	v, err := strconv.ParseFloat(word, 64)
	if !ok || err != nil || !(v >= 0 && v <= 100) {
		return 0, errKernel
	}
	return v / 100, nil
}
