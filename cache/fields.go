package cache

import (
	"maps"
	"net/http"
	"net/textproto"
	"slices"
	"strings"
)

// unstored are the fields of one hop (RFC 9110 §7.6.1, RFC 9111 §3.1), and those
// that are made anew for each answer.
var unstored = []string{
	"Connection", "Proxy-Connection", "Keep-Alive", "Te", "Trailer", "Transfer-Encoding", "Upgrade",
	"Proxy-Authenticate", "Proxy-Authentication-Info", "Proxy-Authorization",
	"Age", "Content-Length", "Content-Range",
}

// vital are fields that Connection must not name (RFC 9110 §7.6.1), and does not
// take away: without them an object would be taken for another one.
var vital = []string{
	"Accept-Ranges", "Cache-Control", "Cdn-Cache-Control", "Date", "Etag", "Expires", "Last-Modified", "Location",
	"Vary", "Via",
}

// storable returns the fields of an answer that are kept (RFC 9111 §3.1): a copy
// without Age, Content-Length, Content-Range and what is for one hop.
func storable(h http.Header) http.Header {
	kept := h.Clone()
	if kept == nil {
		kept = http.Header{}
	}
	for name := range members(h["Connection"]) {
		name = textproto.CanonicalMIMEHeaderKey(name)
		if !slices.Contains(vital, name) && !strings.HasPrefix(name, "Content-") {
			delete(kept, name)
		}
	}
	for _, name := range unstored {
		delete(kept, name)
	}
	return kept
}

// freshened returns the fields of a stored answer after a 304 (RFC 9111 §3.2).
// Content-Encoding stays, too: a 304 may be about another coding, but the bytes
// that are stored are not.
func freshened(stored, update http.Header) http.Header {
	fresh, news := storable(stored), storable(update)
	delete(news, "Content-Encoding")
	maps.Copy(fresh, news)
	return fresh
}

// members yields the members of a list, without the empty ones (RFC 9110 §5.6.1).
// It knows nothing of quoted strings.
func members(lines []string) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		for _, line := range lines {
			for member := range strings.SplitSeq(line, ",") {
				if member = textproto.TrimString(member); member != "" && !yield(member) {
					return
				}
			}
		}
	}
}

// tagsOf returns the tags that an answer may be purged by: the words of
// Surrogate-Key, the members of Cache-Tag. They are sorted, each once.
func tagsOf(h http.Header) []string {
	tags := slices.Collect(members(h["Cache-Tag"]))
	for _, line := range h["Surrogate-Key"] {
		tags = append(tags, strings.Fields(line)...)
	}
	slices.Sort(tags)
	return slices.Compact(tags)
}
