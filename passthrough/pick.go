package passthrough

import (
	"cmp"
	"math"
	"math/rand/v2"
	"slices"
)

// strategies are the values of -origin.balance.
var strategies = []string{"p2c", "leastconn", "roundrobin", "hash"}

const (
	// loadBound is by how much an origin may exceed its share before hashing
	// passes it over, and loadFloor the load below which it never does: a few
	// sessions are no load, and moving them costs a fill or a pull.
	loadBound = 1.25
	loadFloor = 8
)

// A choice is an origin as the strategies see it. They sort choices, the best
// first: the rest is for when dials fail.
type choice struct {
	*origin
	weight float64 // above 0; less than configured after a recovery
	load   int     // own sessions, or those that the origin's agent counts
	known  bool    // the latter
	score  float64 // the strategy's own: less is better
}

// busy is the load for its weight. Nobody is less busy than the idle, whatever
// its weight: else the heaviest would get all requests that come one by one.
func (c *choice) busy() float64 {
	if c.load == 0 {
		return 0
	}
	return float64(c.load+1) / c.weight
}

func byScore(a, b choice) int { return cmp.Compare(a.score, b.score) }

// shuffle brings choices into random order, the heavy ones rather first: as if
// each were drawn by weight from those that are left (Efraimidis, Spirakis
// 2006).
func shuffle(cs []choice) {
	for i := range cs {
		cs[i].score = rand.ExpFloat64() / cs[i].weight
	}
	slices.SortFunc(cs, byScore)
}

// powerOfTwo draws two by weight and prefers the less busy. Unlike the least busy
// of all, it does not send everybody to one that takes sessions and loses them
// at once.
func powerOfTwo(cs []choice) {
	shuffle(cs)
	if len(cs) > 1 && cs[1].busy() < cs[0].busy() {
		cs[0], cs[1] = cs[1], cs[0]
	}
}

// leastBusy prefers the least busy of all, and draws among equals.
func leastBusy(cs []choice) {
	shuffle(cs)
	for i := range cs {
		cs[i].score = cs[i].busy()
	}
	slices.SortStableFunc(cs, byScore)
}

// turns is smooth weighted round robin: every origin gains its weight at each
// turn, and the richest serves and pays what all have gained. It holds what each
// has.
type turns map[*state]float64

func (t turns) sort(cs []choice) {
	sum := 0.0
	for i := range cs {
		t[cs[i].state] += cs[i].weight
		sum += cs[i].weight
		cs[i].score = -t[cs[i].state]
	}
	slices.SortStableFunc(cs, byScore)
	if len(cs) > 0 {
		t[cs[0].state] -= sum
	}
}

// rendezvous prefers the same origins for the same key, in proportion to their
// weights; one that comes or goes moves no other's keys. An origin that has its
// share and a quarter comes after those that have not, so that one famous stream
// does not drown its origin.
func rendezvous(cs []choice, key string) {
	total, weights := 1, 0.0
	for i := range cs {
		cs[i].score = -math.Log(hash(cs[i].name, key)) / cs[i].weight
		total += cs[i].load
		weights += cs[i].weight
	}
	slices.SortFunc(cs, byScore)
	for i := range cs {
		share := float64(total) * cs[i].weight / weights
		cs[i].score = 0
		if float64(cs[i].load) >= max(loadFloor, math.Ceil(loadBound*share)) {
			cs[i].score = 1
		}
	}
	slices.SortStableFunc(cs, byScore)
}

// hash is a number above 0 and below 1, the same on every edge: FNV-1a, and the
// end of SplitMix64 because FNV hardly mixes its last bytes. A viewer could find
// paths that all go to one origin; the bound is what stops that.
func hash(name, key string) float64 {
	h := uint64(14695981039346656037)
	for i := range len(name) {
		h = (h ^ uint64(name[i])) * 1099511628211
	}
	h = (h ^ 0xff) * 1099511628211 // in no UTF-8: "a"+"bc" is not "ab"+"c"
	for i := range len(key) {
		h = (h ^ uint64(key[i])) * 1099511628211
	}
	h = (h ^ h>>30) * 0xbf58476d1ce4e5b9
	h = (h ^ h>>27) * 0x94d049bb133111eb
	return (float64((h^h>>31)>>11) + 0.5) / (1 << 53)
}
