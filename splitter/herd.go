package splitter

import (
	"sync"
	"time"
)

// redialShare is the time between two tries at an origin that many feeds have
// lost: they share some fifty a second, as long as each has its turn within half of
// -splitter.wait. Of more (750 with the default) none is given up for that: they
// share what there is, evenly.
const redialShare = 20 * time.Millisecond

// A herd counts the feeds that have lost an origin, so that they do not all come
// back to it at once.
type herd struct {
	mu   sync.Mutex
	lost map[string]int // feeds that are away, by the origin they were pulled from
}

func newHerd() *herd { return &herd{lost: map[string]int{}} }

// join tells how many feeds have lost an origin before this one; found must be
// called when it looks for it no more.
func (h *herd) join(origin string) (before int, found func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	before = h.lost[origin]
	h.lost[origin]++
	return before, func() { h.leave(origin) }
}

func (h *herd) leave(origin string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.lost[origin]--; h.lost[origin] == 0 {
		delete(h.lost, origin)
	}
}

// size is how many feeds have lost an origin.
func (h *herd) size(origin string) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.lost[origin]
}
