package admission

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"weir/proxy"
)

func TestCookieFor(t *testing.T) {
	until := time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)
	f := func(what string, v proxy.Viewer, k kind, want string) {
		t.Helper()
		got := ""
		if c := cookieFor("tok", &v, k); c != nil {
			got = c.String()
		}
		if got != want {
			t.Errorf("%s: %q, want %q", what, got, want)
		}
	}
	g := &grant{token: "a.b_c-d", path: "/live", until: until}
	const set = "tok=a.b_c-d; Path=/live; Expires=Wed, 02 Jan 2030 03:04:05 GMT; HttpOnly; "
	f("playlist", proxy.Viewer{Grant: g}, playlist, set+"SameSite=Lax")
	f("page", proxy.Viewer{Grant: g}, document, set+"SameSite=Lax")
	f("TLS", proxy.Viewer{Grant: g, Secure: true}, playlist, set+"Secure; SameSite=None")
	f("another cookie", proxy.Viewer{Grant: g, Cookie: "xtok=a.b_c-d; tok=old"}, playlist, set+"SameSite=Lax")
	f("no end", proxy.Viewer{Grant: &grant{token: "x", path: "/"}}, playlist, "tok=x; Path=/; HttpOnly; SameSite=Lax")
	f("has it", proxy.Viewer{Grant: g, Cookie: "a=b; tok=a.b_c-d; c=d"}, playlist, "")
	f("has it in quotes", proxy.Viewer{Grant: g, Cookie: `tok="a.b_c-d"`}, playlist, "")
	f("segment", proxy.Viewer{Grant: g}, segment, "")
	f("download", proxy.Viewer{Grant: g}, download, "")
	f("no grant", proxy.Viewer{}, playlist, "")
	f("nil grant", proxy.Viewer{Grant: (*grant)(nil)}, playlist, "")
	f("no token", proxy.Viewer{Grant: &grant{path: "/"}}, playlist, "")
	f("no path", proxy.Viewer{Grant: &grant{token: "x"}}, playlist, "")
	for _, bad := range []string{"a;b", "a\r\nX: y", "a\\b", `a"b`, "a\x00", "ä", strings.Repeat("x", maxCookie)} {
		f("token that cannot be one", proxy.Viewer{Grant: &grant{token: bad, path: "/"}}, playlist, "")
	}
	if c := cookieFor("", &proxy.Viewer{Grant: g}, playlist); c != nil {
		t.Errorf("switched off: %v", c)
	}
}

func TestCookiePath(t *testing.T) {
	f := func(path, want string) {
		t.Helper()
		if got := cookiePath(path); got != want {
			t.Errorf("cookiePath(%q) = %q, want %q", path, got, want)
		}
	}
	f("/", "/")
	f("/live", "/live")
	f("/live/cam 1/ä", "/live/cam%201/%C3%A4")
	f("/100%/a+b,(c)~'@:$&!*=|[]", "/100%25/a+b,(c)~'@:$&!*=|[]")
	f("/a/b; Domain=evil/c", "/a")
	f("/;", "/")
	f("/a\r\nSet-Cookie: x=y", "/a%0D%0ASet-Cookie:%20x=y")
	f("/a/"+strings.Repeat("ä", 500)+"/b", "/a")
}

func FuzzCookie(f *testing.F) {
	f.Add("a.b", "/live/x;y", "tok=1")
	f.Add("a\r\nb", "/\r\nX: y\x00ÿ", "; tok")
	f.Fuzz(func(t *testing.T, token, path, header string) {
		c := cookieFor("tok", &proxy.Viewer{Grant: &grant{token: token, path: path}, Cookie: header}, playlist)
		if c == nil {
			return
		}
		s := c.String()
		if strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r > '~' }) || strings.Count(s, ";") != 3 {
			t.Fatalf("Set-Cookie: %q", s)
		}
		back, err := http.ParseSetCookie(s)
		if err != nil || back.Value != token || back.Path == "" || back.Path[0] != '/' {
			t.Errorf("%q read back: %+v, %v", s, back, err)
		}
	})
}

// What is in a header may be the cache's, and every viewer's.
func TestSetCookieCopies(t *testing.T) {
	values := make([]string, 1, 4)
	values[0] = "public, max-age=3"
	others := values[:2:4]
	h := http.Header{"Cache-Control": values}
	setCookie(h, &http.Cookie{Name: "a", Value: "b"})
	if others[1] != "" {
		t.Errorf("written where others read: %q", others)
	}
	if got := h["Cache-Control"]; len(got) != 2 || got[1] != "private" {
		t.Errorf("Cache-Control %q", got)
	}
}

func TestKeptPrivate(t *testing.T) {
	f := func(want bool, values ...string) {
		t.Helper()
		if got := keptPrivate(values); got != want {
			t.Errorf("keptPrivate(%q) = %v", values, got)
		}
	}
	f(false)
	f(false, "public, max-age=3", "no-cache")
	f(false, `private="set-cookie"`)
	f(true, "max-age=3, Private")
	f(true, "public", "no-store")
}
