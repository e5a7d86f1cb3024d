package cache

import (
	"cmp"
	"math"
	"slices"
	"strconv"
	"strings"
)

// maxRanges is how many ranges a request may name. Players ask for one, PDF
// readers for a few; more than these are an attack (CVE-2011-3192).
const maxRanges = 16

// A span is a piece of an object, in bytes: from, up to and not including to.
type span struct{ from, to int64 }

// A rangeSpec is one range as it was asked for (RFC 9110 §14.1.1). A from of -1
// means the last to bytes; a to of -1 everything behind from; else to is one
// behind the last byte wanted.
type rangeSpec struct{ from, to int64 }

// parseRange reads a Range field. If it is not ok it is to be ignored (RFC 9110
// §14.2): not in bytes, malformed, or of more ranges than anybody needs. Numbers
// that an int64 cannot hold are as large as it can.
func parseRange(field string) (specs []rangeSpec, ok bool) {
	unit, set, found := strings.Cut(field, "=")
	if !found || !strings.EqualFold(strings.Trim(unit, " \t"), "bytes") {
		return nil, false
	}
	for member := range strings.SplitSeq(set, ",") {
		member = strings.Trim(member, " \t")
		if member == "" { // a list may have holes (RFC 9110 §5.6.1.2)
			continue
		}
		spec, ok := parseRangeSpec(member)
		if !ok || len(specs) == maxRanges {
			return nil, false
		}
		specs = append(specs, spec)
	}
	return specs, len(specs) > 0
}

func parseRangeSpec(s string) (spec rangeSpec, ok bool) {
	first, last, found := strings.Cut(s, "-")
	if !found || first == "" && last == "" {
		return spec, false
	}
	spec = rangeSpec{-1, -1}
	if first != "" {
		if spec.from, ok = parseDigits(first); !ok {
			return spec, false
		}
	}
	if last == "" {
		return spec, true
	}
	if spec.to, ok = parseDigits(last); !ok || first == "" {
		return spec, ok
	}
	if spec.to < spec.from {
		return spec, false
	}
	if spec.to < math.MaxInt64 {
		spec.to++
	}
	return spec, true
}

// parseDigits reads 1*DIGIT; what is too large is math.MaxInt64.
func parseDigits(s string) (n int64, ok bool) {
	if s == "" {
		return 0, false
	}
	for _, c := range []byte(s) {
		if c < '0' || c > '9' {
			return 0, false
		}
		digit := int64(c - '0')
		if n > (math.MaxInt64-digit)/10 {
			n = math.MaxInt64 // and stays there
			continue
		}
		n = n*10 + digit
	}
	return n, true
}

// resolve returns the spans of an object of a known size, in the order asked;
// none if no range is satisfiable (416). whole is for requests that had better
// be answered with all of it: ranges that overlap, or ask for more than there is.
func resolve(specs []rangeSpec, size int64) (spans []span, whole bool) {
	for _, spec := range specs {
		if s := spec.in(size); s.from < s.to {
			spans = append(spans, s)
		}
	}
	if overlap(spans) {
		return nil, true
	}
	return spans, false
}

// in returns the part of an object that a range means; an empty one if there is none.
func (r rangeSpec) in(size int64) span {
	switch {
	case r.from < 0:
		return span{size - min(max(r.to, 0), size), size}
	case r.to < 0:
		return span{min(r.from, size), size}
	}
	return span{min(r.from, size), min(r.to, size)}
}

// overlap reports whether two of the spans share a byte; so they do if together
// they are longer than the object.
func overlap(spans []span) bool {
	if len(spans) < 2 {
		return false
	}
	sorted := slices.SortedFunc(slices.Values(spans), func(a, b span) int { return cmp.Compare(a.from, b.from) })
	for i, s := range sorted[1:] {
		if s.from < sorted[i].to {
			return true
		}
	}
	return false
}

// parseContentRange reads "bytes 0-99/1000" (RFC 9110 §14.4). size is -1 for "*";
// "bytes */1000", which a 416 has, is an empty span. Unlike in a request, a number
// that an int64 cannot hold is an error: the origin speaks of what it has.
func parseContentRange(field string) (s span, size int64, ok bool) {
	unit, rest, found := strings.Cut(strings.Trim(field, " \t"), " ")
	if !found || !strings.EqualFold(unit, "bytes") {
		return span{}, 0, false
	}
	spanned, complete, found := strings.Cut(rest, "/")
	if !found {
		return span{}, 0, false
	}
	size = -1
	if complete != "*" {
		if size, ok = parseDigits(complete); !ok || size == math.MaxInt64 {
			return span{}, 0, false
		}
	}
	if spanned == "*" && size >= 0 {
		return span{}, size, true
	}
	spec, ok := parseRangeSpec(spanned) // of "*", not ok
	if !ok || spec.from < 0 || spec.to < 0 || spec.to == math.MaxInt64 || size >= 0 && spec.to > size {
		return span{}, 0, false
	}
	return span(spec), size, true
}

// contentRange renders a Content-Range; a size of -1 is "*", and so is an empty
// span.
func contentRange(s span, size int64) string {
	b := append(make([]byte, 0, 64), "bytes "...)
	if s.from < s.to {
		b = strconv.AppendInt(b, s.from, 10)
		b = append(b, '-')
		b = strconv.AppendInt(b, s.to-1, 10)
	} else {
		b = append(b, '*')
	}
	b = append(b, '/')
	if size < 0 {
		return string(append(b, '*'))
	}
	return string(strconv.AppendInt(b, size, 10))
}
