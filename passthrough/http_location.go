package passthrough

import (
	"net/http"
	"net/url"
	"strings"
)

// relocate makes an answer's references to its origin relative to the edge: the
// path only, without the base. References to elsewhere stay. host is what the
// origin was told it is called, "" for its address.
func (o *origin) relocate(h http.Header, host string) {
	for _, name := range []string{"Location", "Content-Location"} {
		if v := h.Get(name); v != "" {
			h.Set(name, localURL(v, o.url, host))
		}
	}
}

func localURL(raw string, base *url.URL, host string) string {
	u, err := url.Parse(raw)
	if err != nil || u.Opaque != "" || u.Host == "" && !strings.HasPrefix(u.Path, "/") {
		return raw // not for us, or relative to what was asked for
	}
	if u.Host != "" && !sameServer(u, base) && !strings.EqualFold(u.Host, host) {
		return raw
	}
	prefix := strings.TrimSuffix(base.EscapedPath(), "/")
	rest, ok := strings.CutPrefix(u.EscapedPath(), prefix)
	if !ok || rest != "" && rest[0] != '/' {
		return raw // outside the base: not to be had through the edge
	}
	// One slash: two would name a host.
	local := &url.URL{RawQuery: u.RawQuery, ForceQuery: u.ForceQuery, Fragment: u.Fragment, RawFragment: u.RawFragment}
	return "/" + strings.TrimLeft(rest, "/") + local.String()
}

func sameServer(u, base *url.URL) bool {
	scheme := u.Scheme
	if scheme == "" {
		scheme = base.Scheme
	}
	return strings.EqualFold(u.Hostname(), base.Hostname()) && portOf(u, scheme) == portOf(base, base.Scheme)
}

func portOf(u *url.URL, scheme string) string {
	if p := u.Port(); p != "" {
		return p
	}
	return defaultPorts[scheme]
}
