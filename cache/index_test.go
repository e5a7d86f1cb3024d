package cache

import (
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
)

// A tierModel is an index and what it ought to hold.
type tierModel struct {
	t     testing.TB
	x     *index[uint64] // of each id, the id
	in    map[uint64]int64
	sum   int64
	limit int64
}

func newTierModel(t testing.TB, policy string, budget, largest int64) *tierModel {
	return &tierModel{t: t, x: newIndex[uint64](policy, budget, largest), in: map[uint64]int64{}, limit: budget}
}

// add adds, checks what is gone, and returns it.
func (m *tierModel) add(id uint64, weight int64) []uint64 {
	gone := m.x.add(id, weight, id)
	m.sum, m.in[id] = m.sum+weight-m.in[id], weight
	if i := slices.Index(gone, id); i >= 0 {
		m.t.Errorf("add(%d) says that it is gone itself", id)
	}
	m.went(gone)
	return gone
}

func (m *tierModel) went(gone []uint64) {
	m.t.Helper()
	for _, id := range gone {
		if _, ok := m.in[id]; !ok {
			m.t.Errorf("gone is %d, which was not there", id)
		}
		m.sum -= m.in[id]
		delete(m.in, id)
	}
	if got := m.x.weight(); got != m.sum || got > m.limit {
		m.t.Errorf("weight() = %d, want %d, not over %d", got, m.sum, m.limit)
	}
}

// ask does what a tier does when a viewer asks for an item: it reports whether it was there.
func (m *tierModel) ask(id uint64, weight int64) bool {
	if _, ok := m.in[id]; ok {
		m.x.touch(id)
		return true
	}
	m.add(id, weight)
	return false
}

// hits asks for each of n items, and returns the share of those that were there.
func (m *tierModel) hits(first uint64, n int, weight int64) float64 {
	return m.hitsOf(func(i int) uint64 { return first + uint64(i) }, n, weight)
}

func (m *tierModel) hitsOf(id func(int) uint64, n int, weight int64) float64 {
	hits := 0
	for i := range n {
		if m.ask(id(i), weight) {
			hits++
		}
	}
	return float64(hits) / float64(n)
}

func TestIndexShards(t *testing.T) {
	f := func(budget, largest int64, want int) {
		t.Helper()
		x := newIndex[int]("2q", budget, largest)
		if got := len(x.shards); got != want {
			t.Errorf("budget %d of items of %d: %d shards, want %d", budget, largest, got, want)
		}
		for id := range uint64(1000) {
			x.touch(id * 0xDEADBEEF) // does not panic
		}
	}
	f(0, 1, 1)
	f(1, 0, 1)
	f(16<<20, 1<<20, 1)
	f(127<<20, 1<<20, 1)
	f(128<<20, 1<<20, 2)
	f(512<<20, 1<<20, 8)
	f(1<<40, 1<<20, 16)
}

// The order in which items go, in a single shard.
func TestIndexLRU(t *testing.T) {
	m := newTierModel(t, "lru", 40, 10)
	f := func(id uint64, weight int64, want ...uint64) {
		t.Helper()
		if got := m.add(id, weight); !slices.Equal(got, want) {
			t.Errorf("add(%d, %d) = %v, want %v", id, weight, got, want)
		}
	}
	for id := range uint64(4) {
		f(id, 10)
	}
	m.x.touch(0)
	f(4, 10, 1)
	m.x.touch(0)
	m.x.touch(2)
	f(5, 20, 3, 4)
	m.x.touch(0)
	f(6, 10, 2)
	m.x.touch(0) // touched last, but not in front any more
	f(7, 20, 5)
	f(8, 1, 6)
}

func TestIndex2Q(t *testing.T) {
	m := newTierModel(t, "2q", 80, 1) // the queue is 20
	f := func(id uint64, want ...uint64) {
		t.Helper()
		if got := m.add(id, 10); !slices.Equal(got, want) {
			t.Errorf("add(%d) = %v, want %v", id, got, want)
		}
	}
	for id := range uint64(7) {
		f(id)
	}
	m.x.touch(6) // has just come
	m.x.touch(5) // as has this: only 10 bytes ago
	m.x.touch(4) // 20 bytes ago, which is half of the queue and more
	m.x.touch(6)
	m.x.touch(6) // not counted
	f(7)
	f(8, 0)
	f(9, 1)
	f(10, 2)
	f(11, 3)
	f(12, 5)
	f(13, 6) // touched twice, soon
	f(2, 7)  // a ghost: at once a frequent one
	f(14, 8)
	for id := uint64(20); id < 40; id++ {
		m.add(id, 10)
	}
	for _, id := range []uint64{4, 2} {
		if _, ok := m.in[id]; !ok {
			t.Errorf("%d is gone, but it was a frequent one", id)
		}
	}
}

// What is touched often while nothing comes is kept when something does.
func TestIndex2QOften(t *testing.T) {
	m := newTierModel(t, "2q", 80, 1)
	for range often + 1 {
		m.hits(0, 2, 10)
	}
	m.hits(100, 50, 10)
	if got := m.hits(0, 2, 10); got != 1 {
		t.Errorf("%v of what was touched often is there, want all", got)
	}
}

// An item that nothing else is touched beside needs more of that.
func TestIndex2QInARow(t *testing.T) {
	f := func(touches int, want bool) {
		t.Helper()
		m := newTierModel(t, "2q", 80, 1)
		m.add(1, 10)
		for range touches {
			m.x.touch(1)
		}
		m.hits(100, 50, 10)
		if _, got := m.in[1]; got != want {
			t.Errorf("%d touches in a row: kept through a scan %v, want %v", touches, got, want)
		}
	}
	f((often-1)*inARow, false)
	f((often-1)*inARow+1, true)
}

// Whatever is done, the budget holds, and what is gone was there.
func TestIndexModel(t *testing.T) {
	f := func(policy string, budget, largest int64) {
		t.Helper()
		m := newTierModel(t, policy, budget, largest)
		rnd := rand.New(rand.NewPCG(1, uint64(budget)))
		for range 20_000 {
			id := rnd.Uint64N(300)
			switch rnd.IntN(20) {
			case 0:
				v, ok := m.x.remove(id)
				_, want := m.in[id]
				if ok != want || ok && v != id {
					t.Fatalf("remove(%d) = %v, %v, want %v", id, v, ok, want)
				}
				m.sum -= m.in[id]
				delete(m.in, id)
			case 1:
				n, before := rnd.Int64N(largest*2), m.sum
				m.went(m.x.shed(n))
				if freed := before - m.sum; freed < min(n, before) {
					t.Fatalf("shed(%d) = %d bytes", n, freed)
				}
			case 2, 3, 4, 5:
				if _, ok := m.in[id]; !ok { // what is replaced has the same value as what comes
					m.add(id, rnd.Int64N(largest+1))
				}
			default:
				m.x.touch(id)
			}
			if t.Failed() {
				t.FailNow()
			}
		}
		if m.went(m.x.shed(1 << 40)); len(m.in) > 0 {
			t.Errorf("%d items left when all was shed", len(m.in))
		}
	}
	f("2q", 4096, 64)
	f("lru", 4096, 64)
	f("2q", 64*64*16, 64)
	f("lru", 100, 100)
	f("2q", 100, 100)
}

func TestIndexReplace(t *testing.T) {
	f := func(policy string) {
		t.Helper()
		x := newIndex[string](policy, 100, 10)
		x.add(1, 10, "old")
		if got := x.add(1, 5, "new"); !slices.Equal(got, []string{"old"}) {
			t.Errorf("%s: an item was replaced, gone = %q, want the old one", policy, got)
		}
		if got := x.add(2, 101, "heavy"); !slices.Equal(got, []string{"heavy"}) {
			t.Errorf("%s: an item was too heavy, gone = %q, want it alone", policy, got)
		}
		if got := x.add(1, 101, "heavy"); !slices.Equal(got, []string{"new", "heavy"}) {
			t.Errorf("%s: an item was replaced by one too heavy, gone = %q, want both", policy, got)
		}
		if got := x.weight(); got != 0 {
			t.Errorf("%s: weight() = %d, want 0", policy, got)
		}
	}
	f("lru")
	f("2q")
}

// What is removed, unlike what is evicted, is new when it comes again.
func TestIndexRemoveForgets(t *testing.T) {
	f := func(remove, want bool) {
		t.Helper()
		m := newTierModel(t, "2q", 80, 1)
		m.hits(0, 9, 10) // 0 is evicted
		if remove {
			m.x.remove(0)
		}
		m.add(0, 10)
		m.hits(100, 50, 10)
		if _, got := m.in[0]; got != want {
			t.Errorf("removed %v: kept through a scan %v, want %v", remove, got, want)
		}
	}
	f(false, true)
	f(true, false)
}

func TestIndexTogether(t *testing.T) {
	const budget = 64 * 64 * 4
	x := newIndex[uint64]("2q", budget, 64)
	var wg sync.WaitGroup
	for n := range uint64(4) {
		wg.Go(func() { x.useAtRandom(n) })
	}
	for range 100 {
		if got := x.weight(); got > budget {
			t.Errorf("weight() = %d, want at most %d", got, budget)
		}
	}
	wg.Wait()
}

func (x *index[V]) useAtRandom(seed uint64) {
	rnd := rand.New(rand.NewPCG(seed, 1))
	var v V
	for range 5000 {
		id := rnd.Uint64N(1000)
		switch rnd.IntN(10) {
		case 0:
			x.remove(id)
		case 1:
			x.shed(rnd.Int64N(100))
		case 2, 3, 4:
			x.add(id, rnd.Int64N(64), v)
		default:
			x.touch(id)
		}
	}
}

func TestTouchAllocatesNothing(t *testing.T) {
	for _, policy := range []string{"2q", "lru"} {
		m := newTierModel(t, policy, 1000, 10)
		for range often + 1 {
			m.hits(0, 100, 10)
		}
		id := uint64(0)
		if got := testing.AllocsPerRun(1000, func() { m.x.touch(id % 100); id++ }); got != 0 {
			t.Errorf("%s: touch allocates %v times", policy, got)
		}
	}
}
