package admission

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/MicahParks/jwkset"
	"github.com/golang-jwt/jwt/v5"
)

const (
	// maxJWTKeys is how many keys there may be: a token that names none is tried
	// with each that fits its algorithm.
	maxJWTKeys = 64
	// minJWTSecret is the shortest secret in bytes, minRSA the shortest RSA key in
	// bits (RFC 7518 §3.2, §3.3).
	minJWTSecret = 32
	minRSA       = 2048
)

// A jwtKey verifies signatures.
type jwtKey struct {
	id        string // "" for a key without a name, which is tried whatever a token names
	algorithm string // the only one it is for; "" for all that fit its kind
	key       any    // *rsa.PublicKey, *ecdsa.PublicKey, ed25519.PublicKey, or []byte for a secret
}

// jwtKeys are either public keys or one secret: never both, or a public key that
// everybody knows could pass for a secret (RFC 8725 §2.1).
type jwtKeys []jwtKey

// find is a jwt.Keyfunc: the keys that a token may be signed with.
func (keys jwtKeys) find(t *jwt.Token) (any, error) {
	id, named := t.Header["kid"].(string)
	if _, ok := t.Header["kid"]; ok && !named {
		return nil, errJWTHeader
	}
	if _, ok := t.Header["crit"]; ok { // RFC 7515 §4.1.11: no extension is understood
		return nil, errJWTHeader
	}
	var set jwt.VerificationKeySet
	err := errJWTKeyUnknown
	for _, k := range keys {
		switch {
		case named && k.id != "" && k.id != id:
		case !k.fits(t.Method.Alg()):
			err = errJWTKeyWrong
		default:
			set.Keys = append(set.Keys, k.key)
		}
	}
	if len(set.Keys) == 0 {
		return nil, err
	}
	return set, nil
}

// fits reports whether a key is for an algorithm (RFC 7518 §3.1, RFC 8037 §3.1).
func (k jwtKey) fits(algorithm string) bool {
	if k.algorithm != "" && k.algorithm != algorithm {
		return false
	}
	switch key := k.key.(type) {
	case *rsa.PublicKey:
		return strings.HasPrefix(algorithm, "RS") || strings.HasPrefix(algorithm, "PS")
	case *ecdsa.PublicKey:
		return algorithm == "ES256" && key.Curve == elliptic.P256() ||
			algorithm == "ES384" && key.Curve == elliptic.P384() ||
			algorithm == "ES512" && key.Curve == elliptic.P521()
	case ed25519.PublicKey:
		return algorithm == "EdDSA"
	case []byte:
		return strings.HasPrefix(algorithm, "HS")
	}
	return false
}

// jwtFileParser returns the parser of a file with a JWKS, public keys in PEM, or
// a secret. Algorithms that its keys are not for are a mistake.
func jwtFileParser(algorithms []string) func([]byte) (jwtKeys, error) {
	return func(text []byte) (jwtKeys, error) {
		parse := parseJWTSecret
		switch trimmed := bytes.TrimSpace(text); {
		case bytes.HasPrefix(trimmed, []byte("{")):
			parse = parseJWKS
		case bytes.Contains(trimmed, []byte("-----BEGIN ")):
			parse = parsePEMKeys
		}
		keys, err := parse(text)
		if err != nil {
			return nil, err
		}
		return keys, keys.suit(algorithms)
	}
}

func (keys jwtKeys) suit(algorithms []string) error {
	_, secret := keys[0].key.([]byte)
	for _, a := range algorithms {
		switch hmac := strings.HasPrefix(a, "HS"); {
		case hmac && !secret:
			return fmt.Errorf("holds public keys, with which %s of -admission.jwt-algorithms would let everybody in", a)
		case secret && !hmac:
			return fmt.Errorf("holds a secret, which is not for %s of -admission.jwt-algorithms", a)
		}
	}
	return nil
}

// parseJWKS reads a JWK Set (RFC 7517 §5), or one key. As the RFC says, keys that
// are not understood are passed over; there must be one that is.
func parseJWKS(text []byte) (jwtKeys, error) {
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(text, &set); err != nil {
		return nil, fmt.Errorf("not a JWKS: %w", err)
	}
	if set.Keys == nil {
		set.Keys = []json.RawMessage{text}
	}
	if len(set.Keys) > maxJWTKeys {
		return nil, fmt.Errorf("more than %d keys", maxJWTKeys)
	}
	var keys jwtKeys
	why := errors.New("it is empty")
	for _, raw := range set.Keys {
		k, err := parseJWK(raw)
		if err != nil {
			why = err
			continue
		}
		keys = append(keys, k)
	}
	if len(keys) == 0 {
		return nil, fmt.Errorf("no key in it to verify signatures with: %w", why)
	}
	return keys, nil
}

func parseJWK(raw json.RawMessage) (jwtKey, error) {
	jwk, err := jwkset.NewJWKFromRawJSON(raw, jwkset.JWKMarshalOptions{}, jwkset.JWKValidateOptions{})
	if err != nil {
		return jwtKey{}, err
	}
	m := jwk.Marshal()
	if m.USE != "" && m.USE != jwkset.UseSig {
		return jwtKey{}, fmt.Errorf("a key is for %q", m.USE)
	}
	if len(m.KEYOPS) > 0 && !slices.Contains(m.KEYOPS, jwkset.KeyOpsVerify) {
		return jwtKey{}, errors.New("a key is for other operations")
	}
	return jwtKey{id: m.KID, algorithm: string(m.ALG), key: jwk.Key()}, verifies(jwk.Key())
}

// verifies is nil if a key is public, of a kind that is known, and not too weak.
func verifies(key any) error {
	switch k := key.(type) {
	case *rsa.PublicKey:
		if k.N.BitLen() < minRSA {
			return fmt.Errorf("an RSA key has %d bits, less than %d", k.N.BitLen(), minRSA)
		}
		return nil
	case *ecdsa.PublicKey, ed25519.PublicKey:
		return nil
	}
	return fmt.Errorf("a key is a %T", key)
}

// parsePEMKeys reads public keys and certificates; whether these are in date is
// not asked.
func parsePEMKeys(text []byte) (jwtKeys, error) {
	var keys jwtKeys
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		key, err := parsePEMKey(block)
		if err == nil {
			err = verifies(key)
		}
		if err != nil {
			return nil, err
		}
		if keys = append(keys, jwtKey{key: key}); len(keys) > maxJWTKeys {
			return nil, fmt.Errorf("more than %d keys", maxJWTKeys)
		}
	}
	if len(keys) == 0 {
		return nil, errors.New("no PEM in it that can be read")
	}
	return keys, nil
}

func parsePEMKey(block *pem.Block) (any, error) {
	switch block.Type {
	case "PUBLIC KEY":
		return x509.ParsePKIXPublicKey(block.Bytes)
	case "RSA PUBLIC KEY":
		return x509.ParsePKCS1PublicKey(block.Bytes)
	case "CERTIFICATE":
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, err
		}
		return c.PublicKey, nil
	}
	return nil, fmt.Errorf("holds a %s; public keys and certificates are read", block.Type)
}

// parseJWTSecret reads a secret for HMAC, without the ends of lines behind it.
func parseJWTSecret(text []byte) (jwtKeys, error) {
	secret := bytes.TrimRight(text, "\r\n")
	if len(secret) < minJWTSecret {
		return nil, fmt.Errorf("is neither a JWKS nor PEM, and for a secret too short: %d bytes, not %d", len(secret), minJWTSecret)
	}
	if _, err := x509.ParsePKIXPublicKey(secret); err == nil {
		return nil, errors.New("holds a public key in DER; PEM is read")
	}
	if _, err := x509.ParseCertificate(secret); err == nil {
		return nil, errors.New("holds a certificate in DER; PEM is read")
	}
	return jwtKeys{{key: bytes.Clone(secret)}}, nil
}
