package proxy_test

import (
	"flag"
	"math"
	"testing"

	"weir/proxy"
)

var (
	_ flag.Value = (*proxy.Bytes)(nil)
	_ flag.Value = (*proxy.BitRate)(nil)
)

func TestBytes(t *testing.T) {
	f := func(in string, want proxy.Bytes, text string) {
		t.Helper()
		var b proxy.Bytes
		if err := b.Set(in); err != nil || b != want {
			t.Errorf("Bytes.Set(%q) = %d, %v, want %d", in, b, err, want)
		}
		if got := b.String(); got != text {
			t.Errorf("Bytes(%d) = %q, want %q", b, got, text)
		}
	}
	f("0", 0, "0")
	f("17", 17, "17")
	f("17B", 17, "17")
	f("64k", 64000, "64000")
	f("64kB", 64000, "64000")
	f("64KiB", 64<<10, "64KiB")
	f("512MiB", 512<<20, "512MiB")
	f("512 mib", 512<<20, "512MiB")
	f(" 20GiB ", 20<<30, "20GiB")
	f("1.5GiB", 3<<29, "1536MiB")
	f("2T", 2e12, "1953125000KiB")
	f("1e3", 1000, "1000")
	f("9007199254740993", 1<<53+1, "9007199254740993") // more than a float64 can tell apart
}

func TestBitRate(t *testing.T) {
	f := func(in string, want proxy.BitRate, text string) {
		t.Helper()
		var r proxy.BitRate
		if err := r.Set(in); err != nil || r != want {
			t.Errorf("BitRate.Set(%q) = %d, %v, want %d", in, r, err, want)
		}
		if got := r.String(); got != text {
			t.Errorf("BitRate(%d) = %q, want %q", r, got, text)
		}
	}
	f("0", 0, "0bit/s")
	f("500kbit/s", 500e3, "500kbit/s")
	f("8Gbit/s", 8e9, "8Gbit/s")
	f("4M", 4e6, "4Mbit/s")
	f("2.5Mbit/s", 2500e3, "2500kbit/s")
	f("1 bit/s", 1, "1bit/s")
	f("1234567", 1234567, "1234567bit/s")
}

func TestUnitsRefuse(t *testing.T) {
	f := func(in string) {
		t.Helper()
		var b proxy.Bytes
		if err := b.Set(in); err == nil {
			t.Errorf("Bytes.Set(%q) = %d, want an error", in, b)
		}
		var r proxy.BitRate
		if err := r.Set(in); err == nil {
			t.Errorf("BitRate.Set(%q) = %d, want an error", in, r)
		}
	}
	f("")
	f(" ")
	f("M")
	f("-1")
	f("-1k")
	f("NaN")
	f("Inf")
	f("+Inf")
	f("1e30")
	f("10000000T")
	f("12 parsecs")
	f("1,5G")
	f("1G1")
}

// TestUnitsReadBack: a value printed as a default is read as the same.
func TestUnitsReadBack(t *testing.T) {
	f := func(n int64) {
		t.Helper()
		b, r := proxy.Bytes(n), proxy.BitRate(n)
		var b2 proxy.Bytes
		var r2 proxy.BitRate
		if err := b2.Set(b.String()); err != nil || b2 != b {
			t.Errorf("Bytes %d, printed %q, is read as %d, %v", b, b, b2, err)
		}
		if err := r2.Set(r.String()); err != nil || r2 != r {
			t.Errorf("BitRate %d, printed %q, is read as %d, %v", r, r, r2, err)
		}
	}
	for _, n := range []int64{0, 1, 999, 1000, 1023, 1024, 1025, 4e6, 512 << 20, 1<<40 + 1, 8e9, 1<<53 - 1, 1<<53 + 1, math.MaxInt64 / 4} {
		f(n)
	}
}
