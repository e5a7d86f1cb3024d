package admission

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/MicahParks/jwkset"
	"github.com/golang-jwt/jwt/v5"
	"go.uber.org/zap"

	"weir/proxy"
)

// jwtNow is the time of all tests that do not need timers.
var jwtNow = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// Keys are made once: RSA takes its time.
var (
	rsaKeys = sync.OnceValue(func() [2]*rsa.PrivateKey { return [2]*rsa.PrivateKey{newRSA(2048), newRSA(2048)} })
	ecKey   = sync.OnceValue(func() *ecdsa.PrivateKey {
		k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			panic(err)
		}
		return k
	})
	edKey = ed25519.NewKeyFromSeed([]byte("a seed that is for tests, and so!"[:ed25519.SeedSize]))
)

func newRSA(bits int) *rsa.PrivateKey {
	k, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		panic(err)
	}
	return k
}

// jwkOf describes a public key; use and alg may be empty.
func jwkOf(t testing.TB, key crypto.Signer, id, algorithm, use string) json.RawMessage {
	t.Helper()
	jwk, err := jwkset.NewJWKFromKey(key.Public(), jwkset.JWKOptions{Metadata: jwkset.JWKMetadataOptions{
		KID: id, ALG: jwkset.ALG(algorithm), USE: jwkset.USE(use),
	}})
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(jwk.Marshal())
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func jwksOf(t testing.TB, keys ...json.RawMessage) []byte {
	t.Helper()
	text, err := json.Marshal(map[string]any{"keys": keys})
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// publicPEM is a public key as files have it.
func publicPEM(t testing.TB, key crypto.Signer) []byte {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
}

// goodClaims are claims that a token needs, with more.
func goodClaims(more jwt.MapClaims) jwt.MapClaims {
	c := jwt.MapClaims{"sub": "ann", "exp": jwtNow.Add(time.Hour).Unix()}
	for k, v := range more {
		c[k] = v
	}
	return c
}

func signedJWT(t testing.TB, m jwt.SigningMethod, key any, id string, c jwt.Claims) string {
	t.Helper()
	token := jwt.NewWithClaims(m, c)
	if id != "" {
		token.Header["kid"] = id
	}
	text, err := token.SignedString(key)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func fileOfKeys(t testing.TB, text []byte) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "keys")
	if err := os.WriteFile(name, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// fileJWT verifies with the keys in a file.
func fileJWT(t testing.TB, text []byte, o Options) *jwtSource {
	t.Helper()
	o.JWT = fileOfKeys(t, text)
	if o.JWTAlgorithms == "" {
		o.JWTAlgorithms = "RS256,ES256,EdDSA"
	}
	j, err := newJWT(&o, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	return j
}

// wantVerdict checks the reason of an error; "" wants none.
func wantVerdict(t testing.TB, what string, err error, want proxy.Reason) {
	t.Helper()
	if err == nil {
		if want != "" {
			t.Errorf("%s: got in, want %s", what, want)
		}
		return
	}
	r, ok := err.(*proxy.Refusal)
	if !ok {
		t.Fatalf("%s: error is a %T, want *proxy.Refusal: %v", what, err, err)
	}
	if r.Reason != want {
		t.Errorf("%s = %v, want %q", what, r, want)
	}
	if r.Reason == proxy.NoVerdict && r.RetryAfter <= 0 {
		t.Errorf("%s: no verdict, and no word about when to come back", what)
	}
}

// keyServer serves a JWKS that can be changed, and counts how often it is asked.
type keyServer struct {
	text  atomic.Pointer[[]byte] // nil: 500
	asked atomic.Int64
}

func (s *keyServer) set(text []byte) { s.text.Store(&text) }

func (s *keyServer) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	s.asked.Add(1)
	if text := s.text.Load(); text != nil {
		_, _ = w.Write(*text)
		return
	}
	http.Error(w, "not now", http.StatusInternalServerError)
}

// runUntilEnd runs f until the test ends, or stop is called.
func runUntilEnd(t testing.TB, f func(context.Context)) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		f(ctx)
	}()
	stop = func() {
		cancel()
		<-done
	}
	t.Cleanup(stop)
	return stop
}
