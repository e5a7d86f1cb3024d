package admission

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

const (
	// minSecret is the shortest secret, in characters: 32 of hexadecimal text are
	// 128 bits.
	minSecret = 32
	// maxKeyID is the longest name of a key, in bytes.
	maxKeyID = 32
)

// A signingKey makes and checks signed URLs.
type signingKey struct {
	id     string
	secret []byte
}

// A keyring has keys with different ids: the first signs, all verify. To change
// keys, a new one is added behind the first, moved before it once all edges have
// it, and the old one is taken out when its last token has expired.
type keyring []signingKey

// parseKeys reads a file of keys: a line each with an id and a secret. Errors
// tell the line, never what is in it.
func parseKeys(text []byte) (keyring, error) {
	var all keyring
	n := 0
	for line := range bytes.Lines(text) {
		n++
		fields := strings.Fields(string(line))
		if len(fields) == 0 || fields[0][0] == '#' {
			continue
		}
		k, err := parseKey(fields)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		if _, twice := all.find(k.id); twice {
			return nil, fmt.Errorf("line %d: key %s is there twice", n, k.id)
		}
		all = append(all, k)
	}
	if len(all) == 0 {
		return nil, errors.New("no key in it: a line each, a name and at least 32 characters")
	}
	return all, nil
}

func parseKey(fields []string) (signingKey, error) {
	switch {
	case !isKeyID(fields[0]):
		return signingKey{}, errors.New("a key's name has up to 32 letters, digits, dots, dashes and underscores")
	case len(fields) < 2:
		return signingKey{}, errors.New("the secret is missing behind the key's name")
	case len(fields) > 2 && fields[2][0] != '#':
		return signingKey{}, errors.New("more than a name and a secret: secrets have no blanks")
	case utf8.RuneCountInString(fields[1]) < minSecret:
		return signingKey{}, fmt.Errorf("the secret of key %s is shorter than %d characters", fields[0], minSecret)
	}
	return signingKey{fields[0], []byte(fields[1])}, nil
}

func isKeyID(s string) bool {
	return s != "" && len(s) <= maxKeyID && !strings.ContainsFunc(s, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '.' || r == '-' || r == '_')
	})
}

// find looks a key up. Ids are no secret.
func (k keyring) find(id string) (signingKey, bool) {
	i := slices.IndexFunc(k, func(x signingKey) bool { return x.id == id })
	if i < 0 {
		return signingKey{}, false
	}
	return k[i], true
}

// ids are the names of the keys, for errors.
func (k keyring) ids() string {
	var s []string
	for _, x := range k {
		s = append(s, x.id)
	}
	return strings.Join(s, ", ")
}

// mac is HMAC-SHA256 (RFC 2104).
func (k signingKey) mac(text []byte) []byte {
	h := hmac.New(sha256.New, k.secret)
	h.Write(text)
	return h.Sum(nil)
}
