package cache

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"time"

	"weir/proxy"
)

// A flight is a request on its way to the origin, until what comes of it is
// known. Whoever asks for the same meanwhile waits for it.
type flight struct {
	c     *Cache
	ask   *ask
	was   *object // what was found, and is not good enough; nil: nothing
	stale *object // the same, if it can be validated
	span  *span   // what is wanted of an object that nothing is known of; nil: all
	hints chan http.Header
	lead  chan *http.Response // takes the answer that is for the first viewer only
	left  chan struct{}       // closed when he does not wait any more; nil: there is none

	outdated bool // an unsafe request has succeeded meanwhile; set by the table

	landed chan struct{} // closed when the rest is known
	how    landing
	status int     // the origin's; 0: it was not reached
	object *object // the answer, if there is one for everybody
	err    error   // of landedFailed
}

// A landing is what has become of a flight.
type landing uint8

const (
	landedStored    landing = iota // object is a new one
	landedValidated                // object was there, and is fresh again
	landedStale                    // object was there, and is used for want of a better answer
	landedForOne                   // lead takes the answer; all others ask for themselves
	landedForNone                  // everybody asks for himself
	landedAgain                    // everybody looks again: the next flight asks for all of it
	landedFailed                   // there is no answer
)

// newFlight prepares a flight; leader says that a viewer waits for it.
func (c *Cache) newFlight(a *ask, stale *object, want *span, leader bool) *flight {
	f := &flight{c: c, ask: a, stale: stale, span: want, landed: make(chan struct{}), hints: make(chan http.Header, 4)}
	if leader {
		f.lead, f.left = make(chan *http.Response), make(chan struct{})
	}
	return f
}

// depart joins the flight for an ask, or begins one. seen and of are what was found before:
// if that has changed meanwhile there is no flight, and the caller looks again.
func (c *Cache) depart(a *ask, req http.Header, seen *object, of *meta, want *span, leader bool) (f *flight, first bool) {
	c.table.change(a.key.id, func(e *entry) {
		if now := choose(e.objects, req); now != seen || now != nil && now.meta.Load() != of {
			return
		}
		for _, f = range e.flights {
			if f.ask.secret == a.secret {
				return
			}
		}
		if e.whole.After(time.Now()) {
			want = nil
		}
		stale := seen
		if stale != nil && validation(of.Header) == nil {
			stale = nil
		}
		f, first = c.newFlight(a, stale, want, leader), true
		f.was = seen
		e.flights = append(e.flights, f)
	})
	if first && !c.spawn(f.fly) {
		f.fail(&proxy.Refusal{Reason: proxy.Draining})
	}
	return f, first
}

// fly asks the origin, tells what has come of it, and reads the body if it is
// stored. It outlives whoever asked.
func (f *flight) fly() {
	ctx, cancel := context.WithCancel(f.c.base)
	defer cancel()
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{Got1xxResponse: f.hint})
	ctx, w := newWatch(ctx, f.c.opt.Timeout)
	defer w.stop()
	asked := time.Now()
	req := f.request(f.c.shared(ctx, f.ask))
	changed := f.c.changed.Remove(f.ask.key.id)
	if changed || f.ask.direct.noCache {
		req.Header["Cache-Control"] = []string{"no-cache"} // other caches on the way are asked, too
	}
	res, err := f.c.trip(req)
	if err != nil {
		if changed {
			f.c.changed.Add(f.ask.key.id, struct{}{})
		}
		f.broken(why(ctx, err))
		return
	}
	defer res.Body.Close() //nolint:errcheck // read from only
	f.status = res.StatusCode
	t := &taking{flight: f, ctx: ctx, res: res, body: w.body(res.Body), asked: asked, answered: time.Now()}
	t.take()
}

// hint passes on 103, to whoever waits at that moment.
func (f *flight) hint(code int, h textproto.MIMEHeader) error {
	if code == http.StatusEarlyHints && f.lead != nil {
		select {
		case f.hints <- http.Header(h):
		default: // more than anybody needs
		}
	}
	return nil
}

// request is what the origin is asked.
func (f *flight) request(ctx context.Context) *http.Request {
	req := f.ask.request(ctx)
	if f.stale != nil {
		for name, v := range validation(f.stale.meta.Load().Header) {
			req.Header[name] = v
		}
	}
	if f.span != nil {
		req.Header["Range"] = []string{rangeField(*f.span)}
	}
	return req
}

// rangeField renders a Range of one span; from is -1 for the last to bytes.
func rangeField(s span) string {
	if s.from < 0 {
		return fmt.Sprintf("bytes=-%d", s.to)
	}
	return fmt.Sprintf("bytes=%d-%d", s.from, s.to-1)
}

// land makes known what has become of the flight; what else there is to say is said
// before. mark changes the entry in the same moment; it may be nil.
func (f *flight) land(how landing, mark func(*entry)) {
	f.how = how
	f.c.table.change(f.ask.key.id, func(e *entry) {
		if mark != nil {
			mark(e)
		}
		e.land(f)
	})
	close(f.landed)
}

// fail lands without an answer.
func (f *flight) fail(err error) {
	f.err = err
	f.land(landedFailed, nil)
}

// broken lands a flight that has got no answer, or one that must not be used.
func (f *flight) broken(err error) {
	f.c.met.failures.inc()
	if f.rescue(true) {
		return
	}
	f.fail(err)
}

// rescue lands with what is stored, if the origin's trouble allows for that.
func (f *flight) rescue(gone bool) bool {
	o := f.was
	if o == nil || o.isDead() {
		return false
	}
	m := o.meta.Load()
	if !m.Verdict.onError(m.age(time.Now()), gone) {
		return false
	}
	f.object = o
	f.land(landedStale, nil)
	return true
}
