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
// its own URI (RFC 9111 §4.4), as path or path?query of this host. ok is whether
// it invalidates anything.
func invalidated(req *http.Request, status int, h http.Header) (others []string, ok bool) {
	if slices.Contains(safeMethods, req.Method) || status < 200 || status > 399 {
		return nil, false
	}
	for _, name := range []string{"Location", "Content-Location"} {
		for _, ref := range h[name] {
			other, here := onThisHost(req, ref)
			if here && other != targetOf(req.URL.Path, req.URL.RawQuery) && !slices.Contains(others, other) {
				others = append(others, other)
			}
		}
	}
	return others, true
}

// onThisHost resolves a reference against a request. ok is false for that of
// another host: nobody may invalidate what is another's.
func onThisHost(req *http.Request, ref string) (other string, ok bool) {
	u, err := url.Parse(ref)
	if err != nil || ref == "" || u.Opaque != "" {
		return "", false
	}
	switch strings.ToLower(u.Scheme) {
	case "", "http", "https":
	default:
		return "", false
	}
	if u.Host != "" && bareHost(u.Host) != bareHost(req.Host) {
		return "", false
	}
	base := url.URL{Path: req.URL.Path, RawQuery: req.URL.RawQuery}
	u = base.ResolveReference(u)
	escaped := u.EscapedPath()
	path, err := proxy.CleanPath(escaped)
	if err != nil {
		return "", false
	}
	if path != "/" && strings.HasSuffix(escaped, "/") {
		path += "/" // as a request's path has it
	}
	return targetOf(path, u.RawQuery), true
}

// bareHost is a host to be compared: in lower case, without a port that goes
// without saying. Which of the two it is is not known behind what ends TLS.
func bareHost(host string) string {
	host = strings.ToLower(host)
	return strings.TrimSuffix(strings.TrimSuffix(host, ":80"), ":443")
}

// targetOf is a path with its query, if there is one.
func targetOf(path, query string) string {
	if query == "" {
		return path
	}
	return path + "?" + query
}
