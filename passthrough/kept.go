package passthrough

import (
	"slices"
	"strings"

	"weir/proxy/wire"
)

// maxKept is what is kept of a request to be said again to another origin, in
// bytes. Who says more stays where he is.
const maxKept = 8 << 10

// kept is what a leg keeps for the case that its sessions move; leg.mu guards it.
type kept struct {
	asks   *wire.Request // the viewer's DESCRIBE; nil: none, or too long
	told   *told         // what he knows by an origin before; nil: he knows what this one says
	digest bool          // the viewer has answered a challenge of the origin's

	moving bool          // the origin is gone, and the sessions are on their way
	parked []*exchange   // what waits for that
	heir   *leg          // where they have gone
	wake   chan struct{} // something has been parked; capacity 1
}

// notAgain are the fields of a request that mean nothing another time.
var notAgain = []string{"CSeq", "Session", "Transport", "Content-Length", "If-Modified-Since", "If-None-Match", "If-Match", "Timestamp", "Date", "Via"}

// keepRequest is a request as it may be said again; nil if it is too long.
func keepRequest(req *wire.Request) *wire.Request {
	k := &wire.Request{Method: req.Method, URL: strings.Clone(req.URL)}
	size := len(req.URL) + len(req.Body)
	for _, f := range req.Header {
		if slices.ContainsFunc(notAgain, func(n string) bool { return strings.EqualFold(n, f.Name) }) {
			continue
		}
		size += len(f.Name) + len(f.Value)
		k.Header.Add(strings.Clone(f.Name), strings.Clone(f.Value))
	}
	if size > maxKept || len(req.Body) > 0 {
		return nil
	}
	return k
}

// again is a request that was kept, to be sent.
func again(k *wire.Request) *wire.Request {
	return &wire.Request{Method: k.Method, URL: k.URL, Header: slices.Clone(k.Header)}
}

// meets notes what a request says that cannot be said to another origin: the
// nonce of a Digest is this one's. mu is held.
func (k *kept) meets(req *wire.Request) {
	for _, f := range req.Header {
		if strings.EqualFold(f.Name, "Authorization") && len(f.Value) > 6 && strings.EqualFold(f.Value[:6], "Digest") {
			k.digest = true
		}
	}
}

// park takes a request that comes while the leg's sessions move; or it returns
// the leg to which they have moved.
func (l *leg) park(ex *exchange) (next *leg, waits bool) {
	l.mu.Lock()
	if !l.moving || ex.conn == nil || ex.done != nil {
		defer l.mu.Unlock()
		return l.heir, false
	}
	ends := ex.session != nil && ex.req.Method == "TEARDOWN"
	if !ends {
		l.parked = append(l.parked, ex)
		select {
		case l.wake <- struct{}{}:
		default: // it has been told
		}
	}
	l.mu.Unlock()
	if ends {
		l.give(ex, outcome{res: &wire.Response{Code: 200, Phrase: "OK"}})
	}
	return nil, true
}

// parkAgain takes back what was on its way to a leg that the sessions did not reach: it
// was asked before all that waits.
func (l *leg) parkAgain(back []*exchange) {
	l.mu.Lock()
	if l.moving {
		l.parked, back = append(back, l.parked...), nil
	}
	err := l.err
	l.mu.Unlock()
	for _, ex := range back {
		l.give(ex, outcome{err: err})
	}
}

// departs reports whether the leg's sessions move, or have.
func (l *leg) departs() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.moving || l.heir != nil
}

// repeatable are the methods that may be said twice: the first time may have been
// heard.
var repeatable = []string{"OPTIONS", "DESCRIBE", "GET_PARAMETER", "SETUP", "PLAY"}

// keep sorts what was on its way to an origin that is gone: what is said again to
// the next one (parked), what is so already (settled: there is nothing that plays),
// and what fails. mu is held.
func (l *leg) keep(waiting []*exchange) (fail, settled []*exchange) {
	for _, ex := range waiting {
		switch method := ex.req.Method; {
		case ex.done != nil || ex.conn == nil:
			fail = append(fail, ex)
		case method == "TEARDOWN" && ex.session != nil, method == "PAUSE" && ex.paused:
			settled = append(settled, ex)
		case slices.Contains(repeatable, method), method == "SET_PARAMETER" && len(ex.req.Body) == 0:
			ex.again = false
			l.parked = append(l.parked, ex)
			select {
			case l.wake <- struct{}{}:
			default:
			}
		default:
			fail = append(fail, ex)
		}
	}
	return fail, settled
}
