package cache

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"testing"

	"github.com/cespare/xxhash/v2"
)

// A hot set, asked for in rounds, outlives a scan: 10 000 objects that are asked for
// once. If the scan is mixed, the hot set is asked for meanwhile.
func TestIndexScan(t *testing.T) {
	const object = 1 << 20
	f := func(budget int64, share float64, rounds int) {
		t.Helper()
		for _, policy := range []string{"2q", "lru"} {
			for _, mixed := range []bool{false, true} {
				m := newTierModel(t, policy, budget, object)
				hot := int(share * float64(budget) / object)
				for range rounds {
					m.hitsOf(scattered, hot, object)
				}
				before := m.hitsOf(scattered, hot, object)
				during := m.scan(hot, object, mixed)
				after := m.hitsOf(scattered, hot, object)
				t.Logf("%s, %d MiB, %.0f %% hot, mixed %v: hits before %.3f, during %.3f, after %.3f",
					policy, budget>>20, share*100, mixed, before, during, after)
				switch {
				case policy == "2q" && (after < before*0.95 || mixed && during < before*0.95):
					t.Errorf("a scan of 2q: hits of the hot set before %v, during %v, after %v", before, during, after)
				case policy == "lru" && !mixed && after > before*0.05:
					t.Errorf("a scan of lru: hits of the hot set before %v, after %v: is this a scan?", before, after)
				}
			}
		}
	}
	f(100<<20, 0.6, 3) // one shard
	f(100<<20, 0.05, 3)
	f(512<<20, 0.6, 3) // eight
	f(512<<20, 0.02, often*inARow)
	f(4<<30, 0.6, 3) // sixteen
}

// scattered returns ids that are spread over the shards as hashes are: unevenly.
func scattered(i int) uint64 { return xxhash.Sum64String(strconv.Itoa(i)) }

// scan asks for 10 000 new items, and if mixed for one of the hot set, in turn, after
// every fourth; it returns how many of these were there.
func (m *tierModel) scan(hot int, weight int64, mixed bool) float64 {
	hits, asked := 0, 0
	for i := range 10_000 {
		m.ask(scattered(1e6+i), weight)
		if mixed && i%4 == 3 {
			if m.ask(scattered(asked%hot), weight) {
				hits++
			}
			asked++
		}
	}
	return float64(hits) / float64(max(asked, 1))
}

// A touch by all processors at once, of as many items as 512 MiB have.
func BenchmarkTouch(b *testing.B) {
	for _, policy := range []string{"2q", "lru"} {
		for _, shards := range []int64{1, 8} {
			b.Run(fmt.Sprintf("%s/shards=%d", policy, shards), func(b *testing.B) {
				m := newTierModel(b, policy, shards<<16, 1<<10)
				n := int(shards<<16) / (1 << 10) * 6 / 10
				for range often + 1 {
					m.hits(0, n, 1<<10)
				}
				b.ReportAllocs()
				b.RunParallel(func(pb *testing.PB) {
					for id := rand.Uint64N(uint64(n)); pb.Next(); id++ {
						m.x.touch(id % uint64(n))
					}
				})
			})
		}
	}
}
