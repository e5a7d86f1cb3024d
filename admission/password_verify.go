package admission

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"net/netip"
	"time"

	"golang.org/x/sync/singleflight"
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

// A login is what somebody shows for Basic.
type login struct {
	name, password string
	from           netip.Addr
}

// verify reports whether a password is right for a name that has a hash. Its
// errors are *proxy.Refusal.
func (p *passwords) verify(ctx context.Context, l login, hash passwordHash) (bool, error) {
	if hash.cost() == 0 {
		return hash.matches(l.password), nil
	}
	id := p.id(l.name, l.password)
	if right, ok := p.known.get(id, time.Now()); ok {
		return right, nil
	}
	for {
		right, err := p.once(ctx, id, l, hash)
		crowd, crowded := errors.AsType[crowdedError](err)
		switch {
		case errors.Is(err, errLeft) && ctx.Err() == nil, crowded && crowd.client != client(l.from):
			// Another viewer had asked for the same first, and has gone while waiting, or is
			// one of too many at his address.
		case errors.Is(err, errLeft):
			return false, busyHashing("gone before a password was verified")
		case crowded:
			return false, busyHashing(err.Error())
		default:
			return right, err
		}
	}
}

// errLeft is the error of those whose viewer has gone.
var errLeft = errors.New("left")

// once computes what several ask for together one time. What has begun goes on
// when they leave, for as long as one hash takes.
func (p *passwords) once(ctx context.Context, id [sha256.Size]byte, l login, hash passwordHash) (bool, error) {
	done := p.same.DoChan(string(id[:]), func() (any, error) {
		if right, ok := p.known.get(id, time.Now()); ok {
			return right, nil // somebody was faster between the look and here
		}
		right, err := p.turns.matches(ctx, hash, l)
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
