package proxy

import (
	"errors"
	"net/url"
	"path"
	"strings"
	"unicode/utf8"

	"weir/proxy/sdp"
	"weir/proxy/wire"
)

// maxPath bounds a path in bytes.
const maxPath = 1024

var errPath = errors.New("path not acceptable")

// CleanPath returns the one form of a viewer's path that everything compares
// and asks for: decoded once, rooted, without empty or dot segments and without
// a slash at the end ("/" itself aside). escaped is the path as it came, still
// percent-encoded.
//
// What two servers could read differently is refused rather than repaired: an
// encoded slash or backslash, a path that climbs, NUL and other controls,
// invalid UTF-8, more than 1024 bytes.
func CleanPath(escaped string) (string, error) {
	low := strings.ToLower(escaped)
	if strings.Contains(low, "%2f") || strings.Contains(low, "%5c") {
		return "", errPath
	}
	p, err := url.PathUnescape("/" + strings.TrimPrefix(escaped, "/"))
	if err != nil || len(p) > maxPath || !utf8.ValidString(p) || strings.Contains(p, `\`) {
		return "", errPath
	}
	if strings.ContainsFunc(p, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return "", errPath
	}
	for s := range strings.SplitSeq(p, "/") {
		if s == ".." {
			return "", errPath
		}
	}
	return path.Clean(p), nil
}

// CleanHTTPPath is CleanPath for what is asked for over HTTP, where a slash at the
// end stays: origins tell a folder from a file by it.
func CleanHTTPPath(escaped string) (string, error) {
	p, err := CleanPath(escaped)
	if err == nil && p != "/" && strings.HasSuffix(escaped, "/") {
		p += "/"
	}
	return p, err
}

// RequestTarget is the canonical path and the query of what an RTSP request is
// about. SETUP names a track of it, as sdp.Edge numbers them: that is cut off,
// also behind the query, where ffmpeg puts it.
func RequestTarget(req *wire.Request) (path, query string, err error) {
	u, err := req.Target()
	if err != nil || u.Opaque != "" { // "rtsp:cam" has no path to be checked
		return "", "", errPath
	}
	escaped, query := u.EscapedPath(), u.RawQuery
	if req.Method == "SETUP" {
		escaped, _, _ = sdp.SplitTrack(escaped)
		query, _, _ = sdp.SplitTrack(query)
	}
	path, err = CleanPath(escaped)
	return path, strings.TrimSuffix(query, "/"), err // ffmpeg appends one to the base
}

// Redact returns u as text without its credentials and query, for logs.
func Redact(u *url.URL) string {
	if u == nil {
		return ""
	}
	r := url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}
	return r.String()
}
