package admission

import (
	"crypto/subtle"
	"errors"
	"strings"
	"time"

	"weir/proxy"
	"weir/proxy/wire"
)

// maxDigest bounds the header, in bytes.
const maxDigest = 2 << 10

// digest verifies v.Authorization, which is for Digest. A refusal carries its own
// challenges where a new nonce alone is what is missing.
func (u *users) digest(v *proxy.Viewer, now time.Time) (*grant, error) {
	d, err := parseDigest(v.Authorization)
	if err != nil {
		return nil, &proxy.Refusal{Reason: proxy.Unauthorized, Err: err}
	}
	genuine, fresh := u.nonces.look(d["nonce"], now, v.Addr.Addr())
	switch {
	case d["realm"] != u.realm, d["algorithm"] != "" && !strings.EqualFold(d["algorithm"], "MD5"), d["qop"] != "" && d["qop"] != "auth":
		return nil, refuse(proxy.Unauthorized, "digest of another kind")
	case !genuine:
		return nil, refuse(proxy.Unauthorized, "digest with a nonce that is not ours")
	case !names(d["uri"], v):
		return nil, refuse(proxy.Unauthorized, "digest for another path")
	}
	who := u.file.get().byName[d["username"]]
	ha1 := strings.Repeat("0", 32) // nobody's
	if who != nil && who.ha1 != "" {
		ha1 = who.ha1
	}
	right := subtle.ConstantTimeCompare([]byte(d.response(ha1, v.Method)), []byte(strings.ToLower(d["response"]))) == 1
	switch {
	case !right || who == nil || who.ha1 == "":
		return nil, refuse(proxy.Unauthorized, "wrong digest")
	case !fresh:
		r := refuse(proxy.Unauthorized, "nonce too old")
		r.Challenges = u.ask(v.Protocol, now, v.Addr.Addr(), ", stale=true")
		return nil, r
	}
	return who.grant, nil
}

// names reports whether a digest's uri is for what v asks for. Players write what
// they ask for, or its base, as a whole URL or as a path (RFC 2617 §3.2.2.5; VLC
// writes the base in SETUP): all of that has one canonical path.
func names(uri string, v *proxy.Viewer) bool {
	path, _, err := proxy.RequestTarget(&wire.Request{Method: v.Method, URL: uri})
	return err == nil && uri != "" && path == v.Path
}

// A digestHeader is the parameters of Authorization.
type digestHeader map[string]string

// response is RFC 2617 §3.2.2.1, without qop as RFC 2069 §2.1.2.
func (d digestHeader) response(ha1, method string) string {
	ha2 := md5Hex(method + ":" + d["uri"])
	if d["qop"] == "" {
		return md5Hex(ha1 + ":" + d["nonce"] + ":" + ha2)
	}
	return md5Hex(strings.Join([]string{ha1, d["nonce"], d["nc"], d["cnonce"], d["qop"], ha2}, ":"))
}

// parseDigest is strict: what two readers could take for two things it refuses.
func parseDigest(s string) (digestHeader, error) {
	scheme, rest, _ := strings.Cut(s, " ")
	if !strings.EqualFold(scheme, "Digest") || len(s) > maxDigest {
		return nil, errors.New("not a digest, or too long")
	}
	d := digestHeader{}
	for rest = strings.Trim(rest, " \t"); rest != ""; {
		name, after, ok := strings.Cut(rest, "=")
		name = strings.ToLower(strings.TrimRight(name, " \t"))
		if _, twice := d[name]; !ok || twice || name == "" || strings.ContainsAny(name, "\",\\ \t") {
			return nil, errors.New("malformed digest")
		}
		value, after, ok := digestValue(strings.TrimLeft(after, " \t"))
		if !ok {
			return nil, errors.New("malformed digest")
		}
		d[name] = value
		if after = strings.TrimLeft(after, " \t"); after != "" && after[0] != ',' {
			return nil, errors.New("malformed digest")
		}
		rest = strings.TrimLeft(after, ", \t")
	}
	return d, nil
}

// digestValue reads a token or a quoted string (RFC 9110 §5.6.4).
func digestValue(s string) (value, rest string, ok bool) {
	if !strings.HasPrefix(s, `"`) {
		i := strings.IndexAny(s, ", \t")
		if i < 0 {
			i = len(s)
		}
		return s[:i], s[i:], !strings.ContainsAny(s[:i], `"\`)
	}
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '"':
			return b.String(), s[i+1:], true
		case '\\':
			if i++; i == len(s) {
				return "", "", false
			}
		}
		b.WriteByte(s[i])
	}
	return "", "", false
}
