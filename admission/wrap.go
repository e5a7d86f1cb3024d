package admission

import (
	"context"
	"net/http"

	"weir/proxy"
)

// A wrapper is what the gate does around the ladder: it learns from playlists
// that go by, has viewers keep their token, in a cookie or in what playlists
// name, and paces downloads.
// What needs none of that passes untouched.
type wrapper struct {
	next    proxy.Handler
	streams *streams
	pace    proxy.BitRate // 0 for none
	burst   proxy.Bytes
	cookie  string   // its name; "" for none
	names   []string // of parameters that carry a token
	carry   string   // name of the parameter that URIs in playlists get; "" for none
}

// newWrap returns a proxy.Hitter if next is one.
func newWrap(next proxy.Handler, o *Options, s *streams) proxy.Handler {
	w := &wrapper{next: next, streams: s, pace: o.Pace, burst: o.Burst, names: o.tokens()}
	switch o.Carry {
	case "cookie":
		w.cookie = o.Cookie
	case "query":
		w.carry = o.tokens()[0]
	}
	if h, ok := next.(proxy.Hitter); ok {
		return &hitWrapper{w, h}
	}
	return w
}

// ServeRTSP implements proxy.Handler: nothing of RTSP is to be done here.
func (w *wrapper) ServeRTSP(ctx context.Context, c *proxy.RTSPConn) { w.next.ServeRTSP(ctx, c) }

// ServeHTTP implements proxy.Handler.
func (w *wrapper) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	if token := w.carries(proxy.ViewerFrom(r.Context()), r.URL.Path); token != "" {
		w.serveCarried(rw, r, token)
		return
	}
	w.serve(rw, r)
}

func (w *wrapper) serve(rw http.ResponseWriter, r *http.Request) {
	a := w.answer(rw, r)
	if a == nil {
		w.next.ServeHTTP(rw, r)
		return
	}
	w.next.ServeHTTP(a, r) // a panic is an answer that breaks off: there is nothing to learn from it
	a.end()
}

// answer returns nil for a request that needs none.
func (w *wrapper) answer(rw http.ResponseWriter, r *http.Request) *answer {
	k := kindOf(r.URL.Path)
	if k == segment || k == asset {
		return nil
	}
	v, get := proxy.ViewerFrom(r.Context()), r.Method == http.MethodGet
	learns, paces, cookie := get && k == playlist, get && w.paces(v, k), cookieFor(w.cookie, v, k)
	if !learns && !paces && cookie == nil {
		return nil
	}
	return &answer{
		ResponseWriter: rw, w: w, rc: http.NewResponseController(rw), req: r,
		kind: k, path: r.URL.Path, learns: learns, paces: paces, cookie: cookie,
	}
}

// paces reports whether answers may be paced; for what is unnamed that depends
// on their header. Peers have viewers of their own, and pace those.
func (w *wrapper) paces(v *proxy.Viewer, k kind) bool {
	return w.pace > 0 && (k == download || k == unnamed) && !v.Peer
}

// A hitWrapper is a wrapper around a proxy.Hitter.
type hitWrapper struct {
	*wrapper
	hitter proxy.Hitter
}

var _ proxy.Hitter = (*hitWrapper)(nil)

// Hit implements proxy.Hitter. It leaves to ServeHTTP what may have to be paced,
// and what a cookie is due with. A playlist at hand has gone by before.
func (w *hitWrapper) Hit(p *proxy.Plain) *proxy.Hit {
	k := kindOf(p.Path)
	if !p.Head && w.paces(p.Viewer, k) || cookieFor(w.cookie, p.Viewer, k) != nil || w.carries(p.Viewer, p.Path) != "" {
		return nil
	}
	return w.hitter.Hit(p)
}
