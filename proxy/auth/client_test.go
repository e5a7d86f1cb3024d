package auth

import (
	"strings"
	"testing"

	"go.uber.org/goleak"

	"weir/proxy/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestDigest(t *testing.T) {
	f := func(header, response string) {
		t.Helper()
		ch := parseChallenge(header)
		if ch == nil {
			t.Fatalf("challenge %q not read", header)
		}
		c := Client{User: "Mufasa", Password: "Circle Of Life", asked: ch, uses: 1}
		got := c.digest("GET", "/dir/index.html", "0a4f113b")
		if !strings.Contains(got, `response="`+response+`"`) || !strings.Contains(got, `opaque="5ccc069c403ebaf9f0171e9517f40e41"`) {
			t.Errorf("%q answered %q, want response %s", header, got, response)
		}
	}
	common := `realm="testrealm@host.com", nonce="dcd98b7102dd2f0e8b11d0f600bfb0c093", opaque="5ccc069c403ebaf9f0171e9517f40e41"`
	f(`Digest qop="auth,auth-int", `+common, "6629fae49393a05397450978507c4ef1") // RFC 2617 §3.5
	f(`digest `+common+`, algorithm=MD5`, "670fd8c2df070c60b045671b8b24ff02")
}

func TestLearn(t *testing.T) {
	f := func(want string, headers ...string) {
		t.Helper()
		var h wire.Header
		for _, v := range headers {
			h.Add("WWW-Authenticate", v)
		}
		c := Client{User: "jo\"e", Password: "p"}
		ok := c.Learn(h)
		if got := c.Authorization("DESCRIBE", "rtsp://h/"); ok != (want != "") || !strings.HasPrefix(got, want) {
			t.Errorf("%q: %q, want %q", headers, got, want)
		}
	}
	f("Basic am8iZTpw", `Basic realm="x"`)
	f(`Digest username="jo\"e", realm="a, b"`, `Basic realm="x"`, `Digest realm="a, b",nonce="n"`)
	f(`Digest `, `Digest realm="x",nonce="n"`, `Basic realm="x"`)
	f("Basic ", `Digest realm="x",nonce="n",algorithm=SHA-256`, `Basic realm="x"`)
	f("", `Digest realm="x",nonce="n",qop="auth-int"`)
	f("", `Digest realm="x"`)
	f("", `Bearer x`)
	f("")
}

// Whatever a server writes, nothing of it makes the client panic or break the
// line that its answer stands in.
func FuzzLearn(f *testing.F) {
	f.Add(`Digest realm="a, b\"",nonce="n",qop="auth"`)
	f.Add(`Basic realm="x"`)
	f.Add(`Digest nonce=n,opaque=",="`)
	f.Fuzz(func(t *testing.T, s string) {
		c := Client{User: "u", Password: "p"}
		h := wire.Header{{Name: "WWW-Authenticate", Value: s}}
		if c.Learn(h) == (c.Authorization("DESCRIBE", "rtsp://h/") == "") {
			t.Errorf("%q: learnt, and nothing to say of it, or the other way round", s)
		}
	})
}
