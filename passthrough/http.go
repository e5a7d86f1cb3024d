package passthrough

import (
	"context"
	"errors"
	"maps"
	"net"
	"net/http"
	"net/url"
	"slices"
	"time"

	"weir/proxy"
)

// newTransport makes the transport of one origin: idle connections of two never
// mix. It has no total deadline: low-latency playlists block, and endless audio
// never ends.
func (b *Balancer) newTransport(o *origin) *http.Transport {
	http1 := new(http.Protocols)
	http1.SetHTTP1(true)
	return &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return b.connect(ctx, o)
		},
		Protocols:           http1,
		DisableCompression:  true, // bodies pass as they are
		TLSClientConfig:     o.tlsConfig(),
		TLSHandshakeTimeout: b.timeout,
		// An origin that knows nothing of 100-continue gets the body after this.
		ExpectContinueTimeout:  time.Second,
		MaxResponseHeaderBytes: 256 << 10,
		// All viewers share a few origins, so net/http's 2 per host would close
		// and dial under load.
		MaxIdleConnsPerHost: 256,
		IdleConnTimeout:     time.Minute,
	}
}

// RoundTrip implements proxy.Upstream. Candidates are asked in order until one
// answers. After a failed dial the next is asked whatever the method, if the
// body can still be sent; after anything else only what may be repeated (RFC
// 9110 §9.2.2). A GET or HEAD also goes on after 500, 502, 503 and 504; the last
// such answer is given if nobody knows better. What one origin has and another
// has not is looked for (http_missing.go), and a live playlist does not go back
// when the origin changes (http_better.go). The body of a stored file goes on
// with another origin if one dies halfway (see resume.go).
//
// The request's context is the only deadline; where an origin is late with what can
// be had from others, they are asked, too (http_hedge.go).
func (b *Balancer) RoundTrip(req *http.Request) (*http.Response, error) {
	body := hold(req.Body)
	res, err := b.search(req, body)
	body.release(err == nil)
	return res, err
}

func (b *Balancer) search(req *http.Request, body *heldBody) (*http.Response, error) {
	q := query{web: true, path: req.URL.Path, stick: streamKey(req.URL.Path), origin: req.URL.Host}
	t := &trip{b: b, req: req, body: body}
	if body.empty() { // else nothing can be asked twice for sure
		t.pool = b.alternatives(q, req)
		t.stream = b.streamOf(t.pool, q, req)
	}
	if t.stream != nil {
		q.prefer = b.memory.holder(t.stream.stick, time.Now())
	}
	origins, err := b.candidates(q)
	if err != nil {
		return nil, err
	}
	for left := origins; len(left) > 0; {
		o, res, err := t.hedged(left[0], left[1:])
		left = t.unasked(left[1:], len(left))
		last := len(left) == 0 || req.Context().Err() != nil
		switch {
		case err == nil && (last || !worthAnother(req, res) || !body.empty() && req.GetBody == nil):
			o, res = t.better(o, res, origins)
			return t.answered(o, res, b.others(q, o)), nil
		case err == nil:
			t.keep(o, res)
		case last || !t.repeatable(err):
			return t.failed()
		}
	}
	return t.failed()
}

// others returns a list of who might go on with a body of o.
func (b *Balancer) others(q query, o *origin) func() []*origin {
	q.avoid, q.look = []string{o.name}, true
	return func() []*origin {
		others, err := b.candidates(q)
		if err != nil {
			return nil
		}
		return slices.DeleteFunc(slices.Clone(others), func(other *origin) bool { return other == o })
	}
}

// A wait is how long an origin may take until its answer's header.
type wait struct {
	most time.Duration             // 0 for as long as the request's context has
	may  func() (end, blamed bool) // asked when it is over; nil: it ends, and is the origin's fault
	mild bool                      // it is nobody's fault
}

// ask sends one request to one origin. The answer's body holds a place at the
// origin until it has been read, broken off or closed.
func (b *Balancer) ask(o *origin, out *http.Request, w wait) (*http.Response, error) {
	viewer := out.Context()
	ctx, cancel := context.WithCancel(viewer)
	e := &call{cancel: cancel, leave: o.enter()}
	if w.most > 0 {
		defer time.AfterFunc(w.most, func() {
			end, blamed := true, !w.mild
			if w.may != nil {
				end, blamed = w.may()
			}
			if e.mild.Store(!blamed); end {
				e.silence()
			}
		}).Stop()
	}
	o.awaited.Add(1)
	res, err := o.http.RoundTrip(out.WithContext(ctx))
	o.awaited.Add(-1)
	if err != nil {
		e.end()
		return nil, b.blame(viewer, o, e.reason(err))
	}
	res.Body = e.body(res.Body)
	o.relocate(res.Header, out.Host)
	return res, nil
}

// blame counts an error against an origin if it is the origin's. A failed dial
// has been counted by connect.
func (b *Balancer) blame(viewer context.Context, o *origin, err error) error {
	var dial *dialError
	var refused *proxy.Refusal
	if viewer.Err() == nil && !errors.As(err, &dial) && !errors.As(err, &refused) && !errors.Is(err, errLate) {
		b.failed(o, err)
	}
	return err
}

// outgoing is req as it goes to an origin, without a body. It shares the
// trailers, which are filled in when the body has been read.
func (b *Balancer) outgoing(req *http.Request, o *origin) *http.Request {
	out := new(http.Request)
	*out = *req
	out.Header = req.Header.Clone()
	if out.Header == nil {
		out.Header = http.Header{}
	}
	maps.Copy(out.Header, o.header)
	out.URL = o.target(escapedPath(req.URL))
	out.URL.RawQuery, out.URL.ForceQuery = req.URL.RawQuery, req.URL.ForceQuery
	if b.opts.Host != "preserve" {
		out.Host = ""
	}
	if host := o.header.Get("Host"); host != "" {
		out.Host = host
	}
	if user := out.URL.User; user != nil { // http.Client would do this, a Transport does not
		password, _ := user.Password()
		out.SetBasicAuth(user.Username(), password)
		out.URL.User = nil
	}
	return out
}

// escapedPath is the path of a URL that may have none.
func escapedPath(u *url.URL) string {
	if p := u.EscapedPath(); p != "" {
		return p
	}
	return "/"
}
