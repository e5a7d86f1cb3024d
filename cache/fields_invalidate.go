package cache

import (
	"net/http"
	"net/url"
	"slices"
	"strings"

	"weir/proxy"
)

// safeMethods change nothing at the origin (RFC 9110 §9.2.1, and the registry's).
var safeMethods = []string{"GET", "HEAD", "OPTIONS", "TRACE", "PROPFIND", "REPORT", "SEARCH"}

// invalidated returns what an answer to an unsafe request invalidates besides
// its own URI (RFC 9111 §4.4), all of this host. ok is whether
// it invalidates anything.
func invalidated(req *http.Request, status int, h http.Header) (others []target, ok bool) {
	if slices.Contains(safeMethods, req.Method) || status < 200 || status > 399 {
		return nil, false
	}
	for _, name := range []string{"Location", "Content-Location"} {
		for _, ref := range h[name] {
			other, here := onThisHost(req, ref)
			if here && other != (target{req.URL.Path, req.URL.RawQuery}) && !slices.Contains(others, other) {
				others = append(others, other)
			}
		}
	}
	return others, true
}

// onThisHost resolves a reference against a request. ok is false for that of
// another host: nobody may invalidate what is another's.
func onThisHost(req *http.Request, ref string) (other target, ok bool) {
	u, err := url.Parse(ref)
	if err != nil || ref == "" || u.Opaque != "" {
		return target{}, false
	}
	switch strings.ToLower(u.Scheme) {
	case "", "http", "https":
	default:
		return target{}, false
	}
	if u.Host != "" && bareHost(u.Host) != bareHost(req.Host) {
		return target{}, false
	}
	base := url.URL{Path: req.URL.Path, RawQuery: req.URL.RawQuery}
	u = base.ResolveReference(u)
	path, err := proxy.CleanHTTPPath(u.EscapedPath())
	if err != nil {
		return target{}, false
	}
	return target{path, u.RawQuery}, true
}

// bareHost is a host to be compared: in lower case, without a port that goes
// without saying. Which of the two it is is not known behind what ends TLS.
func bareHost(host string) string {
	host = strings.ToLower(host)
	return strings.TrimSuffix(strings.TrimSuffix(host, ":80"), ":443")
}
