package cache

import (
	"context"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"weir/proxy"
	"weir/proxy/forward"
)

// An ask is a request as it goes to the origin for everybody: without what makes
// it one viewer's.
type ask struct {
	key    key
	path   string
	host   string
	class  class       // by extension
	header http.Header // no conditions, no Range
	secret string      // what it says of who asks; answers are shared among those of one secret
	direct directives
	less   bool // some of the query it came with is not sent
	near   bool // another edge asks
}

// personal are fields that are not in the key and make no difference for others, or
// must make none: some origins take the path, the host, the method or the client from
// them. They do not go upstream on everybody's behalf. Conditions and ranges are the
// cache's to ask.
var personal = []string{
	"Range", "If-Range", "If-Match", "If-None-Match", "If-Modified-Since", "If-Unmodified-Since",
	"Cache-Control", "Pragma", "Forwarded", "Referer", "Dnt", "Sec-Gpc", "Priority",
	"Upgrade-Insecure-Requests", "Expect", "Te", "Base-Url", "Client-Ip", "True-Client-Ip", "Front-End-Https",
	"X-Host", "X-Real-Ip", "X-Client-Ip", "X-Cluster-Client-Ip", "X-Method-Override", "X-Scheme", "X-Url-Scheme",
}

// personalPrefixes begin the names of more of them.
var personalPrefixes = []string{"X-Forwarded-", "X-Original-", "X-Rewrite-", "X-Http-", "X-Proxy-", "X-Envoy-", "Cmcd-", "Sec-Fetch-", "Cf-", "Fastly-"}

// forMedia are the only fields that go upstream in asks for media, besides those of
// the hop: nothing else may make a difference to a segment or a playlist.
var forMedia = []string{"Accept", "Accept-Language", "Authorization", "User-Agent", "Via"}

// media reports whether the rules for media apply to a class.
func (c *Cache) media(cl class) bool { return cl != other && cl != secret && c.opt.Media == mediaAware }

// sends reports whether a field of viewers goes upstream in asks of a class. What
// does not go there makes no variants.
func (c *Cache) sends(name string, cl class) bool {
	if c.media(cl) { // the edge answers CORS by itself; playlists are to be read, segments are small already
		return slices.Contains(forMedia, name)
	}
	return !slices.Contains(personal, name) &&
		!slices.ContainsFunc(personalPrefixes, func(prefix string) bool { return strings.HasPrefix(name, prefix) })
}

// asking makes a viewer's request an ask.
func (c *Cache) asking(req *http.Request) *ask {
	a := &ask{key: c.keys.of(req), path: req.URL.Path, class: guess(req.URL.Path), direct: directivesOf(req.Header)}
	a.near = proxy.ViewerFrom(req.Context()).Peer
	a.less = strings.Count(req.URL.RawQuery, "&") > strings.Count(a.key.query, "&") || a.key.query == "" && req.URL.RawQuery != ""
	out := forward.Request(req.WithContext(context.Background()), c.id) // nobody's: no Forwarded
	a.header = out.Header
	maps.DeleteFunc(a.header, func(name string, _ []string) bool { return name == "Accept-Encoding" || !c.sends(name, a.class) })
	if c.keys.host {
		a.host = req.Host
	}
	if codings := codings(req.Header); codings != "" && c.sends("Accept-Encoding", a.class) {
		a.header["Accept-Encoding"] = []string{codings}
	}
	a.secret = strings.Join(req.Header["Authorization"], ",") + "\x00" + strings.Join(a.header["Cookie"], ";")
	return a
}

// anonymous reports whether the ask says nothing of who asks.
func (a *ask) anonymous() bool { return a.secret == "\x00" }

// want is a request of the edge's own: for what a playlist of a host lists, or a URL.
func (c *Cache) want(t target, host string) *ask {
	return c.asking(&http.Request{Method: http.MethodGet, URL: &url.URL{Path: t.path, RawQuery: t.query}, Host: host,
		Header: http.Header{}, ProtoMajor: 1, ProtoMinor: 1})
}

// request is the ask as a request.
func (a *ask) request(ctx context.Context) *http.Request {
	return (&http.Request{
		Method: http.MethodGet, URL: &url.URL{Path: a.path, RawQuery: a.key.query}, Host: a.host,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: a.header.Clone(),
	}).WithContext(ctx)
}

// again is the ask for an object that is there, or a part of it.
func (c *Cache) again(m *meta) *ask {
	a := c.want(target{path: m.Path}, m.Host)
	a.key = m.key()
	for _, name := range m.Vary {
		if v, ok := m.Asks[name]; ok {
			a.header[name] = v
		}
	}
	return a
}

// trip asks the origin.
func (c *Cache) trip(req *http.Request) (*http.Response, error) {
	c.met.trips.inc()
	res, err := c.env.Upstream.RoundTrip(req)
	if err != nil {
		return nil, proxy.Refused(err)
	}
	return res, nil
}

// hintAtTokens tells operators, once a minute, why an origin may refuse what it
// would give to viewers.
func (c *Cache) hintAtTokens(now time.Time) {
	last := c.hinted.Load()
	if now.Unix()-last >= 60 && c.hinted.CompareAndSwap(last, now.Unix()) {
		c.log.Warn("origin refuses a request whose query was left out; if it checks tokens by itself, set -cache.ignore-query=''")
	}
}
