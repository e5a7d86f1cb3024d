package admission

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"

	"weir/proxy"
)

// withKeys are credentials of which keysText is the only source.
func withKeys(t testing.TB) *credentials {
	t.Helper()
	name := filepath.Join(t.TempDir(), "keys")
	if err := os.WriteFile(name, keysText, 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := newCredentials(&Options{Keys: name, Cookie: "weir-token", Realm: "Weir"}, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// askingFor is a viewer over HTTP.
func askingFor(path, query string) proxy.Viewer {
	return proxy.Viewer{
		Addr: netip.MustParseAddrPort("10.1.2.3:40000"), Protocol: "http", Method: "GET",
		Path: path, Query: query,
	}
}

func TestCredentialsSigned(t *testing.T) {
	f := func(claim Claim, path string, want proxy.Reason) {
		t.Helper()
		v := askingFor(path, "token="+signedToken(t, claim))
		err := withKeys(t).check(t.Context(), &v, signedAt)
		if refusedFor(err) != want || v.Query != "" || (v.Grant == nil) != (want != "") {
			t.Errorf("%+v at %s: %v, query %q, grant %v, want %q", claim, path, err, v.Query, v.Grant, want)
		}
		if want == "" && (v.Subject != claim.Subject || v.Class != claim.Class) {
			t.Errorf("%+v: subject %q class %q", claim, v.Subject, v.Class)
		}
	}
	f(Claim{Path: "/a", Subject: "bob", Class: "gold"}, "/a", "")
	f(Claim{Path: "/a"}, "/a/b/c.ts", "")
	f(Claim{Path: "/"}, "/a", "")
	f(Claim{Path: "/a"}, "/ab", proxy.Forbidden)
	f(Claim{Path: "/a"}, "/", proxy.Forbidden)
	f(Claim{Path: "/a"}, "/A", proxy.Forbidden)
	f(Claim{Path: "/a/b"}, "/a", proxy.Forbidden)
	f(Claim{Path: "/a", Until: signedAt}, "/a", proxy.Forbidden)
	f(Claim{Path: "/a", Addr: netip.MustParsePrefix("10.0.0.0/8")}, "/a", "")
	f(Claim{Path: "/a", Addr: netip.MustParsePrefix("11.0.0.0/8")}, "/a", proxy.Forbidden)
	f(Claim{Path: "/a", Addr: netip.MustParsePrefix("2001:db8::/32")}, "/a", proxy.Forbidden)
}

// TestCredentialsKnown: that a token is known opens nothing more than it did
// when it came first, and not for longer.
func TestCredentialsKnown(t *testing.T) {
	c := withKeys(t)
	token := signedToken(t, Claim{Path: "/a", Until: signedAt.Add(time.Minute), Addr: netip.MustParsePrefix("10.0.0.0/8")})
	f := func(path, addr string, now time.Time, want proxy.Reason) {
		t.Helper()
		v := askingFor(path, "token="+token)
		v.Addr = netip.AddrPortFrom(netip.MustParseAddr(addr), 1)
		if err := c.check(t.Context(), &v, now); refusedFor(err) != want {
			t.Errorf("%s from %s at %v: %v, want %q", path, addr, now, err, want)
		}
	}
	f("/a/b", "10.1.1.1", signedAt, "")
	f("/a", "10.1.1.1", signedAt.Add(59*time.Second), "")
	f("/ab", "10.1.1.1", signedAt, proxy.Forbidden)
	f("/a", "11.1.1.1", signedAt, proxy.Forbidden)
	f("/a", "10.1.1.1", signedAt.Add(time.Minute), proxy.Forbidden)
	if n := c.known.len(); n != 0 {
		t.Errorf("%d known after the end", n)
	}
}

// TestCredentialsTaken: what is the gate's is taken, whatever becomes of the
// viewer, and nothing else is.
func TestCredentialsTaken(t *testing.T) {
	token := signedToken(t, Claim{Path: "/a"})
	f := func(v proxy.Viewer, query string, authorization bool, want proxy.Reason) {
		t.Helper()
		had := v.Authorization
		err := withKeys(t).check(t.Context(), &v, signedAt)
		if refusedFor(err) != want || v.Query != query || v.Taken == nil || v.Taken.Authorization != authorization || v.Taken.Cookie != "weir-token" ||
			(v.Authorization == "") != (authorization || had == "") {
			t.Errorf("%+v: %v, taken %+v, want %q %v", v, err, v.Taken, query, authorization)
		}
		if got := v.Taken.StripCookie("a=1; weir-token=x; b=2"); got != "a=1; b=2" {
			t.Errorf("cookies left: %q", got)
		}
	}
	with := func(v proxy.Viewer, authorization string) proxy.Viewer {
		v.Authorization = authorization
		return v
	}
	f(askingFor("/a", "z=1&token="+token+"&y=%2F&a"), "z=1&y=%2F&a", false, "")
	f(askingFor("/a", "z=1&jwt=&a=2&token="+token), "z=1&a=2", false, "")
	f(askingFor("/a", "z=1&token=bad&a=2"), "z=1&a=2", false, proxy.Unauthorized)
	f(askingFor("/a", "token=x&z=1&jwt=y"), "z=1", false, proxy.BadRequest)
	f(askingFor("/a", "z=1"), "z=1", false, proxy.Unauthorized)
	f(askingFor("/b", "z=1&token="+token), "z=1", false, proxy.Forbidden)
	f(with(askingFor("/a", "z=1"), "Bearer "+token), "z=1", true, "")
	f(with(askingFor("/a", "z=1"), shownBasic("x", token)), "z=1", true, "")
	f(with(askingFor("/a", "token="+token), shownBasic("the", "origin's")), "", false, "")
	f(with(askingFor("/a", "token="+token), "Bearer x"), "", true, proxy.BadRequest)

	rtsp := askingFor("/a", "token="+token+"/trackID=0")
	rtsp.Protocol = "rtsp"
	f(rtsp, "", false, "")
	cookie := askingFor("/a", "z=1")
	cookie.Cookie = "weir-token=" + token
	f(cookie, "z=1", false, "")
	peer := askingFor("/a", "z=1&token=x")
	peer.Peer = true
	f(peer, "z=1", false, "")
	options := askingFor("/a", "z=1")
	options.Method = "OPTIONS" // a tunnel may begin with it
	if err := withKeys(t).check(t.Context(), &options, signedAt); refusedFor(err) != proxy.Unauthorized {
		t.Errorf("OPTIONS: %v", err)
	}
	options.Method = "DELETE"
	if err := withKeys(t).check(t.Context(), &options, signedAt); refusedFor(err) != proxy.ReadOnly {
		t.Errorf("DELETE: %v", err)
	}
}

// TestCredentialsOnce: a token is verified once, until the sources change.
func TestCredentialsOnce(t *testing.T) {
	c := withKeys(t)
	j := &fakeTokens{token: "x.y.z", grant: &grant{}}
	c.jwt = j
	f := func(query string, now time.Time, asked int) {
		t.Helper()
		v := askingFor("/a", query)
		c.check(t.Context(), &v, now) //nolint:errcheck // the count tells
		if j.asked != asked {
			t.Errorf("%s: asked %d times, want %d", query, j.asked, asked)
		}
	}
	f("token=x.y.z", signedAt, 1)
	f("token=x.y.z", signedAt, 1)
	f("jwt=x.y.z&a=1", signedAt, 1)
	f("token=x.y.q", signedAt, 2)
	f("token=x.y.q", signedAt, 3) // only what is good is remembered
	f("token=x.y.z", signedAt.Add(verifiedFor), 4)
	c.known.clear()
	f("token=x.y.z", signedAt.Add(verifiedFor), 5)
}

func TestCredentialsNew(t *testing.T) {
	if c, err := newCredentials(&Options{}, zap.NewNop()); c != nil || err != nil {
		t.Errorf("without a source: %v %v", c, err)
	}
	_, err := newCredentials(&Options{Keys: filepath.Join(t.TempDir(), "none")}, zap.NewNop())
	if err == nil || !strings.Contains(err.Error(), "-admission.keys") {
		t.Errorf("without the file: %v", err)
	}
}

func TestCredentialsReady(t *testing.T) {
	c := withKeys(t)
	if err := c.ready(); err != nil {
		t.Errorf("with keys only: %v", err)
	}
	c.jwt, c.hook = &fakeTokens{down: errors.New("no keys")}, &fakeHook{down: errors.New("no answer")}
	if err := c.ready(); err == nil || !strings.Contains(err.Error(), "no keys") || !strings.Contains(err.Error(), "no answer") {
		t.Errorf("ready: %v", err)
	}
}

// TestCredentialsRotation: a key that is taken out of the file is good for nothing
// any more, known tokens included, and all that runs ends.
func TestCredentialsRotation(t *testing.T) {
	c := withKeys(t)
	token := signedToken(t, Claim{Path: "/a"})
	f := func(want proxy.Reason) {
		t.Helper()
		v := askingFor("/a", "token="+token)
		if err := c.check(t.Context(), &v, signedAt); refusedFor(err) != want {
			t.Errorf("%v, want %q", err, want)
		}
	}
	synctest.Test(t, func(t *testing.T) {
		c.jwt, c.users, c.hook = &fakeTokens{}, &fakeUsers{}, &fakeHook{no: refuse(proxy.Unauthorized, "no")}
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { c.run(ctx); close(done) }()
		f("")
		if err := os.WriteFile(c.keys.name, []byte("k2 "+secretB+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		<-time.After(2 * lookEvery)
		synctest.Wait()
		f(proxy.Unauthorized)
		stop()
		<-done
	})
}
