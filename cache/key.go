package cache

import (
	"net/http"
	"path"
	"strings"
)

// A key names what is asked for: requests of one key are answered by the same
// object, Vary aside. What of path, query and Host is not in the key is not sent
// upstream.
type key struct {
	id    string // path?query, after the host and a NUL if the host is part of it; the path as by pathID
	query string // as it goes upstream: sorted, without what is ignored
}

// keyRules are how keys are made.
type keyRules struct {
	host   bool     // the viewer's Host is part of the key, and goes upstream
	ignore []string // query parameters that are dropped, in lower case; "utm_*" is a prefix
}

// defaultIgnore are the query parameters that say who watches, by what right or
// where from, but not what: all viewers share an object in spite of them. Names
// that some origin chooses content by stay (v, t, st, start, id, key, hash), and
// so do signatures that only the origin itself can check (X-Amz-*, md5).
var defaultIgnore = []string{
	// Credentials: of any kind, Akamai, CloudFront, Wowza and Nimble Streamer.
	"token", "access_token", "auth_token", "jwt", "sig", "signature", "exp", "expires",
	"hdnea", "hdnts", "hdntl", "__gda__",
	"policy", "key-pair-id",
	"wowzatoken*", "wmsauthsign",
	// Sessions, and what players tell of themselves (CTA-5004).
	"session", "sessionid", "session_id", "sid", "wowzasessionid", "nimblesessionid", "cmcd",
	// Campaigns, and jQuery's way around caches.
	"utm_*", "fbclid", "gclid", "dclid", "gbraid", "wbraid", "msclkid", "_ga", "_gl",
	"_",
}

// of returns the key of a request, whose path is canonical. _HLS_* parameters are
// kept for playlists only.
func (r *keyRules) of(req *http.Request) key {
	host := ""
	if r.host {
		host = keyHost(req.Host, req.TLS != nil)
	}
	return r.from(host, req.URL.Path, req.URL.RawQuery)
}

// from is of for what is no request: a path that is canonical, a query as it
// came, and a host as by keyHost. It allocates nothing where there is neither
// host nor query.
func (r *keyRules) from(host, path, query string) key {
	id := pathID(path)
	if query != "" {
		query = r.query(path, query)
	}
	if query != "" {
		id += "?" + query
	}
	if r.host {
		id = host + "\x00" + id
	}
	return key{id: id, query: query}
}

// stream is what streams, and the newest versions of playlists, are known by: the
// id without what blocking requests add to it. Of segments it may have a query more.
func (k key) stream() string { return plain(k.id) }

// host is the key's part of a Host, as by keyHost; "" if hosts are not told apart.
func (k key) host() string { return strings.TrimSuffix(hostIn(k.id), "\x00") }

// hostIn returns what an id or a stream's name begins with before its path: a host
// and a NUL, or nothing.
func hostIn(id string) string { return id[:strings.IndexByte(id, 0)+1] }

// A target is what is asked for of a host: a path that is canonical, a slash at its
// end kept, and a query as it came. The zero target is none.
type target struct{ path, query string }

// String is the target as an id has it: no "?" of a path is taken for a query's.
func (t target) String() string {
	if t.query == "" {
		return pathID(t.path)
	}
	return pathID(t.path) + "?" + t.query
}

// targetIn reads what String has written.
func targetIn(s string) target {
	path, query, _ := strings.Cut(s, "?")
	return target{pathUnescaper.Replace(path), query}
}

var (
	pathEscaper   = strings.NewReplacer("%", "%25", "?", "%3F")
	pathUnescaper = strings.NewReplacer("%25", "%", "%3F", "?")
)

// pathID returns a canonical path as it stands in an id: decoded but for "%" and
// "?", so that no path can be taken for a path with a query.
func pathID(path string) string {
	if strings.ContainsAny(path, "%?") {
		return pathEscaper.Replace(path)
	}
	return path
}

// keyHost returns the one form of a Host field: in lower case, without the port
// that goes without saying.
func keyHost(host string, tls bool) string {
	port := ":80"
	if tls {
		port = ":443"
	}
	return strings.TrimSuffix(strings.ToLower(host), port)
}

// isPlaylist reports whether a path is by its name that of an HLS playlist, for
// which the origin may be told _HLS_* (draft-pantos-hls-rfc8216bis §6.2.5).
func isPlaylist(p string) bool {
	ext := path.Ext(p)
	return strings.EqualFold(ext, ".m3u8") || strings.EqualFold(ext, ".m3u")
}
