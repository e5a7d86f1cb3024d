package admin

import (
	"crypto/sha256"
	"crypto/subtle"
	"net"
	"net/http"
	"net/netip"
	"strings"
)

// A guard decides who may see and change what the door shows.
//
// The rules, first match first:
//
//	no token set, bound off loopback     nobody: 403
//	token set                            who presents it: else 401
//	no token set, bound to loopback      all, but not under a foreign host name: 403
//	in each case                         nothing is changed from a foreign web page: 403
//
// The host name is how a web page that rebinds its own name to 127.0.0.1 gives
// itself away; the name of an address or localhost cannot be rebound. Where a
// token is needed that page has none to send, so any name will do, and the door
// can be scraped by its name in a cluster.
type guard struct {
	loopback bool
	token    *[sha256.Size]byte // hash of the token; nil without one
	host     string             // the name in -admin, if it is one
	cross    *http.CrossOriginProtection
}

// newGuard takes the address from the listener: only that says what a name or
// an empty host in -admin came to.
func newGuard(o Options, bound net.Addr) *guard {
	g := &guard{cross: http.NewCrossOriginProtection()}
	if tcp, ok := bound.(*net.TCPAddr); ok {
		g.loopback = tcp.IP.IsLoopback()
	}
	if o.Token != "" {
		sum := sha256.Sum256([]byte(o.Token))
		g.token = &sum
	}
	g.host = hostOnly(o.Addr)
	return g
}

// protect lets next see only requests that may pass.
func (g *guard) protect(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		code, why := g.judge(r)
		if code == http.StatusUnauthorized {
			w.Header().Add("WWW-Authenticate", "Bearer")
			w.Header().Add("WWW-Authenticate", `Basic realm="weir"`) // lets a person open the page in a browser
		}
		if code != 0 {
			http.Error(w, why, code)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// judge returns 0 if the request may pass, else a status code and a sentence.
func (g *guard) judge(r *http.Request) (code int, why string) {
	switch {
	case g.token == nil && !g.loopback:
		return http.StatusForbidden, "This door is bound off loopback without a token: only health is told here. " +
			"Set -admin.token, or bind -admin to 127.0.0.1."
	case g.token != nil && !g.presented(r):
		return http.StatusUnauthorized, "The token set with -admin.token is needed: as a bearer token, " +
			"or as the password with any user name."
	case g.token == nil && !g.ours(r.Host):
		return http.StatusForbidden, "This door answers to its address, to localhost and to the host name in -admin only."
	case g.cross.Check(r) != nil:
		return http.StatusForbidden, "Nothing is changed here from another site's page."
	}
	return 0, ""
}

// presented reports whether the request carries the token. Hashes are compared,
// in constant time: not even the token's length shows.
func (g *guard) presented(r *http.Request) bool {
	got := ""
	if _, password, ok := r.BasicAuth(); ok {
		got = password
	} else if scheme, rest, ok := strings.Cut(r.Header.Get("Authorization"), " "); ok && strings.EqualFold(scheme, "Bearer") {
		got = strings.TrimSpace(rest)
	}
	sum := sha256.Sum256([]byte(got))
	return subtle.ConstantTimeCompare(sum[:], g.token[:]) == 1
}

// ours reports whether a Host header names us in a way that nobody else's DNS
// can. A browser always sends one, so a request without is not from a web page.
func (g *guard) ours(header string) bool {
	host := hostOnly(header)
	if _, err := netip.ParseAddr(host); err == nil || host == "" {
		return true
	}
	return strings.EqualFold(host, "localhost") || strings.EqualFold(host, g.host)
}

// hostOnly strips port and brackets.
func hostOnly(hostport string) string {
	if host, _, err := net.SplitHostPort(hostport); err == nil {
		return host
	}
	return strings.Trim(hostport, "[]")
}
