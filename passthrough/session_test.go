package passthrough

import (
	"strings"
	"testing"
	"time"

	"weir/proxy/proxytest"
)

// only returns the one session there is.
func (e *edge) only() *session {
	e.t.Helper()
	all := e.relay.list()
	if len(all) != 1 {
		e.t.Fatalf("%d sessions, want 1", len(all))
	}
	return all[0]
}

// TestSessionNames: ids are the edge's; two origins' equal ones do not collide.
func TestSessionNames(t *testing.T) {
	first, second := newFake(t), newFake(t)
	e := newEdge(t, quick, first.url(), second.url())
	p1, l1 := staged(e, first, "/cam", overTCP)
	p2, l2 := staged(e, second, "/cam", overTCP)
	if p1.session == p2.session || p1.session == "77" || len(p1.session) < 20 {
		t.Errorf("sessions %s and %s", p1.session, p2.session)
	}
	for _, s := range []struct {
		p *player
		l *fakeLink
	}{{p2, l2}, {p1, l1}} {
		s.p.send("TEARDOWN", "")
		req := s.l.request("TEARDOWN")
		if got := req.Header.Get("Session"); got != "77" {
			t.Errorf("the origin is told to end session %s", got)
		}
		s.l.reply(req, 200, "")
		s.p.want(200)
	}
	p1.ask(454, "PLAY", "")
}

// TestSessionTimeout: the viewer is given no more than the origin gives.
func TestSessionTimeout(t *testing.T) {
	fake := newFake(t)
	e := newEdge(t, quick, fake.url())
	f := func(origin, want string) {
		t.Helper()
		p := e.dial("/cam")
		p.send("SETUP", "/trackID=0", "Transport", overTCP)
		fake.accept().setup("77" + origin)
		if _, got, _ := strings.Cut(p.want(200).Header.Get("Session"), ";"); got != want {
			t.Errorf("origin's %q: the viewer is given %q, want %q", origin, got, want)
		}
	}
	f("", "timeout=60")
	f(";timeout=30", "timeout=30")
	f(";timeout=65", "timeout=60")
	f(";timeout=0", "timeout=60")
}

// TestSessionSecondConnection: an RTSP session is its connection's, and when that
// has gone the same viewer's on another, but nobody else's to use.
func TestSessionSecondConnection(t *testing.T) {
	o := testOrigin(t, "", "")
	e := newEdge(t, quick, o.URL())
	_, offer := udpPair(t, "127.0.0.1")
	p := e.dial("/vod/clip")
	p.setUp(p.ask(200, "SETUP", "/trackID=0", "Transport", offer))
	p.ask(200, "PLAY", "")

	again := e.dial("/vod/clip")
	again.session = p.session
	again.ask(454, "GET_PARAMETER", "")
	s := e.only()
	p.c.Close()
	proxytest.Eventually(t, soon, "the connection is seen to have gone", s.orphan.Load)
	again.ask(200, "GET_PARAMETER", "")
	again.ask(200, "PAUSE", "")
	again.ask(200, "PLAY", "", "Range", "npt=4-")
	other := e.dial("/vod/clip", "127.0.0.2")
	other.session = p.session
	other.ask(454, "TEARDOWN", "")

	overTCP := e.dial("/vod/clip").watch()
	again.session = overTCP.session
	again.ask(454, "TEARDOWN", "")

	again.session = p.session
	again.ask(200, "TEARDOWN", "")
	again.ask(454, "GET_PARAMETER", "")
	proxytest.Eventually(t, soon, "its place is free", func() bool { return e.places() == 1 })
	overTCP.ask(200, "GET_PARAMETER", "")
}

// TestSessionOutlivesConnection: media over UDP goes on when the connection it
// was asked for on has gone, until the viewer gives no sign of life.
func TestSessionOutlivesConnection(t *testing.T) {
	o := testOrigin(t, "", "")
	e := newEdge(t, quick, o.URL())
	pair, offer := udpPair(t, "127.0.0.1")
	p := e.dial("/live/clock")
	p.setUp(p.ask(200, "SETUP", "/trackID=0", "Transport", offer))
	p.ask(200, "PLAY", "")
	p.c.Close()
	s := e.only()
	proxytest.Eventually(t, soon, "the connection is seen to have gone", s.orphan.Load)
	b := make([]byte, 2048)
	for range 50 {
		if _, err := pair.RTP.Read(b); err != nil {
			t.Fatal(err)
		}
	}
	report(t, pair.RTCP, e, s)
	s.look(time.Now().Add(orphanTimeout - time.Second))
	if e.places() != 1 {
		t.Fatal("ended too early")
	}
	s.look(time.Now().Add(orphanTimeout + time.Second))
	<-s.done
	proxytest.Eventually(t, soon, "the origin is told", func() bool { return o.Counts().Requests["TEARDOWN"] == 1 && o.Counts().Open == 0 })
}

// TestSessionOutlivedByAnother: of two on one connection, the one over TCP ends
// with it.
func TestSessionOutlivedByAnother(t *testing.T) {
	f := newFake(t)
	e := newEdge(t, quick, f.url())
	_, offer := udpPair(t, "127.0.0.1")
	p, l := staged(e, f, "/cam", offer)
	p.session = ""
	p.send("SETUP", "/trackID=0", "Transport", overTCP)
	l.setup("78")
	p.want(200)
	p.c.Close()
	if got := l.request("TEARDOWN").Header.Get("Session"); got != "78" {
		t.Errorf("session %s ends", got)
	}
	proxytest.Eventually(t, soon, "one place is free", func() bool { return e.places() == 1 })
}

// TestSessionAdopted: a viewer who goes on with another connection speaks as
// seldom as he was told that he may.
func TestSessionAdopted(t *testing.T) {
	o := testOrigin(t, "", "")
	e := newEdge(t, quick, o.URL())
	_, offer := udpPair(t, "127.0.0.1")
	p := e.dial("/live/clock")
	p.setUp(p.ask(200, "SETUP", "/trackID=0", "Transport", offer))
	p.ask(200, "PLAY", "")
	p.c.Close()
	s := e.only()
	proxytest.Eventually(t, soon, "the connection is seen to have gone", s.orphan.Load)
	again := e.dial("/live/clock")
	again.session = p.session
	again.ask(200, "GET_PARAMETER", "")
	s.look(time.Now().Add(s.timeout))
	again.ask(200, "GET_PARAMETER", "")
	s.look(time.Now().Add(s.timeout + 2*grace))
	again.ask(454, "GET_PARAMETER", "")
}

// TestSessionKeptAlive: a viewer who speaks by reports only does not lose his
// session at the origin.
func TestSessionKeptAlive(t *testing.T) {
	f := newFake(t)
	e := newEdge(t, quick, f.url())
	pair, offer := udpPair(t, "127.0.0.1")
	p, l := staged(e, f, "/cam", offer)
	s := e.only()
	report(t, pair.RTCP, e, s)
	s.look(time.Now().Add(s.timeout/2 - time.Second))
	s.look(time.Now().Add(s.timeout/2 + time.Second))
	req := l.request("OPTIONS")
	if req.Header.Get("Session") != "77" || req.URL != p.url {
		t.Errorf("the origin is asked about %s, session %q", req.URL, req.Header.Get("Session"))
	}
	l.reply(req, 200, "")
	p.send("GET_PARAMETER", "")
	l.reply(l.request("GET_PARAMETER"), 200, "")
	p.want(200) // and not the answer to OPTIONS
}

// TestSessionSilent: also with its connection open, a viewer over UDP who says
// nothing for longer than agreed has gone.
func TestSessionSilent(t *testing.T) {
	f := newFake(t)
	e := newEdge(t, quick, f.url())
	_, offer := udpPair(t, "127.0.0.1")
	p, l := staged(e, f, "/cam", offer)
	s := e.only()
	s.lastly.Add(-int64(s.timeout + grace))
	l.reply(l.request("TEARDOWN"), 200, "")
	proxytest.Eventually(t, soon, "its place is free", func() bool { return e.places() == 0 })
	p.ask(454, "GET_PARAMETER", "")
}

// TestSessionWithoutGoodbye: over TCP the end of the connection is the end, and
// the origin is told.
func TestSessionWithoutGoodbye(t *testing.T) {
	o := testOrigin(t, "", "")
	e := newEdge(t, quick, o.URL())
	e.dial("/live/clock").watch().c.Close()
	proxytest.Eventually(t, soon, "the session is over at both ends", func() bool {
		return o.Counts().Playing == 0 && o.Counts().Open == 0 && e.places() == 0
	})
	if n := o.Counts().Requests["TEARDOWN"]; n != 1 {
		t.Errorf("the origin is told %d times", n)
	}
}

// TestSessionForgotten: what the origin does not know any more, nobody does.
func TestSessionForgotten(t *testing.T) {
	f := newFake(t)
	e := newEdge(t, quick, f.url())
	p, l := staged(e, f, "/cam", overTCP)
	p.send("PLAY", "")
	l.reply(l.request("PLAY"), 454, "")
	p.want(454)
	proxytest.Eventually(t, soon, "its place is free", func() bool { return e.places() == 0 })
	p.ask(454, "PLAY", "")
}

// TestSessionForgottenInSetup: nor are the ports kept that were to be its.
func TestSessionForgottenInSetup(t *testing.T) {
	f := newFake(t)
	e := newEdge(t, quick, f.url())
	_, offer := udpPair(t, "127.0.0.1")
	p, l := staged(e, f, "/cam", offer)
	p.send("SETUP", "/trackID=1", "Transport", offer)
	l.reply(l.request("SETUP"), 454, "")
	p.want(454)
	if n := e.relay.ports.inUse(); n != 0 {
		t.Errorf("%d pairs are in use", n)
	}
}

// TestSessionNamedInDescription: some origins name a session before there is one,
// and players would bring that name back.
func TestSessionNamedInDescription(t *testing.T) {
	f := newFake(t)
	e := newEdge(t, quick, f.url())
	p := e.dial("/cam")
	p.send("DESCRIBE", "")
	l := f.accept()
	l.reply(l.request("DESCRIBE"), 200, description(1), "Content-Type", "application/sdp", "Session", "77;timeout=60")
	if got := p.want(200).Header.Get("Session"); got != "" {
		t.Errorf("the viewer is given session %q", got)
	}
}

// TestSessionGivenTwice: some origins have one session for a connection, whether
// a SETUP names it or not. It is one here, too, with one place.
func TestSessionGivenTwice(t *testing.T) {
	f := newFake(t)
	e := newEdge(t, quick, f.url())
	p := e.dial("/cam")
	p.send("SETUP", "/trackID=0", "Transport", overTCP)
	l := f.accept()
	l.setup("77")
	first := p.want(200).Header.Get("Session")
	p.send("SETUP", "/trackID=1", "Transport", "RTP/AVP/TCP;unicast;interleaved=2-3")
	l.setup("77")
	if got := p.want(200).Header.Get("Session"); got != first {
		t.Errorf("two sessions, %s and %s", first, got)
	}
	if n := e.places(); n != 1 {
		t.Errorf("%d places, want 1", n)
	}
}

// TestSessionEndsDuringSetup: a track that comes when its session has ended is
// not kept.
func TestSessionEndsDuringSetup(t *testing.T) {
	f := newFake(t)
	e := newEdge(t, quick, f.url())
	_, offer := udpPair(t, "127.0.0.1")
	p, l := staged(e, f, "/cam", offer)
	_, offer = udpPair(t, "127.0.0.1")
	p.send("SETUP", "/trackID=1", "Transport", offer)
	late := l.request("SETUP")
	go e.drain()
	bye := l.request("TEARDOWN")
	l.reply(late, 200, "", "Session", "77", "Transport", late.Header.Get("Transport"))
	l.reply(bye, 200, "")
	l.wantEnd()
	p.wantEnd()
	e.drain()
}

// TestSessionRefusedPause: the origin goes on, and so do the viewer's reports.
func TestSessionRefusedPause(t *testing.T) {
	f := newFake(t)
	e := newEdge(t, quick, f.url())
	p, l := staged(e, f, "/cam", overTCP)
	p.send("PAUSE", "")
	l.reply(l.request("PAUSE"), 405, "")
	p.want(405)
	if !e.only().playing.Load() {
		t.Error("it is taken for paused")
	}
}
