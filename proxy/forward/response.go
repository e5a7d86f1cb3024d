package forward

import (
	"fmt"
	"net/http"
	"strings"
)

// Response makes an upstream's answer fit for a viewer: without the fields of
// one hop, and with id in Via.
func Response(res *http.Response, id string) {
	if res.Header == nil {
		res.Header = http.Header{}
	}
	cleanHop(res.Header)
	delete(res.Header, "Te")
	if res.StatusCode != http.StatusSwitchingProtocols {
		delete(res.Header, "Connection") // an offer of other protocols is for one hop
		delete(res.Header, "Upgrade")
	}
	addVia(res.Header, res.ProtoMajor, res.ProtoMinor, id)
}

// addVia signs a message that came in by the given version (RFC 9110 §7.6.3).
func addVia(h http.Header, major, minor int, id string) {
	h["Via"] = []string{strings.Join(append(h["Via"], fmt.Sprintf("%d.%d %s", major, minor, id)), ", ")}
}

// Looped reports whether a request has passed the edge of this id before: its
// origins lead back to it.
func Looped(h http.Header, id string) bool {
	for _, line := range h["Via"] {
		for hop := range strings.SplitSeq(line, ",") {
			if f := strings.Fields(hop); len(f) > 1 && f[1] == id {
				return true
			}
		}
	}
	return false
}
