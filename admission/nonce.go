package admission

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"net/netip"
	"time"
)

// nonceAge is for how long a nonce may be used to begin something.
const nonceAge = 5 * time.Minute

// A nonce is, in hexadecimal, the time, something random, and a MAC over both and
// the viewer's address; in bytes:
const (
	nonceTime = 8
	nonceBody = nonceTime + 8
	nonceLen  = nonceBody + sha256.Size
)

// nonces are made and recognised without being remembered, by this process only.
type nonces struct{ secret []byte }

func newNonces() nonces {
	n := nonces{make([]byte, 32)}
	rand.Read(n.secret) //nolint:errcheck // never fails
	return n
}

// mint makes one for an address.
func (n nonces) mint(now time.Time, addr netip.Addr) string {
	var b [nonceLen]byte
	binary.BigEndian.PutUint64(b[:], uint64(now.Unix()))
	rand.Read(b[nonceTime:nonceBody]) //nolint:errcheck // never fails
	copy(b[nonceBody:], n.mac(b[:nonceBody], addr))
	return hex.EncodeToString(b[:])
}

// look reports whether a nonce was made here for an address, and not too long
// ago. One from the future was made before the clock was set back.
func (n nonces) look(nonce string, now time.Time, addr netip.Addr) (genuine, fresh bool) {
	var b [nonceLen]byte
	if len(nonce) != hex.EncodedLen(nonceLen) {
		return false, false
	}
	if _, err := hex.Decode(b[:], []byte(nonce)); err != nil || !hmac.Equal(b[nonceBody:], n.mac(b[:nonceBody], addr)) {
		return false, false
	}
	age := now.Sub(time.Unix(int64(binary.BigEndian.Uint64(b[:])), 0))
	return true, age < nonceAge && age > -nonceAge
}

func (n nonces) mac(body []byte, addr netip.Addr) []byte {
	m := hmac.New(sha256.New, n.secret)
	m.Write(body)
	from := addr.As16() // an address of IPv4 is the same when it is written as one of IPv6
	m.Write(from[:])
	return m.Sum(nil)
}
