package admission

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"net/netip"
	"time"
)

// nonceAge is for how long a nonce may be used.
const nonceAge = 5 * time.Minute

// nonces are made and recognised without being remembered: the time, something
// random, and a MAC over these and the viewer's address.
type nonces struct{ secret []byte }

const (
	nonceRandom = 8
	nonceBody   = 8 + nonceRandom
	nonceMAC    = 16
)

func newNonces() nonces {
	n := nonces{make([]byte, 32)}
	rand.Read(n.secret) //nolint:errcheck // never fails
	return n
}

func (n nonces) mint(now time.Time, addr netip.Addr) string {
	b := binary.BigEndian.AppendUint64(make([]byte, 0, nonceBody+nonceMAC), uint64(now.Unix()))
	b = b[:nonceBody]
	rand.Read(b[8:]) //nolint:errcheck // never fails
	return base64.RawURLEncoding.EncodeToString(append(b, n.mac(b, addr)...))
}

// look reports whether a nonce was made here for an address, and not too long ago.
func (n nonces) look(nonce string, now time.Time, addr netip.Addr) (genuine, fresh bool) {
	b, err := base64.RawURLEncoding.DecodeString(nonce)
	if err != nil || len(b) != nonceBody+nonceMAC || !hmac.Equal(b[nonceBody:], n.mac(b[:nonceBody], addr)) {
		return false, false
	}
	age := now.Sub(time.Unix(int64(binary.BigEndian.Uint64(b)), 0))
	return true, age < nonceAge
}

func (n nonces) mac(body []byte, addr netip.Addr) []byte {
	m := hmac.New(sha256.New, n.secret)
	m.Write(body)
	m.Write(addr.AsSlice())
	return m.Sum(nil)[:nonceMAC]
}
