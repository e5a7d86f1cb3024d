package admission

import (
	"encoding/base64"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"go.uber.org/zap"

	"weir/proxy"
)

func TestJWTNeedsNothing(t *testing.T) {
	j, err := newJWT(&Options{}, zap.NewNop())
	if j != nil || err != nil {
		t.Fatalf("newJWT without keys = %v, %v, want neither", j, err)
	}
	j.run(t.Context()) // returns at once
	if err := j.ready(); err != nil {
		t.Errorf("ready() = %v", err)
	}
}

// threeKeys are of each kind one.
func threeKeys(t testing.TB) []byte {
	return jwksOf(t,
		jwkOf(t, rsaKeys()[0], "r", "RS256", "sig"),
		jwkOf(t, ecKey(), "e", "ES256", ""),
		jwkOf(t, edKey, "d", "", "sig"))
}

func TestJWTSignatures(t *testing.T) {
	j := fileJWT(t, threeKeys(t), Options{JWTAlgorithms: "RS256,ES256,EdDSA,RS512"})
	f := func(what, token string, want proxy.Reason) {
		t.Helper()
		_, err := j.verify(token, jwtNow)
		wantVerdict(t, what, err, want)
	}
	rs, other := rsaKeys()[0], rsaKeys()[1]
	f("RS256", signedJWT(t, jwt.SigningMethodRS256, rs, "r", goodClaims(nil)), "")
	f("ES256", signedJWT(t, jwt.SigningMethodES256, ecKey(), "e", goodClaims(nil)), "")
	f("EdDSA", signedJWT(t, jwt.SigningMethodEdDSA, edKey, "d", goodClaims(nil)), "")
	f("a token that names no key", signedJWT(t, jwt.SigningMethodEdDSA, edKey, "", goodClaims(nil)), "")
	f("another key of the same name", signedJWT(t, jwt.SigningMethodRS256, other, "r", goodClaims(nil)), proxy.Unauthorized)
	f("another key without a name", signedJWT(t, jwt.SigningMethodRS256, other, "", goodClaims(nil)), proxy.Unauthorized)
	f("a key that is not there", signedJWT(t, jwt.SigningMethodRS256, rs, "x", goodClaims(nil)), proxy.Unauthorized)
	f("a good key under another's name", signedJWT(t, jwt.SigningMethodRS256, rs, "e", goodClaims(nil)), proxy.Unauthorized)
	f("an algorithm that the key is not for", signedJWT(t, jwt.SigningMethodRS512, rs, "r", goodClaims(nil)), proxy.Unauthorized)
	f("an algorithm that is not listed", signedJWT(t, jwt.SigningMethodPS256, rs, "r", goodClaims(nil)), proxy.Unauthorized)
	f("none", signedJWT(t, jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, "r", goodClaims(nil)), proxy.Unauthorized)
	f("none without a name", signedJWT(t, jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, "", goodClaims(nil)), proxy.Unauthorized)
}

// TestJWTForged is about what is no token, or not as it was signed.
func TestJWTForged(t *testing.T) {
	j := fileJWT(t, threeKeys(t), Options{})
	f := func(what, token string) {
		t.Helper()
		_, err := j.verify(token, jwtNow)
		wantVerdict(t, what, err, proxy.Unauthorized)
		if err != nil && len(token) > 8 && strings.Contains(err.Error(), token[:8]) {
			t.Errorf("%s: %q tells of the token", what, err)
		}
	}
	token := signedJWT(t, jwt.SigningMethodEdDSA, edKey, "d", goodClaims(nil))
	part := strings.Split(token, ".")
	b64 := base64.RawURLEncoding.EncodeToString
	f("nothing", "")
	f("dots", "..")
	f("two parts", part[0]+"."+part[1])
	f("four parts", token+".x")
	f("no signature", part[0]+"."+part[1]+".")
	f("other claims", part[0]+"."+b64([]byte(`{"sub":"root","exp":9999999999}`))+"."+part[2])
	f("a lower-case none", b64([]byte(`{"alg":"None"}`))+"."+part[1]+".")
	f("an algorithm nobody knows", b64([]byte(`{"alg":"secret-of-mine"}`))+"."+part[1]+"."+part[2])
	f("no algorithm", b64([]byte(`{}`))+"."+part[1]+"."+part[2])
	f("padding", part[0]+"."+part[1]+"."+part[2]+"==")
	f("claims of null", b64([]byte(`{"alg":"EdDSA"}`))+"."+b64([]byte("null"))+"."+part[2])
	f("overlong", token+strings.Repeat("A", maxJWT))

	crit := jwt.NewWithClaims(jwt.SigningMethodEdDSA, goodClaims(nil))
	crit.Header["crit"] = []string{"b64"}
	text, err := crit.SignedString(edKey)
	if err != nil {
		t.Fatal(err)
	}
	f("a header that must be understood", text)
	crit.Header = map[string]any{"alg": "EdDSA", "kid": 7}
	if text, err = crit.SignedString(edKey); err != nil {
		t.Fatal(err)
	}
	f("a name that is a number", text)
}

// TestJWTConfusion signs with what everybody knows, the public key, as if it were
// a secret (RFC 8725 §2.1).
func TestJWTConfusion(t *testing.T) {
	public := publicPEM(t, rsaKeys()[0])
	token := signedJWT(t, jwt.SigningMethodHS256, public, "", goodClaims(nil))
	for what, keys := range map[string][]byte{"PEM": public, "JWKS": threeKeys(t)} {
		_, err := fileJWT(t, keys, Options{}).verify(token, jwtNow)
		wantVerdict(t, what, err, proxy.Unauthorized)
		if _, err := newJWT(&Options{JWT: fileOfKeys(t, keys), JWTAlgorithms: "RS256,HS256"}, zap.NewNop()); err == nil {
			t.Errorf("HS256 accepted together with public keys (%s)", what)
		}
	}
}

func TestJWTTime(t *testing.T) {
	j := fileJWT(t, threeKeys(t), Options{})
	f := func(what string, c jwt.MapClaims, want proxy.Reason) {
		t.Helper()
		_, err := j.verify(signedJWT(t, jwt.SigningMethodEdDSA, edKey, "d", c), jwtNow)
		wantVerdict(t, what, err, want)
	}
	at := func(s int) int64 { return jwtNow.Add(time.Duration(s) * time.Second).Unix() }
	f("one second left", jwt.MapClaims{"exp": at(1)}, "")
	f("expires now", jwt.MapClaims{"exp": at(0)}, proxy.Forbidden)
	f("expired by one second", jwt.MapClaims{"exp": at(-1)}, proxy.Forbidden)
	f("no exp", jwt.MapClaims{"sub": "ann"}, proxy.Unauthorized)
	f("exp of null", jwt.MapClaims{"exp": nil}, proxy.Unauthorized)
	f("exp that is no number", jwt.MapClaims{"exp": "tomorrow"}, proxy.Unauthorized)
	f("valid from now", jwt.MapClaims{"exp": at(9), "nbf": at(0)}, "")
	f("valid in a second", jwt.MapClaims{"exp": at(9), "nbf": at(1)}, proxy.Forbidden)
}

func TestJWTIssuerAndAudience(t *testing.T) {
	j := fileJWT(t, threeKeys(t), Options{JWTIssuer: "https://id.example", JWTAudience: "tv"})
	f := func(what string, c jwt.MapClaims, want proxy.Reason) {
		t.Helper()
		_, err := j.verify(signedJWT(t, jwt.SigningMethodEdDSA, edKey, "d", goodClaims(c)), jwtNow)
		wantVerdict(t, what, err, want)
	}
	f("both", jwt.MapClaims{"iss": "https://id.example", "aud": "tv"}, "")
	f("one audience of two", jwt.MapClaims{"iss": "https://id.example", "aud": []string{"radio", "tv"}}, "")
	f("neither", nil, proxy.Unauthorized)
	f("another issuer", jwt.MapClaims{"iss": "https://id.example.org", "aud": "tv"}, proxy.Unauthorized)
	f("another audience", jwt.MapClaims{"iss": "https://id.example", "aud": "radio"}, proxy.Unauthorized)
	f("no audience", jwt.MapClaims{"iss": "https://id.example"}, proxy.Unauthorized)
	f("expired, and of another issuer", jwt.MapClaims{"iss": "x", "aud": "tv", "exp": 1}, proxy.Unauthorized)
}

func TestJWTGrant(t *testing.T) {
	j := fileJWT(t, threeKeys(t), Options{})
	token := signedJWT(t, jwt.SigningMethodEdDSA, edKey, "d", goodClaims(jwt.MapClaims{
		"class": "gold", "max_sessions": 3, "path": "/live/", "cnf": map[string]any{"ip": "192.0.2.0/24", "jkt": "x"},
	}))
	g, err := j.verify(token, jwtNow)
	if err != nil {
		t.Fatal(err)
	}
	if g.subject != "ann" || g.class != "gold" || g.max != 3 || g.token != token || g.path != "/live" {
		t.Errorf("grant = %+v", *g)
	}
	if want := jwtNow.Add(time.Hour); !g.until.Equal(want) {
		t.Errorf("until = %v, want %v", g.until, want)
	}
	if want := netip.MustParsePrefix("192.0.2.0/24"); g.from != want {
		t.Errorf("from = %v, want %v", g.from, want)
	}
}

func BenchmarkJWT(b *testing.B) {
	j := fileJWT(b, threeKeys(b), Options{})
	for _, k := range []struct {
		name   string
		method jwt.SigningMethod
		key    any
		id     string
	}{
		{"RS256", jwt.SigningMethodRS256, rsaKeys()[0], "r"},
		{"ES256", jwt.SigningMethodES256, ecKey(), "e"},
		{"EdDSA", jwt.SigningMethodEdDSA, edKey, "d"},
	} {
		token := signedJWT(b, k.method, k.key, k.id, goodClaims(jwt.MapClaims{"path": "/live"}))
		b.Run(k.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := j.verify(token, jwtNow); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func FuzzJWTVerify(f *testing.F) {
	j := fileJWT(f, threeKeys(f), Options{})
	token := signedJWT(f, jwt.SigningMethodEdDSA, edKey, "d", goodClaims(jwt.MapClaims{"path": "/a"}))
	f.Add(token)
	f.Add("..")
	f.Add("eyJhbGciOiJub25lIn0.e30.")
	f.Add(strings.Replace(token, ".", ".\n", 1))
	f.Fuzz(func(t *testing.T, text string) {
		g, err := j.verify(text, jwtNow)
		if (g == nil) == (err == nil) {
			t.Fatalf("verify = %v, %v", g, err)
		}
		if err == nil && text != token {
			t.Fatalf("%q got in", text)
		}
	})
}
