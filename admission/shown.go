package admission

import (
	"encoding/base64"
	"net/url"
	"slices"
	"strings"

	"weir/proxy"
)

const (
	// maxToken is the longest token, name or password, in bytes.
	maxToken = 4096
	// maxAuthorization is the longest header of that name, in bytes: a password in
	// base64, and more than any Digest.
	maxAuthorization = 8192
)

// shown are the credentials of one request.
type shown struct {
	token          string // "" for none
	header         bool   // the token stood in Authorization
	basic          bool   // user and password are those of Basic
	user, password string
	digest         bool // Authorization is for Digest
}

// look finds what a viewer shows, with the query as it came, in which names are
// the parameters that carry a token. The cookie of that name counts only where
// there is no other token. Its errors are Unauthorized for what is too long and
// BadRequest for two tokens: which one did the viewer mean (RFC 6750 §2)?
func look(v *proxy.Viewer, query string, names []string, cookie string) (s shown, err error) {
	inQuery, n := tokenOfQuery(query, names, v.Protocol == "rtsp")
	s.authorization(v.Authorization)
	switch {
	case n > 1 || n > 0 && s.token != "":
		return s, refuse(proxy.BadRequest, "tokens in two places")
	case n > 0:
		s.token = inQuery
	case s.token == "" && cookie != "":
		s.token = tokenOfCookie(v.Cookie, cookie)
	}
	if !plainText(s.token) {
		return s, refuse(proxy.Unauthorized, "token too long, or with blanks or controls in it")
	}
	return s, nil
}

// plainText reports whether a token is one that can stand in a header: it may
// become a cookie.
func plainText(token string) bool {
	return len(token) <= maxToken && !strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r >= 0x7f })
}

// tokenOfQuery returns the last token in a query and how many there are. One
// without a value is none (RFC 6749 §3.1). Names are compared as they come, as
// proxy.Taken does: what is not taken for a token is not taken out either.
func tokenOfQuery(query string, names []string, rtsp bool) (token string, n int) {
	for more := query != ""; more; {
		var pair string
		pair, query, more = strings.Cut(query, "&")
		name, value, _ := strings.Cut(strings.TrimLeft(pair, " "), "=")
		if !slices.Contains(names, name) {
			continue
		}
		if rtsp { // some players append the control of a track: "?token=x/trackID=0"
			value, _, _ = strings.Cut(value, "/")
		}
		if value != "" {
			token = unescaped(value)
			n++
		}
	}
	return token, n
}

// unescaped allocates only for what is escaped, which Weir's own tokens and JSON
// Web Tokens never are.
func unescaped(value string) string {
	if !strings.ContainsAny(value, "%+") {
		return value
	}
	if s, err := url.QueryUnescape(value); err == nil {
		return s
	}
	return value
}

// tokenOfCookie returns the first of that name, which is the one whose path says
// most (RFC 6265 §5.4).
func tokenOfCookie(header, name string) string {
	for more := header != ""; more; {
		var pair string
		pair, header, more = strings.Cut(header, ";")
		if n, value, ok := strings.Cut(strings.TrimLeft(pair, " "), "="); ok && n == name {
			return strings.Trim(value, `" `)
		}
	}
	return ""
}

// authorization reads the header of that name (RFC 9110 §11.6.2). What cannot be
// read shows nothing.
func (s *shown) authorization(header string) {
	scheme, text, _ := strings.Cut(header, " ")
	text = strings.Trim(text, " ")
	switch {
	case strings.EqualFold(scheme, "Bearer"):
		s.token, s.header = text, text != ""
	case len(header) > maxAuthorization:
	case strings.EqualFold(scheme, "Digest"):
		s.digest = true
	case strings.EqualFold(scheme, "Basic"):
		s.readBasic(text)
	}
}

// readBasic reads user and password (RFC 7617 §2). Players that know no other
// place for a token send it as one of these.
func (s *shown) readBasic(text string) {
	plain, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return
	}
	user, password, ok := strings.Cut(string(plain), ":")
	if !ok || len(user) > maxToken || len(password) > maxToken {
		return
	}
	s.basic, s.user, s.password = true, user, password
	switch {
	case likeToken(password):
		s.token, s.header = password, true
	case likeToken(user):
		s.token, s.header = user, true
	}
}

// likeToken reports whether a word has the form of a token of Sign or of a JSON
// Web Token, which no password has by chance.
func likeToken(s string) bool {
	if strings.ContainsFunc(s, func(r rune) bool { return !isBase64URL(r) && r != '.' }) {
		return false
	}
	first, rest, _ := strings.Cut(s, ".")
	switch strings.Count(rest, ".") {
	case 0:
		return first != "" && len(rest) == macText
	case 1:
		return strings.HasPrefix(first, "ey") // {" in base64
	}
	return false
}

func isBase64URL(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_'
}
