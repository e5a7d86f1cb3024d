package splitter

import (
	"bytes"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"weir/proxy/proxytest"
)

// A reference is the simplest ring there is: all packets one behind the other,
// with their interleaved headers.
type reference struct {
	*ring
	rng    *rand.Rand
	noise  []byte // packets are cut from it
	stream []byte
	ends   []int // of packets in stream
	shown  int   // bytes published
}

func newReference(seed uint64) *reference {
	r := &reference{ring: newRing(), rng: rand.New(rand.NewPCG(seed, 0)), noise: make([]byte, 65535+1009)}
	for i := range r.noise {
		r.noise[i] = byte(r.rng.Uint32())
	}
	return r
}

// put appends a packet to both rings.
func (r *reference) put(channel uint8, size int) {
	at := len(r.stream)
	r.stream = append(r.stream, '$', channel, byte(size>>8), byte(size))
	r.stream = append(r.stream, r.noise[at%1009:at%1009+size]...)
	r.ends = append(r.ends, len(r.stream))
	copy(r.ring.append(channel, size), r.stream[at+headerLen:])
}

func (r *reference) show(now time.Time) {
	r.publish(now)
	r.shown = len(r.stream)
}

// burst puts some packets, of all sizes there are.
func (r *reference) burst() {
	for range 1 + r.rng.IntN(30) {
		size := r.rng.IntN(1460)
		switch r.rng.IntN(150) {
		case 0:
			size = 65535
		case 1, 2:
			size = 0
		case 3, 4:
			size = 1
		}
		r.put(uint8(r.rng.IntN(8)), size)
	}
}

// A refCursor reads both and compares.
type refCursor struct {
	cursor
	pos int // bytes of stream before it
	n   int // packets before it
}

// byRun reads what is there piece by piece.
func (c *refCursor) byRun(t *testing.T, r *reference, limit int) {
	for {
		b, after := c.run(limit)
		if len(b) == 0 {
			break
		}
		if end := c.pos + len(b); end > r.shown || !bytes.Equal(b, r.stream[c.pos:end]) {
			t.Fatalf("run at %d: %d bytes are not what was published (%d)", c.pos, len(b), r.shown)
		}
		first := c.n
		for c.pos += len(b); c.n < len(r.ends) && r.ends[c.n] <= c.pos; c.n++ {
		}
		if r.ends[c.n-1] != c.pos {
			t.Fatalf("run(%d) ends at %d, inside a packet", limit, c.pos)
		}
		if len(b) > limit && c.n-first > 1 {
			t.Fatalf("run(%d) gave %d packets of %d bytes", limit, c.n-first, len(b))
		}
		if after.i < int(after.s.ready.Load()) && len(b)+r.ends[c.n]-c.pos <= limit {
			t.Fatalf("run(%d) gave %d bytes, the next packet of %d has room", limit, len(b), r.ends[c.n]-c.pos)
		}
		c.cursor = after
	}
	c.atEnd(t, r)
}

// byPacket reads what is there packet by packet.
func (c *refCursor) byPacket(t *testing.T, r *reference) {
	for {
		pkt, ch, after := c.packet()
		if pkt == nil {
			break
		}
		if end := r.ends[c.n]; end > r.shown || r.stream[c.pos+1] != ch || !bytes.Equal(pkt, r.stream[c.pos+headerLen:end]) {
			t.Fatalf("packet %d at %d, channel %d, is not what was published", c.n, c.pos, ch)
		}
		c.pos = r.ends[c.n]
		c.cursor, c.n = after, c.n+1
	}
	c.atEnd(t, r)
}

func (c *refCursor) atEnd(t *testing.T, r *reference) {
	if c.pos != r.shown || c.offset() != int64(c.pos) || r.head.Load().offset() != int64(r.shown) {
		t.Fatalf("read up to %d (offset %d) of %d published (offset %d)", c.pos, c.offset(), r.shown, r.head.Load().offset())
	}
}

// Whatever the sizes and the bursts, every reader sees exactly what was
// published, over all borders of slabs.
func TestRingIsAListOfPackets(t *testing.T) {
	for seed := range uint64(4) {
		r := newReference(seed)
		start := *r.head.Load()
		cursors := []*refCursor{{cursor: start}, {cursor: start}, {cursor: start}}
		limits := []int{1, 100, 1500, 9000, 1 << 20}
		for range 120 {
			r.burst()
			if r.rng.IntN(3) > 0 {
				r.show(time.Time{})
			}
			r.publish(time.Time{}) // of nothing, or late
			r.shown = len(r.stream)
			for i, c := range cursors {
				switch k := r.rng.IntN(3); {
				case k == 0 || i == 2: // the last one sleeps until the end
				case k == 1:
					c.byRun(t, r, limits[r.rng.IntN(len(limits))])
				default:
					c.byPacket(t, r)
				}
			}
			r.burst()
			for _, c := range cursors[:2] { // not published: not to be seen
				c.byRun(t, r, 1000)
			}
		}
		cursors[2].byRun(t, r, 4000)
	}
}

// The writer walks what is not yet published too, and as far as it likes.
func TestWalk(t *testing.T) {
	r := newReference(1)
	from := r.here()
	for range 40 {
		r.burst()
		r.show(time.Time{})
	}
	r.burst()
	var got []byte
	r.walk(from, func(ch uint8, pkt []byte) bool {
		got = append(got, '$', ch, byte(len(pkt)>>8), byte(len(pkt)))
		got = append(got, pkt...)
		return true
	})
	if !bytes.Equal(got, r.stream) {
		t.Errorf("walked over %d bytes, want the %d that were appended", len(got), len(r.stream))
	}
	n := 0
	r.walk(from, func(uint8, []byte) bool { n++; return n < 3 })
	if n != 3 {
		t.Errorf("walked over %d packets, want the 3 that were wanted", n)
	}
}

// One writes while others read: for the race detector, and for the order of
// ready and next.
func TestRingWithManyReaders(t *testing.T) {
	r := newReference(3)
	start := *r.head.Load()
	plan := newReference(3) // the same packets, known beforehand
	for range 600 {
		plan.burst()
	}
	var wg sync.WaitGroup
	for reader := range 4 {
		wg.Go(func() { follow(t, start, plan.stream, reader%2 == 0) })
	}
	for range 600 {
		r.burst()
		r.publish(time.Time{})
	}
	wg.Wait()
}

// follow reads until it has seen all of want.
func follow(t *testing.T, c cursor, want []byte, byRun bool) {
	for len(want) > 0 {
		b, after := c.run(5000)
		if !byRun {
			var pkt []byte
			if pkt, _, after = c.packet(); pkt != nil {
				b, want = pkt, want[headerLen:]
			} else {
				b = nil
			}
		}
		if !bytes.HasPrefix(want, b) {
			t.Errorf("%d bytes before the end: not what was written", len(want))
			return
		}
		c, want = after, want[len(b):]
		if len(b) == 0 {
			runtime.Gosched()
		}
	}
}

// A reader at the end of a slab never misses what is added to it by the burst
// that begins the next one.
func TestReadersAtBorders(t *testing.T) {
	const bursts, perBurst = 800, 6
	r := newRing()
	start := *r.head.Load()
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			c := start
			for n := 0; n < bursts*perBurst; {
				pkt, _, after := c.packet()
				if pkt != nil && pkt[0] != byte(n%251) {
					t.Errorf("packet %d is missing", n)
					return
				}
				if c = after; pkt != nil {
					n++
				}
			}
		})
	}
	for n := range bursts * perBurst {
		r.append(0, 50000)[0] = byte(n % 251)
		if n%perBurst == perBurst-1 {
			r.publish(time.Time{})
		}
	}
	wg.Wait()
}

func TestFind(t *testing.T) {
	r := newReference(5)
	for range 12 {
		r.put(0, r.rng.IntN(300))
	}
	r.show(time.Time{})
	for off := range r.shown + 10 {
		want := 0
		for _, e := range r.ends {
			if e <= off {
				want++
			}
		}
		if got := r.tail.find(off); got != want {
			t.Fatalf("find(%d) = %d, want %d of ends %v", off, got, want, r.ends)
		}
	}
}

func TestStartIsTheLastKeyFrame(t *testing.T) {
	now := time.Now()
	r := newReference(7)
	f := func(what string, want cursor) {
		t.Helper()
		if got := from(r.ring); got.offset() != want.offset() {
			t.Errorf("%s: a viewer starts at %d, want %d of %d", what, got.offset(), want.offset(), r.shown)
		}
	}
	put := func() (at cursor) {
		at = r.here()
		r.put(0, 1000)
		return at
	}
	put()
	r.show(now)
	f("no key frame yet", *r.head.Load())

	first := put()
	r.mark(first, now)
	f("key frame not published", *r.head.Load())
	r.show(now)
	f("key frame", first)
	put()
	r.show(now.Add(maxGroupAge))
	f("key frame as old as may be", first)

	second := put()
	r.mark(second, now.Add(maxGroupAge))
	f("next key frame not published", first)
	r.show(now.Add(maxGroupAge))
	f("next key frame", second)
	put()
	r.show(now.Add(2*maxGroupAge + 1))
	f("too old", *r.head.Load())

	third := put()
	r.mark(third, now)
	r.show(now)
	f("key frame again", third)
	r.forget()
	f("forgotten", *r.head.Load())
	put()
	r.show(now)
	f("forgotten for good", *r.head.Load())
}

// A group of pictures that is too large is nowhere to start.
func TestStartIsBounded(t *testing.T) {
	now := time.Now()
	r := newRing()
	at := r.here()
	r.mark(at, now)
	for range maxGroup / (1000 + headerLen) {
		r.append(0, 1000)
		r.publish(now)
	}
	if from(r) != at {
		t.Errorf("a group of just %d bytes: starts at %d", maxGroup, from(r).offset())
	}
	r.append(0, 1000)
	r.publish(now)
	if got, want := from(r).offset(), r.here().offset(); got != want {
		t.Errorf("a group over %d bytes: starts at %d, want the head, %d", maxGroup, got, want)
	}
}

// Every burst in one piece is one write less for each viewer.
func TestBurstsAreOnePiece(t *testing.T) {
	f := func(packets, size int, swing int) {
		t.Helper()
		r := newReference(uint64(packets))
		c := from(r.ring)
		cut := 0
		const warm, bursts = 40, 500
		for n := range warm + bursts {
			for range packets + r.rng.IntN(swing+1) {
				r.ring.append(0, size)
			}
			r.publish(time.Time{})
			_, c = c.run(1 << 20)
			for more := 0; ; more++ {
				b, after := c.run(1 << 20)
				if c = after; len(b) == 0 {
					if n >= warm {
						cut += more
					}
					break
				}
			}
		}
		if limit := bursts * swing / 500; cut > limit {
			t.Errorf("%d to %d packets of %d bytes: %d of %d bursts cut in two, want at most %d", packets, packets+swing, size, cut, bursts, limit)
		}
	}
	f(16, 1316, 0)
	f(16, 1316, 4)
	f(2, 200, 0)
	f(50, 1316, 0)
	f(50, 1316, 6)
	f(90, 1316, 0) // 64 KiB, and a packet or two of what came meanwhile
	f(4, 100, 3)   // a radio
}

// The garbage collector is the bound: what no cursor stands before goes.
func TestSlabsAreCollected(t *testing.T) {
	r := newRing()
	behind := from(r)
	var slabs slabCount
	for range 4000 {
		r.append(0, 4000)
		r.publish(time.Now())
		slabs.look(r)
	}
	made := slabs.live.Load()
	runtime.GC()
	if n := slabs.live.Load(); n != made || n < 60 {
		t.Errorf("%d of %d slabs live behind a cursor, want all, of 16 MB", n, made)
	}
	runtime.KeepAlive(behind.s)
	proxytest.Eventually(t, 2*time.Second, "all slabs but the newest collected", func() bool {
		runtime.GC()
		return slabs.live.Load() <= 2
	})
	runtime.KeepAlive(r)
}

// A slabCount counts the slabs of a ring that have not been collected.
type slabCount struct {
	live *atomic.Int64
	last int64 // base of the newest one counted
}

// look is called by the writer, at least once per slab.
func (c *slabCount) look(r *ring) {
	if c.live == nil {
		c.live = &atomic.Int64{}
	}
	if r.tail.base != c.last || c.live.Load() == 0 {
		c.last = r.tail.base
		c.live.Add(1)
		runtime.AddCleanup(r.tail, func(n *atomic.Int64) { n.Add(-1) }, c.live)
	}
}
