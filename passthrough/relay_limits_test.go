package passthrough

import (
	"errors"
	"net"
	"strings"
	"sync/atomic"
	"testing"

	"weir/proxy"
)

// TestRelayStreamBelow: the gate was asked of one stream; what merely stands
// below it is another, and wants a connection of its own.
func TestRelayStreamBelow(t *testing.T) {
	f := newFake(t)
	e := newEdge(t, quick, f.url())
	p := e.dial("/live")
	p.send("DESCRIBE", "")
	l := f.accept()
	l.reply(l.request("DESCRIBE"), 404, "")
	p.want(404)
	p.send("DESCRIBE", "/private")
	p.wantEnd()
	l.wantEnd() // without a word of it
}

// TestRelaySessionTwice: whose reading of two would count?
func TestRelaySessionTwice(t *testing.T) {
	f := newFake(t)
	e := newEdge(t, quick, f.url())
	p, l := staged(e, f, "/cam", overTCP)
	p.ask(400, "PAUSE", "", "Session", "another")
	l.request("TEARDOWN")
}

// TestRelayForeignFields: a session is the edge's to name, and so is a transport.
func TestRelayForeignFields(t *testing.T) {
	f := newFake(t)
	e := newEdge(t, quick, f.url())
	p := e.dial("/cam")
	p.send("DESCRIBE", "", "Session", "", "Transport", "RTP/AVP;client_port=1-2", "X-Kept", "yes")
	l := f.accept()
	req := l.request("DESCRIBE")
	if n := req.Header.Count("Session") + req.Header.Count("Transport"); n > 0 || req.Header.Get("X-Kept") != "yes" {
		t.Errorf("the origin reads\n%s", req.Raw)
	}
	l.reply(req, 404, "")
	p.want(404)
}

// TestRelayTooManyTracks: one place does not take all ports.
func TestRelayTooManyTracks(t *testing.T) {
	f := newFake(t)
	e := newEdge(t, quick, f.url())
	p, l := staged(e, f, "/cam", overTCP)
	for n := 1; n < maxTracks; n++ {
		p.send("SETUP", "/trackID=0", "Transport", "RTP/AVP/TCP;unicast")
		l.setup("77")
		p.want(200)
	}
	p.ask(453, "SETUP", "/trackID=0", "Transport", "RTP/AVP/TCP;unicast")
}

// TestRelayNoChannels: some cameras agree, and leave out what was offered.
func TestRelayNoChannels(t *testing.T) {
	f := newFake(t)
	e := newEdge(t, quick, f.url())
	p := e.dial("/cam")
	p.send("SETUP", "/trackID=0", "Transport", "RTP/AVP/TCP;unicast;interleaved=6-7")
	l := f.accept()
	l.reply(l.request("SETUP"), 200, "", "Session", "77", "Transport", "RTP/AVP/TCP;unicast")
	if got := p.want(200).Header.Get("Transport"); !strings.Contains(got, "interleaved=6-7") {
		t.Errorf("Transport %s", got)
	}
}

// TestRelayRefusedTeardown: what the origin does not end has not ended.
func TestRelayRefusedTeardown(t *testing.T) {
	f := newFake(t)
	e := newEdge(t, quick, f.url())
	p, l := staged(e, f, "/cam", overTCP)
	p.send("TEARDOWN", "/trackID=0")
	l.reply(l.request("TEARDOWN"), 405, "")
	p.want(405)
	if n := e.places(); n != 1 {
		t.Errorf("%d places are taken, want 1", n)
	}
	p.send("TEARDOWN", "")
	l.reply(l.request("TEARDOWN"), 200, "")
	p.want(200)
	if n := e.places(); n != 0 {
		t.Errorf("%d places are taken", n)
	}
}

// TestLegRests: a leg without a session is closed when nothing has been said for
// one look, and the viewer who comes back has another.
func TestLegRests(t *testing.T) {
	f := newFake(t)
	e := newEdge(t, quick, f.url())
	p := e.dial("/cam")
	p.send("DESCRIBE", "")
	l := f.accept()
	l.describe(1)
	p.want(200)
	legs := func() (all []*leg) {
		e.relay.mu.Lock()
		defer e.relay.mu.Unlock()
		for c := range e.relay.conns {
			all = append(all, c.leg.Load())
		}
		return all
	}
	legs()[0].rest() // an answer has come since the last look
	p.send("DESCRIBE", "")
	l.describe(1)
	p.want(200)
	legs()[0].rest()
	legs()[0].rest()
	l.wantEnd()
	p.send("SETUP", "/trackID=0", "Transport", overTCP)
	l = f.accept()
	l.setup("77")
	p.want(200)
}

// TestLegBlame: an origin is blamed for what it does by itself, and for being
// slow, not for how it takes what a viewer asks.
func TestLegBlame(t *testing.T) {
	f := func(want bool, err error, waiting ...*exchange) {
		t.Helper()
		var blamed atomic.Bool
		l := &leg{link: &proxy.Link{Fail: func(error) { blamed.Store(true) }}}
		l.blame(err, waiting)
		if blamed.Load() != want {
			t.Errorf("%v with %d waiting: blamed %v", err, len(waiting), !want)
		}
	}
	f(true, net.ErrClosed)
	f(true, net.ErrClosed, &exchange{}) // our own
	f(false, net.ErrClosed, &exchange{conn: &conn{}})
	f(true, &proxy.Refusal{Reason: proxy.OriginSlow, Err: errors.New("no answer")}, &exchange{conn: &conn{}})
}

// TestRelayPoison: what every origin hangs up on is not held against them; one
// that hangs up where another answers is.
func TestRelayPoison(t *testing.T) {
	one, two := newFake(t), newFake(t)
	e := newEdge(t, quick, one.url(), two.url())
	up := e.relay.env.Upstream.(*Balancer)
	struck := func() (n int) {
		up.mu.Lock()
		defer up.mu.Unlock()
		for _, o := range up.origins[up.sites[0]] {
			n += o.health.strikes
		}
		for _, o := range up.origins[up.sites[1]] {
			n += o.health.strikes
		}
		return n
	}
	hangUp := func(f *fake) {
		l := f.accept()
		l.request("DESCRIBE")
		l.c.Close()
	}
	p := e.dial("/cam")
	p.send("DESCRIBE", "")
	hangUp(one)
	hangUp(two)
	p.want(503)
	if n := struck(); n != 0 {
		t.Errorf("%d failures counted", n)
	}
	p.send("DESCRIBE", "")
	hangUp(two) // whose turn it is
	one.accept().describe(1)
	p.want(200)
	if n := struck(); n != 1 {
		t.Errorf("%d failures counted, want 1", n)
	}
}
