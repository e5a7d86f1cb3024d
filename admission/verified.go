package admission

import (
	"crypto/sha256"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
)

const (
	// maxVerified is how many credentials are remembered, the ones used last.
	maxVerified = 4096
	// verifiedFor is how long they are at most: a key that was withdrawn by a server
	// of keys goes on for as long.
	verifiedFor = 5 * time.Minute
)

// A credentialKind keeps texts of different credentials apart.
type credentialKind byte

const (
	kindToken       credentialKind = 't'
	kindCertificate credentialKind = 'c'
)

// verified remembers credentials that were good, by a hash: it has no secrets.
// Whether a grant is good for what is asked for now, its user has to ask.
type verified struct {
	mu    sync.Mutex
	lru   *simplelru.LRU[[sha256.Size]byte, remembered]
	epoch uint64 // how often it was emptied
}

type remembered struct {
	grant *grant
	until time.Time
}

func newVerified() *verified {
	lru, err := simplelru.NewLRU[[sha256.Size]byte, remembered](maxVerified, nil)
	if err != nil {
		panic("BUG: " + err.Error())
	}
	return &verified{lru: lru}
}

// hashed is a hash of credentials of up to maxToken bytes, without allocation.
func hashed(k credentialKind, text string) [sha256.Size]byte {
	var b [1 + maxToken]byte
	b[0] = byte(k)
	return sha256.Sum256(b[:1+copy(b[1:], text)])
}

// get returns what is known of credentials, nil for nothing. What has to be
// verified after all is added with the epoch that get returns.
func (t *verified) get(id [sha256.Size]byte, now time.Time) (g *grant, epoch uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	r, ok := t.lru.Get(id)
	if !ok {
		return nil, t.epoch
	}
	if !now.Before(r.until) {
		t.lru.Remove(id)
		return nil, t.epoch
	}
	return r.grant, t.epoch
}

// add remembers what is good, unless the table was emptied since get: it may have
// been verified with a key that is not one any more.
func (t *verified) add(id [sha256.Size]byte, g *grant, now time.Time, epoch uint64) {
	until := now.Add(verifiedFor)
	if !g.until.IsZero() && g.until.Before(until) {
		until = g.until
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if epoch == t.epoch {
		t.lru.Add(id, remembered{g, until})
	}
}

// clear forgets all.
func (t *verified) clear() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.lru.Purge()
	t.epoch++
}

// len is how many are remembered.
func (t *verified) len() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.lru.Len()
}
