package admission

import (
	"bytes"
	"strings"
)

// carry returns a playlist (RFC 8216) in which every URI that is the edge's own
// has the token of who asked for the playlist, as the parameter of the given
// name: players resolve URIs against the playlist's without its query. URIs that
// name a host are left alone, whoever that is shall not have the token.
func carry(playlist []byte, name, token string) []byte {
	var b bytes.Buffer
	b.Grow(len(playlist) + len(playlist)/2)
	for line := range bytes.Lines(playlist) {
		text := strings.TrimRight(string(line), "\r\n")
		b.WriteString(carryLine(text, name, token))
		b.Write(line[len(text):])
	}
	return b.Bytes()
}

func carryLine(line, name, token string) string {
	switch {
	case line == "":
		return line
	case line[0] != '#':
		return withToken(line, name, token)
	case !strings.HasPrefix(line, "#EXT"):
		return line
	}
	begin := attribute(line, "URI")
	if begin < 0 {
		return line
	}
	length := strings.IndexByte(line[begin:], '"')
	if length < 0 {
		return line
	}
	return line[:begin] + withToken(line[begin:begin+length], name, token) + line[begin+length:]
}

// attribute is where the quoted value of an attribute begins; -1 if there is none
// of that name (RFC 8216 §4.2).
func attribute(line, name string) int {
	quoted := false
	for i := range len(line) {
		switch {
		case line[i] == '"':
			quoted = !quoted
		case quoted || line[i] != ':' && line[i] != ',':
		case strings.HasPrefix(strings.TrimLeft(line[i+1:], " "), name+`="`):
			return i + 1 + strings.Index(line[i+1:], `"`) + 1
		}
	}
	return -1
}

// withToken leaves alone what has a scheme or a host, or the parameter already.
func withToken(uri, name, token string) string {
	if uri == "" || strings.HasPrefix(uri, "//") || strings.Contains(uri, "{$") || strings.ContainsFunc(uri, odd) || hasScheme(uri) {
		return uri
	}
	base, fragment, _ := strings.Cut(uri, "#")
	if fragment != "" {
		fragment = "#" + fragment
	}
	_, query, has := strings.Cut(base, "?")
	sep := "?"
	if has {
		sep = "&"
	}
	for p := range strings.SplitSeq(query, "&") {
		if strings.HasPrefix(p, name+"=") {
			return uri
		}
	}
	return base + sep + name + "=" + token + fragment
}

// hasScheme is RFC 3986 §3.1, and generous: a colon before anything that ends a
// first segment.
func hasScheme(uri string) bool {
	i := strings.IndexAny(uri, ":/?#")
	return i >= 0 && uri[i] == ':'
}

// odd are characters that some players take for a slash, or leave out, and then
// find a host.
func odd(r rune) bool { return r <= ' ' || r == '\\' }
