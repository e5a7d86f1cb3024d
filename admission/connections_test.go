package admission

import (
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"weir/proxy"
)

// 1000 at once at a limit of 100: exactly 100 are in, and when they have left
// exactly 100 again.
func TestConnectionsExact(t *testing.T) {
	f := func(all, each, clients, want int) {
		t.Helper()
		c := newConnections(all, each, nil)
		for range 3 {
			var crowd sync.WaitGroup
			var in atomic.Int32
			leaves := make(chan func(), 1000)
			for i := range uint32(1000) {
				crowd.Go(func() {
					if leave, err := c.enter(addr4(i % uint32(clients))); err == nil {
						in.Add(1)
						leaves <- leave
					}
				})
			}
			crowd.Wait()
			close(leaves)
			if open, _ := c.len(); int(in.Load()) != want || open != want {
				t.Errorf("all %d, each %d, %d clients: %d are in and %d counted, want %d", all, each, clients, in.Load(), open, want)
			}
			for leave := range leaves {
				for range 3 { // more than once, at once
					crowd.Go(leave)
				}
			}
			crowd.Wait()
			if open, clients := c.len(); open != 0 || clients != 0 {
				t.Errorf("%d connections and %d clients are counted after all have left", open, clients)
			}
		}
	}
	f(100, 0, 7, 100)
	f(0, 10, 10, 100)
	f(100, 20, 50, 100)
	f(0, 0, 3, 1000)
}

func TestConnectionsReasons(t *testing.T) {
	c := newConnections(3, 2, nil)
	f := func(address string, want proxy.Reason) func() {
		t.Helper()
		leave, err := c.enter(netip.MustParseAddr(address))
		r := wantReason(t, address, err, want)
		if r != nil && (leave != nil || r.RetryAfter < 2*time.Second || r.RetryAfter > 10*time.Second) {
			t.Errorf("%s: refused with retry after %v", address, r.RetryAfter)
		}
		return leave
	}
	f("2001:db8::1", "")
	f("2001:db8::2", "")
	f("2001:db8::3", proxy.TooMany) // the same /64
	last := f("10.0.0.1", "")
	f("10.0.0.2", proxy.Full)
	f("2001:db8::3", proxy.Full)
	last()
	last()
	f("::ffff:10.0.0.2", "")
	f("10.0.0.2", proxy.Full)
}

// A balancer may have more than one client may, but not more than all.
func TestConnectionsSpared(t *testing.T) {
	c := newConnections(5, 1, spare([]netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("::ffff:11.0.0.0/104")}, nil))
	f := func(address string, want proxy.Reason) {
		t.Helper()
		_, err := c.enter(netip.MustParseAddr(address))
		wantReason(t, address, err, want)
	}
	f("10.0.0.1", "")
	f("10.0.0.1", "")
	f("::ffff:10.0.0.1", "")
	f("11.0.0.1", "")
	f("12.0.0.1", "")
	f("10.0.0.1", proxy.Full)
	if open, clients := c.len(); open != 5 || clients != 1 {
		t.Errorf("%d open of %d clients, want 5 of 1", open, clients)
	}
}

// Promise: at most 300 ns to come and go.
func BenchmarkConnections(b *testing.B) {
	c := newConnections(100_000, 100, spare([]netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}, nil))
	for i := range uint32(50_000) {
		c.enter(addr4(i))
	}
	f := func(address string) {
		a := netip.MustParseAddr(address)
		b.Run(address, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				leave, _ := c.enter(a)
				leave()
			}
		})
	}
	f("192.0.2.1")
	f("10.0.0.1")
	f("2001:db8::1")
}
