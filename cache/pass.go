package cache

import (
	"context"
	"net/http"
	"time"

	"weir/proxy"
	"weir/proxy/forward"
)

// A passing is a request that goes on for one viewer only.
type passing struct {
	visit *visit
	given *http.Response // an answer that is there already
}

type passingKey struct{}

// pass forwards the visit's request as it is; reason is RFC 9211's word for why.
// given is an answer that the origin has given already, nil to ask it.
func (v *visit) pass(reason string, given *http.Response) {
	v.status = report{fwd: reason}
	v.c.met.passed.inc()
	ctx := context.WithValue(v.req.Context(), passingKey{}, &passing{v, given})
	v.c.forward.Serve(v.w, v.req.WithContext(ctx), v.ticket)
}

// A passage is the upstream of what passes. It sees all answers: to unsafe
// methods, because they invalidate; to others, because they may be such as can be
// shared after all.
type passage struct{ c *Cache }

// RoundTrip implements http.RoundTripper.
func (p passage) RoundTrip(req *http.Request) (*http.Response, error) {
	c, ps := p.c, req.Context().Value(passingKey{}).(*passing)
	v := ps.visit
	k := c.keys.of(v.req)
	if safe := v.req.Method == http.MethodGet || v.req.Method == http.MethodHead; safe {
		req.URL.RawQuery = k.query // what is not in the key is not sent upstream
	}
	res, err := ps.given, error(nil)
	if res == nil {
		c.met.trips.inc()
		if res, err = c.env.Upstream.RoundTrip(req); err != nil {
			if v.near() {
				err = &proxy.Refusal{Reason: proxy.SecondHand, Err: err}
			}
			return nil, err
		}
	} else if req.Body != nil {
		req.Body.Close() //nolint:errcheck // http.RoundTripper's duty
	}
	v.status.fwdStatus = res.StatusCode
	res.Header["Cache-Status"] = v.status.append(res.Header["Cache-Status"], c.id, 0)
	switch {
	case ps.given != nil:
	case v.req.Method == http.MethodGet:
		c.reconsider(k, v.req, res)
	case v.req.Method == http.MethodHead:
		c.compare(k, v.req, res)
	default:
		c.invalidate(k, v.req, res)
	}
	if c.media(guess(v.req.URL.Path)) && v.req.Method != http.MethodOptions {
		unsite(res.Header)
		exposed(res.Header)
	}
	return res, nil
}

// reconsider lets requests of a key wait for one another again, when what passed
// could have been stored.
func (c *Cache) reconsider(k key, req *http.Request, res *http.Response) {
	if _, until := c.table.find(k.id, req.Header); until.IsZero() {
		return
	}
	m := &meta{Status: res.StatusCode, Header: res.Header, Class: classify(req.URL.Path, res.Header)}
	bare := req.Clone(context.Background())
	delete(bare.Header, "Cache-Control") // what this viewer wants is not about the others
	v := c.ruled(m.Class, nil, m, judge(bare, res.StatusCode, res.Header, time.Now()), c.asking(req))
	if v.Store && res.StatusCode == http.StatusOK {
		c.table.change(k.id, func(e *entry) { e.pass = time.Time{} })
	}
}

// compare holds the answer to a HEAD against what is stored (RFC 9111 §4.3.5).
func (c *Cache) compare(k key, req *http.Request, res *http.Response) {
	o, _ := c.table.find(k.id, req.Header)
	if o == nil || res.StatusCode != http.StatusOK {
		return
	}
	h := o.meta.Load().Header
	same := func(name string) bool { return res.Header.Get(name) == "" || res.Header.Get(name) == h.Get(name) }
	if size := o.size(); !same("Etag") || !same("Last-Modified") || size >= 0 && res.ContentLength >= 0 && size != res.ContentLength {
		o.kill()
	}
}

// invalidate is RFC 9111 §4.4.
func (c *Cache) invalidate(k key, req *http.Request, res *http.Response) {
	others, ok := invalidated(req, res.StatusCode, res.Header)
	if !ok {
		return
	}
	c.outdate(k.id)
	for _, t := range others {
		c.outdate(c.want(t, k.host()).key.id)
	}
}

// outdate has a key asked of the origin, whatever is stored here or on the way.
func (c *Cache) outdate(id string) {
	c.table.outdate(id)
	c.changed.Add(id, struct{}{})
}

// looped answers a request that has passed here before.
func (v *visit) looped() bool {
	if !forward.Looped(v.req.Header, v.c.id) {
		return false
	}
	v.ticket.Failed()
	(&proxy.Refusal{Reason: proxy.Loop}).WriteHTTP(v.w)
	return true
}
