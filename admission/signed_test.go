package admission

import (
	"bytes"
	"encoding/base64"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"weir/proxy"
)

// signedAt is when tests take place.
var signedAt = time.Unix(1_800_000_000, 0)

// keysText is a file of keys of tests.
var keysText = []byte("k1 " + secretA + "\nk2 " + secretB + "\n")

// testRing are the keys of keysText.
func testRing(t testing.TB) keyring {
	t.Helper()
	k, err := parseKeys(keysText)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// signedToken is a token by the first key, good for an hour unless c says else.
func signedToken(t testing.TB, c Claim) string {
	t.Helper()
	if c.Until.IsZero() {
		c.Until = signedAt.Add(time.Hour)
	}
	token, err := Sign(keysText, "", c)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// signedBy is a token with any payload at all.
func signedBy(secret, payload string) string {
	return base64.RawURLEncoding.EncodeToString([]byte(payload)) + "." +
		base64.RawURLEncoding.EncodeToString(signingKey{secret: []byte(secret)}.mac([]byte(payload)))
}

// refusedFor is why something was refused; "" if it was not.
func refusedFor(err error) proxy.Reason {
	var r *proxy.Refusal
	if errors.As(err, &r) {
		return r.Reason
	}
	return ""
}

func TestSignedRoundTrip(t *testing.T) {
	f := func(c Claim, subject string) {
		t.Helper()
		c.Until = signedAt.Add(time.Hour)
		token := signedToken(t, c)
		if strings.ContainsAny(token, "/&;=+%? \n") || strings.Count(token, ".") != 1 {
			t.Errorf("token %s cannot stand in a URL", token)
		}
		g, err := testRing(t).verify(token, signedAt)
		if err != nil {
			t.Fatalf("%+v: %v", c, err)
		}
		if subject != "" && strings.HasSuffix(subject, "…") {
			if n := strings.TrimSuffix(subject, "…"); !strings.HasPrefix(g.subject, n) || len(g.subject) != len(n)+12 {
				t.Errorf("%+v: subject %q, want %s", c, g.subject, subject)
			}
		} else if g.subject != subject {
			t.Errorf("%+v: subject %q, want %q", c, g.subject, subject)
		}
		if g.class != c.Class || g.max != c.Max || g.path != c.Path || g.token != token || !g.until.Equal(c.Until) || g.from != c.Addr {
			t.Errorf("%+v gives %+v", c, g)
		}
		if !g.scope.allows(c.Path) || !g.scope.allows(strings.TrimSuffix(c.Path, "/")+"/x") {
			t.Errorf("%+v does not allow its own path", c)
		}
	}
	f(Claim{Path: "/vod/film"}, "")
	f(Claim{Path: "/"}, "")
	f(Claim{Path: "/vod/ein schöner Film;a=b&c"}, "")
	f(Claim{Path: "/cam", Class: "gold", Subject: "bob", Max: 2, Addr: netip.MustParsePrefix("10.0.0.0/8")}, "bob")
	f(Claim{Path: "/cam", Addr: netip.MustParsePrefix("2001:db8::/32")}, "")
	f(Claim{Path: "/cam", Max: 1}, "url-…")
	f(Claim{Path: "/" + strings.Repeat("x", 1000), Subject: strings.Repeat("s", 256), Class: strings.Repeat("c", 256)}, strings.Repeat("s", 256))
}

func TestSignedKeys(t *testing.T) {
	c := Claim{Path: "/cam", Until: signedAt.Add(time.Hour)}
	second, err := Sign(keysText, "k2", c)
	if err != nil {
		t.Fatal(err)
	}
	f := func(keys, token string, want proxy.Reason) {
		t.Helper()
		k, err := parseKeys([]byte(keys))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := k.verify(token, signedAt); refusedFor(err) != want {
			t.Errorf("%v, want %q", err, want)
		}
	}
	f(string(keysText), second, "")
	f("k2 "+secretB, second, "")
	f("k1 "+secretA, second, proxy.Unauthorized)
	f("k2 "+secretA, second, proxy.Unauthorized)
}

func TestSignedRefusals(t *testing.T) {
	good := signedToken(t, Claim{Path: "/a"})
	payload, mac, _ := strings.Cut(good, ".")
	plain, _ := base64.RawURLEncoding.DecodeString(payload)
	f := func(name, token string, want proxy.Reason) {
		t.Helper()
		g, err := testRing(t).verify(token, signedAt)
		if refusedFor(err) != want || (g == nil) != (want != "") {
			t.Errorf("%s: %v %v, want %q", name, g, err, want)
		}
		if err != nil && token != "" && strings.Contains(err.Error(), token) {
			t.Errorf("%s: the token is in %v", name, err)
		}
	}
	tampered := func(old, new string) string {
		return base64.RawURLEncoding.EncodeToString(bytes.Replace(plain, []byte(old), []byte(new), 1)) + "." + mac
	}
	f("good", good, "")
	f("last second", signedToken(t, Claim{Path: "/a", Until: signedAt.Add(time.Second)}), "")
	f("expired now", signedToken(t, Claim{Path: "/a", Until: signedAt}), proxy.Forbidden)
	f("expired by a second", signedToken(t, Claim{Path: "/a", Until: signedAt.Add(-time.Second)}), proxy.Forbidden)
	f("another path", tampered("/a", "/b"), proxy.Unauthorized)
	f("a longer life", tampered("1800003600", "1900003600"), proxy.Unauthorized)
	f("another key's id", tampered("k1", "k2"), proxy.Unauthorized)
	f("unknown key", tampered("k1", "k9"), proxy.Unauthorized)
	f("no key", tampered("k1", ""), proxy.Unauthorized)
	f("expired and forged", tampered("1800003600", "1700003600"), proxy.Unauthorized)
	other := signedToken(t, Claim{Path: "/ab"})
	f("MAC of another token", payload+other[strings.Index(other, "."):], proxy.Unauthorized)
	f("MAC of another key", signedBy(secretB, string(plain)), proxy.Unauthorized)
	f("MAC cut", good[:len(good)-1], proxy.Unauthorized)
	f("MAC longer", good+"A", proxy.Unauthorized)
	f("no MAC", payload+".", proxy.Unauthorized)
	f("no payload", "."+mac, proxy.Unauthorized)
	f("padded", payload+"=."+mac, proxy.Unauthorized)
	f("line feed", "\n"+good, proxy.Unauthorized)
	f("line feed in the MAC", payload+"."+mac[:len(mac)-1]+"\n", proxy.Unauthorized)
	f("empty", "", proxy.Unauthorized)
	f("dots", "..", proxy.Unauthorized)
	f("overlong", signedBy(secretA, "weir1\nk1\n1800003600\n/a\n\n\n0\n"+strings.Repeat("x", 4096)), proxy.Unauthorized)
	f("other bits at the end", payload+"."+looser(mac), proxy.Unauthorized)
}

// looser is other text for the same bytes.
func looser(mac string) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	last := strings.IndexByte(alphabet, mac[len(mac)-1])
	return mac[:len(mac)-1] + alphabet[last|1:last|1+1]
}

// TestSignedNonsense: who has the key may still write what Sign would not, with
// a program of his own.
func TestSignedNonsense(t *testing.T) {
	f := func(payload string, want proxy.Reason) {
		t.Helper()
		if _, err := testRing(t).verify(signedBy(secretA, payload), signedAt); refusedFor(err) != want {
			t.Errorf("%q: %v, want %q", payload, err, want)
		}
	}
	f("weir1\nk1\n1800003600\n/a\n\n\n0\n", "")
	f("weir1\nk1\n1800003600\n\n\n\n0\n", proxy.Unauthorized)
	f("weir1\nk1\n1800003600\n/a/\n\n\n0\n", proxy.Unauthorized)
	f("weir1\nk1\n1800003600\n/a/../b\n\n\n0\n", proxy.Unauthorized)
	f("weir1\nk1\n1800003600\na\n\n\n0\n", proxy.Unauthorized)
	f("weir1\nk1\n1800003600\n/a\n10.0.0.0\n\n0\n", proxy.Unauthorized)
	f("weir1\nk1\n1800003600\n/a\n\n\n\n", proxy.Unauthorized)
	f("weir1\nk1\n1800003600\n/a\n\n\n-1\n", proxy.Unauthorized)
	f("weir1\nk1\n1800003600\n/a\n\n\n0", proxy.Unauthorized)
	f("weir1\nk1\n1800003600\n/a\n\n\n0\nbob\n", proxy.Unauthorized)
	f("weir1\nk1\n\n/a\n\n\n0\n", proxy.Unauthorized)
	f("weir1\nk1\n99999999999999999999\n/a\n\n\n0\n", proxy.Unauthorized)
	f("weir1\nk1\n9223372036854775807\n/a\n\n\n0\n", proxy.Unauthorized)
	f("weir2\nk1\n1800003600\n/a\n\n\n0\n", proxy.Unauthorized)
	f("", proxy.Unauthorized)
}

func TestSignMistakes(t *testing.T) {
	f := func(keys []byte, kid string, c Claim, want string) {
		t.Helper()
		if c.Until.IsZero() {
			c.Until = signedAt
		}
		token, err := Sign(keys, kid, c)
		if err == nil || token != "" || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), secretA) {
			t.Errorf("%+v: %q %v, want %s", c, token, err, want)
		}
	}
	f(keysText, "k9", Claim{Path: "/a"}, `no key "k9" in it: it has k1, k2`)
	f(nil, "", Claim{Path: "/a"}, "no key in it")
	f(keysText, "", Claim{}, `write it as "/"`)
	f(keysText, "", Claim{Path: "a"}, `write it as "/a"`)
	f(keysText, "", Claim{Path: "/a/"}, `write it as "/a"`)
	f(keysText, "", Claim{Path: "//a/./b"}, `write it as "/a/b"`)
	f(keysText, "", Claim{Path: "/my%20film"}, `write it as "/my film"`)
	f(keysText, "", Claim{Path: "/a/../b"}, "not acceptable")
	f(keysText, "", Claim{Path: "/a%2fb"}, "not acceptable")
	f(keysText, "", Claim{Path: "/a\nb"}, "not acceptable")
	f(keysText, "", Claim{Path: "/a", Until: time.Unix(0, 0)}, "must have an end")
	f(keysText, "", Claim{Path: "/a", Until: time.Unix(1e15, 0)}, "must have an end")
	f(keysText, "", Claim{Path: "/a", Max: -1}, "viewers at once")
	f(keysText, "", Claim{Path: "/a", Class: "a\nb"}, "class")
	f(keysText, "", Claim{Path: "/a", Subject: strings.Repeat("x", 257)}, "subject")
	f(keysText, "", Claim{Path: "/a", Addr: netip.MustParsePrefix("::ffff:10.0.0.0/104")}, "write them as IPv4")
	if _, err := Sign(keysText, "", Claim{Path: "/a"}); err == nil {
		t.Error("a token without an end")
	}
}

// Whatever is verified is the one text that Sign makes of the same claim.
func FuzzVerifySigned(f *testing.F) {
	f.Add(signedToken(f, Claim{Path: "/a"}), "")
	f.Add(signedToken(f, Claim{Path: "/a", Max: 2, Class: "gold", Subject: "bob", Addr: netip.MustParsePrefix("10.0.0.0/8")}), "")
	f.Add("", "weir1\nk1\n1800003600\n/a\n\n\n0\n")
	f.Add("", "weir1\nk2\n1800003600\n/a\n10.1.2.3/8\n\n+1\nx")
	f.Add("a.b", "weir1\n\n")
	f.Fuzz(func(t *testing.T, token, payload string) {
		k := testRing(t)
		_, err := k.verify(token, signedAt)
		if err != nil && refusedFor(err) == "" {
			t.Errorf("%q: %v is no refusal", token, err)
		}
		g, err := k.verify(signedBy(secretA, payload), signedAt)
		if err != nil {
			return
		}
		if clean, err := proxy.CleanPath(g.path); err != nil || clean != g.path || g.until.Unix() <= signedAt.Unix() {
			t.Errorf("%q is good for %q until %v", payload, g.path, g.until)
		}
	})
}

func BenchmarkVerifySigned(b *testing.B) {
	k, token := testRing(b), signedToken(b, Claim{Path: "/vod/film", Class: "gold", Max: 2, Subject: "bob"})
	b.ReportAllocs()
	for b.Loop() {
		if _, err := k.verify(token, signedAt); err != nil {
			b.Fatal(err)
		}
	}
}
