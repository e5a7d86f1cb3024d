package passthrough

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"weir/proxy/proxytest"
)

// TestFailoverAsks: what a viewer asks while his session moves is answered by the
// next origin, in order; what was on its way is asked again.
func TestFailoverAsks(t *testing.T) {
	one, two := newFake(t), newFake(t)
	e := newEdge(t, quick, one.url(), two.url())
	p, l := watching(e, one, overTCP)
	p.send("GET_PARAMETER", "", "x-n", "1")
	p.send("SET_PARAMETER", "", "x-n", "2")
	l.request("GET_PARAMETER")
	l.request("SET_PARAMETER")
	l.reset()
	l2 := two.accept()
	req := l2.request("DESCRIBE")
	p.send("OPTIONS", "", "x-n", "3")
	p.send("PAUSE", "", "x-n", "4")
	p.send("PLAY", "", "x-n", "5")
	l2.reply(req, 200, description(1), "Content-Type", "application/sdp")
	l2.setup("88")
	l2.play()
	for n, method := range []string{"GET_PARAMETER", "SET_PARAMETER", "OPTIONS", "PAUSE", "PLAY"} {
		req := l2.request(method)
		if got, want := req.Header.Get("x-n"), string(rune('1'+n)); got != want || req.Header.Get("Session") != "88" {
			t.Errorf("request %s of session %s comes as number %s", got, req.Header.Get("Session"), want)
		}
		l2.reply(req, 200, "", "x-n", req.Header.Get("x-n"), "Session", "88")
	}
	for n := range 5 {
		res := p.answer()
		if got, want := res.Header.Get("x-n"), string(rune('1'+n)); got != want || res.Code != 200 || !strings.HasPrefix(res.Header.Get("Session"), p.session) {
			t.Errorf("answer %s, code %d, session %s; want answer %s", got, res.Code, res.Header.Get("Session"), want)
		}
	}
}

// TestFailoverAsksTwice: what the next origin had no time to answer is answered by the one
// after that, in order.
func TestFailoverAsksTwice(t *testing.T) {
	for range 10 { // it may die at any of them
		one, two, three := newFake(t), newFake(t), newFake(t)
		e := newEdge(t, quick, one.url(), two.url(), three.url())
		p, l := watching(e, one, overTCP)
		l.reset()
		l2 := two.accept()
		l2.describe(1)
		l2.setup("88")
		play := l2.request("PLAY")
		const asked = 10
		for n := range asked {
			p.send("GET_PARAMETER", "", "x-n", strconv.Itoa(n))
		}
		proxytest.Eventually(t, soon, "all wait", func() bool {
			l := e.leg()
			l.mu.Lock()
			defer l.mu.Unlock()
			return len(l.parked) == asked
		})
		l2.reply(play, 200, "", "Session", "88")
		l2.request("GET_PARAMETER")
		l2.reset()
		l3, _ := three.takesOver(true)
		for n := range asked {
			req := l3.request("GET_PARAMETER")
			if got := req.Header.Get("x-n"); got != strconv.Itoa(n) {
				t.Errorf("request %s comes as number %d", got, n)
			}
			l3.reply(req, 200, "", "x-n", req.Header.Get("x-n"))
		}
		for n := range asked {
			if res := p.answer(); res.Code != 200 || res.Header.Get("x-n") != strconv.Itoa(n) {
				t.Errorf("answer %d is %d of request %s", n, res.Code, res.Header.Get("x-n"))
			}
		}
	}
}

// TestNudgeInAnAnswer: who looks whether an origin is silent does not disturb an answer that
// comes in two pieces.
func TestNudgeInAnAnswer(t *testing.T) {
	one := newFake(t)
	e := newEdge(t, quick, one.url())
	p, l := watching(e, one, overTCP)
	p.send("GET_PARAMETER", "")
	req := l.request("GET_PARAMETER")
	l.write([]byte("RTSP/1.0 200 OK\r\nCSeq: "))
	time.Sleep(20 * time.Millisecond) // read by then, if the machine is not busy
	e.leg().gather.nudge()
	time.Sleep(20 * time.Millisecond)
	l.write([]byte(req.Header.Get("CSeq") + "\r\n\r\n"))
	p.want(200)
	l.write(frameOf(0, rtpOf(1, 2, 3, key)))
	p.wantPacket(1, 2)
}

// TestFailoverTeardown: who leaves while his session moves has left; the next
// origin is told of what it has.
func TestFailoverTeardown(t *testing.T) {
	one, two := newFake(t), newFake(t)
	e := newEdge(t, quick, one.url(), two.url())
	p, l := watching(e, one, overTCP)
	l.reset()
	l2 := two.accept()
	l2.describe(1)
	l2.setup("88")
	l2.request("PLAY")
	p.ask(200, "TEARDOWN", "")
	if got := l2.request("TEARDOWN").Header.Get("Session"); got != "88" {
		t.Errorf("the next origin is told to end session %s", got)
	}
	l2.wantEnd()
	proxytest.Eventually(t, soon, "the place is free", func() bool { return e.places() == 0 })
	p.session = ""
	p.send("DESCRIBE", "") // the connection is good for more
	two.accept().describe(1)
	p.want(200)
}

// TestFailoverLeaves: so has he whose connection ends.
func TestFailoverLeaves(t *testing.T) {
	one, two := newFake(t), newFake(t)
	e := newEdge(t, quick, one.url(), two.url())
	p, l := watching(e, one, overTCP)
	l.reset()
	l2 := two.accept()
	l2.request("DESCRIBE")
	p.c.Close()
	l2.wantEnd()
	proxytest.Eventually(t, soon, "the place is free", func() bool { return e.places() == 0 })
}

// TestFailoverSetUp: a session that has not been played yet moves when it is asked
// for more, and nothing is played for it.
func TestFailoverSetUp(t *testing.T) {
	one, two := newFake(t), newFake(t)
	e := newEdge(t, quick, one.url(), two.url())
	p := e.dial("/cam")
	p.send("DESCRIBE", "")
	l := one.accept()
	l.describe(2)
	p.want(200)
	p.send("SETUP", "/trackID=0", "Transport", overTCP)
	l.setup("77")
	p.setUp(p.want(200))
	p.send("SETUP", "/trackID=1", "Transport", "RTP/AVP/TCP;unicast;interleaved=2-3")
	l.request("SETUP")
	l.reset()
	l2 := two.accept()
	l2.describe(2)
	l2.setup("88")
	if got := l2.setup("88"); !strings.HasSuffix(got.URL, "/trackID=1") || got.Header.Get("Session") != "88" {
		t.Errorf("the next origin is asked for %s in session %s", got.URL, got.Header.Get("Session"))
	}
	p.want(200)
	p.send("PLAY", "")
	l2.play()
	p.want(200)
	l2.write(frameOf(2, rtpOf(1, 2, 3, key)))
	p.wantFrame(2, rtpOf(1, 2, 3, key))
}

// TestFailoverRedirect: an origin that wants to be left alone is left, when another
// has the sessions.
func TestFailoverRedirect(t *testing.T) {
	one, two := newFake(t), newFake(t)
	e := newEdge(t, quick, one.url(), two.url())
	p, l := watching(e, one, overTCP)
	l.write([]byte("REDIRECT rtsp://x/cam RTSP/1.0\r\nCSeq: 9\r\nLocation: rtsp://y/\r\n\r\n"))
	l.response()
	l2 := two.accept()
	req := l2.request("DESCRIBE")
	l.write(frameOf(0, rtpOf(1, 2, 3, key))) // it plays on meanwhile
	p.wantPacket(1, 2)
	l2.reply(req, 200, description(1), "Content-Type", "application/sdp")
	l2.setup("88")
	l2.play()
	l.request("TEARDOWN")
	l.wantEnd()
	l2.write(frameOf(0, rtpOf(7, 8, 9, key)))
	p.wantPacket(1, 3)
}

// TestFailoverBusy: so is one that answers a keep-alive with 503; the answer is the
// next one's.
func TestFailoverBusy(t *testing.T) {
	one, two := newFake(t), newFake(t)
	e := newEdge(t, quick, one.url(), two.url())
	p, l := watching(e, one, overTCP)
	p.send("GET_PARAMETER", "")
	l.reply(l.request("GET_PARAMETER"), 503, "")
	l2, _ := two.takesOver(true)
	l2.reply(l2.request("GET_PARAMETER"), 200, "", "Session", "88")
	p.want(200)
}

// TestFailoverBusyAlone: where there is no other, the answer is what it is.
func TestFailoverBusyAlone(t *testing.T) {
	one := newFake(t)
	e := newEdge(t, quick, one.url())
	p, l := watching(e, one, overTCP)
	p.send("GET_PARAMETER", "")
	l.reply(l.request("GET_PARAMETER"), 503, "")
	p.want(503)
	l.write(frameOf(0, rtpOf(1, 2, 3, key)))
	p.wantPacket(1, 2)
}

// TestFailoverNot: where it is not safe, the viewer is let go, so that he knows.
func TestFailoverNot(t *testing.T) {
	f := func(what string, dials bool, o Options, describe, offer string, headers ...string) {
		t.Helper()
		one, two := newFake(t), newFake(t)
		e := newEdge(t, o, one.url(), two.url())
		p := e.dial("/cam")
		p.send("DESCRIBE", "", headers...)
		l := one.accept()
		l.describeAs(describe)
		p.want(200)
		p.send("SETUP", "/trackID=0", append([]string{"Transport", offer}, headers...)...)
		l.setup("77")
		p.setUp(p.want(200))
		p.send("PLAY", "", headers...)
		l.play()
		p.want(200)
		l.reset()
		if dials {
			two.accept().describeAs(strings.Replace(describe, "H264", "H265", 1))
		}
		p.wantEnd()
		two.nobody()
	}
	off, live := quick, quick
	off.Failover, live.Failover = "off", "live"
	cam := description(1)
	f("another stream", true, quick, cam, overTCP)
	f("off", false, off, cam, overTCP)
	f("vod off", false, live, stored(1, "10"), overTCP)
	f("encrypted", false, quick, cam, "RTP/SAVP/TCP;unicast;interleaved=0-1")
	f("back channel", false, quick, cam+"m=audio 0 RTP/AVP 0\r\na=control:trackID=1\r\na=sendonly\r\n", overTCP)
	f("digest", false, quick, cam, overTCP, "Authorization", `Digest username="u", response="x"`)
	f("a scale that nobody can read", false, quick, cam, overTCP, "Scale", "fast")
}

// TestFailoverNotSame: as are those of stored streams of other lengths, or other
// names.
func TestFailoverNotSame(t *testing.T) {
	f := func(had, has string) {
		t.Helper()
		one, two := newFake(t), newFake(t)
		e := newEdge(t, quick, one.url(), two.url())
		p := e.dial("/cam")
		p.send("DESCRIBE", "")
		l := one.accept()
		l.describeAs(had)
		p.want(200)
		p.send("SETUP", "/trackID=0", "Transport", overTCP)
		l.setup("77")
		p.setUp(p.want(200))
		p.send("PLAY", "")
		l.play()
		p.want(200)
		l.reset()
		two.accept().describeAs(has)
		p.wantEnd()
	}
	f(stored(1, "10"), stored(1, "11"))
	f(description(1), strings.Replace(description(1), "a=control:trackID=0\r\n", "", 1)) // nobody could call it
	f(description(1), description(2))
	f(description(1), "none")
}

// TestFailoverCredentials: the edge's own hold everywhere, and so do a viewer's of
// the simple kind.
func TestFailoverCredentials(t *testing.T) {
	t.Parallel() // it mostly waits
	one, two := testOrigin(t, "u", "s3cret"), testOrigin(t, "u", "s3cret")
	with := func(o string) string { return strings.Replace(o, "//", "//u:s3cret@", 1) }
	e := newEdge(t, quick, with(one.URL()), with(two.URL()))
	p := e.dial("/live/clock").watchBoth()
	fs := following(t)
	p.take(fs, func() bool { return fs[0].packets > 20 })
	at, other := playing(t, one, two)
	at.Die()
	n := fs[0].packets
	p.take(fs, func() bool { return fs[0].packets > n+20 && other.Counts().Playing == 1 })

	first, second := newFake(t), newFake(t)
	e = newEdge(t, quick, first.url(), second.url())
	q := e.dial("/cam")
	basic := []string{"Authorization", "Basic dTpw"}
	q.send("DESCRIBE", "", basic...)
	l := first.accept()
	l.describe(1)
	q.want(200)
	q.send("SETUP", "/trackID=0", append([]string{"Transport", overTCP}, basic...)...)
	l.setup("77")
	q.setUp(q.want(200))
	q.send("PLAY", "", basic...)
	l.play()
	q.want(200)
	l.reset()
	l2 := second.accept()
	for _, method := range []string{"DESCRIBE", "SETUP", "PLAY"} {
		req := l2.request(method)
		if got := req.Header.Get("Authorization"); got != basic[1] {
			t.Errorf("%s has Authorization %q", method, got)
		}
		l2.reply(req, 200, description(1), "Content-Type", "application/sdp", "Session", "88", "Transport", req.Header.Get("Transport"))
	}
}
