package splitter

import (
	"fmt"
	"runtime"
	"testing"
	"time"
)

// grow lets a ring keep a group of n packets of about a KiB, published one by one.
func grow(r *ring, n int, now time.Time) {
	r.mark(r.here(), now)
	for range n {
		r.append(0, 1<<10-headerLen)
		r.publish(now)
	}
}

func keeps(r *ring) bool { return r.key.Load() != nil }

// All rings together keep no more than the budget: those that nobody watches give
// way first, then those that keep more than their share.
func TestBudget(t *testing.T) {
	now := time.Now()
	b := &budget{max: 1 << 20}
	ring := func(watched bool) *ring {
		r := newRing()
		r.budget, r.watched = b, func() bool { return watched }
		return r
	}
	idle, small, large := ring(false), ring(true), ring(true)
	grow(idle, 100, now)
	grow(small, 300, now)
	grow(large, 400, now)
	if !keeps(idle) || !keeps(small) || !keeps(large) {
		t.Fatal("a ring keeps nothing, under the budget")
	}
	for range 150 { // 950 of 1024 KiB
		large.append(0, 1<<10-headerLen)
		large.publish(now)
	}
	if !keeps(idle) || !keeps(large) {
		t.Error("who publishes nothing gave way, or who is watched")
	}
	idle.append(0, 10)
	idle.publish(now)
	if keeps(idle) || b.used.Load() > 860<<10 {
		t.Errorf("nobody watches, and it keeps what others need: %d bytes are used", b.used.Load())
	}
	grow(small, 301, now) // a new group instead of the old
	if !keeps(small) || !keeps(large) {
		t.Error("a watched ring gave way under the budget")
	}
	for keeps(large) && b.used.Load() < 2<<20 {
		large.append(0, 1<<10-headerLen)
		large.publish(now)
	}
	if !keeps(small) || keeps(large) || b.used.Load() != int64(301<<10) {
		t.Errorf("small keeps %v, large %v, %d bytes are used", keeps(small), keeps(large), b.used.Load())
	}
	if _, waits := large.start(); !waits {
		t.Error("a viewer begins amid a group that is not kept")
	}
	small.forget()
	if n := b.used.Load(); n != 0 || b.rings.Load() != 0 || b.dropped.Load() != 2 {
		t.Errorf("%d bytes of %d rings are used at the end, %d were dropped", n, b.rings.Load(), b.dropped.Load())
	}
}

// The bound is one of memory: many feeds that nobody watches hold little.
func TestBudgetHolds(t *testing.T) {
	now := time.Now()
	b := &budget{max: 4 << 20}
	rings := make([]*ring, 64)
	for i := range rings {
		rings[i] = newRing()
		rings[i].budget, rings[i].watched = b, func() bool { return false }
	}
	for range 4 {
		for _, r := range rings {
			r.mark(r.here(), now)
		}
		for range 1 << 10 {
			for _, r := range rings { // 64 MiB each round
				r.append(0, 1<<10-headerLen)
				r.publish(now)
			}
			if n := b.used.Load(); n > b.max {
				t.Fatalf("%d bytes are used of %d", n, b.max)
			}
		}
	}
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	// Each ring has the slab it writes and may have another that it began.
	if most := uint64(b.max) + 64*3*maxSlab; m.HeapAlloc > most {
		t.Errorf("%d MiB of heap, want %d at most", m.HeapAlloc>>20, most>>20)
	}
	runtime.KeepAlive(rings)
}

// A group of a great many small packets is no place to start either.
func TestStartIsBoundedInPackets(t *testing.T) {
	now := time.Now()
	r := newRing()
	r.mark(r.here(), now)
	for n := range maxGroupLen + 1 {
		if keeps(r) != (n > 0) {
			t.Fatalf("%d packets: kept %v", n, keeps(r))
		}
		r.append(0, 20)
		r.publish(now)
	}
	if keeps(r) {
		t.Errorf("%d packets are kept", maxGroupLen+1)
	}
}

// A feed spends from its splitter's budget, and gives back when it ends.
func TestFeedSpends(t *testing.T) {
	o := newFakeOrigin()
	f, stop := live(t, o, Options{Linger: time.Minute, Past: minPast})
	defer stop()
	<-f.opened
	if f.err != nil || f.in.ring.budget != f.past || f.past.max != minPast {
		t.Fatal("not the splitter's budget: ", fmt.Sprint(f.err))
	}
	c := newCamera(t, avSDP)
	c.ring.budget = f.past
	c.source(time.Now())
	c.picture(true, 8, time.Now())
	if f.past.used.Load() < 8000 {
		t.Errorf("%d bytes are used", f.past.used.Load())
	}
	held := c.ring.held
	c.stop()
	if c.ring.held != 0 || held == 0 {
		t.Errorf("held %d bytes, %d at the end", held, c.ring.held)
	}
}

// The least bound that there may be lets a viewer who waits start with the largest group
// that a feed keeps.
func TestLeastPast(t *testing.T) {
	c := newCamera(t, avSDP)
	c.ring.budget, c.ring.watched = &budget{max: minPast}, func() bool { return true }
	now := time.Now()
	c.source(now)
	s := &session{feed: &feed{in: c.ingest}, channels: []int{0, 2}, waits: true, after: -1}
	c.picture(true, maxGroup/1100, now)
	if !s.starts() {
		t.Error("a viewer who waits does not start")
	}
}
