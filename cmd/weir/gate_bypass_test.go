package main

import (
	"encoding/json"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"weir/admission"
	"weir/proxy/proxytest"
)

// TestGateBypass is what people try who have a token for /a and want /b, or have
// none. Each is refused with its code, and the origin hears of none of them.
func TestGateBypass(t *testing.T) {
	g := guard(t, "", "-admission.keys", "DIR/keys", "-admission.jwt", "DIR/jwt.pem", "-admission.jwt-algorithms", "RS256")
	token := g.sign(t, admission.Claim{Path: "/a"})
	now := time.Now()
	in := func(d time.Duration) int64 { return now.Add(d).Unix() }

	t.Run("paths", func(t *testing.T) {
		f := func(path string, http, rtsp int) {
			t.Helper()
			if code, _ := g.askHTTP(t, "GET "+path+"?token="+token+" HTTP/1.1\nHost: edge\n"); code != http {
				t.Errorf("GET %q: %d, want %d", path, code, http)
			}
			if code, _ := g.askRTSP(t, "DESCRIBE", "rtsp://edge"+path+"?token="+token); code != rtsp {
				t.Errorf("DESCRIBE %q: %d, want %d", path, code, rtsp)
			}
		}
		f("/b/cam", 403, 403)
		f("/ab/cam", 403, 403)
		f("/a/../b/cam", 400, 400)
		f("/a/%2e%2e/b/cam", 400, 400)
		f("/a/.%2E/b/cam", 400, 400)
		f("/a%2f..%2fb/cam", 400, 400)
		f("/a%2Fcam", 400, 400)
		f("/a%5c..%5cb", 400, 400)
		f("//b/cam", 403, 403)
		f("//a/../b/cam", 400, 400)
		f("/./b/cam", 403, 403)
		f("/A/cam", 403, 403)
		f("/a./cam", 403, 403)
		f("/a.../cam", 403, 403)
		f("/%61b/cam", 403, 403)
		f("/a/%00/cam", 400, 400)
		f("/b%00/a/cam", 400, 400)
		f("/a/%c0%ae%c0%ae/b/cam", 400, 400) // overlong ".."
		f("/a/%e0%80%ae./b/cam", 400, 400)
		f("/a/%252e%252e/b/cam", 200, 404) // "%2e%2e", a name like others, below /a
		f("/a/"+strings.Repeat("x", 1100), 400, 400)
	})
	if s := g.upstream.String(); !strings.HasPrefix(s, "GET /a/%252e%252e/b/cam ") || g.upstream.n.Swap(0) != 1 {
		t.Errorf("the origin was asked %s", s)
	}

	t.Run("another host", func(t *testing.T) {
		for _, target := range []string{"http://other/b/cam", "http://a/b/cam", "http://edge@other/b/cam"} {
			if code, _ := g.askHTTP(t, "GET "+target+"?token="+token+" HTTP/1.1\nHost: edge\n"); code != 403 && code != 400 {
				t.Errorf("GET %s: %d, want 403 or 400", target, code)
			}
		}
		for _, target := range []string{"rtsp://other/b/cam", "rtsp://u:p@other/b/cam"} {
			if code, _ := g.askRTSP(t, "DESCRIBE", target+"?token="+token); code != 403 {
				t.Errorf("DESCRIBE %s: %d, want 403", target, code)
			}
		}
		if code, _ := g.askRTSP(t, "DESCRIBE", "rtsp:a/cam?token="+token); code != 400 {
			t.Errorf("DESCRIBE rtsp:a/cam: %d, want 400", code)
		}
	})

	t.Run("tokens", func(t *testing.T) {
		jwtOf := func(key any, m jwt.SigningMethod, exp time.Duration) string {
			return g.jwt(t, m, key, jwt.MapClaims{"exp": in(exp), "path": "/a"})
		}
		good := jwtOf(g.rsa, jwt.SigningMethodRS256, time.Hour)
		foreign, err := admission.Sign([]byte("k9 "+strings.Repeat("0123456789abcdef", 3)), "", admission.Claim{Path: "/a", Until: now.Add(time.Hour)})
		must(t, err)
		forged, err := admission.Sign([]byte("k1 "+strings.Repeat("0000000000000000", 3)), "", admission.Claim{Path: "/a", Until: now.Add(time.Hour)})
		must(t, err)
		f := func(what, query string, code int, fields ...string) {
			t.Helper()
			if got, head := g.askHTTP(t, "GET /a/x?"+query+" HTTP/1.1\nHost: edge\n"+strings.Join(append(fields, ""), "\n")); got != code {
				t.Errorf("GET, %s: %d, want %d: %s", what, got, code, head)
			}
			if got, head := g.askRTSP(t, "DESCRIBE", "rtsp://edge/a/x?"+query, fields...); got != code {
				t.Errorf("DESCRIBE, %s: %d, want %d: %s", what, got, code, head)
			}
		}
		f("none", "", 401)
		f("empty", "token=", 401)
		f("nonsense", "token=nonsense", 401)
		f("in two places", "token="+token+"&token="+token, 400)
		f("under two names", "token="+token+"&jwt="+good, 400)
		f("in query and header", "token="+token, 400, "Authorization: Bearer "+good)
		f("expired by one second", "token="+g.sign(t, admission.Claim{Path: "/a", Until: now.Add(-time.Second)}), 403)
		f("for another address", "token="+g.sign(t, admission.Claim{Path: "/a", Addr: netip.MustParsePrefix("10.0.0.0/8")}), 403)
		f("a key that is not known", "token="+foreign, 401)
		f("another secret", "token="+forged, 401)
		f("cut", "token="+token[:len(token)-2], 401)
		f("too long", "token="+strings.Repeat("x", 5000), 401)
		f("another name", "Token="+token, 401)
		f("alg=none", "token="+jwtOf(jwt.UnsafeAllowNoneSignatureType, jwt.SigningMethodNone, time.Hour), 401)
		f("HS256 with the public key", "token="+jwtOf(g.pem, jwt.SigningMethodHS256, time.Hour), 401)
		f("RS256 expired by one second", "token="+jwtOf(g.rsa, jwt.SigningMethodRS256, -time.Second), 403)
		f("without exp", "token="+g.jwt(t, jwt.SigningMethodRS256, g.rsa, jwt.MapClaims{"path": "/a"}), 401)
		f("for another path", "token="+g.jwt(t, jwt.SigningMethodRS256, g.rsa, jwt.MapClaims{"exp": in(time.Hour), "path": "/b"}), 403)
		f("a path that only begins alike", "token="+g.jwt(t, jwt.SigningMethodRS256, g.rsa, jwt.MapClaims{"exp": in(time.Hour), "path": "/a/xy"}), 403)
	})
	if n := g.upstream.n.Load(); n != 0 {
		t.Errorf("the origin was asked %d times:\n%s", n, &g.upstream)
	}

	t.Run("and with a token it works", func(t *testing.T) {
		if code, _ := g.askHTTP(t, "GET /a/x?token="+token+"&q=1 HTTP/1.1\nHost: edge\n"); code != 200 {
			t.Errorf("GET: %d", code)
		}
		if code, _ := g.askRTSP(t, "DESCRIBE", "rtsp://edge/a/cam?token="+token); code != 200 {
			t.Errorf("DESCRIBE: %d", code)
		}
		if s := g.upstream.String(); !strings.Contains(s, "GET /a/x?q=1 ") || strings.Contains(s, token) {
			t.Errorf("the origin was asked %s", s)
		}
	})
	if said := g.said.String(); strings.Contains(said, token) || strings.Contains(said, token[:len(token)/2]) {
		t.Errorf("the token is in the log:\n%s", said)
	}
}

// TestGateBindsConnections: what a connection was let in for is not good for
// another path, and a session is its own connection's.
func TestGateBindsConnections(t *testing.T) {
	g := guard(t, "", "-admission.keys", "DIR/keys")
	url := "rtsp://" + g.rtsp
	token := "?token=" + g.sign(t, admission.Claim{Path: "/a"})
	const transport = "Transport: RTP/AVP/TCP;unicast;interleaved=0-1"
	c := g.talk(t)
	res := c.ask(t, "DESCRIBE", url+"/a/cam"+token)
	if res == nil || res.Code != 200 {
		t.Fatalf("DESCRIBE: %+v", res)
	}
	if base := res.Header.Get("Content-Base"); strings.Contains(base, "token") {
		t.Errorf("Content-Base: %s", base)
	}
	for _, other := range []string{"/b/cam/trackID=0", "/b/cam/trackID=0" + token, "/ab/cam/trackID=0" + token} {
		if res := c.ask(t, "SETUP", url+other, transport); res != nil && res.Code != 401 && res.Code != 403 {
			t.Errorf("SETUP %s on a connection for /a: %d, want 401 or 403", other, res.Code)
		}
	}
	if res = c.ask(t, "SETUP", url+"/a/cam/trackID=0", transport); res == nil || res.Code != 200 {
		t.Fatalf("SETUP of what it was let in for: %+v", res)
	}
	session, _, _ := strings.Cut(res.Header.Get("Session"), ";")
	other := g.talk(t)
	if res := other.ask(t, "PLAY", url+"/a/cam", "Session: "+session); res == nil || res.Code != 401 {
		t.Errorf("another connection without a token names the session: %+v, want 401", res)
	}
	other = g.talk(t)
	if res := other.ask(t, "DESCRIBE", url+"/a/cam"+token); res == nil || res.Code != 200 {
		t.Fatalf("DESCRIBE: %+v", res)
	}
	for _, method := range []string{"PLAY", "PAUSE", "TEARDOWN", "GET_PARAMETER"} {
		if res := other.ask(t, method, url+"/a/cam", "Session: "+session); res == nil || res.Code != 454 && res.Code != 400 {
			t.Errorf("another connection: %s with the session: %+v, want 454", method, res)
		}
	}
	if res = c.ask(t, "PLAY", url+"/a/cam", "Session: "+session); res == nil || res.Code != 200 {
		t.Errorf("PLAY by its own connection: %+v", res)
	}
}

// TestGateAddresses: who claims another address is believed only if he may say so.
func TestGateAddresses(t *testing.T) {
	const get = "GET /x HTTP/1.1\nHost: edge\n"
	f := func(flags []string, http, rtsp int, before string, fields ...string) {
		t.Helper()
		g := guard(t, "", flags...)
		text := strings.TrimSuffix(before, "\r\n") + strings.Repeat("\n", strings.Count(before, "\n")) + get + strings.Join(append(fields, ""), "\n")
		if code, _ := g.askHTTP(t, text); code != http {
			t.Errorf("%v: %q: %d, want %d", flags, text, code, http)
		}
		if code, _ := ask(t, g.rtsp, before+"DESCRIBE rtsp://edge/a/cam RTSP/1.0\r\nCSeq: 1\r\n"+strings.Join(append(fields, ""), "\r\n")+"\r\n"); code != rtsp {
			t.Errorf("%v: RTSP behind %q: %d, want %d", flags, before, code, rtsp)
		}
	}
	only10 := []string{"-admission.allow", "10.0.0.0/8"}
	byHeader := append(only10, "-front.forwarded", "127.0.0.1/32")
	byPROXY := append(only10, "-front.proxy-protocol", "127.0.0.1/32")
	const proxied = "PROXY TCP4 10.1.2.3 10.0.0.1 4000 80\r\n"
	f(only10, 403, 403, "")
	f(only10, 403, 403, "", "X-Forwarded-For: 10.1.2.3")
	f(only10, 403, 403, "", "Forwarded: for=10.1.2.3")
	f(only10, 400, 400, proxied)
	f(byPROXY, 200, 200, proxied)
	f(byPROXY, 403, 403, "", "X-Forwarded-For: 10.1.2.3")
	f(byPROXY, 403, 403, "PROXY TCP4 11.1.2.3 10.0.0.1 4000 80\r\n", "X-Forwarded-For: 10.1.2.3")
	f(byHeader, 200, 403, "", "X-Forwarded-For: 10.1.2.3")
	f(byHeader, 200, 403, "", "Forwarded: for=10.1.2.3")
	f(byHeader, 403, 403, "", "X-Forwarded-For: 10.1.2.3, 11.1.2.3") // the one who came to the proxy, not what he said
	f(byHeader, 403, 403, "", "X-Forwarded-For: 10.1.2.3", "X-Forwarded-For: 11.1.2.3")
	f(byHeader, 400, 400, proxied)
}

// TestGateSaysWhy is what curl and players show for each reason.
func TestGateSaysWhy(t *testing.T) {
	g := guard(t, "", "-admission.viewers=1")
	c := g.talk(t)
	url := "rtsp://" + g.rtsp + "/a/cam"
	if res := c.ask(t, "SETUP", url+"/trackID=0", "Transport: RTP/AVP/TCP;unicast;interleaved=0-1"); res == nil || res.Code != 200 {
		t.Fatalf("SETUP: %+v", res)
	}
	other := g.talk(t)
	res := other.ask(t, "SETUP", url+"/trackID=0", "Transport: RTP/AVP/TCP;unicast;interleaved=0-1")
	if res == nil || res.Code != 453 || res.Phrase != "No Place Left" || res.Header.Get("Retry-After") == "" {
		t.Errorf("SETUP without a place: %+v", res)
	}
	code, head := g.askHTTP(t, "GET /x HTTP/1.1\nHost: edge\n")
	if code != 503 || !strings.Contains(head, "Retry-After: ") {
		t.Errorf("GET without a place: %s", head)
	}
	c.Close()
	proxytest.Eventually(t, 5*time.Second, "a place for who asks again on the same connection", func() bool {
		res = other.ask(t, "SETUP", url+"/trackID=0", "Transport: RTP/AVP/TCP;unicast;interleaved=0-1")
		return res == nil || res.Code == 200
	})
	if res == nil {
		t.Error("the connection was closed")
	}
	for _, p := range g.n.parts {
		if p.Name != "admission" {
			continue
		}
		if b, err := json.Marshal(p.Part.Status()); err != nil || !strings.Contains(string(b), `"refused_total":{"full":`) {
			t.Errorf("status: %s, %v", b, err)
		}
	}
}
