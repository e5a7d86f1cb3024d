package admission

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	mathrand "math/rand/v2"
	"runtime"
	"sync/atomic"
	"time"

	"golang.org/x/sync/singleflight"

	"weir/proxy"
)

const (
	// maxWaiting is how many hashes may wait to be computed.
	maxWaiting = 64
	// maxWait is how long each waits, if its viewer does.
	maxWait = 10 * time.Second
)

// passwords verifies them against one reading of a file, and remembers what it
// found out, by a keyed hash: it has no secrets but the key.
type passwords struct {
	key   [32]byte
	turns *hashing
	same  singleflight.Group
	known *knownPasswords
}

func newPasswords(turns *hashing) *passwords {
	p := &passwords{turns: turns, known: newKnownPasswords()}
	rand.Read(p.key[:]) //nolint:errcheck // never fails
	return p
}

// verify reports whether a password is right for a name that has a hash. Its
// errors are *proxy.Refusal.
func (p *passwords) verify(ctx context.Context, name, password string, hash passwordHash) (bool, error) {
	if hash.cost() == 0 {
		return hash.matches(password), nil
	}
	id := p.id(name, password)
	if right, ok := p.known.get(id, time.Now()); ok {
		return right, nil
	}
	for {
		right, err := p.once(ctx, id, password, hash)
		switch {
		case errors.Is(err, errLeft) && ctx.Err() == nil:
			// Another viewer had asked for the same first, and has gone while waiting.
		case errors.Is(err, errLeft):
			return false, busyHashing("gone before a password was verified")
		default:
			return right, err
		}
	}
}

// errLeft is the error of those whose viewer has gone.
var errLeft = errors.New("left")

// once computes what several ask for together one time. What has begun goes on
// when they leave, for as long as one hash takes.
func (p *passwords) once(ctx context.Context, id [sha256.Size]byte, password string, hash passwordHash) (bool, error) {
	done := p.same.DoChan(string(id[:]), func() (any, error) {
		if right, ok := p.known.get(id, time.Now()); ok {
			return right, nil // somebody was faster between the look and here
		}
		right, err := p.turns.matches(ctx, hash, password)
		if err == nil {
			p.known.add(id, right, time.Now())
		}
		return right, err
	})
	select {
	case <-ctx.Done():
		return false, errLeft
	case r := <-done:
		return r.Val.(bool), r.Err
	}
}

// id stands for a name and a password, which are bounded, without allocation.
func (p *passwords) id(name, password string) [sha256.Size]byte {
	var b [32 + 4 + maxUserName + maxPassword]byte
	n := copy(b[:], p.key[:])
	binary.BigEndian.PutUint32(b[n:], uint32(len(name)))
	n += 4
	n += copy(b[n:], name)
	n += copy(b[n:], password)
	return sha256.Sum256(b[:n])
}

// hashing computes hashes that are dear on purpose, a few at a time, so that
// passwords leave CPUs for the media.
type hashing struct {
	slots   chan struct{}
	waiting atomic.Int32
}

func newHashing() *hashing {
	return &hashing{slots: make(chan struct{}, max(1, runtime.GOMAXPROCS(0)/2))}
}

// matches compares when it is its turn. Its errors are errLeft and *proxy.Refusal.
func (h *hashing) matches(ctx context.Context, hash passwordHash, password string) (bool, error) {
	select {
	case h.slots <- struct{}{}:
	default:
		if err := h.wait(ctx); err != nil {
			return false, err
		}
	}
	defer func() { <-h.slots }()
	return hash.matches(password), nil
}

// wait takes a slot.
func (h *hashing) wait(ctx context.Context) error {
	defer h.waiting.Add(-1)
	if h.waiting.Add(1) > maxWaiting {
		return busyHashing("too many passwords to verify")
	}
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

// busyHashing asks to come back, not all at the same time.
func busyHashing(why string) error {
	r := refuse(proxy.TooFast, why)
	r.RetryAfter = time.Second + mathrand.N(4*time.Second)
	return r
}
