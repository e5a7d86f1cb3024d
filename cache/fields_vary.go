package cache

import (
	"net/http"
	"net/textproto"
	"slices"
	"strconv"
	"strings"
)

// varyOf returns the request fields that an answer depends on: canonical, sorted,
// each once. all means that it depends on more than those ("*"), as does what
// cannot be the name of a field.
func varyOf(h http.Header) (names []string, all bool) {
	for name := range members(h["Vary"]) {
		if name == "*" || strings.ContainsFunc(name, between) {
			all = true
			continue
		}
		names = append(names, textproto.CanonicalMIMEHeaderKey(name))
	}
	slices.Sort(names)
	return slices.Compact(names), all
}

// variantOf returns what a request says in these fields, in a form in which what
// means the same is the same (RFC 9111 §4.1). A field that is not there is
// another thing than an empty one.
func variantOf(names []string, req http.Header) string {
	if len(names) == 0 {
		return ""
	}
	var b strings.Builder
	for _, name := range names {
		b.WriteString(name)
		switch lines := req[name]; {
		case name == "Accept-Encoding":
			b.WriteString(": ")
			b.WriteString(codings(req))
		case len(lines) > 0:
			b.WriteString(": ")
			writeNormal(&b, name, lines)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// writeNormal writes what lines say as one list without needless blanks. Where
// there are quotes a blank may be needed: such lines are only joined.
func writeNormal(b *strings.Builder, name string, lines []string) {
	if slices.ContainsFunc(lines, func(line string) bool { return strings.Contains(line, `"`) }) {
		b.WriteString(strings.Join(lines, ","))
		return
	}
	comma := ""
	for member := range members(lines) {
		if name == "Accept-Language" {
			member = strings.ToLower(member)
		}
		b.WriteString(comma)
		comma = ","
		if !strings.HasPrefix(name, "Accept") { // a parameter has blanks about it there only
			b.WriteString(member)
			continue
		}
		semicolon := ""
		for part := range strings.SplitSeq(member, ";") {
			b.WriteString(semicolon)
			b.WriteString(textproto.TrimString(part))
			semicolon = ";"
		}
	}
}

// codingSets are the sets of codings, by the sum of br = 1, gzip = 2 and zstd = 4.
var codingSets = [...]string{
	"", "br", "gzip", "br, gzip", "zstd", "br, zstd", "gzip, zstd", "br, gzip, zstd",
}

// codings returns the one Accept-Encoding that goes upstream for all that mean
// the same: of br, gzip and zstd those that the viewer takes, "" for none. Which
// of them it likes best is not asked.
func codings(req http.Header) string {
	var named, taken int
	others := false // "*": those that are not named, too (RFC 9110 §12.5.3)
	for member := range members(req["Accept-Encoding"]) {
		name, params, _ := strings.Cut(member, ";")
		name = textproto.TrimString(name)
		bit := codingBit(name)
		named |= bit
		if !welcome(params) {
			continue
		}
		taken |= bit
		others = others || name == "*"
	}
	if others {
		taken |= (len(codingSets) - 1) &^ named
	}
	return codingSets[taken]
}

func codingBit(name string) int {
	switch {
	case strings.EqualFold(name, "br"):
		return 1
	case strings.EqualFold(name, "gzip"), strings.EqualFold(name, "x-gzip"):
		return 2
	case strings.EqualFold(name, "zstd"):
		return 4
	}
	return 0
}

// welcome reports whether parameters have a weight above zero, or none (RFC 9110
// §12.4.2).
func welcome(params string) bool {
	for param := range strings.SplitSeq(params, ";") {
		name, value, _ := strings.Cut(param, "=")
		if strings.EqualFold(textproto.TrimString(name), "q") {
			q, err := strconv.ParseFloat(textproto.TrimString(value), 64)
			return err == nil && q > 0
		}
	}
	return true
}
