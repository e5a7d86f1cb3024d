package passthrough

import (
	"errors"
	"net/url"
	"slices"
	"strings"
	"sync"

	"weir/proxy"
	"weir/proxy/sdp"
)

// maxLearnt bounds the names that an origin may add to one stream: its tracks,
// and bases.
const maxLearnt = 64

var errURL = errors.New("URL does not belong to the stream")

// urls maps what one stream is called between its viewer and its origin.
//
// Where both call it the same, the viewer's URLs go to the origin as he wrote
// them, since the uri of a Digest must equal the one of the request line. Else
// they are mapped: the link's path, and its query, stand for the viewer's path.
//
// It works on bytes, for what is behind the stream's name (a slash, an odd
// escape) must come back as it was named. It may be used by any number of
// goroutines at once.
type urls struct {
	scheme, authority string // the viewer's, as written; no authority: he asks with paths
	path              string // canonical
	written           string // the same as the viewer writes it
	query             string // of the viewer's first request

	originScheme string
	origin       string // scheme and authority
	originPath   string // as it stands in the link
	originClean  string // the same, canonical
	originQuery  string // with its question mark, "" if the link has none
	mapped       bool

	mu       sync.Mutex
	form     form
	places   []string // canonical paths that belong to the stream with all below them
	bases    []string // canonical paths above the stream: of those below, only controls belong to it
	controls []string // relative controls, rooted
	aliases  []alias  // of tracks that a viewer knows by another origin's names
}

// A form is where an origin that is asked with a query puts the track.
type form int

const (
	queryFirst form = iota // /cam?channel=1/trackID=0
	trackFirst             // /cam/trackID=0?channel=1
	noQuery                // /cam/trackID=0
)

// newURLs maps between the URL of a viewer's request, whose canonical path is
// path, and link, what to ask the origin for.
func newURLs(request, path string, link *url.URL) *urls {
	u := &urls{
		path:         path,
		originScheme: link.Scheme,
		origin:       (&url.URL{Scheme: link.Scheme, Host: link.Host}).String(),
		originPath:   link.EscapedPath(),
	}
	u.originClean = canonical(strings.TrimSuffix(u.originPath, "/"))
	if link.RawQuery != "" {
		u.originQuery = "?" + strings.ReplaceAll(link.RawQuery, " ", "%20")
	}
	u.mapped = link.User != nil || link.RawQuery != "" || u.originClean != path
	scheme, authority, rest, ok := splitURL(request)
	if !ok {
		rest = request
	}
	u.scheme, u.authority = scheme, authority
	head, _, query, ok := behind(rest, path)
	if !ok {
		head = (&url.URL{Path: path}).EscapedPath()
	}
	u.written = head
	query, _, _ = sdp.SplitTrack(strings.TrimPrefix(query, "?"))
	u.query = strings.TrimSuffix(query, "/")
	return u
}

// toOrigin returns a URL of a viewer's request as the origin is to be asked. The
// error is a *proxy.Refusal, for what is no RTSP URL or not within the stream.
func (u *urls) toOrigin(s string) (string, error) {
	if s == "*" {
		return s, nil
	}
	if origin, ok := u.renamed(s); ok {
		return origin, nil
	}
	scheme, authority, rest, ok := splitURL(s)
	if !ok {
		rest = s
	}
	path, err := proxy.CleanPath(pathOf(rest))
	if err != nil || !ok && !strings.HasPrefix(s, "/") || !u.within(path) {
		return "", &proxy.Refusal{Reason: proxy.BadRequest, Err: errURL}
	}
	out := u.origin + u.restToOrigin(rest, path)
	if !u.mapped && authority != "" {
		if !strings.EqualFold(scheme, u.originScheme) {
			scheme = u.originScheme
		}
		out = scheme + "://" + authority + rest
	}
	if broken(s + out) {
		return "", &proxy.Refusal{Reason: proxy.BadRequest, Err: errURL}
	}
	return out, nil
}

// broken reports whether a URL would end the line that it is written in, or its field.
func broken(url string) bool {
	return strings.ContainsFunc(url, func(r rune) bool { return r <= ' ' || r == 0x7f })
}

// restToOrigin maps what is behind the authority.
func (u *urls) restToOrigin(rest, path string) string {
	u.mu.Lock()
	defer u.mu.Unlock()
	_, tail, query, ok := behind(rest, u.path)
	if !u.mapped || !ok || u.named(path) {
		return rest
	}
	if u.originQuery == "" {
		return joined(u.originPath, tail) + query
	}
	after, ok := strings.CutPrefix(query, "?"+u.query)
	if !ok || after != "" && after[0] != '/' {
		after = trackOf(query)
	}
	tail += after
	switch {
	case tail == "" || u.form == queryFirst:
		return u.originPath + u.originQuery + tail
	case u.form == trackFirst:
		return joined(u.originPath, tail) + u.originQuery
	default:
		return joined(u.originPath, tail)
	}
}

// toViewer returns an absolute URL of an origin's answer as the viewer knows it.
// Whatever server it names, the viewer reads his own: origins behind NAT name
// addresses that are nobody's business. Other text is returned as it is.
func (u *urls) toViewer(s string) string {
	_, _, rest, ok := splitURL(s)
	if !ok {
		return s
	}
	if viewer, ok := u.known(s); ok {
		return viewer
	}
	if u.mapped {
		rest = u.restToViewer(rest)
	}
	if u.authority != "" {
		return u.scheme + "://" + u.authority + rest
	}
	if !strings.HasPrefix(rest, "/") {
		rest = "/" + rest
	}
	return rest
}

// restToViewer maps what is behind the authority. The link's query stays here:
// it may be a password.
func (u *urls) restToViewer(rest string) string {
	_, tail, query, ok := behind(rest, u.originClean)
	switch {
	case !ok && u.originQuery == "":
		return rest
	case !ok:
		return pathOf(rest) + trackOf(rest[len(pathOf(rest)):])
	case u.originQuery == "":
		return joined(u.written, tail) + query
	}
	after, same := strings.CutPrefix(query, u.originQuery)
	if same = same && (after == "" || after[0] == '/'); !same {
		after = trackOf(query)
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	switch {
	case tail == "" && after != "":
		u.form = queryFirst
	case tail != "" && same:
		u.form = trackFirst
	case tail != "" && query == "":
		u.form = noQuery
	}
	return joined(u.written, tail+after)
}

// within reports whether the canonical path of a later request belongs to this
// stream: its own path, what is below it, or what has been learnt.
func (u *urls) within(path string) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return below(path, u.path) || u.named(path) || slices.Contains(u.bases, path)
}

// owns reports whether a request that names no session is about this stream: its
// own path, or what the origin has named. Anything else is another stream, of
// which the gate has not been asked.
func (u *urls) owns(p string) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	if p == u.path || u.named(p) || slices.Contains(u.bases, p) {
		return true
	}
	return slices.ContainsFunc(u.controls, func(c string) bool { return below(p, joined(u.path, c)) })
}

// named reports whether the origin itself gave out this path, other than below
// the stream's; mu is held.
func (u *urls) named(path string) bool {
	if slices.ContainsFunc(u.places, func(p string) bool { return below(path, p) }) {
		return true
	}
	for _, base := range u.bases {
		if slices.ContainsFunc(u.controls, func(c string) bool { return below(path, joined(base, c)) }) {
			return true
		}
	}
	return false
}

// learn takes a URL that the origin named, a base or a control, for one of this
// stream. Those above the stream's path (some servers' base is their root) do
// not make all that is below them part of it.
func (u *urls) learn(originURL string) {
	_, _, rest, ok := splitURL(originURL)
	if !ok {
		rest = originURL
	}
	path, err := proxy.CleanPath(pathOf(rest))
	if err != nil || !ok && !strings.HasPrefix(rest, "/") || below(path, u.originClean) {
		return
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if below(u.originClean, path) {
		u.bases = learnt(u.bases, path)
		return
	}
	u.places = learnt(u.places, path)
	if stream, _, ok := sdp.SplitTrack(path); ok { // as proxy.RequestTarget will have it
		u.bases = learnt(u.bases, canonical(stream))
	}
}

// learnControl takes a control of the description, absolute or relative.
func (u *urls) learnControl(control string) {
	if _, _, _, absolute := splitURL(control); absolute || strings.HasPrefix(control, "/") {
		u.learn(control)
		return
	}
	path, err := proxy.CleanPath(pathOf(control))
	if err != nil || control == "*" || path == "/" {
		return
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.controls = learnt(u.controls, path)
}

func learnt(list []string, s string) []string {
	if slices.Contains(list, s) || len(list) == maxLearnt {
		return list
	}
	return append(list, s)
}
