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
	// knownRight and knownWrong are for how long they are.
	knownRight, knownWrong = 5 * time.Minute, 2 * time.Second
)

// knownPasswords remembers which were right and which were wrong. Each kind has
// its table: who tries passwords out pushes nobody out.
type knownPasswords struct {
	mu           sync.Mutex
	right, wrong *simplelru.LRU[[sha256.Size]byte, time.Time] // until when
}

func newKnownPasswords() *knownPasswords {
	table := func() *simplelru.LRU[[sha256.Size]byte, time.Time] {
		t, err := simplelru.NewLRU[[sha256.Size]byte, time.Time](maxKnownPasswords, nil)
		if err != nil {
			panic("BUG: " + err.Error())
		}
		return t
	}
	return &knownPasswords{right: table(), wrong: table()}
}

// get reports whether a password is right, if that is known.
func (k *knownPasswords) get(id [sha256.Size]byte, now time.Time) (right, ok bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if until, ok := k.right.Get(id); ok && now.Before(until) {
		return true, true
	}
	until, ok := k.wrong.Get(id)
	return false, ok && now.Before(until)
}

func (k *knownPasswords) add(id [sha256.Size]byte, right bool, now time.Time) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if right {
		k.right.Add(id, now.Add(knownRight))
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
