package admission

import (
	"errors"
	"strings"
)

// maxDigest bounds the header, in bytes.
const maxDigest = 2 << 10

var (
	errDigestLong = errors.New("digest too long")
	errDigestForm = errors.New("malformed digest")
	errDigestKind = errors.New("digest of a kind that was not asked for")
)

// A digestHeader is the parameters of Authorization for Digest (RFC 2617 §3.2.2),
// named in small letters.
type digestHeader map[string]string

// response is what RFC 2617 §3.2.2.1 has, without qop as RFC 2069 §2.1.2.
func (d digestHeader) response(ha1, method string) string {
	ha2 := md5Hex(method + ":" + d["uri"])
	if d["qop"] == "" {
		return md5Hex(ha1 + ":" + d["nonce"] + ":" + ha2)
	}
	return md5Hex(strings.Join([]string{ha1, d["nonce"], d["nc"], d["cnonce"], d["qop"], ha2}, ":"))
}

// vet reports whether all is there that is needed to verify it.
func (d digestHeader) vet() error {
	if d["username"] == "" || d["nonce"] == "" || d["uri"] == "" || !isHA1(d["response"]) {
		return errDigestForm
	}
	if a, ok := d["algorithm"]; ok && !strings.EqualFold(a, "MD5") {
		return errDigestKind
	}
	switch qop, ok := d["qop"]; {
	case !ok:
		return nil
	case qop != "auth":
		return errDigestKind
	case len(d["nc"]) != 8 || strings.Trim(d["nc"], "0123456789abcdefABCDEF") != "" || d["cnonce"] == "":
		return errDigestForm
	}
	return nil
}

// parseDigest is strict: what two readers could take for two things it refuses. Of
// commas there may be several (RFC 9110 §5.6.1.2).
func parseDigest(s string) (digestHeader, error) {
	if len(s) > maxDigest {
		return nil, errDigestLong
	}
	scheme, rest, _ := strings.Cut(s, " ")
	if !strings.EqualFold(scheme, "Digest") {
		return nil, errDigestForm
	}
	d := digestHeader{}
	for rest = strings.Trim(rest, ", \t"); rest != ""; {
		name, value, after, ok := digestParameter(rest)
		if _, twice := d[name]; !ok || twice {
			return nil, errDigestForm
		}
		d[name] = value
		after = strings.TrimLeft(after, " \t")
		if after != "" && after[0] != ',' {
			return nil, errDigestForm
		}
		rest = strings.TrimLeft(after, ", \t")
	}
	return d, d.vet()
}

// digestParameter reads one, with a token or a quoted string as value (RFC 9110
// §5.6.2 and §5.6.4); blanks around the equals sign are old but allowed.
func digestParameter(s string) (name, value, rest string, ok bool) {
	name, s, ok = strings.Cut(s, "=")
	name = strings.ToLower(strings.TrimRight(name, " \t"))
	if !ok || !isToken(name) {
		return "", "", "", false
	}
	s = strings.TrimLeft(s, " \t")
	if strings.HasPrefix(s, `"`) {
		value, rest, ok = digestQuoted(s[1:])
		return name, value, rest, ok
	}
	i := strings.IndexAny(s, ", \t")
	if i < 0 {
		i = len(s)
	}
	return name, s[:i], s[i:], isToken(s[:i])
}

// digestQuoted reads up to the closing quote, and takes the backslashes out.
func digestQuoted(s string) (value, rest string, ok bool) {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '"' {
			return b.String(), s[i+1:], true
		}
		if s[i] == '\\' {
			i++
		}
		if i == len(s) || s[i] < ' ' && s[i] != '\t' || s[i] == 0x7f {
			return "", "", false
		}
		b.WriteByte(s[i])
	}
	return "", "", false
}

func isToken(s string) bool {
	const marks = "!#$%&'*+-.^_`|~"
	for i := range len(s) {
		c := s[i]
		if (c < '0' || c > '9') && (c|0x20 < 'a' || c|0x20 > 'z') && strings.IndexByte(marks, c) < 0 {
			return false
		}
	}
	return s != ""
}
