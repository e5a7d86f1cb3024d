package admin

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"weir/proxy"
)

// behind are the paths that change or reveal.
var behind = []string{"/", "/status.json", "/metrics", "/log/level", "/debug/pprof/", "/debug/pprof/heap", "/cache/x"}

var health = []string{"/livez", "/healthz", "/readyz", "/readyz?verbose"}

func guardedConfig() Config {
	pages := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "part") })
	return config(Named{"cache", pagedPart{fakePart{ready: proxy.Degraded("10.9.8.7 is away")}, pages}})
}

// codes asks for each path and fails unless all answer with the code.
func codes(t *testing.T, addr string, paths []string, want int, header ...string) (last answer) {
	t.Helper()
	for _, p := range paths {
		last = ask(t, "GET", addr, p, "", header...)
		if last.code != want {
			t.Errorf("GET %s with %q = %d %.60q, want %d", p, header, last.code, last.body, want)
		}
	}
	return last
}

func TestOffLoopbackWithoutToken(t *testing.T) {
	c := guardedConfig()
	addr := startDistant(t, Options{Addr: ":9090"}, c)
	codes(t, addr, health, 200)
	if got := codes(t, addr, behind, 403).body; !strings.Contains(got, "-admin.token") {
		t.Errorf("403 says %q, want it to name -admin.token", got)
	}
	codes(t, addr, behind, 403, "Authorization", "Bearer ")
	if got := ask(t, "PUT", addr, "/log/level", `{"level":"debug"}`); got.code != 403 || c.Level.String() != "info" {
		t.Errorf("PUT /log/level = %d, level %s", got.code, c.Level)
	}
	if got := ask(t, "GET", addr, "/readyz?verbose", "").body; got != "[~] cache degraded\n" {
		t.Errorf("verbose = %q, want names and states only", got)
	}
}

func TestToken(t *testing.T) {
	f := func(addr string) {
		t.Helper()
		codes(t, addr, health, 200)
		for _, bad := range []string{"", "Bearer", "Bearer ", "Bearer s3cre", "Bearer s3cret2", "s3cret", "Basic czNjcmV0", "Basic !"} {
			refused := codes(t, addr, behind, 401, "Authorization", bad)
			want := []string{"Bearer", `Basic realm="weir"`}
			if got := refused.header.Values("WWW-Authenticate"); !slices.Equal(got, want) {
				t.Errorf("WWW-Authenticate = %q, want %q", got, want)
			}
		}
		codes(t, addr, behind, 200, "Authorization", "Bearer s3cret")
		codes(t, addr, behind, 200, "Authorization", "bearer s3cret")
		codes(t, addr, behind, 200, "Authorization", "Basic YW55Ym9keTpzM2NyZXQ=") // anybody:s3cret
		codes(t, addr, behind, 200, "Authorization", "Bearer s3cret", "Host", "weir:9090")
		if got := ask(t, "GET", addr, "/readyz?verbose", "").body; got != "[~] cache degraded\n" {
			t.Errorf("verbose without token = %q", got)
		}
		got := ask(t, "GET", addr, "/readyz?verbose", "", "Authorization", "Bearer s3cret").body
		if got != "[~] cache degraded: 10.9.8.7 is away\n" {
			t.Errorf("verbose with token = %q", got)
		}
		// A browser sends Basic by itself, also for another site's page.
		put := ask(t, "PUT", addr, "/log/level", `{"level":"debug"}`, "Authorization", "Basic YW55Ym9keTpzM2NyZXQ=",
			"Origin", "http://evil.example")
		if put.code != 403 {
			t.Errorf("PUT from a foreign page = %d, want 403", put.code)
		}
	}
	f(startDistant(t, Options{Token: "s3cret"}, guardedConfig()))
	f(start(t, Options{Token: "s3cret"}, guardedConfig()).Addr().String())
}

func TestRebinding(t *testing.T) {
	a := start(t, Options{}, guardedConfig())
	addr := a.Addr().String()
	f := func(host string, want int) {
		t.Helper()
		codes(t, addr, behind, want, "Host", host)
		codes(t, addr, health, 200, "Host", host)
	}
	f("127.0.0.1", 200)
	f("localhost:9090", 200)
	f("LOCALHOST", 200)
	f("[::1]:9090", 200)
	f("[::1]", 200)
	f("10.1.2.3:80", 200)
	f("evil.example", 403)
	f("127.0.0.1.evil.example:9090", 403)
	f("localhost.evil.example", 403)
	verbose := ask(t, "GET", addr, "/readyz?verbose", "", "Host", "evil.example").body
	if verbose != "[~] cache degraded\n" {
		t.Errorf("verbose under a foreign name = %q", verbose)
	}
}

func TestConfiguredHost(t *testing.T) {
	f := func(addr, host string, want bool) {
		t.Helper()
		if got := newGuard(Options{Addr: addr}, nil).ours(host); got != want {
			t.Errorf("-admin %q: Host %q ours = %v, want %v", addr, host, got, want)
		}
	}
	f("edge1.example:9090", "edge1.example:9090", true)
	f("edge1.example:9090", "Edge1.Example", true)
	f("edge1.example:9090", "edge2.example:9090", false)
	f(":9090", "edge1.example", false)
	f(":9090", ":9090", true)
}
