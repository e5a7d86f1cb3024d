package cluster

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/hashicorp/memberlist"
)

// maxKeys is how many keys a file may have: each packet that is not for this
// cluster is tried with all of them.
const maxKeys = 8

// readKeys reads a file of keys; its errors never have in them what is in it.
func readKeys(name string) ([][]byte, error) {
	if name == "" {
		return nil, nil
	}
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("-cluster.key-file: %w", err)
	}
	keys, err := parseKeys(text)
	if err != nil {
		return nil, fmt.Errorf("-cluster.key-file %s: %w", name, err)
	}
	return keys, nil
}

// parseKeys reads keys, one a line; empty lines and those beginning with # are none.
func parseKeys(text []byte) (keys [][]byte, err error) {
	n := 0
	for line := range bytes.Lines(text) {
		n++
		s := strings.TrimSpace(string(line))
		if s == "" || s[0] == '#' {
			continue
		}
		k := parseKey(s)
		if memberlist.ValidateKey(k) != nil {
			return nil, fmt.Errorf("line %d is no key: 16, 24 or 32 bytes in hex or base64", n)
		}
		if slices.ContainsFunc(keys, func(x []byte) bool { return bytes.Equal(x, k) }) {
			return nil, fmt.Errorf("line %d: that key is there twice", n)
		}
		keys = append(keys, k)
	}
	switch {
	case len(keys) == 0:
		return nil, errors.New("no key in it: 16, 24 or 32 bytes in hex or base64, one key a line")
	case len(keys) > maxKeys:
		return nil, fmt.Errorf("%d keys in it: at most %d", len(keys), maxKeys)
	}
	return keys, nil
}

// parseKey reads hex if it can: 24 bytes whose base64 happens to be of hexadecimal
// digits only, nobody has.
func parseKey(s string) []byte {
	if k, err := hex.DecodeString(s); err == nil {
		return k
	}
	k, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(s, "="))
	if err != nil {
		return nil
	}
	return k
}

// keyID names a key to operators without telling it.
func keyID(k []byte) (id [4]byte) {
	sum := sha256.Sum256(append([]byte("weir key "), k...))
	return [4]byte(sum[:])
}

// install makes a ring's keys those given, the first of which encrypts. It never
// lacks a key that both lists have.
//
// Memberlist's RemoveKey writes to memory that its readers are reading, unless the
// key is the last one. So keys that go are moved to the end first, where the usual
// change of keys leaves them anyhow.
func install(ring *memberlist.Keyring, keys [][]byte) error {
	for _, k := range keys {
		if err := ring.AddKey(k); err != nil {
			return err
		}
	}
	if err := ring.UseKey(keys[0]); err != nil {
		return err
	}
	goes := func(k []byte) bool {
		return !slices.ContainsFunc(keys, func(x []byte) bool { return bytes.Equal(x, k) })
	}
	for {
		now := ring.GetKeys()
		i := slices.IndexFunc(now, goes)
		if i < 0 {
			return nil
		}
		last := now[len(now)-1]
		if goes(last) {
			if err := ring.RemoveKey(last); err != nil {
				return err
			}
			continue
		}
		// Whoever uses a key puts it first; the moment until the right one is
		// there again may cost a packet that somebody cannot read yet.
		for _, k := range [][]byte{last, keys[0]} {
			if err := ring.UseKey(k); err != nil {
				return err
			}
		}
	}
}
