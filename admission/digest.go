package admission

import (
	"crypto/subtle"
	"net/url"
	"strings"
	"time"

	"weir/proxy"
	"weir/proxy/wire"
)

// digest verifies v.Authorization, which is for Digest. Its refusals carry their
// challenges: a nonce that is ours and right but too old is said to be only that
// (RFC 2617 §3.2.1, stale), so that players ask again without asking their user.
//
// Within a nonce's life whoever hears it may send the same request again from the
// same address: counting uses would need memory for each nonce.
func (u *users) digest(v *proxy.Viewer, now time.Time) (*grant, error) {
	g, stale, why := u.proven(v, now)
	if why == "" {
		return g, nil
	}
	more := ""
	if stale {
		more = ", stale=true"
	}
	r := refuse(proxy.Unauthorized, why)
	r.Challenges = u.ask(v.Protocol, now, v.Addr.Addr(), more)
	return nil, r
}

// proven is whose digest it is, or why it is nobody's.
func (u *users) proven(v *proxy.Viewer, now time.Time) (g *grant, stale bool, why string) {
	list := u.file.get()
	if !list.anyDigest {
		return nil, false, "digest, which nobody can use"
	}
	d, err := parseDigest(v.Authorization)
	if err != nil {
		return nil, false, err.Error()
	}
	genuine, fresh := u.nonces.look(d["nonce"], now, v.Addr.Addr())
	switch {
	case d["realm"] != u.realm:
		return nil, false, "digest for another realm"
	case !genuine:
		return nil, false, "digest with a nonce that is not ours, or another viewer's"
	case !digestNames(d["uri"], v):
		return nil, false, "digest for another path"
	}
	who := list.byName[d["username"]]
	ha1 := strings.Repeat("0", 32) // for names that are not there, so that they take as long
	if who != nil && who.ha1 != "" {
		ha1 = who.ha1
	}
	right := subtle.ConstantTimeCompare([]byte(d.response(ha1, v.Method)), []byte(strings.ToLower(d["response"]))) == 1
	switch {
	case !right || who == nil || who.ha1 == "":
		return nil, false, "wrong digest"
	case !fresh:
		return nil, true, "nonce too old"
	}
	return who.grant, false, ""
}

// digestNames reports whether a digest's uri is for what v asks for. It may be a
// path or a whole URL, of whatever host, and in SETUP that of the track or of what
// it belongs to, as VLC has it: all of these have one canonical path.
func digestNames(uri string, v *proxy.Viewer) bool {
	if uri == "" || uri == "*" {
		return false
	}
	if v.Protocol != "http" {
		path, _, err := proxy.RequestTarget(&wire.Request{Method: v.Method, URL: uri})
		return err == nil && path == v.Path
	}
	u, err := url.ParseRequestURI(uri) // as net/http does: "//a/b" is a path here
	if err != nil || u.Opaque != "" {
		return false
	}
	path, err := proxy.CleanPath(u.EscapedPath())
	return err == nil && path == v.Path
}
