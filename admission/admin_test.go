package admission

import (
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"weir/proxy"
)

// adminOf asks the door of g, and wants an answer of a status with something in it.
func adminOf(t *testing.T, g *Gate) func(method, target string, code int, want string) {
	door := g.Admin()
	return func(method, target string, code int, want string) {
		t.Helper()
		w := httptest.NewRecorder()
		door.ServeHTTP(w, httptest.NewRequest(method, target, nil))
		if got := w.Body.String(); w.Code != code || !strings.Contains(got, want) {
			t.Errorf("%s %s: %d %q, want %d with %q", method, target, w.Code, got, code, want)
		}
	}
}

// TestAdminBans: bans are listed, the latest first, and lifted; who was let in again
// begins anew.
func TestAdminBans(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := gateOf(t, "-admission.ban=3")
		f := adminOf(t, g)
		ban := func(text string) {
			for range 3 {
				g.Offend(netip.MustParseAddr(text), proxy.BadRequest)
			}
		}
		in := func(text string, want proxy.Reason) {
			t.Helper()
			_, err := g.Accept(netip.MustParseAddr(text))
			wantReason(t, text, err, want)
		}
		f("GET", "/bans", 200, `{"bans":[],"more":false}`)
		ban("192.0.2.1")
		time.Sleep(20 * time.Second)
		ban("2001:db8:1:2::3")
		ban("192.0.2.2")
		const first = `{"address":"192.0.2.1","left_s":40,"times":1}`
		f("GET", "/bans", 200, `{"bans":[{"address":"192.0.2.2","left_s":60,"times":1},{"address":"2001:db8:1:2::/64","left_s":60,"times":1},`+first+`],"more":false}`)
		f("GET", "/bans?limit=1", 200, `{"bans":[{"address":"192.0.2.2","left_s":60,"times":1}],"more":true}`)
		f("GET", "/bans?limit=3", 200, `"more":false`)
		in("2001:db8:1:2::9", proxy.Banned)
		f("DELETE", "/bans/2001:db8:1:2::/64", 200, `{"lifted":"2001:db8:1:2::/64"}`)
		in("2001:db8:1:2::9", "")
		in("192.0.2.2", proxy.Banned)
		f("DELETE", "/bans/::ffff:192.0.2.2", 200, `{"lifted":"192.0.2.2"}`)
		in("192.0.2.2", "")
		f("DELETE", "/bans/192.0.2.2", 404, "192.0.2.2 is not banned")
		f("GET", "/bans", 200, `{"bans":[`+first+`],"more":false}`)
		time.Sleep(time.Minute)
		f("GET", "/bans", 200, `{"bans":[],"more":false}`) // it is over, and remembered
		f("DELETE", "/bans/192.0.2.1", 404, "not banned")
		ban("192.0.2.2")
		ban("192.0.2.1")
		f("GET", "/bans", 200, `{"bans":[{"address":"192.0.2.1","left_s":120,"times":2},{"address":"192.0.2.2","left_s":60,"times":1}]`)
	})
}

// TestAdminListIsBounded, however many are banned.
func TestAdminListIsBounded(t *testing.T) {
	g := gateOf(t, "-admission.ban=1")
	f := adminOf(t, g)
	for n := range uint32(manyBans + 1) {
		g.Offend(addr4(n+1), proxy.BadRequest)
	}
	for target, want := range map[string]int{"/bans": fewBans, "/bans?limit=7": 7, "/bans?limit=10000": manyBans} {
		w := httptest.NewRecorder()
		g.Admin().ServeHTTP(w, httptest.NewRequest("GET", target, nil))
		if n := strings.Count(w.Body.String(), `"address"`); n != want {
			t.Errorf("%s lists %d, want %d", target, n, want)
		}
		f("GET", target, 200, `"more":true`)
	}
}

func TestAdminMistakes(t *testing.T) {
	f := adminOf(t, gateOf(t)) // nobody is ever banned
	f("GET", "/", 200, "bans")
	f("GET", "/bans", 200, `{"bans":[],"more":false}`)
	f("DELETE", "/bans/192.0.2.1", 404, "not banned")
	for _, limit := range []string{"0", "-1", "10001", "x"} {
		f("GET", "/bans?limit="+limit, 400, "from 1 to 10000")
	}
	for _, what := range []string{"", "x", "192.0.2.0/24", "2001:db8::/63", "2001:db8::1/64", "192.0.2.1:80", "example.com"} {
		f("DELETE", "/bans/"+what, 400, "bans are of an address")
	}
	f("DELETE", "/bans", 400, "bans are of an address")
	f("POST", "/bans/192.0.2.1", 405, "")
	f("GET", "/other", 404, "")
}
