package admission

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// claimsOf reads claims as a token has them, with an exp.
func claimsOf(t testing.TB, text string) *jwtClaims {
	t.Helper()
	var c jwtClaims
	if err := json.Unmarshal([]byte(text), &c); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	c.ExpiresAt = jwt.NewNumericDate(time.Now())
	return &c
}

func TestJWTPaths(t *testing.T) {
	f := func(claims, path string, want bool) {
		t.Helper()
		g, err := claimsOf(t, claims).grant("")
		if err != nil {
			t.Errorf("%s: %v", claims, err)
			return
		}
		if got := g.scope == nil || g.scope.allows(path); got != want {
			t.Errorf("%s allows %s: %v, want %v", claims, path, got, want)
		}
	}
	f(`{}`, "/anything", true)
	f(`{"path":"/a"}`, "/a", true)
	f(`{"path":"/a"}`, "/a/b", true)
	f(`{"path":"/a"}`, "/ab", false)
	f(`{"path":"/a"}`, "/", false)
	f(`{"path":"a/"}`, "/a", true)
	f(`{"path":"//a/./b"}`, "/a/b", true)
	f(`{"path":"/caf%C3%A9"}`, "/café", true)
	f(`{"path":"/"}`, "/anything", true)
	f(`{"paths":["/a","/b"]}`, "/b/c", true)
	f(`{"paths":["/a","/b"]}`, "/c", false)
	f(`{"paths":["/a"],"path":"/c"}`, "/c", true)
	f(`{"paths":[]}`, "/a", false)
	f(`{"paths":null}`, "/a", false)
	f(`{"path":"/a","mediamtx_permissions":[{"action":"read","path":"a/b"}]}`, "/a/b", true)
	f(`{"path":"/a","mediamtx_permissions":[{"action":"read","path":"a/b"}]}`, "/a/c", false)
	f(`{"path":"/a","mediamtx_permissions":[{"action":"read","path":""}]}`, "/b", false)
}

func TestJWTPermissions(t *testing.T) {
	f := func(claim, path string, want bool) {
		t.Helper()
		g, err := claimsOf(t, `{"mediamtx_permissions":`+claim+`}`).grant("")
		if err != nil {
			t.Errorf("%s: %v", claim, err)
			return
		}
		if got := g.scope == nil || g.scope.allows(path); got != want {
			t.Errorf("%s allows %s: %v, want %v", claim, path, got, want)
		}
	}
	f(`[{"action":"read","path":""}]`, "/anything", true)
	f(`[{"action":"read"}]`, "/anything", true)
	f(`[{"action":"playback","path":"cam1"}]`, "/cam1", true)
	f(`[{"action":"read","path":"cam1"}]`, "/cam1/index.m3u8", true)
	f(`[{"action":"read","path":"cam1"}]`, "/cam10", false)
	f(`[{"action":"read","path":"/cam1"}]`, "/cam1", true)
	f(`[{"action":"read","path":"cam1"},{"action":"read","path":"cam2"}]`, "/cam2", true)
	f(`[{"action":"publish","path":"cam1"}]`, "/cam1", false)
	f(`[{"action":"READ","path":"cam1"}]`, "/cam1", false)
	f(`[{"path":"cam1"}]`, "/cam1", false)
	f(`[]`, "/cam1", false)
	f(`null`, "/cam1", false)
	f(`{}`, "/cam1", false)
	f(`"cam1"`, "/cam1", false)
	f(`"[]"`, "/cam1", false)
	f(`"[{\"action\":\"read\",\"path\":\"cam1\"}]"`, "/cam1", true)
	f(`[{"action":"read","path":"/"}]`, "/cam1", false)
	f(`[{"action":"read","path":"."}]`, "/cam1", false)
	f(`[{"action":"read","path":"../cam1"}]`, "/cam1", false)

	f(`[{"action":"read","path":"~^cam[0-9]+$"}]`, "/cam12", true)
	f(`[{"action":"read","path":"~^cam[0-9]+$"}]`, "/cam12/index.m3u8", true)
	f(`[{"action":"read","path":"~^cam[0-9]+$"}]`, "/cam12/other", false)
	f(`[{"action":"read","path":"~^cam[0-9]+$"}]`, "/x/cam12", false)
	f(`[{"action":"read","path":"~^$"}]`, "/index.m3u8", false)
	f(`[{"action":"read","path":"~cam"}]`, "/x/cam12", true) // not anchored: as MediaMTX does
	f(`[{"action":"read","path":"~^/cam"}]`, "/cam1", false)
	f(`[{"action":"read","path":"~("}]`, "/(", false)
	f(`[{"action":"read","path":"~`+strings.Repeat("a?", maxPermission/2)+`"}]`, "/a", true)
	f(`[{"action":"read","path":"~`+strings.Repeat("a?", maxPermission/2)+`a"}]`, "/a", false)
}

func TestJWTBadClaims(t *testing.T) {
	f := func(claims string) {
		t.Helper()
		if g, err := claimsOf(t, claims).grant(""); err == nil {
			t.Errorf("%s is good for %+v", claims, *g)
		} else if strings.Contains(err.Error(), "hush") {
			t.Errorf("%s: %q tells of the claims", claims, err)
		}
	}
	f(`{"path":""}`)
	f(`{"path":null}`)
	f(`{"path":7}`)
	f(`{"path":"/hush/../b"}`)
	f(`{"path":"/hush%2fb"}`)
	f(`{"paths":["/a",""]}`)
	f(`{"paths":"/hush"}`)
	f(`{"paths":[7]}`)
	f(`{"max_sessions":-1}`)
	f(`{"ip":"hush"}`)
	f(`{"ip":"fe80::1%hush"}`)
	f(`{"ip":"192.0.2.1","cnf":{"ip":"192.0.2.2"}}`)
}

func TestJWTAddress(t *testing.T) {
	f := func(claims, want string) {
		t.Helper()
		g, err := claimsOf(t, claims).grant("")
		if err != nil {
			t.Errorf("%s: %v", claims, err)
		} else if got := g.from.String(); got != want {
			t.Errorf("%s is for %s, want %s", claims, got, want)
		}
	}
	f(`{}`, "invalid Prefix")
	f(`{"ip":"192.0.2.1"}`, "192.0.2.1/32")
	f(`{"cnf":{"ip":"192.0.2.1"}}`, "192.0.2.1/32")
	f(`{"cnf":{"ip":"192.0.2.1"},"ip":"192.0.2.1"}`, "192.0.2.1/32")
	f(`{"ip":"192.0.2.1/24"}`, "192.0.2.0/24")
	f(`{"ip":"::ffff:192.0.2.1"}`, "192.0.2.1/32")
	f(`{"ip":"2001:db8::1"}`, "2001:db8::1/128")
}

func TestJWTCookiePath(t *testing.T) {
	f := func(claims, want string) {
		t.Helper()
		g, err := claimsOf(t, claims).grant("")
		if err != nil {
			t.Errorf("%s: %v", claims, err)
		} else if g.path != want {
			t.Errorf("cookie of %s is for %s, want %s", claims, g.path, want)
		}
	}
	f(`{}`, "/")
	f(`{"path":"/a/"}`, "/a")
	f(`{"paths":["/a"]}`, "/a")
	f(`{"paths":["/a","/b"]}`, "/")
	f(`{"mediamtx_permissions":[{"action":"read","path":"a"}]}`, "/")
}

func FuzzJWTPermissions(f *testing.F) {
	f.Add(`[{"action":"read","path":"~^a"}]`, "/a")
	f.Add(`"[{\"action\":\"read\",\"path\":\"cam1\"}]"`, "/cam1/index.m3u8")
	f.Add(`[]`, "/")
	f.Fuzz(func(t *testing.T, claim, path string) {
		p := parsePermissions(json.RawMessage(claim))
		if p.allows(path) && !strings.Contains(claim, "read") && !strings.Contains(claim, "playback") && !strings.Contains(claim, `\`) {
			t.Fatalf("%s allows %s", claim, path)
		}
	})
}
