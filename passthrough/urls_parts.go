package passthrough

import (
	"slices"
	"strings"

	"weir/proxy"
	"weir/proxy/sdp"
)

// splitURL takes an absolute RTSP URL apart. The authority has no credentials;
// rest is all behind it, byte by byte.
func splitURL(s string) (scheme, authority, rest string, ok bool) {
	scheme, after, found := strings.Cut(s, "://")
	ok = found && slices.ContainsFunc([]string{"rtsp", "rtsps", "rtspu"}, func(k string) bool { return strings.EqualFold(k, scheme) })
	if !ok {
		return "", "", "", false
	}
	i := strings.IndexAny(after, "/?#")
	if i < 0 {
		i = len(after)
	}
	return scheme, after[strings.LastIndexByte(after[:i], '@')+1 : i], after[i:], true
}

// behind cuts a path and query behind the part whose canonical form is path.
func behind(rest, path string) (head, tail, query string, ok bool) {
	escaped := pathOf(rest)
	n := headLen(escaped, path)
	if canonical(escaped[:n]) != path {
		return "", "", "", false
	}
	return escaped[:n], escaped[n:], rest[len(escaped):], true
}

// headLen is how much of an escaped path holds as many segments as path does,
// not counting those that CleanPath drops.
func headLen(escaped, path string) (n int) {
	for want := segments(path); want > 0 && n < len(escaped); {
		end := n + 1 + len(firstSegment(escaped[n+1:]))
		want -= segments(escaped[n:end])
		n = end
	}
	return n
}

func segments(path string) (n int) {
	for s := range strings.SplitSeq(path, "/") {
		if s != "" && s != "." && !strings.EqualFold(s, "%2e") {
			n++
		}
	}
	return n
}

func firstSegment(s string) string {
	s, _, _ = strings.Cut(s, "/")
	return s
}

// pathOf is what is before the query.
func pathOf(rest string) string {
	if i := strings.IndexAny(rest, "?#"); i >= 0 {
		return rest[:i]
	}
	return rest
}

// canonical is CleanPath, but of what that refuses, the same text: links come
// from configuration and may be odd.
func canonical(escaped string) string {
	if p, err := proxy.CleanPath(escaped); err == nil {
		return p
	}
	return escaped
}

// below reports whether a canonical path is base, or is below it.
func below(path, base string) bool {
	return path == base || strings.HasPrefix(path, strings.TrimSuffix(base, "/")+"/")
}

// joined appends a tail, which may begin with a slash of its own.
func joined(path, tail string) string {
	if strings.HasPrefix(tail, "/") {
		path = strings.TrimSuffix(path, "/")
	}
	return path + tail
}

// trackOf is the track behind a query that is not to be passed on, or the slash.
func trackOf(query string) string {
	rest, _, _ := sdp.SplitTrack(query)
	if rest == query && strings.HasSuffix(query, "/") {
		return "/"
	}
	return query[len(rest):]
}
