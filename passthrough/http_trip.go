package passthrough

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"time"

	"weir/proxy"
)

// worthAnother reports whether another origin may know better than an answer
// says. 501 and others are about the request.
func worthAnother(req *http.Request, res *http.Response) bool {
	return (req.Method == http.MethodGet || req.Method == http.MethodHead) && unwell(res.StatusCode)
}

func unwell(code int) bool {
	switch code {
	case http.StatusInternalServerError, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	return false
}

// A trip is one request on its way to one origin after the other.
type trip struct {
	b    *Balancer
	req  *http.Request
	body *heldBody

	pool   *pool   // of those who may be asked for the same; nil if nobody else may
	stream *stream // nil if its origins are not compared
	wait   wait    // for the next answer

	asked  []*origin
	errs   []error
	spare  *http.Response // the last bad answer, for want of a better one
	unwell []*origin      // who gave bad answers
}

func (t *trip) ask(o *origin) (*http.Response, error) {
	out := t.b.outgoing(t.req, o)
	var err error
	if out.Body, err = t.body.next(t.req.GetBody); err != nil {
		t.errs = append(t.errs, err)
		return nil, err
	}
	t.asked = append(t.asked, o)
	t.withoutDelta(o, out)
	res, err := t.send(o, out, t.wait)
	if err != nil {
		t.errs = append(t.errs, err)
	}
	return res, err
}

// send asks an origin; two may be asked at once.
func (t *trip) send(o *origin, out *http.Request, w wait) (*http.Response, error) {
	began := time.Now()
	res, err := t.b.ask(o, out, w)
	if err != nil {
		return nil, err
	}
	if t.stream == nil || !t.stream.blocks {
		o.answers.note(time.Since(began))
	}
	if err := t.read(o, out, res, w.most > 0); err != nil {
		return nil, err
	}
	return res, nil
}

// keep remembers a bad answer.
func (t *trip) keep(o *origin, res *http.Response) {
	t.drop()
	t.spare, t.unwell = res, append(t.unwell, o)
}

func (t *trip) drop() {
	if t.spare != nil {
		t.spare.Body.Close() //nolint:errcheck // nobody reads it
	}
}

// answered ends the trip with the answer of o. Bad answers count against those
// who gave them only now that somebody has done better: else a viewer with a
// path that no origin can serve could have all of them ejected.
func (t *trip) answered(o *origin, res *http.Response, others func() []*origin) *http.Response {
	t.drop()
	if !unwell(res.StatusCode) {
		t.b.worked(o)
		for _, bad := range t.unwell {
			t.b.failed(bad, errUnwell)
		}
	}
	resumable(t.b, t.req, o, res, others)
	return res
}

var errUnwell = errors.New("answers with an error where others do not")

// repeatable reports whether another origin may be asked after err.
func (t *trip) repeatable(err error) bool {
	var dial *dialError
	var refused *proxy.Refusal
	switch {
	case errors.As(err, &dial):
		return t.body.fresh() || t.req.GetBody != nil
	case errors.As(err, &refused): // the viewer's fault
		return false
	case t.body.empty() || t.req.GetBody != nil:
		return idempotent[t.req.Method]
	}
	return false
}

// idempotent are the methods of RFC 9110 §9.2.2 and those of WebDAV that read.
var idempotent = map[string]bool{
	http.MethodGet: true, http.MethodHead: true, http.MethodOptions: true, http.MethodTrace: true,
	http.MethodPut: true, http.MethodDelete: true, "PROPFIND": true, "REPORT": true, "SEARCH": true,
}

// failed ends a trip without a good answer.
func (t *trip) failed() (*http.Response, error) {
	if t.spare != nil {
		return t.spare, nil
	}
	ctx, err := t.req.Context(), errors.Join(t.errs...)
	var refused *proxy.Refusal
	switch {
	case errors.Is(ctx.Err(), context.Canceled):
		return nil, ctx.Err() // nobody is left to be told
	case errors.As(err, &refused):
		return nil, refused
	case ctx.Err() != nil:
		return nil, &proxy.Refusal{Reason: proxy.OriginSlow, RetryAfter: retryAfter, Err: err}
	case slices.ContainsFunc(t.errs, dialed):
		return nil, &proxy.Refusal{Reason: proxy.OriginBad, RetryAfter: retryAfter, Err: err}
	}
	return nil, refusal(ctx, t.errs)
}

// dialed reports whether an error came after the dial.
func dialed(err error) bool {
	var dial *dialError
	return !errors.As(err, &dial)
}
