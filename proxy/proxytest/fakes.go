package proxytest

import (
	"context"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"weir/proxy"
	"weir/proxy/wire"
)

// Env is an environment of fakes: *Next, *Upstream and *Gate, a fresh
// *prometheus.Registry, and a cluster of one.
func Env(t testing.TB) proxy.Env {
	return proxy.Env{
		Next:     &Next{},
		Upstream: &Upstream{},
		Gate:     &Gate{},
		Peers:    proxy.Alone,
		Log:      Logger(t),
		Metrics:  prometheus.NewRegistry(),
	}
}

// An Upstream does what its functions do, and refuses with OriginDown where
// there is none. Its fields are set before it is used.
type Upstream struct {
	RoundTripFunc func(*http.Request) (*http.Response, error)
	DialFunc      func(context.Context, proxy.Want) (*proxy.Link, error)

	trips, dials atomic.Int64
}

var _ proxy.Upstream = (*Upstream)(nil)

// Trips is how often RoundTrip was called.
func (u *Upstream) Trips() int { return int(u.trips.Load()) }

// Dials is how often DialRTSP was called.
func (u *Upstream) Dials() int { return int(u.dials.Load()) }

// RoundTrip implements proxy.Upstream.
func (u *Upstream) RoundTrip(req *http.Request) (*http.Response, error) {
	u.trips.Add(1)
	if u.RoundTripFunc != nil {
		return u.RoundTripFunc(req)
	}
	if req.Body != nil {
		req.Body.Close() //nolint:errcheck // http.RoundTripper's duty
	}
	return nil, &proxy.Refusal{Reason: proxy.OriginDown}
}

// DialRTSP implements proxy.Upstream.
func (u *Upstream) DialRTSP(ctx context.Context, w proxy.Want) (*proxy.Link, error) {
	u.dials.Add(1)
	if u.DialFunc != nil {
		return u.DialFunc(ctx, w)
	}
	return nil, &proxy.Refusal{Reason: proxy.OriginDown}
}

// A Gate admits everybody, unless it was given an error to refuse with, and
// remembers what it was asked. Its fields are set before it is used.
type Gate struct {
	RefuseAccept, RefuseCheck, RefuseAdmit, RefuseDeclare error

	mu      sync.Mutex
	count   GateCount
	tickets []*Ticket
}

// A GateCount is how often each method was called, refused calls included.
// Closes are those of all tickets.
type GateCount struct{ Accepts, Leaves, Checks, Admits, Offences, Closes int }

var _ proxy.Admitter = (*Gate)(nil)

// Count returns the calls so far.
func (g *Gate) Count() GateCount {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.count
}

// Tickets returns all tickets given so far, in order.
func (g *Gate) Tickets() []*Ticket {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.tickets)
}

// Accept implements proxy.Admitter. Each call of leave counts.
func (g *Gate) Accept(netip.Addr) (leave func(), err error) {
	g.add(&g.count.Accepts)
	if g.RefuseAccept != nil {
		return nil, g.RefuseAccept
	}
	return func() { g.add(&g.count.Leaves) }, nil
}

// Check implements proxy.Admitter.
func (g *Gate) Check(context.Context, *proxy.Viewer) error {
	g.add(&g.count.Checks)
	return g.RefuseCheck
}

// Offend implements proxy.Admitter.
func (g *Gate) Offend(netip.Addr, proxy.Reason) { g.add(&g.count.Offences) }

// Admit implements proxy.Admitter.
func (g *Gate) Admit(_ context.Context, v *proxy.Viewer) (proxy.Ticket, error) {
	g.add(&g.count.Admits)
	if g.RefuseAdmit != nil {
		return nil, g.RefuseAdmit
	}
	t := &Ticket{Viewer: v, gate: g}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.tickets = append(g.tickets, t)
	return t, nil
}

func (g *Gate) add(n *int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	*n++
}

// A Ticket remembers what became of it.
type Ticket struct {
	Viewer *proxy.Viewer

	gate     *Gate // its mu guards the rest
	declared []proxy.BitRate
	sent     int
	failures int
	closes   int
}

// Declared returns what was declared, in order, refused rates included.
func (t *Ticket) Declared() []proxy.BitRate {
	t.gate.mu.Lock()
	defer t.gate.mu.Unlock()
	return slices.Clone(t.declared)
}

// Bytes is the sum of what Sent was told.
func (t *Ticket) Bytes() int {
	t.gate.mu.Lock()
	defer t.gate.mu.Unlock()
	return t.sent
}

// Failures is how often Failed was called.
func (t *Ticket) Failures() int {
	t.gate.mu.Lock()
	defer t.gate.mu.Unlock()
	return t.failures
}

// Closes is how often the ticket was closed.
func (t *Ticket) Closes() int {
	t.gate.mu.Lock()
	defer t.gate.mu.Unlock()
	return t.closes
}

// Declare implements proxy.Ticket.
func (t *Ticket) Declare(r proxy.BitRate) error {
	t.gate.mu.Lock()
	defer t.gate.mu.Unlock()
	t.declared = append(t.declared, r)
	return t.gate.RefuseDeclare
}

// Sent implements proxy.Ticket.
func (t *Ticket) Sent(n int) {
	t.gate.mu.Lock()
	defer t.gate.mu.Unlock()
	t.sent += n
}

// Failed implements proxy.Ticket.
func (t *Ticket) Failed() {
	t.gate.mu.Lock()
	defer t.gate.mu.Unlock()
	t.failures++
}

// Close implements proxy.Ticket.
func (t *Ticket) Close() {
	t.gate.mu.Lock()
	defer t.gate.mu.Unlock()
	t.closes++
	t.gate.count.Closes++
}

// Left is the status code with which Next answers.
const Left = 299

// A Next is the rung to the right: it answers everything with Left and
// remembers it.
type Next struct {
	mu   sync.Mutex
	http []string
	rtsp []string
}

var _ proxy.Handler = (*Next)(nil)

// HTTP returns the requests left to it, as "GET /path".
func (n *Next) HTTP() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.http)
}

// RTSP returns the first requests of the connections left to it, as
// "DESCRIBE rtsp://host/path".
func (n *Next) RTSP() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.rtsp)
}

// ServeHTTP implements http.Handler.
func (n *Next) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.http = append(n.http, r.Method+" "+r.URL.Path)
	w.WriteHeader(Left)
}

// ServeRTSP implements proxy.Handler: it answers the first request and closes.
func (n *Next) ServeRTSP(_ context.Context, c *proxy.RTSPConn) {
	defer c.Close()
	n.mu.Lock()
	n.rtsp = append(n.rtsp, c.First.Method+" "+c.First.URL)
	n.mu.Unlock()
	res := &wire.Response{Code: Left, Phrase: "Left"}
	res.Header.Add("CSeq", c.First.Header.Get("CSeq"))
	_, _ = c.Write(res.Append(nil)) // the viewer may have gone
}
