package admission

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"weir/proxy"
	"weir/proxy/proxytest"
)

// TestJWTFromURL fetches keys of each kind from a real server.
func TestJWTFromURL(t *testing.T) {
	var s keyServer
	s.set(threeKeys(t))
	server := httptest.NewServer(&s)
	defer server.Close()
	j, err := newJWT(&Options{JWT: server.URL + "/keys", JWTAlgorithms: "RS256,ES256,EdDSA"}, proxytest.Logger(t))
	if err != nil {
		t.Fatal(err)
	}
	_, err = j.verify(signedJWT(t, jwt.SigningMethodEdDSA, edKey, "d", goodClaims(nil)), jwtNow)
	wantVerdict(t, "before the first fetch", err, proxy.NoVerdict)
	if j.ready() == nil {
		t.Error("ready before the first fetch")
	}
	runUntilEnd(t, j.run)
	proxytest.Eventually(t, 10*time.Second, "keys", func() bool { return j.ready() == nil })
	f := func(what, token string, want proxy.Reason) {
		t.Helper()
		_, err := j.verify(token, jwtNow)
		wantVerdict(t, what, err, want)
	}
	f("RS256", signedJWT(t, jwt.SigningMethodRS256, rsaKeys()[0], "r", goodClaims(nil)), "")
	f("ES256", signedJWT(t, jwt.SigningMethodES256, ecKey(), "e", goodClaims(nil)), "")
	f("EdDSA", signedJWT(t, jwt.SigningMethodEdDSA, edKey, "d", goodClaims(nil)), "")
	f("another key", signedJWT(t, jwt.SigningMethodRS256, rsaKeys()[1], "r", goodClaims(nil)), proxy.Unauthorized)
	f("none", signedJWT(t, jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, "r", goodClaims(nil)), proxy.Unauthorized)
	f("a public key as a secret", signedJWT(t, jwt.SigningMethodHS256, publicPEM(t, rsaKeys()[0]), "r", goodClaims(nil)), proxy.Unauthorized)
	if n := s.asked.Load(); n != 1 {
		t.Errorf("the server was asked %d times, want 1", n)
	}
}

// clientOf is a client that asks a handler in process, for tests with timers.
func clientOf(h http.Handler) *http.Client {
	return &http.Client{Transport: handledBy{h}}
}

type handledBy struct{ http.Handler }

func (h handledBy) RoundTrip(req *http.Request) (*http.Response, error) {
	if err := req.Context().Err(); err != nil {
		return nil, err
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, req)
	return w.Result(), nil
}

// inJWKSBubble runs f in a synctest bubble, with keys that are fetched from s.
func inJWKSBubble(t *testing.T, s *keyServer, f func(t *testing.T, j *jwtSource)) *observer.ObservedLogs {
	rsaKeys() // not in a bubble: they are for all tests
	ecKey()
	core, logs := observer.New(zap.DebugLevel)
	synctest.Test(t, func(t *testing.T) {
		j, err := newJWT(&Options{JWT: "https://me:hush@id.example/keys?hush", JWTAlgorithms: "RS256,ES256,EdDSA"}, zap.New(core))
		if err != nil {
			t.Fatal(err)
		}
		j.remote.client = clientOf(s)
		runUntilEnd(t, j.run)
		synctest.Wait()
		f(t, j)
	})
	for _, e := range logs.All() {
		if text := fmt.Sprint(e.Message, e.ContextMap()); strings.Contains(text, "hush") {
			t.Errorf("log has a secret: %s", text)
		}
	}
	return logs
}

// TestJWKSDownAtStart: until there are keys nobody is told no, and the fetch is
// tried again soon, then less often.
func TestJWKSDownAtStart(t *testing.T) {
	var s keyServer
	token := signedJWT(t, jwt.SigningMethodEdDSA, edKey, "d", goodClaims(nil))
	logs := inJWKSBubble(t, &s, func(t *testing.T, j *jwtSource) {
		_, err := j.verify(token, jwtNow)
		wantVerdict(t, "down", err, proxy.NoVerdict)
		if err := j.ready(); err == nil || !strings.Contains(err.Error(), "answers 500") || strings.Contains(err.Error(), "hush") {
			t.Errorf("ready() = %v, want why not", err)
		}
		time.Sleep(10 * time.Minute)
		if n := s.asked.Load(); n < 10 || n > 20 {
			t.Errorf("asked %d times in ten minutes", n)
		}
		s.set(threeKeys(t))
		time.Sleep(jwksRetryMax)
		synctest.Wait()
		_, err = j.verify(token, jwtNow)
		wantVerdict(t, "up again", err, "")
		if err := j.ready(); err != nil {
			t.Errorf("ready() = %v", err)
		}
	})
	if n := logs.FilterMessage("keys for tokens not fetched").Len(); n != 1 {
		t.Errorf("%d lines about one failure, want 1", n)
	}
	if n := logs.FilterMessage("keys for tokens fetched again").Len(); n != 1 {
		t.Errorf("%d lines about its end, want 1", n)
	}
}

// TestJWKSLastGoodGoesOn when the server fails, or sends nonsense.
func TestJWKSLastGoodGoesOn(t *testing.T) {
	var s keyServer
	s.set(threeKeys(t))
	token := signedJWT(t, jwt.SigningMethodEdDSA, edKey, "d", goodClaims(nil))
	inJWKSBubble(t, &s, func(t *testing.T, j *jwtSource) {
		for _, bad := range [][]byte{nil, []byte("{}"), bytes.Repeat([]byte(" "), maxJWKS+1)} {
			if s.set(bad); bad == nil {
				s.text.Store(nil)
			}
			asked := s.asked.Load()
			time.Sleep(2 * jwksEvery)
			if s.asked.Load() == asked {
				t.Error("not asked in ten minutes")
			}
			_, err := j.verify(token, jwtNow)
			wantVerdict(t, "down", err, "")
		}
		if err := j.ready(); err != nil {
			t.Errorf("ready() = %v", err)
		}
	})
}

// TestJWKSRotation: a key that is new is known to the first token that names it,
// and one that is withdrawn is not.
func TestJWKSRotation(t *testing.T) {
	var s keyServer
	s.set(jwksOf(t, jwkOf(t, rsaKeys()[0], "old", "", "sig")))
	before := signedJWT(t, jwt.SigningMethodRS256, rsaKeys()[0], "old", goodClaims(nil))
	after := signedJWT(t, jwt.SigningMethodRS256, rsaKeys()[1], "new", goodClaims(nil))
	inJWKSBubble(t, &s, func(t *testing.T, j *jwtSource) {
		changes := 0
		j.changed = func() { changes++ }
		_, err := j.verify(before, jwtNow)
		wantVerdict(t, "the key there is", err, "")

		time.Sleep(jwksUnknownEvery)
		s.set(jwksOf(t, jwkOf(t, rsaKeys()[1], "new", "", "sig")))
		began := time.Now()
		_, err = j.verify(after, jwtNow)
		wantVerdict(t, "the new key", err, "")
		_, err = j.verify(before, jwtNow)
		wantVerdict(t, "the withdrawn key", err, proxy.Unauthorized)
		if d := time.Since(began); d != 0 {
			t.Errorf("that took %v", d)
		}
		if n := s.asked.Load(); n != 2 {
			t.Errorf("asked %d times, want 2", n)
		}
		time.Sleep(3 * jwksEvery)
		if changes != 1 {
			t.Errorf("told of %d changes, want 1", changes)
		}
	})
}

// TestJWKSUnknownKey: whoever makes up names of keys makes the edge ask once in
// jwksUnknownEvery.
func TestJWKSUnknownKey(t *testing.T) {
	var s keyServer
	s.set(threeKeys(t))
	inJWKSBubble(t, &s, func(t *testing.T, j *jwtSource) {
		var tokens []string
		for i := range 100 {
			tokens = append(tokens, signedJWT(t, jwt.SigningMethodEdDSA, edKey, fmt.Sprint("made up ", i), goodClaims(nil)))
		}
		all := func() {
			var wg sync.WaitGroup
			for _, token := range tokens {
				wg.Go(func() {
					_, err := j.verify(token, jwtNow)
					wantVerdict(t, "an unknown key", err, proxy.Unauthorized)
				})
			}
			wg.Wait()
		}
		f := func(want int64) {
			t.Helper()
			if all(); s.asked.Load() != want {
				t.Errorf("asked %d times, want %d", s.asked.Load(), want)
			}
		}
		f(1) // that of the start was just now
		time.Sleep(jwksUnknownEvery)
		f(2)
		f(2)
		time.Sleep(jwksUnknownEvery - time.Nanosecond)
		f(2)
		time.Sleep(time.Nanosecond)
		f(3)
	})
}

// TestJWKSHangs: a token with an unknown key waits no longer than jwksPatience,
// and run ends at once.
func TestJWKSHangs(t *testing.T) {
	var s keyServer
	s.set(threeKeys(t))
	unknown := signedJWT(t, jwt.SigningMethodEdDSA, edKey, "x", goodClaims(nil))
	inJWKSBubble(t, &s, func(t *testing.T, j *jwtSource) {
		j.remote.client.Transport = hangingTransport{}
		time.Sleep(jwksUnknownEvery)
		began := time.Now()
		_, err := j.verify(unknown, jwtNow)
		wantVerdict(t, "an unknown key", err, proxy.Unauthorized)
		if d := time.Since(began); d != jwksPatience {
			t.Errorf("waited %v, want %v", d, jwksPatience)
		}
		_, err = j.verify(signedJWT(t, jwt.SigningMethodEdDSA, edKey, "d", goodClaims(nil)), jwtNow)
		wantVerdict(t, "a key that is known", err, "")
	})
}

type hangingTransport struct{}

func (hangingTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	<-req.Context().Done()
	return nil, req.Context().Err()
}

// TestJWKSRedirect is not followed: it could lead to where there is no TLS.
func TestJWKSRedirect(t *testing.T) {
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("followed") }))
	defer elsewhere.Close()
	server := httptest.NewServer(http.RedirectHandler(elsewhere.URL, http.StatusFound))
	defer server.Close()
	s, err := newJWKS(server.URL, nil, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	if err := s.fetch(t.Context()); errorText(err) != "answers 302" {
		t.Errorf("fetch = %v", err)
	}
}

// TestJWTFileChanges: another key in the file is used, and rubbish is not.
func TestJWTFileChanges(t *testing.T) {
	one := signedJWT(t, jwt.SigningMethodRS256, rsaKeys()[0], "", goodClaims(nil))
	two := signedJWT(t, jwt.SigningMethodRS256, rsaKeys()[1], "", goodClaims(nil))
	synctest.Test(t, func(t *testing.T) {
		j := fileJWT(t, publicPEM(t, rsaKeys()[0]), Options{})
		changes := 0
		j.changed = func() { changes++ }
		runUntilEnd(t, j.run)
		f := func(text []byte, token string, want proxy.Reason) {
			t.Helper()
			if err := os.WriteFile(j.file.name, text, 0o600); err != nil {
				t.Fatal(err)
			}
			time.Sleep(2 * lookEvery)
			synctest.Wait()
			_, err := j.verify(token, jwtNow)
			wantVerdict(t, "file of keys", err, want)
		}
		f(append(publicPEM(t, rsaKeys()[1]), '\n'), two, "")
		f([]byte("rubbish"), two, "")
		f([]byte(strings.Repeat("a secret, but algorithms are not for it", 2)), two, "")
		f([]byte(strings.Repeat("another", 9)), one, proxy.Unauthorized)
		if changes != 1 {
			t.Errorf("told of %d changes, want 1", changes)
		}
	})
}

func TestJWTEndsAtOnce(t *testing.T) {
	j, err := newJWT(&Options{JWT: "https://id.example/", JWTAlgorithms: "EdDSA"}, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	j.remote.client.Transport = hangingTransport{}
	cancel()
	j.run(ctx)
}
