package admission

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os/exec"
	"strings"
	"testing"
	"time"

	"weir/proxy"
)

// TestDigestCurl has curl ask, with a query, as it likes.
func TestDigestCurl(t *testing.T) {
	curl, err := exec.LookPath("curl")
	if err != nil {
		t.Skip("curl is not installed")
	}
	for what, u := range map[string]*users{
		"digest": usersOf(t, htdigestLine("ann", "open sesame")),
		"basic":  usersOf(t, bcryptLine(t, "ann", "open sesame")),
	} {
		s := httptest.NewServer(usersDoor(u))
		defer s.Close()
		f := func(want string, args ...string) {
			t.Helper()
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			args = append(args, "-sS", "-m", "10", "-o", "/dev/null", "-w", "%{http_code}", s.URL+"/a/b%20c/?q=1&r=%2f")
			out, err := exec.CommandContext(ctx, curl, args...).Output()
			if err != nil || string(out) != want {
				t.Errorf("%s: curl %q: %s, %v, want %s", what, args, out, err, want)
			}
		}
		digests := map[string]string{"digest": "200", "basic": "401"}[what]
		f("401")
		f(digests, "--digest", "-u", "ann:open sesame")
		f(digests, "--digest", "-u", "ann:open sesame", "-I")
		f("200", "--basic", "-u", "ann:open sesame")
		f("200", "--anyauth", "-u", "ann:open sesame")
		f("401", "--digest", "-u", "ann:sesame")
		f("401", "--basic", "-u", "ann:sesame")
		f("401", "--anyauth", "-u", "eve:open sesame")
	}
}

// usersDoor lets users in.
func usersDoor(u *users) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		path, err := proxy.CleanPath(r.URL.EscapedPath())
		v := &proxy.Viewer{Addr: netip.MustParseAddrPort(r.RemoteAddr), Protocol: "http", Method: r.Method, Path: path, Authorization: r.Header.Get("Authorization")}
		if err == nil {
			err = usersCheck(r, u, v)
		}
		if err != nil {
			proxy.Refused(err).WriteHTTP(w)
		}
	})
}

func usersCheck(r *http.Request, u *users, v *proxy.Viewer) error {
	var err error = &proxy.Refusal{Reason: proxy.Unauthorized}
	name, password, basic := r.BasicAuth()
	switch {
	case strings.HasPrefix(v.Authorization, "Digest "):
		_, err = u.digest(v, time.Now())
	case basic:
		_, err = u.basic(r.Context(), login{name: name, password: password})
	}
	if err != nil && proxy.Refused(err).Challenges == nil {
		proxy.Refused(err).Challenges = u.challenges("http", time.Now(), v.Addr.Addr())
	}
	return err
}
