package admission

import (
	"context"
	"fmt"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"

	"weir/proxy"
)

// A banning is an edge with bans in a cluster.
type banning struct {
	*Gate
	peer
	stop context.CancelFunc
}

// bannings run f with edges that are one cluster.
func bannings(t *testing.T, flags []string, f func(edge func(name string, trusted ...string) banning)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		all := newGossip(0)
		f(func(name string, trusted ...string) banning {
			g := gateOf(t, append(flags, "-admission.cluster=sum")...)
			g.peers = peer{all, name}
			for _, p := range trusted {
				g.bans.spared.trusted.Insert(netip.MustParsePrefix(p))
			}
			ctx, stop := context.WithCancel(ctx)
			go g.Run(ctx) //nolint:errcheck // ends with ctx
			synctest.Wait()
			return banning{g, peer{all, name}, stop}
		})
		stop()
		synctest.Wait()
	})
}

func (b banning) offends(address string, times int) {
	for range times {
		b.Offend(netip.MustParseAddr(address), proxy.BadRequest)
	}
}

func (b banning) in(t *testing.T, what, address string, want proxy.Reason) {
	t.Helper()
	leave, err := b.Accept(netip.MustParseAddr(address))
	if err == nil {
		leave()
	}
	wantReason(t, what+": "+address, err, want)
}

// pass lets gossip go round.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// TestBanElsewhere: what another edge has banned is let in here until it offends half
// as much as others may; who is trusted here never is.
func TestBanElsewhere(t *testing.T) {
	f := func(limit, want int) {
		t.Helper()
		bannings(t, []string{fmt.Sprintf("-admission.ban=%d", limit)}, func(edge func(string, ...string) banning) {
			a, b := edge("a"), edge("b", "192.0.2.99/32")
			for _, bad := range []string{"192.0.2.1", "2001:db8::1", "192.0.2.99"} {
				a.offends(bad, limit)
				a.in(t, "banned there", bad, proxy.Banned)
			}
			pass(bansSoon + 2*time.Second)
			for _, bad := range []string{"192.0.2.1", "2001:db8::7"} { // of the same /64
				b.offends(bad, want-1)
				b.in(t, "not yet enough", bad, "")
				b.offends(bad, 1)
				b.in(t, "enough", bad, proxy.Banned)
			}
			b.offends("192.0.2.2", limit-1)
			b.in(t, "of whom nothing was told", "192.0.2.2", "")
			b.offends("192.0.2.99", 100)
			b.in(t, "trusted", "192.0.2.99", "")
		})
	}
	f(10, 5)
	f(5, 3)
	f(2, 1)
	f(1, 1)
}

// TestBanElsewhereIsForgotten when it is over, lifted, or its edge has died.
func TestBanElsewhereIsForgotten(t *testing.T) {
	f := func(what string, after time.Duration, do func(a banning)) {
		t.Helper()
		bannings(t, []string{"-admission.ban=4"}, func(edge func(string, ...string) banning) {
			a, b := edge("a"), edge("b")
			const bad = "192.0.2.1"
			a.offends(bad, 4)
			pass(2 * time.Second)
			if n := b.bans.hinted(time.Now()); n != 1 {
				t.Fatalf("%s: %d are heard of, want 1", what, n)
			}
			do(a)
			pass(after)
			if n := b.bans.hinted(time.Now()); n != 0 {
				t.Errorf("%s: %d are heard of after %v", what, n, after)
			}
			b.offends(bad, 3)
			b.in(t, what, bad, "")
		})
	}
	f("it is over", firstBan, func(banning) {})
	f("it was lifted", bansSoon+2*time.Second, func(a banning) {
		if !a.bans.lift(addr4(0xc0000201), time.Now()) {
			t.Error("not lifted")
		}
	})
	long := func(a banning) { // for an hour, so that it is not over before
		a.bans.ban(0xc0000201, longest)
		pass(bansSoon + 2*time.Second)
		a.stop()
	}
	f("its edge has died", bansTTL+2*time.Second, long)
}

// TestBanIsToldAgain for as long as it lasts, also to who comes later, and no longer.
func TestBanIsToldAgain(t *testing.T) {
	bannings(t, []string{"-admission.ban=2"}, func(edge func(string, ...string) banning) {
		a := edge("a")
		a.offends("192.0.2.1", 2)
		for range 5 { // 31 minutes of bans
			for a.bans.check(addr4(0xc0000201), time.Now()) != nil {
				pass(time.Second)
			}
			a.offends("192.0.2.1", 2)
		}
		pass(10 * time.Minute)
		b := edge("b")
		pass(2 * time.Second)
		if n := b.bans.elsewhere(addr4(0xc0000201), time.Now()); n != 1 {
			t.Errorf("%d edges have banned it, want 1", n)
		}
		pass(40 * time.Minute)
		if told, any := b.hears("a"); any {
			t.Errorf("still told: %v", told)
		}
	})
}

// hears is what another node tells now of its bans, if anything.
func (b banning) hears(node string) (told []toldBan, any bool) {
	for name, m := range b.Told(bansTopic) {
		if name == node {
			_, told, any = decodeBans(m)
		}
	}
	return told, any
}

// TestHintedBansAreNotTold: what came about by another edge's word is not told on, or
// two edges would keep each other's bans alive for ever.
func TestHintedBansAreNotTold(t *testing.T) {
	bannings(t, []string{"-admission.ban=4"}, func(edge func(string, ...string) banning) {
		a, b := edge("a"), edge("b")
		a.offends("192.0.2.1", 4)
		pass(7 * time.Second)
		b.offends("192.0.2.1", 2)
		b.in(t, "half is enough", "192.0.2.1", proxy.Banned)
		b.offends("192.0.2.2", 4)
		pass(7 * time.Second)
		if told, _ := a.hears("b"); len(told) != 1 || told[0].client != addr4(0xc0000202) {
			t.Errorf("b tells of %v", told)
		}
	})
}

// TestBansAreToldSeldom: however many are banned each second, one message goes out in
// bansSoon, and of bans that do not change one in bansAgain.
func TestBansAreToldSeldom(t *testing.T) {
	bannings(t, []string{"-admission.ban=1"}, func(edge func(string, ...string) banning) {
		a := edge("a")
		began := time.Now()
		f := func(what string, least, most int) {
			t.Helper()
			if n := len(a.said(bansTopic, began)); n < least || n > most {
				t.Errorf("%d messages %s, want %d to %d", n, what, least, most)
			}
			began = time.Now()
		}
		pass(5 * time.Minute)
		f("with nothing to tell", 0, 0)
		for n := range 60 {
			a.offends(addr4(uint32(n+1)).String(), 1)
			pass(time.Second)
		}
		f("in a minute of bans each second", 11, 13)
		a.bans.ban(99, longest)
		pass(bansSoon + time.Second)
		f("soon", 1, 2)
		pass(10 * bansAgain)
		f("in five minutes without news", 9, 11)
	})
}

// ban bans an address for a time.
func (b *bans) ban(n uint32, d time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.banned.Add(addr4(n), ban{until: time.Now().Add(d)})
	b.changed = true
}

// TestRogueBans: whatever one node tells, nobody is banned by it alone, memory is
// bounded, and what is garbled changes nothing.
func TestRogueBans(t *testing.T) {
	bannings(t, []string{"-admission.ban=4"}, func(edge func(string, ...string) banning) {
		b := edge("b")
		var all []toldBan
		for n := range uint32(bansMost) {
			all = append(all, toldBan{addr4(n), 3600})
		}
		for n := range 500 { // more than there is room for, were they all others
			for i := range all {
				all[i].client = addr4(uint32(n*len(all) + i))
			}
			peer{b.gossip, fmt.Sprint("rogue", n)}.Tell(bansTopic, encodeBans(uint64(n), all), bansTTL)
		}
		pass(2 * time.Second)
		if n := len(*b.bans.hints.Load()); n != maxHints {
			t.Errorf("%d hints, want %d", n, maxHints)
		}
		for n := range uint32(100) {
			b.in(t, "only told of", addr4(n).String(), "")
		}
		for n := range 500 {
			peer{b.gossip, fmt.Sprint("rogue", n)}.Tell(bansTopic, append(encodeBans(uint64(n), all[:2]), 0), bansTTL)
		}
		pass(2 * time.Second)
		if n := b.bans.hinted(time.Now()); n != 0 {
			t.Errorf("%d hints of garbled messages", n)
		}
	})
}

// TestAdminBansElsewhere: operators see what other edges have banned.
func TestAdminBansElsewhere(t *testing.T) {
	bannings(t, []string{"-admission.ban=2"}, func(edge func(string, ...string) banning) {
		a, b, c := edge("a"), edge("b"), edge("c")
		for _, g := range []banning{a, b, c} {
			g.offends("192.0.2.1", 2)
		}
		a.offends("192.0.2.2", 2)
		pass(bansSoon + 2*time.Second)
		adminOf(t, c.Gate)("GET", "/bans", 200, `{"bans":[{"address":"192.0.2.1","left_s":53,"times":1,"elsewhere":2}],"more":false,"elsewhere":2}`)
		pass(time.Hour)
		adminOf(t, c.Gate)("GET", "/bans", 200, `{"bans":[],"more":false}`)
	})
}

// TestBansWithoutCluster tell nothing and hear nothing.
func TestBansWithoutCluster(t *testing.T) {
	var none *bans
	none.share(t.Context(), proxy.Alone, 1) // returns
	if n := none.hinted(noon); n != 0 {
		t.Errorf("nil bans have %d hints", n)
	}
	b := newBans(2, nil, zap.NewNop())
	if n := b.elsewhere(addr4(1), noon); n != 0 {
		t.Errorf("%d edges have banned somebody, before any was heard", n)
	}
}
