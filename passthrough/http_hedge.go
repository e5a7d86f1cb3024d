package passthrough

import (
	"context"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// leastLate is how long an origin may be silent at least before it counts as
	// late, and lateTimes how much longer than it usually is. Too little asks two
	// origins where one has a hiccup; too much lets viewers wait for one that has
	// stopped.
	leastLate = time.Second
	lateTimes = 5
	// payAgain is how often a request that the budget had no room for looks again.
	payAgain = 250 * time.Millisecond
)

// A usual is how long something has taken lately: what takes longer counts at
// once, and is forgotten in the course of some dozens that took less. It is
// approximate where many note at the same time.
type usual struct{ ns atomic.Int64 }

func (u *usual) note(d time.Duration) {
	old := u.ns.Load()
	u.ns.Store(max(int64(d), old-old/32))
}

// late is how long it may take, from leastLate to most.
func (u *usual) late(most time.Duration) time.Duration {
	return min(max(leastLate, lateTimes*time.Duration(u.ns.Load())), most)
}

// A hedge asks other origins for what one is late with, while that is still
// waited for: whoever has it first is heard, and the other broken off. Only what is
// safe is asked twice (RFC 9110 §9.2.1), and only as far as the pool's budget goes,
// for origins that are late because they are busy would become busier. One that
// has been found out to be gone meanwhile costs nothing.
type hedge struct {
	t      *trip
	late   *origin
	others []*origin
	most   time.Duration // how long another may be silent while there is one more
	fair   time.Duration // for how long the late one may be silent at least without blame
	began  time.Time

	mu      sync.Mutex
	settled bool
	done    chan struct{}   // closed when run is done; nil while it has not begun
	ctx     context.Context // of what is asked of others; if they win it ends with the request's
	cancel  func()
	waiting context.Context // until the late one has failed
	hurry   func()

	won atomic.Bool // by whoever is first to have an answer

	// For settle, once run is done.
	asked, unwell []*origin
	errs          []error
	o             *origin // who has won, and with what
	res           *http.Response
	spareOf       *origin // who has said that he has no answer, and how
	spare         *http.Response
}

// hedged asks an origin, and others while it is late.
func (t *trip) hedged(o *origin, others []*origin) (*origin, *http.Response, error) {
	h := t.hedge(o, others)
	if h == nil {
		t.wait = wait{}
		res, err := t.ask(o)
		return o, res, err
	}
	res, err := t.ask(o)
	return h.settle(res, err)
}

// hedge sets the wait for o; nil if nobody else may be asked meanwhile.
func (t *trip) hedge(o *origin, others []*origin) *hedge {
	if t.pool == nil || len(others) == 0 || !t.body.empty() || t.req.Header.Get("Upgrade") != "" {
		return nil
	}
	s, most := t.stream, t.b.timeout
	late := o.answers.late(most)
	switch {
	case s == nil: // it may be any kind of service, and be meant to take its time
		late = o.answers.late(time.Hour)
	case s.blocks && s.mark.target == 0:
		return nil
	case s.blocks: // held back until there is something new, for about a target duration
		late, most = max(late, s.mark.target*3/2), max(most, 3*s.mark.target)
	}
	h := &hedge{t: t, late: o, others: others, most: most, fair: late, began: time.Now()}
	if s != nil && s.blocks {
		h.fair = most
	}
	t.wait = wait{most: late, may: h.run}
	return h
}

// begin reports whether there is still somebody who waits.
func (h *hedge) begin() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.settled {
		return false
	}
	h.done = make(chan struct{})
	h.ctx, h.cancel = context.WithCancel(h.t.req.Context())
	h.waiting, h.hurry = context.WithCancel(h.ctx)
	return true
}

// run is called when the origin is late, on a goroutine of its own. It reports
// whether another has answered, so that the late one is broken off, and whether that is its
// own fault: not if the other has taken its time, too.
func (h *hedge) run() (end, blamed bool) {
	if !h.begin() {
		return false, false
	}
	defer close(h.done)
	others := h.t.b.usable(h.others)
	if len(others) == 0 { // nobody is known to be well: the best of the rest
		others = h.others[:1]
	}
	for i, o := range others {
		w := wait{mild: true}
		if i < len(others)-1 { // else there is nobody else
			w.most = max(h.most, o.answers.late(time.Hour))
		}
		if !h.pay() {
			break
		}
		began := time.Now()
		if res := h.ask(o, w); res != nil {
			return h.wins(o, res), time.Since(h.began) >= max(h.fair, lateTimes*time.Since(began))
		}
	}
	if h.spare == nil {
		return false, false
	}
	sleepUntil(h.waiting, time.Now().Add(h.most)) // what the late one says may be better
	return h.wins(h.spareOf, h.spare), false
}

// wins gives the request an answer, unless the late one was first.
func (h *hedge) wins(o *origin, res *http.Response) bool {
	if h.won.Swap(true) {
		res.Body.Close() //nolint:errcheck // nobody reads it
		return false
	}
	h.o, h.res = o, res
	return true
}

// pay waits until another origin may be asked; false if the late one has answered.
func (h *hedge) pay() bool {
	for h.ctx.Err() == nil {
		gone := h.waiting.Err() != nil || len(h.t.b.usable([]*origin{h.late})) == 0
		if gone || h.t.b.memory.spend(h.t.pool, time.Now()) {
			return true
		}
		sleepUntil(h.waiting, time.Now().Add(payAgain))
	}
	return false
}

// ask returns o's answer, nil if it is not good: an error is kept for want of a better one.
func (h *hedge) ask(o *origin, w wait) *http.Response {
	out := h.t.b.outgoing(h.t.req, o).WithContext(h.ctx)
	out.Body = nil
	h.t.withoutDelta(o, out)
	h.asked = append(h.asked, o)
	res, err := h.t.send(o, out, w)
	switch {
	case err != nil:
		h.errs = append(h.errs, err)
	case worthAnother(out, res):
		h.unwell = append(h.unwell, o)
		res.Body.Close() //nolint:errcheck // nobody reads it
	case res.StatusCode < http.StatusBadRequest:
		return res
	case h.spare != nil:
		res.Body.Close() //nolint:errcheck // nobody reads it
	default:
		h.spare, h.spareOf = res, o
	}
	return nil
}

// settle returns who has answered, now that the late one has, or has failed, or
// has been broken off.
func (h *hedge) settle(res *http.Response, err error) (*origin, *http.Response, error) {
	h.mu.Lock()
	h.settled = true
	idle := h.done == nil
	h.mu.Unlock()
	if idle {
		return h.late, res, err
	}
	t := h.t
	if err == nil && !worthAnother(t.req, res) && !h.won.Swap(true) {
		h.cancel()
	}
	h.hurry()
	<-h.done
	t.asked, t.unwell, t.errs = append(t.asked, h.asked...), append(t.unwell, h.unwell...), append(t.errs, h.errs...)
	if h.spare != nil && h.res != h.spare {
		h.spare.Body.Close() //nolint:errcheck // nobody reads it
	}
	if h.res == nil {
		h.cancel()
		return h.late, res, err
	}
	if err == nil { // too late: its body is broken off
		res.Body.Close() //nolint:errcheck // nobody reads it
	}
	t.b.memory.hedged.Add(1)
	return h.o, h.res, nil
}
