package admission

import (
	"crypto/sha256"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
)

const (
	// maxKnownPasswords is how many of each kind are remembered, the ones used last.
	maxKnownPasswords = 4096
	// knownRight and knownWrong are for how long they are. Each use of a right one makes
	// that anew, up to knownLongest since it was verified: who keeps coming does not wait
	// behind those who try passwords out.
	knownRight, knownWrong = 5 * time.Minute, 2 * time.Second
	knownLongest           = time.Hour
)

// knownPasswords remembers which were right and which were wrong. Each kind has
// its table: who tries passwords out pushes nobody out.
type knownPasswords struct {
	mu    sync.Mutex
	right *simplelru.LRU[[sha256.Size]byte, *rightPassword]
	wrong *simplelru.LRU[[sha256.Size]byte, time.Time] // until when
}

// A rightPassword is known until a time, which moves, but not beyond last.
type rightPassword struct{ until, last time.Time }

func newKnownPasswords() *knownPasswords {
	k := &knownPasswords{}
	k.right, _ = simplelru.NewLRU[[sha256.Size]byte, *rightPassword](maxKnownPasswords, nil) // fails only for a size of 0
	k.wrong, _ = simplelru.NewLRU[[sha256.Size]byte, time.Time](maxKnownPasswords, nil)
	return k
}

// get reports whether a password is right, if that is known.
func (k *knownPasswords) get(id [sha256.Size]byte, now time.Time) (right, ok bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if r, ok := k.right.Get(id); ok && now.Before(r.until) {
		if r.until = now.Add(knownRight); r.until.After(r.last) {
			r.until = r.last
		}
		return true, true
	}
	until, ok := k.wrong.Get(id)
	return false, ok && now.Before(until)
}

func (k *knownPasswords) add(id [sha256.Size]byte, right bool, now time.Time) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if right {
		k.right.Add(id, &rightPassword{now.Add(knownRight), now.Add(knownLongest)})
		return
	}
	k.wrong.Add(id, now.Add(knownWrong))
}

// len is how many are remembered.
func (k *knownPasswords) len() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.right.Len() + k.wrong.Len()
}
