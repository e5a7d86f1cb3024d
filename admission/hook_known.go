package admission

import (
	"crypto/sha256"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"

	"weir/proxy"
)

// maxHookAnswers is how many answers of each kind are remembered.
const maxHookAnswers = 4096

// A hookAnswer is shared, and changed by nobody.
type hookAnswer struct {
	grant *grant
	no    *proxy.Refusal // nil for a yes
	until time.Time      // as long as it is remembered
}

// result copies a refusal, to which others may add challenges.
func (a *hookAnswer) result() (*grant, error) {
	if a.no != nil {
		no := *a.no
		return nil, &no
	}
	return a.grant, nil
}

// hookAnswers are those that are remembered. Each kind has its table: who tries
// out passwords does not make the hook forget whom it let in.
type hookAnswers struct {
	mu      sync.Mutex
	yes, no *simplelru.LRU[[sha256.Size]byte, *hookAnswer]
}

func newHookAnswers() *hookAnswers {
	table := func() *simplelru.LRU[[sha256.Size]byte, *hookAnswer] {
		t, err := simplelru.NewLRU[[sha256.Size]byte, *hookAnswer](maxHookAnswers, nil)
		if err != nil {
			panic("BUG: " + err.Error())
		}
		return t
	}
	return &hookAnswers{yes: table(), no: table()}
}

// get is nil if there is no answer that is fresh.
func (h *hookAnswers) get(sum [sha256.Size]byte, now time.Time) *hookAnswer {
	h.mu.Lock()
	defer h.mu.Unlock()
	a, ok := h.yes.Get(sum)
	if !ok {
		a, ok = h.no.Get(sum)
	}
	if !ok || !now.Before(a.until) {
		return nil
	}
	return a
}

// add replaces what was answered to the same question before.
func (h *hookAnswers) add(sum [sha256.Size]byte, a *hookAnswer) {
	h.mu.Lock()
	defer h.mu.Unlock()
	to, other := h.yes, h.no
	if a.no != nil {
		to, other = h.no, h.yes
	}
	other.Remove(sum)
	to.Add(sum, a)
}
