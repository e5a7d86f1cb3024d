package admission

import (
	"encoding/binary"
	"net/netip"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"weir/proxy"
)

var noon = time.Date(2020, 2, 29, 12, 0, 0, 0, time.UTC)

func addr4(n uint32) netip.Addr {
	return netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, n)))
}

func TestBansClient(t *testing.T) {
	f := func(in, want string) {
		t.Helper()
		if got := client(netip.MustParseAddr(in)).String(); got != want {
			t.Errorf("client(%s) = %s, want %s", in, got, want)
		}
	}
	f("10.0.0.1", "10.0.0.1")
	f("::ffff:10.0.0.1", "10.0.0.1")
	f("::ffff:10.0.0.1%eth0", "10.0.0.1")
	f("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::")
	f("fe80::1%eth0", "fe80::")
	if got := client(netip.Addr{}); got.IsValid() {
		t.Errorf("client of no address = %v", got)
	}
}

// Limit offences within a minute are a ban, however they are spread; fewer are not.
func TestBansLimit(t *testing.T) {
	f := func(limit int, every time.Duration, want int) {
		t.Helper()
		b, a := newBans(limit, nil, zap.NewNop()), addr4(1)
		got, now := 1, noon
		for b.offend(a, proxy.Unauthorized, now); b.check(a, now) == nil && got < 1000; got++ {
			now = now.Add(every)
			b.offend(a, proxy.Unauthorized, now)
		}
		if got != want {
			t.Errorf("limit %d, an offence each %v: banned after %d, want %d", limit, every, got, want)
		}
	}
	f(1, time.Hour, 1)
	f(5, 0, 5)
	f(5, time.Second, 5)
	f(5, 14*time.Second, 5) // the fifth after 56 s
	f(5, 16*time.Second, 1000)
	f(5, time.Hour, 1000)
}

func TestBansDecay(t *testing.T) {
	f := func(pause time.Duration, want proxy.Reason) {
		t.Helper()
		b, a := newBans(5, nil, zap.NewNop()), addr4(1)
		for range 4 {
			b.offend(a, proxy.BadRequest, noon)
		}
		now := noon.Add(pause)
		b.offend(a, proxy.BadRequest, now)
		wantReason(t, pause.String(), b.check(a, now), want)
	}
	f(59*time.Second, proxy.Banned)
	f(70*time.Second, "")
	f(3*time.Minute, "")
	f(-time.Second, proxy.Banned) // two goroutines may look at the clock in turn and come in another
}

func TestBansReasons(t *testing.T) {
	f := func(r proxy.Reason, want proxy.Reason) {
		t.Helper()
		b, a := newBans(3, nil, zap.NewNop()), addr4(1)
		for range 100 {
			b.offend(a, r, noon)
		}
		wantReason(t, string(r), b.check(a, noon), want)
	}
	f(proxy.Unauthorized, proxy.Banned)
	f(proxy.BadRequest, proxy.Banned)
	for _, r := range []proxy.Reason{
		proxy.Forbidden, proxy.NotFound, proxy.TooMany, proxy.TooFast, proxy.Full, proxy.NoBandwidth, proxy.Draining,
		proxy.NoVerdict, proxy.Banned, proxy.Overloaded, proxy.OriginDown, proxy.NoSession, proxy.BadTransport,
	} {
		f(r, "")
	}
}

// Each ban is twice as long as the last, up to an hour; a quiet day forgets.
func TestBansDouble(t *testing.T) {
	b, a, now := newBans(2, nil, zap.NewNop()), addr4(1), noon
	f := func(want time.Duration) {
		t.Helper()
		b.offend(a, proxy.Unauthorized, now)
		wantReason(t, "first offence", b.check(a, now), "")
		b.offend(a, proxy.Unauthorized, now)
		r := wantReason(t, "second offence", b.check(a, now), proxy.Banned)
		if r.RetryAfter != want {
			t.Errorf("banned for %v, want %v", r.RetryAfter, want)
		}
		r = wantReason(t, "nearly over", b.check(a, now.Add(want-time.Second)), proxy.Banned)
		if r.RetryAfter != banStep {
			t.Errorf("a second before the end: retry after %v, want %v", r.RetryAfter, banStep)
		}
		now = now.Add(want)
		wantReason(t, "over", b.check(a, now), "")
	}
	for _, minutes := range []time.Duration{1, 2, 4, 8, 16, 32, 60, 60, 60} {
		f(minutes * time.Minute)
	}
	now = now.Add(forgetBan - time.Second)
	f(time.Hour)
	now = now.Add(forgetBan)
	f(time.Minute)
	f(2 * time.Minute)
}

func TestBansOffencesWhileBanned(t *testing.T) {
	b, a := newBans(2, nil, zap.NewNop()), addr4(1)
	for range 50 {
		b.offend(a, proxy.Unauthorized, noon)
	}
	r := wantReason(t, "50 offences", b.check(a, noon), proxy.Banned)
	if r.RetryAfter != firstBan {
		t.Errorf("banned for %v, want %v", r.RetryAfter, firstBan)
	}
	b.offend(a, proxy.Unauthorized, noon.Add(firstBan))
	wantReason(t, "one offence after the ban", b.check(a, noon.Add(firstBan)), "")
}

func TestBansUnit(t *testing.T) {
	b := newBans(2, nil, zap.NewNop())
	f := func(offender, other string, want proxy.Reason) {
		t.Helper()
		for range 2 {
			b.offend(netip.MustParseAddr(offender), proxy.Unauthorized, noon)
		}
		wantReason(t, other, b.check(netip.MustParseAddr(other), noon), want)
	}
	f("10.0.0.1", "10.0.0.2", "")
	f("10.0.0.1", "::ffff:10.0.0.1", proxy.Banned)
	f("2001:db8::1", "2001:db8::2", proxy.Banned)
	f("2001:db8::1", "2001:db8:0:1::1", "")
	f("fe80::1%eth0", "fe80::1%eth1", proxy.Banned)
	b.offend(netip.Addr{}, proxy.Unauthorized, noon)
	b.offend(netip.Addr{}, proxy.Unauthorized, noon)
	wantReason(t, "no address", b.check(netip.Addr{}, noon), "")
}

// A balancer is never banned, not even by a neighbour in its /64.
func TestBansSpared(t *testing.T) {
	spared := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("2001:db8::1/128")}
	b := newBans(1, spare(spared, nil), zap.NewNop())
	f := func(offender, address string, want proxy.Reason) {
		t.Helper()
		b.offend(netip.MustParseAddr(offender), proxy.Unauthorized, noon)
		wantReason(t, offender+" offends, "+address, b.check(netip.MustParseAddr(address), noon), want)
	}
	f("10.0.0.1", "10.0.0.1", "")
	f("::ffff:10.0.0.1", "10.0.0.1", "")
	f("2001:db8::1", "2001:db8::1", "")
	f("2001:db8::1", "2001:db8::2", "")
	f("2001:db8::2", "2001:db8::2", proxy.Banned)
	f("2001:db8::2", "2001:db8::1", "")
	if watched, banned := b.len(); watched != 1 || banned != 0 { // noon is long ago
		t.Errorf("%d remembered and %d banned, want 1 and 0", watched, banned)
	}
}

// However many addresses come, the tables are bounded and who is banned stays so.
func TestBansFlood(t *testing.T) {
	b, now := newBans(2, nil, zap.NewNop()), time.Now()
	bad := netip.MustParseAddr("192.0.2.1")
	b.offend(bad, proxy.Unauthorized, now)
	b.offend(bad, proxy.Unauthorized, now)
	for i := range uint32(maxBans + 5000) {
		b.offend(addr4(0x0a000000+i), proxy.Unauthorized, now)
	}
	wantReason(t, "banned before the flood", b.check(bad, now), proxy.Banned)
	if watched, banned := b.len(); watched != maxBans || banned != 1 {
		t.Errorf("%d watched and %d banned, want %d and 1", watched, banned, maxBans)
	}
	for i := range uint32(maxBans + 5000) {
		b.offend(addr4(0x0b000000+i), proxy.Unauthorized, now)
		b.offend(addr4(0x0b000000+i), proxy.Unauthorized, now)
	}
	if _, banned := b.len(); banned != maxBans {
		t.Errorf("%d banned, want %d", banned, maxBans)
	}
}

// One line per ban; none per offence or refused connection. Many at once are one ban.
func TestBansLog(t *testing.T) {
	core, logs := observer.New(zap.DebugLevel)
	b := newBans(10, nil, zap.New(core))
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 100 {
				b.offend(netip.MustParseAddr("2001:db8::7"), proxy.Unauthorized, noon)
				b.check(netip.MustParseAddr("2001:db8::8"), noon)
			}
		})
	}
	all.Wait()
	lines := logs.TakeAll()
	if len(lines) != 1 {
		t.Fatalf("%d lines, want 1", len(lines))
	}
	got := lines[0].ContextMap()
	if got["address"] != "2001:db8::/64" || got["for"] != time.Minute || got["times"] != int64(1) {
		t.Errorf("logged %v", got)
	}
}

func TestBansNil(t *testing.T) {
	b := newBans(0, nil, zap.NewNop())
	if b != nil {
		t.Fatal("newBans(0) is not nil")
	}
	b.offend(addr4(1), proxy.Unauthorized, noon)
	wantReason(t, "nil bans", b.check(addr4(1), noon), "")
	if watched, banned := b.len(); watched != 0 || banned != 0 {
		t.Errorf("nil bans remember %d and %d", watched, banned)
	}
}

func TestBansAllocateNothing(t *testing.T) {
	b := newBans(1, nil, zap.NewNop())
	bad, good := netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("2001:db9::1%eth0")
	b.offend(bad, proxy.Unauthorized, noon)
	for _, a := range []netip.Addr{bad, good} {
		if n := testing.AllocsPerRun(100, func() { b.check(a, noon) }); n != 0 {
			t.Errorf("check(%v) allocates %v times", a, n)
		}
	}
}

// Promise: check allocates nothing, with all tables full.
func BenchmarkBans(b *testing.B) {
	bans, now := newBans(2, nil, zap.NewNop()), time.Now()
	for i := range uint32(maxBans) {
		bans.offend(addr4(0x0a000000+i), proxy.Unauthorized, now)
		bans.offend(addr4(0x0b000000+i), proxy.Unauthorized, now)
		bans.offend(addr4(0x0b000000+i), proxy.Unauthorized, now)
	}
	f := func(name string, a netip.Addr) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				bans.check(a, now)
			}
		})
	}
	f("free", addr4(1))
	f("free6", netip.MustParseAddr("2001:db8::1"))
	f("banned", addr4(0x0b000001))
}
