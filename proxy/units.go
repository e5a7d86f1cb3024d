package proxy

import (
	"fmt"
	"strconv"
	"strings"
)

// Bytes is a size. As a flag it reads "512MiB", "20GiB", "64k" (1000) or a
// plain number.
type Bytes int64

// BitRate is in bits per second. As a flag it reads "8Gbit/s", "500kbit/s",
// "4M" or a plain number.
type BitRate int64

var byteUnits = []unit{{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10},
	{"TB", 1e12}, {"GB", 1e9}, {"MB", 1e6}, {"kB", 1e3}, {"T", 1e12}, {"G", 1e9}, {"M", 1e6}, {"k", 1e3}, {"B", 1}}

var bitUnits = []unit{{"Tbit/s", 1e12}, {"Gbit/s", 1e9}, {"Mbit/s", 1e6}, {"kbit/s", 1e3}, {"bit/s", 1},
	{"T", 1e12}, {"G", 1e9}, {"M", 1e6}, {"k", 1e3}}

type unit struct {
	name string
	n    float64
}

// Set implements flag.Value.
func (b *Bytes) Set(s string) error {
	n, err := parseUnit(s, byteUnits, "a size like 512MiB or 20GiB")
	*b = Bytes(n)
	return err
}

// String implements flag.Value; the result is read back to the same value.
func (b Bytes) String() string { return formatUnit(int64(b), byteUnits[:4], "") }

// Set implements flag.Value.
func (r *BitRate) Set(s string) error {
	n, err := parseUnit(s, bitUnits, "a rate like 8Gbit/s or 500kbit/s")
	*r = BitRate(n)
	return err
}

// String implements flag.Value; the result is read back to the same value.
func (r BitRate) String() string { return formatUnit(int64(r), bitUnits[:4], "bit/s") }

func parseUnit(s string, units []unit, want string) (int64, error) {
	num, mul := strings.TrimSpace(s), 1.0
	for _, u := range units {
		if t, ok := cutSuffixFold(num, u.name); ok {
			num, mul = strings.TrimSpace(t), u.n
			break
		}
	}
	if n, err := strconv.ParseInt(num, 10, 64); err == nil && n >= 0 && n < 1<<62/int64(mul) {
		return n * int64(mul), nil // exact, where a float64 is not
	}
	f, err := strconv.ParseFloat(num, 64)
	if v := f * mul; err == nil && v >= 0 && v < 1<<62 {
		return int64(v), nil
	}
	return 0, fmt.Errorf("%q is not %s", s, want)
}

func cutSuffixFold(s, suffix string) (string, bool) {
	if i := len(s) - len(suffix); i >= 0 && strings.EqualFold(s[i:], suffix) {
		return s[:i], true
	}
	return s, false
}

// formatUnit uses the largest unit that divides n.
func formatUnit(n int64, units []unit, base string) string {
	for _, u := range units {
		if m := int64(u.n); n != 0 && n%m == 0 {
			return strconv.FormatInt(n/m, 10) + u.name
		}
	}
	return strconv.FormatInt(n, 10) + base
}
