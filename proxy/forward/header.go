package forward

import (
	"net/http"
	"net/textproto"
	"slices"
	"strings"
)

// hopByHop are the fields of one hop (RFC 9110 §7.6.1), named by Connection or
// not.
var hopByHop = []string{
	"Connection", "Proxy-Connection", "Keep-Alive", "Te", "Trailer", "Transfer-Encoding", "Upgrade",
	"Http2-Settings", "Proxy-Authenticate", "Proxy-Authentication-Info", "Proxy-Authorization",
}

// endToEnd are fields that Connection must not name (RFC 9110 §7.6.1), and what
// it does not take away: without them, the next server would answer something
// else than what this one was asked and may have checked.
var endToEnd = []string{
	"Accept-Ranges", "Age", "Authorization", "Cache-Control", "Cookie", "Date", "Etag", "Expect", "Expires", "Host",
	"Last-Modified", "Location", "Range", "Set-Cookie", "Vary", "Via",
}

// cleanHop removes what is for one hop, and puts back an upgrade that is meant
// to go through.
func cleanHop(h http.Header) {
	upgrade := upgradeOf(h)
	for _, line := range h["Connection"] {
		for name := range strings.SplitSeq(line, ",") {
			if name = textproto.CanonicalMIMEHeaderKey(textproto.TrimString(name)); droppable(name) {
				delete(h, name)
			}
		}
	}
	trailers := hasToken(h["Te"], "trailers")
	for _, name := range hopByHop {
		delete(h, name)
	}
	if trailers {
		h["Te"] = []string{"trailers"}
	}
	if upgrade != "" {
		h["Connection"], h["Upgrade"] = []string{"Upgrade"}, []string{upgrade}
	}
}

func droppable(name string) bool {
	return !slices.Contains(endToEnd, name) && !slices.Contains(hopByHop, name) &&
		!strings.HasPrefix(name, "Content-") && !strings.HasPrefix(name, "If-")
}

// upgradeOf is the protocol a message changes to, "" for none. Another HTTP
// would hide its requests from the gate: such an upgrade is left out, which
// any sender must cope with (RFC 9110 §7.8).
func upgradeOf(h http.Header) string {
	if !hasToken(h["Connection"], "upgrade") {
		return ""
	}
	up := h.Get("Upgrade")
	for protocol := range strings.SplitSeq(strings.ToLower(up), ",") {
		name, _, _ := strings.Cut(strings.TrimSpace(protocol), "/")
		if name == "h2c" || name == "h2" || name == "http" || name == "tls" || strings.ContainsFunc(up, unprintable) {
			return ""
		}
	}
	return up
}

func unprintable(r rune) bool { return r < ' ' || r > '~' }

// hasToken reports whether one of a field's lists has a member; token is lower
// case.
func hasToken(lines []string, token string) bool {
	for _, line := range lines {
		for member := range strings.SplitSeq(line, ",") {
			if strings.EqualFold(textproto.TrimString(member), token) {
				return true
			}
		}
	}
	return false
}
