package splitter

import (
	"sync/atomic"
	"time"
)

// Sizes of slabs, in bytes, and how many packets one holds at most. The first
// slab of a ring is small, so that a radio costs little; each next one doubles.
const (
	minSlab  = 32 << 10
	maxSlab  = 256 << 10
	slabPkts = 4096
)

// Bounds of what a new viewer is given at once. A group of pictures beyond them
// is too dear to start with: new viewers wait for the next key frame.
const (
	maxGroup    = 8 << 20
	maxGroupLen = 16 << 10 // packets
	maxGroupAge = 10 * time.Second
)

// headerLen is the interleaved header before each packet: '$', channel, length
// (RFC 2326 §10.12).
const headerLen = 4

// A slab is a run of packets, each stored once with its interleaved header in
// front. It lives as long as a cursor or the ring points at it: the garbage
// collector is the bound.
type slab struct {
	buf   []byte   // of fixed length: readers look at it while the writer goes on
	ends  []uint32 // end of packet i in buf
	chans []uint8  // channel of packet i: 2·track, +1 for RTCP
	base  int64    // bytes of the ring before this slab
	first int64    // packets of the ring before this slab

	n      int                  // packets written; the writer's
	used   int                  // bytes written; the writer's
	follow *slab                // the next slab; the writer's
	ready  atomic.Int32         // packets published
	next   atomic.Pointer[slab] // set after the last packet was published
}

// start is where packet i begins in buf.
func (s *slab) start(i int) int {
	if i == 0 {
		return 0
	}
	return int(s.ends[i-1])
}

// A cursor is a place between two packets of a ring. The zero cursor is nowhere.
type cursor struct {
	s *slab
	i int
}

// offset counts the bytes of the ring before the cursor.
func (c cursor) offset() int64 { return c.s.base + int64(c.s.start(c.i)) }

// count is how many packets of the ring there are before the cursor.
func (c cursor) count() int64 { return c.s.first + int64(c.i) }

// settle moves a cursor that stands at the end of a slab into the next one, and
// returns it with the number of published packets of its slab.
func (c cursor) settle() (cursor, int) {
	for {
		n := int(c.s.ready.Load())
		if c.i < n {
			return c, n
		}
		next := c.s.next.Load()
		if next == nil {
			return c, n
		}
		// next was set after the last publication in this slab: look once more.
		if c.i >= int(c.s.ready.Load()) {
			c = cursor{next, 0}
		}
	}
}

// run returns the published bytes behind c as far as they lie in one piece, at
// most about limit (whole packets, one at least), and the cursor behind them.
// Nothing there: no bytes.
func (c cursor) run(limit int) ([]byte, cursor) {
	c, n := c.settle()
	if c.i >= n {
		return nil, c
	}
	from, j := c.s.start(c.i), n
	if int(c.s.ends[n-1])-from > limit {
		j = max(c.i+1, c.s.find(from+limit))
	}
	return c.s.buf[from:c.s.ends[j-1]], cursor{c.s, j}
}

// find returns the packet that holds byte off of buf: the number of packets that
// end at or before it.
func (s *slab) find(off int) int {
	lo, hi := 0, int(s.ready.Load())
	for lo < hi {
		if m := int(uint(lo+hi) >> 1); int(s.ends[m]) <= off {
			lo = m + 1
		} else {
			hi = m
		}
	}
	return lo
}

// packet returns the packet behind c without its interleaved header, its
// channel, and the cursor behind it; nil if there is none.
func (c cursor) packet() (pkt []byte, channel uint8, after cursor) {
	c, n := c.settle()
	if c.i >= n {
		return nil, 0, c
	}
	return c.s.buf[c.s.start(c.i)+headerLen : c.s.ends[c.i]], c.s.chans[c.i], cursor{c.s, c.i + 1}
}

// A ring is at once a feed's queue, its store of the last group of pictures, and
// the queue of every viewer: who reads is a cursor. One writer appends and
// publishes; readers take no lock and copy nothing.
type ring struct {
	tail      *slab // the writer's
	published *slab // where the last publication ended; the writer's
	burst     int   // bytes appended since the last publication
	usual     int   // bytes of the largest recent burst

	group     cursor // where the last key frame's access unit begins; the writer's
	groupTime time.Time

	head atomic.Pointer[cursor] // end of what is published
	key  atomic.Pointer[cursor] // where a new viewer starts; nil for nowhere

	keyed atomic.Bool // key frames are known, and come

	budget  *budget     // nil: none; the writer's, like the two below
	held    int64       // bytes of it
	watched func() bool // there are viewers; nil: yes
}

func newRing() *ring {
	s := newSlab(minSlab, 0)
	r := &ring{tail: s, published: s}
	r.head.Store(&cursor{s, 0})
	return r
}

func newSlab(size int, base int64) *slab {
	// A packet is rarely below 64 bytes; where it is, the slab ends early.
	n := min(slabPkts, size/64)
	return &slab{buf: make([]byte, size), ends: make([]uint32, n), chans: make([]uint8, n), base: base}
}

// here is where the next packet will stand.
func (r *ring) here() cursor { return cursor{r.tail, r.tail.n} }

// append makes room for a packet of size bytes on a channel and returns it, to be
// filled before publish.
func (r *ring) append(channel uint8, size int) []byte {
	t := r.tail
	if t.n == len(t.ends) || len(t.buf)-t.used < headerLen+size {
		r.roll(headerLen + size)
		t = r.tail
	}
	p := t.buf[t.used : t.used+headerLen+size]
	t.used += len(p)
	p[0], p[1], p[2], p[3] = '$', channel, byte(size>>8), byte(size)
	t.chans[t.n] = channel
	t.ends[t.n] = uint32(t.used)
	t.n++
	r.burst += len(p)
	return p[headerLen:]
}

// roll begins a new slab with room for a packet.
func (r *ring) roll(need int) {
	size := min(2*len(r.tail.buf), maxSlab)
	for size < need || size < 2*r.usual && size < maxSlab {
		size *= 2
	}
	s := newSlab(size, r.tail.base+int64(r.tail.used))
	s.first = r.tail.first + int64(r.tail.n)
	r.tail.follow = s
	r.tail = s
}

// mark says that the access unit of a key frame begins at c.
func (r *ring) mark(c cursor, now time.Time) {
	r.begin(c, now)
	r.keyed.Store(true)
}

// begin says that new viewers do best to start at c, though no key frame is known.
func (r *ring) begin(c cursor, now time.Time) { r.group, r.groupTime = c, now }

// forget drops the start for new viewers until the next key frame.
func (r *ring) forget() {
	r.group = cursor{}
	r.key.Store(nil)
	r.budget.spend(r, 0)
}

// publish shows readers all that was appended.
func (r *ring) publish(now time.Time) {
	if r.burst == 0 {
		return
	}
	for s := r.published; s != r.tail; s = s.follow {
		s.ready.Store(int32(s.n))
		s.next.Store(s.follow)
	}
	r.published = r.tail
	r.tail.ready.Store(int32(r.tail.n))
	head := r.here()
	r.head.Store(&head)
	r.keepGroup(head, now)
	// A burst in one piece is one write for each viewer: rather leave the end of
	// a slab empty than cut a burst in two.
	r.usual = max(r.burst, r.usual*7/8)
	r.burst = 0
	if room := len(r.tail.buf) - r.tail.used; r.tail.n > 0 && room < r.usual {
		r.roll(0)
	}
}

func (r *ring) keepGroup(head cursor, now time.Time) {
	if r.group.s == nil {
		return
	}
	size := head.offset() - r.group.offset()
	if size > maxGroup || head.count()-r.group.count() > maxGroupLen || now.Sub(r.groupTime) > maxGroupAge || !r.budget.spend(r, size) {
		r.forget()
		return
	}
	if old := r.key.Load(); old == nil || *old != r.group {
		g := r.group
		r.key.Store(&g)
	}
}

// walk visits the packets behind c, published or not, while visit wants more. It is
// the writer's.
func (r *ring) walk(c cursor, visit func(channel uint8, pkt []byte) (more bool)) {
	for s, i := c.s, c.i; s != nil; s, i = s.follow, 0 {
		for ; i < s.n; i++ {
			if !visit(s.chans[i], s.buf[s.start(i)+headerLen:s.ends[i]]) {
				return
			}
		}
	}
}

// start is where a new viewer begins: at the last key frame. Without one at hand
// he waits for the next, and is nowhere; where key frames are not known (or do not
// come) he begins at the last tables of a transport stream, else at the head.
func (r *ring) start() (at cursor, waits bool) {
	if k := r.key.Load(); k != nil {
		return *k, false
	}
	if r.keyed.Load() {
		return cursor{}, true
	}
	return *r.head.Load(), false
}
