package admission

import (
	"bytes"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"slices"
	"strings"
	"testing"

	"github.com/golang-jwt/jwt/v5"
	"go.uber.org/zap"

	"weir/proxy"
)

func TestJWTOptions(t *testing.T) {
	public := publicPEM(t, edKey)
	private, err := x509.MarshalPKCS8PrivateKey(edKey)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(edKey.Public())
	if err != nil {
		t.Fatal(err)
	}
	secret := bytes.Repeat([]byte("s"), minJWTSecret)
	f := func(algorithms string, keys []byte, want string) {
		t.Helper()
		_, err := newJWT(&Options{JWT: fileOfKeys(t, keys), JWTAlgorithms: algorithms}, zap.NewNop())
		if got := errorText(err); want == "" && got != "" || !strings.Contains(got, want) {
			t.Errorf("algorithms %q, keys %.20q: %q, want %q", algorithms, keys, got, want)
		}
	}
	f("EdDSA", public, "")
	f("EdDSA, RS512", public, "")
	f("", public, "names none")
	f("EdDSA,none", public, `"none" is none of`)
	f("eddsa", public, `"eddsa" is none of`)
	f("EdDSA,HS256", public, "would let everybody in")
	f("HS256", secret, "")
	f("HS256,HS512", append(secret, '\n'), "")
	f("EdDSA", secret, "is not for EdDSA")
	f("HS256", secret[1:], "too short: 31 bytes")
	f("HS256", append(secret[1:], '\n'), "too short: 31 bytes")
	f("HS256", der, "DER")
	f("EdDSA", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}), "holds a PRIVATE KEY")
	f("EdDSA", []byte("-----BEGIN PUBLIC KEY-----\nrubbish\n"), "no PEM")
	f("RS256", publicPEM(t, newRSA(1024)), "1024 bits")
	f("EdDSA", []byte(`{"keys":[]}`), "no key in it")
	f("EdDSA", []byte(`{"keys":`), "not a JWKS")
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func TestJWTOfURLOptions(t *testing.T) {
	f := func(url, algorithms, want string) {
		t.Helper()
		_, err := newJWT(&Options{JWT: url, JWTAlgorithms: algorithms}, zap.NewNop())
		if got := errorText(err); want == "" && got != "" || !strings.Contains(got, want) || strings.Contains(got, "hush") {
			t.Errorf("%s with %s: %q, want %q", url, algorithms, got, want)
		}
	}
	f("https://id.example/keys", "RS256", "")
	f("HTTPS://id.example/keys", "RS256", "")
	f("https://id.example/keys", "RS256,HS256", "would let everybody in")
	f("https:///keys", "RS256", "not a URL")
	f("https://me:hush@id.example:port/keys", "RS256", "not a URL")
}

// TestJWTFiles verifies with each form that a file of keys may have.
func TestJWTFiles(t *testing.T) {
	f := func(what string, keys []byte, algorithms, token string, want proxy.Reason) {
		t.Helper()
		_, err := fileJWT(t, keys, Options{JWTAlgorithms: algorithms}).verify(token, jwtNow)
		wantVerdict(t, what, err, want)
	}
	secret := bytes.Repeat([]byte("s"), minJWTSecret)
	ed := signedJWT(t, jwt.SigningMethodEdDSA, edKey, "", goodClaims(nil))
	named := signedJWT(t, jwt.SigningMethodEdDSA, edKey, "anything", goodClaims(nil))
	f("one key in PEM", publicPEM(t, edKey), "EdDSA", ed, "")
	f("a name for a key in PEM", publicPEM(t, edKey), "EdDSA", named, "")
	f("two keys in PEM", slices.Concat(publicPEM(t, ecKey()), publicPEM(t, edKey)), "EdDSA,ES256", ed, "")
	f("another key in PEM", publicPEM(t, ecKey()), "EdDSA,ES256", ed, proxy.Unauthorized)
	f("one JWK", jwkOf(t, edKey, "d", "", ""), "EdDSA", ed, "")
	f("a secret", append(secret, '\n'), "HS256", signedJWT(t, jwt.SigningMethodHS256, secret, "", goodClaims(nil)), "")
	f("another secret", append([]byte("x"), secret...), "HS256", signedJWT(t, jwt.SigningMethodHS256, secret, "", goodClaims(nil)), proxy.Unauthorized)
	f("HS384 where HS256 is listed", secret, "HS256", signedJWT(t, jwt.SigningMethodHS384, secret, "", goodClaims(nil)), proxy.Unauthorized)
}

// TestJWKSPassesOver keys that are not for signatures, or not understood.
func TestJWKSPassesOver(t *testing.T) {
	secret := base64.RawURLEncoding.EncodeToString(bytes.Repeat([]byte("s"), minJWTSecret))
	keys, err := parseJWKS(jwksOf(t,
		json.RawMessage(`{"kty":"oct","kid":"s","k":"`+secret+`"}`),
		json.RawMessage(`{"kty":"new","kid":"n"}`),
		json.RawMessage(`{"kty":"EC","crv":"P-256","kid":"off","x":"AQ","y":"AQ"}`),
		json.RawMessage(`7`),
		jwkOf(t, newRSA(1024), "weak", "RS256", "sig"),
		jwkOf(t, rsaKeys()[0], "enc", "", "enc"),
		jwkOf(t, rsaKeys()[1], "r", "", "sig"),
	))
	if err != nil {
		t.Fatal(err)
	}
	if len(keys) != 1 || keys[0].id != "r" {
		t.Errorf("keys = %+v, want only r", keys)
	}
	many := slices.Repeat([]json.RawMessage{jwkOf(t, edKey, "d", "", "")}, maxJWTKeys+1)
	if _, err := parseJWKS(jwksOf(t, many...)); err == nil {
		t.Errorf("%d keys taken", len(many))
	}
}

func FuzzJWTKeys(f *testing.F) {
	f.Add(threeKeys(f))
	f.Add(publicPEM(f, edKey))
	f.Add([]byte(`{"kty":"EC","crv":"P-256","x":"AQ","y":"AQ"}`))
	f.Add([]byte(`{"keys":[{"kty":"RSA","n":"AQ","e":"AQAB"},null]}`))
	f.Add([]byte(strings.Repeat("s", 40)))
	parse := jwtFileParser([]string{"RS256", "ES256", "EdDSA"})
	f.Fuzz(func(t *testing.T, text []byte) {
		keys, err := parse(text)
		if err == nil && len(keys) == 0 {
			t.Fatal("no keys, and no error")
		}
	})
}
