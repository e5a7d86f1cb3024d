package cache

import (
	"context"
	"net/http"
	"strings"
	"time"

	"weir/proxy"
)

// A visit is one request of a viewer.
type visit struct {
	c      *Cache
	w      http.ResponseWriter
	req    *http.Request
	ticket proxy.Ticket
	status report // for Cache-Status
}

// looks bounds how often one request looks things up anew, because what it found
// was replaced or did not match meanwhile.
const looks = 6

// ServeHTTP implements http.Handler.
func (c *Cache) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	if upgrades(req) {
		c.env.Next.ServeHTTP(w, req)
		return
	}
	ticket, err := c.env.Gate.Admit(req.Context(), proxy.ViewerFrom(req.Context()))
	if err != nil {
		proxy.Refused(err).WriteHTTP(w)
		return
	}
	defer ticket.Close()
	v := visit{c: c, w: w, req: req, ticket: ticket}
	switch {
	case req.Method == http.MethodGet || req.Method == http.MethodHead:
		v.get()
	case req.Method == http.MethodOptions && v.preflight():
	default:
		v.pass("method", nil)
	}
}

// upgrades reports whether a request is for another protocol. An Upgrade that
// Connection does not name is none (RFC 9110 §7.8), and goes no further.
func upgrades(req *http.Request) bool {
	if req.Header["Upgrade"] == nil || req.Method != http.MethodGet {
		return false
	}
	for option := range members(req.Header["Connection"]) {
		if strings.EqualFold(option, "upgrade") {
			return true
		}
	}
	return false
}

// get answers from what is stored, or with what a flight brings. This is the
// decision table.
func (v *visit) get() {
	c, h := v.c, v.req.Header
	k, d := c.keys.of(v.req), noDirectives
	if h["Cache-Control"] != nil || h["Pragma"] != nil {
		d = directivesOf(h)
	}
	if h["Via"] != nil && (v.looped() || v.secondHand()) { // whoever asks for another signs there
		return
	}
	for range looks {
		now := time.Now()
		o, m, pass := c.find(k, v.req, now)
		use := spent
		if o != nil {
			use = m.Verdict.usability(m.age(now), d)
		}
		switch use {
		case lingering:
			c.refresh(v.req, o, m)
			fallthrough
		case usable:
			v.status = report{hit: true, stale: use == lingering}
			if v.answer(o, m, now) {
				return
			}
			v.status = report{} // it has gone
			continue
		}
		if d.onlyIfCached {
			v.refuse(http.StatusGatewayTimeout, "Not Stored")
			return
		}
		why := forwardReason(o, m, c.table.all(k.id))
		if reason := v.mustPass(o, d, pass.After(now), why); reason != "" {
			v.pass(reason, nil)
			return
		}
		if v.fly(o, m, why) {
			return
		}
	}
	v.pass("miss", nil)
}

var noDirectives = directives{maxAge: -1, minFresh: -1, maxStale: -1}

// mustPass is why a request that nothing stored answers goes on by itself: RFC
// 9211's word for it, "" for no reason. why is the word for what was found.
func (v *visit) mustPass(o *object, d directives, unshared bool, why string) string {
	switch {
	case d.noStore:
		return "request"
	case unshared:
		return "bypass"
	case v.req.Method == http.MethodHead && (o == nil || !o.meta.Load().Sliced):
		return why // the whole body would be too much for what is asked
	case v.req.ContentLength != 0: // it may mean something to the origin
		return "request"
	}
	return ""
}

// fly waits for a flight; why is RFC 9211's word for what was found. answered is
// false if the visit has to look again.
func (v *visit) fly(o *object, m *meta, why string) (answered bool) {
	c := v.c
	a := c.asking(v.req)
	f, first := c.depart(a, v.req.Header, o, m, c.wanted(v.req, o, a), true)
	if f == nil {
		return false
	}
	v.status = report{fwd: why, collapsed: !first}
	res, ok := v.await(f, first)
	if !ok {
		return true // he has gone
	}
	switch f.how {
	case landedForOne, landedForNone:
		if res != nil {
			defer res.Body.Close() //nolint:errcheck // the flight waits for it
			if res.StatusCode == http.StatusRequestedRangeNotSatisfiable && v.req.Header["If-Range"] != nil {
				res = nil // the slice was asked for without his condition, which may ask for all of it
			}
		}
		v.pass(v.status.fwd, res)
	case landedAgain:
		return false
	case landedFailed:
		v.fail(f.err)
	case landedStored, landedValidated, landedStale:
		if !f.object.matches(a.header) && !f.object.matches(v.req.Header) { // not for him: his own
			v.pass(v.status.fwd, nil)
			return true
		}
		v.status.fwdStatus, v.status.stored, v.status.stale = f.status, f.how == landedStored, f.how == landedStale
		return v.answer(f.object, f.object.meta.Load(), time.Now())
	}
	return true
}

// await waits until a flight has landed; ok is false if the viewer has gone first.
// Whoever was first may get an answer that is for him alone.
func (v *visit) await(f *flight, first bool) (res *http.Response, ok bool) {
	lead := f.lead
	if !first {
		lead = nil
	} else {
		defer close(f.left)
	}
	landed := f.landed
	for {
		select {
		case h := <-f.hints:
			v.hint(h)
		case res := <-lead:
			return res, true
		case <-landed:
			if lead == nil || f.how != landedForOne {
				return nil, true
			}
			landed = nil // his answer is about to be handed to him
		case <-v.req.Context().Done():
			return nil, false
		}
	}
}

// hint passes on 103 Early Hints (RFC 8297).
func (v *visit) hint(hint http.Header) {
	if !v.req.ProtoAtLeast(1, 1) {
		return // RFC 9110 §15.2
	}
	h := v.w.Header()
	for name, values := range hint {
		h[name] = values
	}
	v.w.WriteHeader(http.StatusEarlyHints)
	for name := range hint {
		delete(h, name)
	}
}

// find returns what is stored for a request, and until when its key passes.
func (c *Cache) find(k key, req *http.Request, now time.Time) (*object, *meta, time.Time) {
	if o, m := c.newest(k, req.URL.Path, req.Header, now); o != nil {
		return o, m, time.Time{}
	}
	o, pass := c.table.find(k.id, req.Header)
	if o == nil {
		return nil, nil, pass
	}
	return o, o.meta.Load(), pass
}

// wanted is the slice to ask for when nothing is known of an object of which a
// range is wanted; nil asks for all of it. Whoever says who he is gets all of it
// or his own.
func (c *Cache) wanted(req *http.Request, o *object, a *ask) *span {
	if o != nil && !o.meta.Load().Sliced || !a.anonymous() || req.Method != http.MethodGet {
		return nil
	}
	fields := req.Header["Range"]
	if len(fields) != 1 {
		return nil
	}
	specs, ok := parseRange(fields[0])
	if !ok || specs[0].to == veryLarge { // RFC 8673: it may be growing
		return nil
	}
	unit := c.opt.slice()
	if specs[0].from < 0 {
		return &span{-1, unit}
	}
	from := specs[0].from / unit * unit
	return &span{from, from + unit}
}

// refresh validates an object in the background.
func (c *Cache) refresh(req *http.Request, o *object, m *meta) {
	c.depart(c.asking(req), req.Header, o, m, nil, false)
}

// fail says that there is no answer.
func (v *visit) fail(err error) {
	if v.req.Context().Err() != nil {
		panic(http.ErrAbortHandler) // the viewer has gone
	}
	if v.near() { // what this edge says of its own accord is no origin's word
		err = &proxy.Refusal{Reason: proxy.SecondHand, Err: err}
	}
	v.ticket.Failed()
	v.cors()
	v.w.Header()["Cache-Status"] = v.status.append(nil, v.c.id, 0)
	proxy.Refused(err).WriteHTTP(v.w)
}

// near reports whether another edge asks.
func (v *visit) near() bool { return proxy.ViewerFrom(v.req.Context()).Peer }

func (v *visit) refuse(code int, text string) {
	v.ticket.Failed()
	v.cors()
	v.w.Header()["Cache-Status"] = v.status.append(nil, v.c.id, 0)
	http.Error(v.w, text, code)
}

// ServeRTSP implements proxy.Handler: none of it is the cache's.
func (c *Cache) ServeRTSP(ctx context.Context, rc *proxy.RTSPConn) { c.env.Next.ServeRTSP(ctx, rc) }
