package admission

import (
	"context"
	mathrand "math/rand/v2"
	"net/netip"
	"runtime"
	"sync"
	"time"

	"github.com/gaissmai/bart"

	"weir/proxy"
)

const (
	// maxWaiting is how many hashes may wait to be computed, maxWaitingEach how many of
	// them for one client: with wrong passwords he holds up himself, and the others
	// for as long as that many take.
	maxWaiting, maxWaitingEach = 64, 4
	// maxWait is how long each waits, if its viewer does.
	maxWait = 10 * time.Second
)

// hashing computes hashes that are dear on purpose, a few at a time, so that
// passwords leave CPUs for the media. Who waits gets his turn in the order in
// which they came.
type hashing struct {
	slots  chan struct{}
	shared *bart.Lite // addresses that many viewers have in common: they wait as many as there is room for

	mu      sync.Mutex
	waiting int
	each    map[netip.Addr]int // how many of them are of a client; nobody with none
}

func newHashing(shared []netip.Prefix) *hashing {
	return &hashing{
		slots:  make(chan struct{}, max(1, runtime.GOMAXPROCS(0)/2)),
		shared: tableOf(shared), each: map[netip.Addr]int{},
	}
}

// matches compares when it is its turn. Its errors are errLeft, crowdedError and
// *proxy.Refusal.
func (h *hashing) matches(ctx context.Context, hash passwordHash, l login) (bool, error) {
	select {
	case h.slots <- struct{}{}:
	default:
		if err := h.wait(ctx, l.from); err != nil {
			return false, err
		}
	}
	defer func() { <-h.slots }()
	return hash.matches(l.password), nil
}

// wait takes a slot.
func (h *hashing) wait(ctx context.Context, from netip.Addr) error {
	if err := h.queue(from); err != nil {
		return err
	}
	defer h.leave(client(from))
	limit := time.NewTimer(maxWait)
	defer limit.Stop()
	select {
	case h.slots <- struct{}{}:
		return nil
	case <-limit.C:
		return busyHashing("no time to verify a password")
	case <-ctx.Done():
		return errLeft
	}
}

// queue counts one more who waits, until leave.
func (h *hashing) queue(from netip.Addr) error {
	c, shared := client(from), h.shared.Contains(from.Unmap())
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case h.waiting >= maxWaiting:
		return busyHashing("too many passwords to verify")
	case h.each[c] >= maxWaitingEach && !shared:
		return crowdedError{c}
	}
	h.waiting++
	h.each[c]++
	return nil
}

func (h *hashing) leave(c netip.Addr) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.waiting--
	if h.each[c]--; h.each[c] == 0 {
		delete(h.each, c)
	}
}

// A crowdedError says that a client has enough of them waiting. It is no refusal
// yet: others may have asked for the same.
type crowdedError struct{ client netip.Addr }

func (crowdedError) Error() string { return "too many passwords of one client to verify" }

// busyHashing asks to come back, not all at the same time.
func busyHashing(why string) error {
	r := refuse(proxy.TooFast, why)
	r.RetryAfter = time.Second + mathrand.N(4*time.Second)
	return r
}
