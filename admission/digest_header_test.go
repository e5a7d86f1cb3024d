package admission

import (
	"strings"
	"testing"
)

// TestDigestVector is the example of RFC 2617 §3.5; without qop that of §3.1 in
// RFC 2069 with its erratum.
func TestDigestVector(t *testing.T) {
	f := func(ha1, header, method, want string) {
		t.Helper()
		d, err := parseDigest(header)
		if err != nil {
			t.Fatal(err)
		}
		if got := d.response(ha1, method); got != want || got != d["response"] {
			t.Errorf("%s: %s, want %s", header, got, want)
		}
	}
	f(md5Hex("Mufasa:testrealm@host.com:Circle Of Life"), `Digest username="Mufasa", realm="testrealm@host.com", nonce="dcd98b7102dd2f0e8b11d0f600bfb0c093", uri="/dir/index.html", `+
		`qop=auth, nc=00000001, cnonce="0a4f113b", response="6629fae49393a05397450978507c4ef1", opaque="5ccc069c403ebaf9f0171e9517f40e41"`,
		"GET", "6629fae49393a05397450978507c4ef1")
	f(md5Hex("Mufasa:testrealm@host.com:CircleOfLife"), `Digest username="Mufasa", realm="testrealm@host.com", `+
		`nonce="dcd98b7102dd2f0e8b11d0f600bfb0c093", uri="/dir/index.html", response="1949323746fe6a43ef61f9606e7febea"`,
		"GET", "1949323746fe6a43ef61f9606e7febea")
}

func TestDigestHeader(t *testing.T) {
	const r = `response="0123456789abcdef0123456789abcdef"`
	f := func(header string, ok bool) {
		t.Helper()
		if d, err := parseDigest(header); (err == nil) != ok {
			t.Errorf("%s: %v, %v", header, d, err)
		}
	}
	f(`Digest username="a", nonce="n", uri="/", `+r, true)
	f(`DIGEST USERNAME="a",nonce=n,uri="/",`+r, true)
	f("Digest  username=\"a\"\t,\tnonce = \"n\" , , uri=\"/\","+r+" ,", true)
	f(`Digest username="a", nonce="n", uri="/", qop="auth", nc=0000000A, cnonce="c", `+r, true)
	f(`Digest username="a", nonce="n", uri="/", empty="", `+r, true)
	f(`Digest `, false)
	f(`Digest`, false)
	f(``, false)
	f(`Digestusername="a", nonce="n", uri="/", `+r, false)
	f(`Digest nonce="n", uri="/", `+r, false)
	f(`Digest username="a", uri="/", `+r, false)
	f(`Digest username="a", nonce="n", `+r, false)
	f(`Digest username="a", nonce="n", uri="/"`, false)
	f(`Digest username="a", nonce="n", uri="/", response="0123456789abcdef0123456789abcde"`, false)
	f(`Digest username="a", nonce="n", uri="/", qop=auth, nc=00000001, `+r, false)
	f(`Digest username="a", nonce="n", uri="/", qop=auth, cnonce="c", `+r, false)
	f(`Digest username="a", nonce="n", uri="/", qop="auth,auth-int", nc=00000001, cnonce="c", `+r, false)
	f(`Digest username="a" nonce="n", uri="/", `+r, false)
	f(`Digest username="a"x, nonce="n", uri="/", `+r, false)
	f(`Digest username="a, nonce="n", uri="/", `+r, false)
	f(`Digest username=a b, nonce="n", uri="/", `+r, false)
	f(`Digest username=, nonce="n", uri="/", `+r, false)
	f(`Digest username="a", nonce=n", uri="/", `+r, false)
	f(`Digest username="a", nonce=n=, uri="/", `+r, false)
	f(`Digest username="a", nonce="n", uri=/x, `+r, false)
	f(`Digest username="a", nonce="n", uri="/", `+r+`, x`, false)
	f(`Digest username="a", nonce="n", uri="/", `+r+`, =x`, false)
	f(`Digest username="a", nonce="n", uri="/", `+r+`, x y=z`, false)
	f(`Digest username="a", nonce="n", uri="/", `+r+`, x="y`, false)
	f(`Digest username="a", nonce="n", uri="/", `+r+`, x="y\`, false)
	f(`Digest username="a", nonce="n", uri="/", `+r+`, x="y\"`, false)
	f("Digest username=\"a\x00\", nonce=\"n\", uri=\"/\", "+r, false)
	f("Digest username=\"a\\\n\", nonce=\"n\", uri=\"/\", "+r, false)
	f(`Digest username="a", nonce="n", uri="/", NONCE="m", `+r, false)
	f(`Digest username="a", nonce="n", uri="/", `+r+`, x="`+strings.Repeat("x", 2<<10)+`"`, false)
}

func FuzzDigest(f *testing.F) {
	f.Add(`Digest username="a\"b", realm="Weir", nonce="n", uri="/a?b", response="0123456789abcdef0123456789abcdef"`)
	f.Add(`Digest username=a, uri="/", qop="auth", nc=0000000A, cnonce="c",, response=0123456789abcdef0123456789abcdef , nonce = x`)
	f.Add(`Digest x="\`)
	u := usersOf(f, htdigestLine("ann", "sesame"))
	f.Fuzz(func(t *testing.T, header string) {
		v := digestViewer("rtsp", "DESCRIBE", "/a")
		v.Authorization = header
		if _, err := u.digest(v, digestNow); err == nil {
			t.Fatalf("%q came in", header)
		}
		d, err := parseDigest(header)
		if err != nil {
			return
		}
		var again strings.Builder // what was read, in the one form that everybody writes
		for name, value := range d {
			if name != strings.ToLower(name) || name == "" {
				t.Errorf("%q: name %q", header, name)
			}
			again.WriteString(", " + name + `="` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(value) + `"`)
		}
		if len(again.String()) > maxDigest-10 {
			return
		}
		e, err := parseDigest("Digest" + again.String()[1:])
		if err != nil || len(e) != len(d) || e.response("", "") != d.response("", "") {
			t.Errorf("%q: %q, and again %q, %v", header, d, e, err)
		}
	})
}
