package admission

import (
	"net/http"
	"slices"
	"strings"

	"weir/proxy"
)

const (
	// maxCookie is the longest name and value, together, that browsers keep, and
	// maxCookiePath the longest path (draft-ietf-httpbis-rfc6265bis §5.6), in bytes.
	maxCookie     = 4096
	maxCookiePath = 1024
)

// cookieFor returns the cookie in which a viewer is to keep the token that he
// came with, for what players fetch without it; nil if none is due: he came with
// none, has it already, or asks for something that no player begins with.
func cookieFor(name string, v *proxy.Viewer, k kind) *http.Cookie {
	if name == "" || k != playlist && k != document {
		return nil
	}
	g, ok := v.Grant.(*grant)
	if !ok || g == nil || g.token == "" || g.path == "" || tokenOfCookie(v.Cookie, name) == g.token {
		return nil
	}
	c := &http.Cookie{Name: name, Value: g.token, Path: cookiePath(g.path), Expires: g.until, HttpOnly: true, SameSite: http.SameSiteLaxMode}
	if v.Secure { // pages of other hosts may play it with credentials
		c.Secure, c.SameSite = true, http.SameSiteNoneMode
	}
	if len(name)+len(g.token) > maxCookie || c.Valid() != nil {
		return nil
	}
	return c
}

// cookiePath writes a canonical path as browsers write it in requests: they
// compare as text. It ends above a part that cannot stand in a cookie, as the
// cookie is then only sent more widely than it need be.
func cookiePath(path string) string {
	var b strings.Builder
	for part := range strings.SplitSeq(strings.Trim(path, "/"), "/") {
		part = percentEncoded(part)
		if part == "" || strings.Contains(part, ";") || b.Len()+1+len(part) > maxCookiePath {
			break
		}
		b.WriteString("/" + part)
	}
	if b.Len() == 0 {
		return "/"
	}
	return b.String()
}

// percentEncoded encodes the path percent-encode set of the URL Standard §1.3;
// the percent sign, as what is canonical is decoded; and what is in no URL.
func percentEncoded(s string) string {
	const digits = "0123456789ABCDEF"
	var b strings.Builder
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c >= 0x7f || strings.IndexByte("\"#%<>?\\^`{}", c) >= 0 {
			b.Write([]byte{'%', digits[c>>4], digits[c&15]})
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

// setCookie adds a cookie to an answer, which no shared cache may then keep. The
// values that are there may be others' too, such as the cache's: they are
// copied.
func setCookie(h http.Header, c *http.Cookie) {
	h["Set-Cookie"] = append(slices.Clip(h["Set-Cookie"]), c.String())
	keepPrivate(h)
}

// keepPrivate keeps an answer that has somebody's token out of shared caches.
func keepPrivate(h http.Header) {
	h.Del("Cdn-Cache-Control") // which would win (RFC 9213 §2.1)
	h.Del("Surrogate-Control")
	if !keptPrivate(h["Cache-Control"]) {
		h["Cache-Control"] = append(slices.Clip(h["Cache-Control"]), "private")
	}
}

// keptPrivate reports whether Cache-Control forbids shared caches to store (RFC
// 9111 §5.2.2). Private with a list of fields covers only those.
func keptPrivate(values []string) bool {
	for _, v := range values {
		for d := range strings.SplitSeq(v, ",") {
			if d = strings.TrimSpace(d); strings.EqualFold(d, "private") || strings.EqualFold(d, "no-store") {
				return true
			}
		}
	}
	return false
}
