package cache

import (
	"net/url"
	"slices"
	"strings"
)

// A param is one parameter of a query: its name as it is sorted by, and all of it
// as it goes upstream.
type param struct{ name, text string }

// query returns the one form of all queries that mean the same: the parameters
// that are not dropped, sorted by name, those of one name in the order they came.
func (r *keyRules) query(path, raw string) string {
	var room [16]param
	params, length := room[:0], 0
	for piece := range strings.SplitSeq(raw, "&") {
		if piece == "" {
			continue
		}
		p := normalParam(piece)
		if !r.dropped(path, p.name) {
			params = append(params, p)
			length += len(p.text) + 1
		}
	}
	slices.SortStableFunc(params, func(a, b param) int { return strings.Compare(a.name, b.name) })
	return joinParams(params, length)
}

func joinParams(params []param, length int) string {
	if len(params) == 0 {
		return ""
	}
	if len(params) == 1 {
		return params[0].text
	}
	var b strings.Builder
	b.Grow(length)
	for i, p := range params {
		if i > 0 {
			b.WriteByte('&')
		}
		b.WriteString(p.text)
	}
	return b.String()
}

// normalParam reads one parameter. What url.ParseQuery would refuse, a semicolon or
// a bad escape, stays byte for byte as it came: nobody knows what the origin makes of it.
func normalParam(piece string) param {
	name, _, _ := strings.Cut(piece, "=")
	if strings.Contains(piece, ";") || !escapesHold(piece) {
		return param{name, piece}
	}
	text := normalEscapes(piece)
	name, _, _ = strings.Cut(text, "=") // an escaped "=" stays escaped
	return param{name, text}
}

// dropped reports whether a parameter is no part of the key of this path.
func (r *keyRules) dropped(path, name string) bool {
	if strings.ContainsAny(name, "%+") {
		if plain, err := url.QueryUnescape(name); err == nil {
			name = plain
		}
	}
	if strings.HasPrefix(name, "_HLS_") && !isPlaylist(path) {
		return true
	}
	return r.ignores(strings.ToLower(name))
}

// ignores reports whether the list has a name, which is in lower case.
func (r *keyRules) ignores(name string) bool {
	for _, pattern := range r.ignore {
		prefix, wild := strings.CutSuffix(pattern, "*")
		if name == pattern || wild && strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return false
}

// escapesHold reports whether each "%" has its two hexadecimal digits.
func escapesHold(s string) bool {
	for i := strings.IndexByte(s, '%'); i >= 0 && i < len(s); i++ {
		if s[i] != '%' {
			continue
		}
		if i+2 >= len(s) || !isHex(s[i+1]) || !isHex(s[i+2]) {
			return false
		}
	}
	return true
}

// normalEscapes decodes what needs no escape and writes the others in upper case
// (RFC 3986 §6.2.2). The escapes hold.
func normalEscapes(s string) string {
	if !strings.Contains(s, "%") {
		return s
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] != '%' {
			b = append(b, s[i])
			continue
		}
		if c := unhex(s[i+1])<<4 | unhex(s[i+2]); unreserved(c) {
			b = append(b, c)
		} else {
			const digits = "0123456789ABCDEF"
			b = append(b, '%', digits[c>>4], digits[c&15])
		}
		i += 2
	}
	return string(b)
}

func isHex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c|0x20 && c|0x20 <= 'f'
}

// unhex returns the value of a hexadecimal digit.
func unhex(c byte) byte {
	if c <= '9' {
		return c - '0'
	}
	return (c | 0x20) - 'a' + 10
}

// unreserved is RFC 3986 §2.3.
func unreserved(c byte) bool {
	return 'a' <= c|0x20 && c|0x20 <= 'z' || '0' <= c && c <= '9' || strings.IndexByte("-._~", c) >= 0
}
