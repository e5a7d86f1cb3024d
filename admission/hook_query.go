package admission

import "strings"

// trackingNames are parameters that say what a player has reached, or which
// advertisement somebody followed: no hook decides by them, and some differ for each
// segment. "utm_*" is a prefix. Names that tell viewers or streams apart never
// belong here: a yes for one value would be a yes for all.
var trackingNames = [...]string{
	"CMCD",   // CTA-5004
	"_HLS_*", // RFC 8216bis §6.2.5: low-latency HLS
	"utm_*", "fbclid", "gclid", "gclsrc", "dclid", "gbraid", "wbraid", "msclkid", "_ga", "_gl",
}

// withoutTracking is a query without the pairs of those names, as they stand there:
// what is written in another way stays.
func withoutTracking(query string) string {
	if !tracks(query) {
		return query
	}
	kept := make([]byte, 0, len(query))
	for pair := range strings.SplitSeq(query, "&") {
		if !isTracking(pair) {
			kept = append(append(kept, '&'), pair...)
		}
	}
	return strings.TrimPrefix(string(kept), "&")
}

// tracks reports whether there is any: mostly not.
func tracks(query string) bool {
	for pair := range strings.SplitSeq(query, "&") {
		if isTracking(pair) {
			return true
		}
	}
	return false
}

func isTracking(pair string) bool {
	name, _, _ := strings.Cut(pair, "=")
	for _, t := range trackingNames {
		if prefix, is := strings.CutSuffix(t, "*"); is && strings.HasPrefix(name, prefix) || t == name {
			return true
		}
	}
	return false
}
