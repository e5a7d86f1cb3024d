package admission

import (
	"math"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"weir/proxy"
)

// taken is how many of n viewers may begin now.
func taken(r *rates, a netip.Addr, n int, now time.Time) int {
	got := 0
	for range n {
		if r.take(a, now) == nil {
			got++
		}
	}
	return got
}

func TestRates(t *testing.T) {
	f := func(all, each float64, atOnce, afterSecond, afterMinute int) {
		t.Helper()
		r := newRates(&Options{Rate: all, ClientRate: each})
		now := noon
		for i, want := range []int{atOnce, afterSecond, afterMinute} {
			now = now.Add([]time.Duration{0, time.Second, time.Minute}[i])
			if got := taken(r, addr4(1), 1000, now); got != want {
				t.Errorf("rates %v and %v: %d viewers in step %d, want %d", all, each, got, i, want)
			}
		}
	}
	f(10, 0, 10, 10, 10)
	f(0, 10, 10, 10, 10)
	f(10, 3, 3, 3, 3)
	f(3, 10, 3, 3, 3)
	f(2.5, 0, 2, 2, 2)
	f(0.5, 0, 1, 0, 1)
	f(0, 0.5, 1, 0, 1)
	f(math.Inf(1), 0, 1000, 1000, 1000)
	f(1e300, 1e300, 1000, 1000, 1000)
}

func TestRatesClients(t *testing.T) {
	r := newRates(&Options{ClientRate: 2})
	f := func(address string, want int) {
		t.Helper()
		if got := taken(r, netip.MustParseAddr(address), 10, noon); got != want {
			t.Errorf("%d viewers of %s, want %d", got, address, want)
		}
	}
	f("10.0.0.1", 2)
	f("::ffff:10.0.0.1", 0)
	f("10.0.0.2", 2)
	f("2001:db8::1", 2)
	f("2001:db8::2", 0)
	f("2001:db8:0:1::1", 2)
}

// A refusal by one bucket leaves the other as it was.
func TestRatesRefusalTakesNothing(t *testing.T) {
	r := newRates(&Options{Rate: 10, ClientRate: 2})
	if got := taken(r, addr4(1), 100, noon); got != 2 {
		t.Fatalf("%d viewers of one client, want 2", got)
	}
	if got := taken(r, addr4(2), 1, noon) + taken(r, addr4(3), 2, noon) + taken(r, addr4(4), 2, noon) +
		taken(r, addr4(5), 2, noon) + taken(r, addr4(6), 2, noon); got != 8 {
		t.Fatalf("%d viewers of others, want the other 8 of 10", got)
	}
	if got := taken(r, addr4(2), 100, noon); got != 0 {
		t.Errorf("%d viewers over the rate of all", got)
	}
	now := noon.Add(100 * time.Millisecond) // one token for all; the client's bucket has one and a bit
	if got := taken(r, addr4(2), 100, now); got != 1 {
		t.Errorf("%d viewers after a tenth of a second, want 1", got)
	}
}

func TestRatesFull(t *testing.T) {
	r := newRates(&Options{Rate: 1, ClientRate: 1})
	for range 10 {
		wantReason(t, "full before", r.full(addr4(1), noon), "")
	}
	if n := r.len(); n != 0 {
		t.Errorf("%d buckets for those who only asked", n)
	}
	wantReason(t, "take", r.take(addr4(1), noon), "")
	wantReason(t, "full after", r.full(addr4(1), noon), proxy.TooFast)
	wantReason(t, "a second later", r.full(addr4(1), noon.Add(time.Second)), "")
}

// Retry-After is when there is a token again, and up to half as much later.
func TestRatesRetryAfter(t *testing.T) {
	f := func(all, each float64, want time.Duration) {
		t.Helper()
		r := newRates(&Options{Rate: all, ClientRate: each})
		taken(r, addr4(1), 1, noon)
		least, most := time.Duration(math.MaxInt64), time.Duration(0)
		for range 200 {
			got := wantReason(t, "second viewer", r.take(addr4(1), noon), proxy.TooFast).RetryAfter
			least, most = min(least, got), max(most, got)
		}
		if least < want || most > want*3/2+1 || most-least < want/4 {
			t.Errorf("rates %v and %v: retry after %v to %v, want %v to %v", all, each, least, most, want, want*3/2)
		}
		wantReason(t, "just before", r.full(addr4(1), noon.Add(want-time.Microsecond)), proxy.TooFast)
		wantReason(t, "on time", r.take(addr4(1), noon.Add(want)), "")
	}
	f(1, 0, time.Second)
	f(0, 1, time.Second)
	f(1, 0.1, 10*time.Second)
	f(0.1, 1, 10*time.Second)
	f(0.3, 0, 10*time.Second/3)
}

func TestRatesRace(t *testing.T) {
	r := newRates(&Options{Rate: 100, ClientRate: 10})
	var all sync.WaitGroup
	var in atomic.Int32
	for i := range uint32(50) {
		all.Go(func() { in.Add(int32(taken(r, addr4(i%20), 20, noon))) })
	}
	all.Wait()
	if in.Load() != 100 {
		t.Errorf("%d viewers, want exactly 100", in.Load())
	}
}

func TestRatesAreBounded(t *testing.T) {
	r := newRates(&Options{ClientRate: 1})
	for i := range uint32(maxRates + 1000) {
		r.take(addr4(i), noon)
	}
	if n := r.len(); n != maxRates {
		t.Errorf("%d buckets, want %d", n, maxRates)
	}
	// Who is refused by the rate of all gets none.
	r = newRates(&Options{Rate: 5, ClientRate: 1})
	for i := range uint32(1000) {
		r.take(addr4(i), noon)
	}
	if n := r.len(); n != 5 {
		t.Errorf("%d buckets, want those of the 5 who came in", n)
	}
}

func TestRatesNil(t *testing.T) {
	r := newRates(&Options{})
	if r != nil {
		t.Fatal("newRates without any is not nil")
	}
	wantReason(t, "nil rates", r.take(addr4(1), noon), "")
	wantReason(t, "nil rates", r.full(addr4(1), noon), "")
	if r.len() != 0 {
		t.Error("nil rates have buckets")
	}
}

// Promise: nothing is allocated for a client that is known.
func BenchmarkRates(b *testing.B) {
	r := newRates(&Options{Rate: 1e9, ClientRate: 1e9})
	for i := range uint32(maxRates) {
		r.take(addr4(i), noon)
	}
	now, a := noon, addr4(maxRates/2)
	f := func(name string, do func()) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				do()
			}
		})
	}
	f("known", func() { now = now.Add(time.Microsecond); r.take(a, now) })
	f("full", func() { r.full(a, now) })
	next := uint32(1 << 20)
	f("new", func() { next++; r.take(addr4(next), now) })
}

func TestRatesAllocateNothing(t *testing.T) {
	r := newRates(&Options{Rate: 1e6, ClientRate: 1e6})
	a := netip.MustParseAddr("2001:db8::1")
	if n := testing.AllocsPerRun(100, func() { r.take(a, noon) }); n != 0 {
		t.Errorf("take allocates %v times", n)
	}
}
