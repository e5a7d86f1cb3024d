package cache

import "strings"

// isStar reports whether a field is "*": any object will do.
func isStar(lines []string) bool { return len(lines) == 1 && strings.Trim(lines[0], " \t") == "*" }

// hasTag reports whether one of a field's entity tags matches.
func hasTag(lines []string, etag string, match func(a, b string) bool) bool {
	for _, line := range lines {
		for tag, rest := nextTag(line); tag != ""; tag, rest = nextTag(rest) {
			if match(tag, etag) {
				return true
			}
		}
	}
	return false
}

// nextTag cuts the first entity tag off a list (RFC 9110 §8.8.3), which may have
// commas in it; it is "" if there is none. Of what is not one it takes all up to the
// next comma: viewers send back what they got, and origins forget the quotes.
func nextTag(list string) (tag, rest string) {
	list = strings.TrimLeft(list, ", \t")
	quoted := strings.TrimPrefix(list, "W/")
	if strings.HasPrefix(quoted, `"`) {
		if end := strings.IndexByte(quoted[1:], '"'); end >= 0 {
			n := len(list) - len(quoted) + end + 2
			return list[:n], list[n:]
		}
	}
	tag, rest, _ = strings.Cut(list, ",")
	return strings.TrimRight(tag, " \t"), rest
}

// weakMatch is the weak comparison of RFC 9110 §8.8.3.2.
func weakMatch(a, b string) bool {
	return a != "" && strings.TrimPrefix(a, "W/") == strings.TrimPrefix(b, "W/")
}

// strongMatch is the strong comparison of RFC 9110 §8.8.3.2. What is not quoted
// promises nothing.
func strongMatch(a, b string) bool {
	return a == b && len(a) >= 2 && a[0] == '"' && strings.IndexByte(a[1:], '"') == len(a)-2
}
