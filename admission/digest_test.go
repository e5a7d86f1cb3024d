package admission

import (
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"weir/proxy"
	"weir/proxy/auth"
	"weir/proxy/wire"
)

// digestOf is the header that a client would send when it was asked so.
func digestOf(challenges []string, user, password, method, uri string) string {
	c := auth.Client{User: user, Password: password}
	var h wire.Header
	for _, ch := range challenges {
		h.Add("WWW-Authenticate", ch)
	}
	c.Learn(h)
	return c.Authorization(method, uri)
}

// digestNow is when tests of Digest happen.
var digestNow = time.Unix(1e9, 0)

func digestViewer(protocol, method, path string) *proxy.Viewer {
	return &proxy.Viewer{Addr: netip.AddrPortFrom(usersAddr, 5000), Protocol: protocol, Method: method, Path: path}
}

// TestDigestClients: our own client comes in as one of RTSP and of HTTP, which is
// without and with qop; so does one whose name has to be quoted.
func TestDigestClients(t *testing.T) {
	u := usersOf(t, htdigestLine("ann", "sesame")+" class=gold", htdigestLine(`back\slash "q"`, "sesame"), htdigestLine("zoë", "пароль"))
	f := func(protocol, user, password string, in bool) {
		t.Helper()
		challenges := u.challenges(protocol, digestNow, usersAddr)
		v := digestViewer(protocol, "DESCRIBE", "/live/cam")
		v.Authorization = digestOf(challenges, user, password, v.Method, "rtsp://edge:8554/live/cam")
		g, err := u.digest(v, digestNow.Add(time.Minute))
		switch {
		case strings.Contains(v.Authorization, "qop=auth") != (protocol == "http"):
			t.Errorf("%s: %s", protocol, v.Authorization)
		case in && (err != nil || g.subject != user):
			t.Errorf("%s %s: %v", protocol, user, err)
		case !in:
			fresh := refusedDigest(t, err)
			if strings.Contains(strings.Join(fresh, ""), "stale") || len(fresh) != len(challenges) || fresh[0] == challenges[0] {
				t.Errorf("%s %s: asked again with %q", protocol, user, fresh)
			}
		}
	}
	for _, protocol := range []string{"rtsp", "http"} {
		f(protocol, "ann", "sesame", true)
		f(protocol, `back\slash "q"`, "sesame", true)
		f(protocol, "zoë", "пароль", true)
		f(protocol, "ann", "Sesame", false)
		f(protocol, "ann", "", false)
		f(protocol, "eve", "sesame", false)
	}
}

// refusedDigest returns the challenges of a refusal.
func refusedDigest(t *testing.T, err error) []string {
	t.Helper()
	if err == nil {
		t.Error("came in")
		return nil
	}
	r := proxy.Refused(err)
	if r.Reason != proxy.Unauthorized || len(r.Challenges) == 0 {
		t.Errorf("%v with challenges %q", r, r.Challenges)
	}
	return r.Challenges
}

// TestDigestURI: the uri has to be for what is asked for, in whatever form.
func TestDigestURI(t *testing.T) {
	u := usersOf(t, htdigestLine("ann", "sesame"))
	f := func(protocol, method, path, uri string, in bool) {
		t.Helper()
		v := digestViewer(protocol, method, path)
		v.Authorization = digestOf(u.challenges(protocol, digestNow, usersAddr), "ann", "sesame", method, uri)
		if _, err := u.digest(v, digestNow); (err == nil) != in {
			t.Errorf("%s %s of %s with uri %s: %v", protocol, method, path, uri, err)
		}
	}
	for _, uri := range []string{"/a/cam", "/a/cam/", "rtsp://edge/a/cam", "rtsp://edge:554/a/cam/", "RTSPS://other/a/cam", "/a//cam", "/a/./cam", "/a/%63am",
		"rtsp://edge/a/cam?x=y", "rtsp://ann@edge/a/cam", "/a/cam?token=/b"} {
		f("rtsp", "DESCRIBE", "/a/cam", uri, true)
		f("rtsp", "SETUP", "/a/cam", uri, true) // VLC sends the base
		f("rtsp", "PLAY", "/a/cam", uri, true)
		f("http", "GET", "/a/cam", uri, true)
	}
	for _, uri := range []string{"rtsp://edge/a/cam/trackID=0", "/a/cam/trackID=12", "rtsp://edge/a/cam?x=y/trackID=1"} {
		f("rtsp", "SETUP", "/a/cam", uri, true)
		f("rtsp", "DESCRIBE", "/a/cam", uri, strings.Contains(uri, "?"))
	}
	for _, uri := range []string{"", "*", "/", "/a", "/a/cam2", "/a/cam/b", "/A/cam", "/b/cam", "/b/../a/cam", "/a/cam/..", "/a/b/../cam", "/a/%2e%2e/a/cam",
		"/a%2fcam", `/a\cam`, "/a/cam%00", "/a/cam.", "/a/ca%6", "rtsp:/a/cam/x", "rtsp:a/cam", "rtsp://edge", "/b?/a/cam", "/b#/a/cam", "/b;/a/cam",
		"rtsp://edge/b?x=/a/cam", "http://[::1/a/cam", "\x7f/a/cam", "/a/\xc0\xaecam"} {
		f("rtsp", "DESCRIBE", "/a/cam", uri, false)
		f("rtsp", "SETUP", "/a/cam", uri, false)
		f("http", "GET", "/a/cam", uri, false)
	}
	f("http", "GET", "/a/cam", "//a/cam", true)
	f("http", "GET", "/a/cam", "//edge/a/cam", false) // a path, for net/http as well
	f("http", "SETUP", "/a/cam", "/a/cam/trackID=0", false)
	f("http", "GET", "/", "/", true)
	f("http", "GET", "/", "http://edge", true)
	f("rtsp", "DESCRIBE", "/", "rtsp://edge", true)
	f("http", "GET", "/a b", "/a%20b?x", true)
}

// TestDigestBypass: what was good for one request is not for another.
func TestDigestBypass(t *testing.T) {
	u := usersOf(t, htdigestLine("ann", "sesame"), htdigestLine("bob", "secret"))
	for _, protocol := range []string{"rtsp", "http"} {
		v := digestViewer(protocol, "GET", "/a")
		good := digestOf(u.challenges(protocol, digestNow, usersAddr), "ann", "sesame", "GET", "/a")
		f := func(what string, in bool, change func(*proxy.Viewer)) {
			t.Helper()
			w := *v
			w.Authorization = good
			change(&w)
			if _, err := u.digest(&w, digestNow); (err == nil) != in {
				t.Errorf("%s, %s: %v", protocol, what, err)
			} else if !in {
				refusedDigest(t, err)
			}
		}
		edit := func(old, new string, in bool) {
			t.Helper()
			if !strings.Contains(good, old) {
				t.Fatalf("no %s in %s", old, good)
			}
			f(old+" → "+new, in, func(v *proxy.Viewer) { v.Authorization = strings.Replace(good, old, new, 1) })
		}
		f("itself", true, func(v *proxy.Viewer) {})
		f("from another port", true, func(v *proxy.Viewer) { v.Addr = netip.AddrPortFrom(usersAddr, 1) })
		f("from another address", false, func(v *proxy.Viewer) { v.Addr = netip.MustParseAddrPort("192.0.2.2:5000") })
		f("another method", false, func(v *proxy.Viewer) { v.Method = "POST" })
		f("another method in small letters", false, func(v *proxy.Viewer) { v.Method = "get" })
		f("another path", false, func(v *proxy.Viewer) { v.Path = "/b" })
		f("a path below", false, func(v *proxy.Viewer) { v.Path = "/a/b" })
		f("small scheme", true, func(v *proxy.Viewer) { v.Authorization = "digest " + good[7:] })
		edit(`"ann"`, `"bob"`, false)
		edit(`"ann"`, `"eve"`, false)
		edit(`"ann"`, `""`, false)
		edit(`"ann"`, `"ANN"`, false)
		edit(`"Weir"`, `"Lake"`, false)
		edit(`uri="/a"`, `uri="/a/"`, false)
		edit(`uri="/a"`, `uri="/b"`, false)
		edit(`response="`, `response="0`, false)
		edit(`response="`, `algorithm=MD5, response="`, true)
		edit(`response="`, `algorithm="md5", response="`, true)
		edit(`response="`, `algorithm=MD5-sess, response="`, false)
		edit(`response="`, `algorithm=SHA-256, response="`, false)
		edit(`response="`, `username="ann", response="`, false)
		edit(`response="`, `Username="eve", response="`, false)
		edit(`response="`, `opaque="x, y=\"z", response="`, true)
		f("two digests", false, func(v *proxy.Viewer) { v.Authorization += "; " + good })
		f("long", false, func(v *proxy.Viewer) { v.Authorization += `, x="` + strings.Repeat("x", maxDigest) + `"` })
		if protocol == "http" {
			edit("qop=auth", "qop=auth-int", false)
			edit("qop=auth, ", "", false)
			edit("nc=00000001", "nc=1", false)
			edit("nc=00000001", "nc=00000002", false)
			edit("nc=00000001", "nc=0000000g", false)
			edit(`cnonce="`, `cnonce="x`, false)
		} else {
			edit(`response="`, `qop=auth, response="`, false)
			edit(`response="`, `qop="", response="`, false)
		}
	}
}

// TestDigestNobody: those without a line of htdigest cannot use Digest, whatever
// they show, and a file without such lines does not ask for it.
func TestDigestNobody(t *testing.T) {
	challenges := usersOf(t, htdigestLine("ann", "sesame")).challenges("rtsp", digestNow, usersAddr)
	f := func(u *users, user, password string) {
		t.Helper()
		challenges[0] = `Digest realm="Weir", nonce="` + u.nonces.mint(digestNow, usersAddr) + `"`
		v := digestViewer("rtsp", "DESCRIBE", "/a")
		v.Authorization = digestOf(challenges, user, password, v.Method, "/a")
		_, err := u.digest(v, digestNow)
		if ch := refusedDigest(t, err); len(ch) != 1 || !strings.HasPrefix(ch[0], "Basic ") {
			t.Errorf("%s was asked %q", user, ch)
		}
	}
	f(usersOf(t, bcryptLine(t, "bea", "sesame")), "bea", "sesame")
	mixed := usersOf(t, bcryptLine(t, "bea", "sesame"), htdigestLine("ann", "x"))
	f(mixed, "bea", "sesame")
	f(mixed, "eve", "sesame")
	// The HA1 that stands for nobody's opens nothing.
	d := digestHeader{"nonce": mixed.nonces.mint(digestNow, usersAddr), "uri": "/a"}
	for _, name := range []string{"bea", "eve"} {
		v := digestViewer("rtsp", "DESCRIBE", "/a")
		v.Authorization = `Digest username="` + name + `", realm="Weir", nonce="` + d["nonce"] + `", uri="/a", response="` +
			d.response(strings.Repeat("0", 32), "DESCRIBE") + `"`
		_, err := mixed.digest(v, digestNow)
		refusedDigest(t, err)
	}
}

// TestDigestStale: who is right with an old nonce of ours is told so, and comes in
// with the next; with a nonce that is not ours, or a wrong password, he is not.
func TestDigestStale(t *testing.T) {
	u := usersOf(t, htdigestLine("ann", "sesame"))
	other := usersOf(t, htdigestLine("ann", "sesame"))
	for _, protocol := range []string{"rtsp", "http"} {
		ask := func(challenges []string, password string, after time.Duration) error {
			v := digestViewer(protocol, "GET", "/a")
			v.Authorization = digestOf(challenges, "ann", password, "GET", "/a")
			_, err := u.digest(v, digestNow.Add(after))
			return err
		}
		f := func(challenges []string, password string, after time.Duration, stale bool) []string {
			t.Helper()
			again := refusedDigest(t, ask(challenges, password, after))
			if strings.HasSuffix(again[0], ", stale=true") != stale {
				t.Errorf("%s: asked again %q, want stale %v", protocol, again, stale)
			}
			return again
		}
		first := u.challenges(protocol, digestNow, usersAddr)
		if err := ask(first, "sesame", nonceAge-time.Second); err != nil {
			t.Error(err)
		}
		again := f(first, "sesame", nonceAge, true)
		if err := ask(again, "sesame", nonceAge+time.Second); err != nil {
			t.Errorf("%s: with the next nonce: %v", protocol, err)
		}
		f(first, "wrong", nonceAge, false)
		f(first, "wrong", 0, false)
		again = f(other.challenges(protocol, digestNow, usersAddr), "sesame", 0, false)
		if err := ask(again, "sesame", 0); err != nil {
			t.Errorf("%s: with a nonce of ours: %v", protocol, err)
		}
	}
}

func BenchmarkDigest(b *testing.B) {
	u := usersOf(b, htdigestLine("ann", "sesame"))
	v := digestViewer("http", "GET", "/live/cam/index.m3u8")
	uri := (&url.URL{Path: v.Path}).String()
	v.Authorization = digestOf(u.challenges("http", digestNow, usersAddr), "ann", "sesame", v.Method, uri)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := u.digest(v, digestNow); err != nil {
			b.Fatal(err)
		}
	}
}
