package passthrough

import (
	"crypto/tls"
	"path/filepath"
	"strings"
	"testing"

	"weir/proxy/origintest"
	"weir/proxy/proxytest"
)

// tlsOrigin is an origin that speaks TLS, and its URL with the authority to trust.
func tlsOrigin(t *testing.T) (o *origintest.Origin, origin string) {
	t.Helper()
	cert := serverCert(t)
	o = startOrigin(t, origintest.Options{Addr: "127.0.0.1:0", TLS: &tls.Config{Certificates: []tls.Certificate{cert}}})
	ca := filepath.Join(t.TempDir(), "ca.pem")
	writeCA(t, ca, cert)
	return o, o.URL() + "#ca=" + ca
}

// TestFailoverTLSTrust: origins that are asked over TLS die one after another; who comes
// back has to prove again who he is, and one that cannot is passed over.
func TestFailoverTLSTrust(t *testing.T) {
	t.Parallel() // it mostly waits
	one, first := tlsOrigin(t)
	two, second := tlsOrigin(t)
	stranger, _ := tlsOrigin(t)
	if !strings.HasPrefix(first, "rtsps://") {
		t.Fatalf("the origin is %s", first)
	}
	_, ca, _ := strings.Cut(first, "#")
	e := newEdge(t, quick, first, stranger.URL()+"#"+ca, second)
	p := e.dial("/live/clock").watchBoth()
	fs := following(t)
	for kill := range 3 {
		n, m := fs[0].packets, fs[2].packets
		p.take(fs, func() bool { return fs[0].packets > n+50 && fs[2].packets > m+20 })
		at, other := playing(t, one, two)
		fs[0].gap = 0
		at.Die()
		n, m = fs[0].packets, fs[2].packets
		p.take(fs, func() bool { return fs[0].packets > n+20 && fs[2].packets > m+10 && other.Counts().Playing == 1 })
		t.Logf("kill %d: video after %v", kill, fs[0].gap)
		if err := at.Revive(); err != nil {
			t.Fatal(err)
		}
	}
	if n := fs[0].lost + fs[2].lost; n > 0 {
		t.Errorf("%d numbers are missing", n)
	}
	if n := stranger.Counts().Playing; n > 0 {
		t.Errorf("an origin that nobody vouches for has %d sessions", n)
	}
	if n := e.places(); n != 1 {
		t.Errorf("%d places, want 1", n)
	}
}

// pairOnOne is two sessions on one connection, a track each, on channels 0 and 2.
func pairOnOne(e *edge, f *fake) (p *player, sessions [2]string, l *fakeLink) {
	e.t.Helper()
	p = e.dial("/cam")
	p.send("DESCRIBE", "")
	l = f.accept()
	l.describe(2)
	p.want(200)
	for n, offer := range []string{overTCP, "RTP/AVP/TCP;unicast;interleaved=2-3"} {
		p.session = ""
		p.send("SETUP", "/trackID="+string(rune('0'+n)), "Transport", offer)
		l.setup("7" + string(rune('0'+n)) + ";timeout=60")
		sessions[n], _, _ = strings.Cut(p.want(200).Header.Get("Session"), ";")
	}
	for n := range sessions {
		p.session = sessions[n]
		p.send("PLAY", "")
		if got := l.play().Header.Get("Session"); got != "7"+string(rune('0'+n)) {
			e.t.Errorf("session %d is played as %s", n, got)
		}
		p.want(200)
	}
	return p, sessions, l
}

// TestFailoverTwoSessions: both sessions of a connection move, each with its track,
// its channel and its numbers.
func TestFailoverTwoSessions(t *testing.T) {
	one, two := newFake(t), newFake(t)
	e := newEdge(t, quick, one.url(), two.url())
	p, sessions, l := pairOnOne(e, one)
	l.write(append(frameOf(0, rtpOf(1, 10, 3, key)), frameOf(2, rtpOf(2, 20, 3, key))...))
	p.wantFrame(0, rtpOf(1, 10, 3, key))
	p.wantFrame(2, rtpOf(2, 20, 3, key))
	l.reset()
	l2 := two.accept()
	l2.describe(2)
	ids, at := map[string]string{}, map[string]byte{} // of tracks
	for n := range 2 {
		req := l2.setup("8" + string(rune('0'+n)))
		if req.Header.Get("Session") != "" {
			t.Errorf("a session is set up inside %s", req.Header.Get("Session"))
		}
		track := req.URL[strings.LastIndex(req.URL, "/"):]
		ids[track] = "8" + string(rune('0'+n))
		at[track] = byte(parseTransports(req.Header.Get("Transport"))[0].interleaved[0])
	}
	if len(ids) != 2 {
		t.Fatalf("tracks %v are set up", ids)
	}
	for range 2 {
		l2.play()
	}
	l2.write(append(frameOf(at["/trackID=0"], rtpOf(5, 50, 3, key)), frameOf(at["/trackID=1"], rtpOf(6, 60, 3, key))...))
	for _, want := range []struct {
		channel byte
		ssrc    uint32
		seq     uint16
	}{{0, 1, 11}, {2, 2, 21}} {
		if ch, pkt := p.frame(); ch != want.channel || string(pkt[8:12]) != string(rtpOf(want.ssrc, 0, 0, key)[8:12]) || pkt[3] != byte(want.seq) {
			t.Errorf("channel %d: %x, want %+v", ch, pkt, want)
		}
	}
	for n, s := range sessions {
		p.session = s
		p.send("TEARDOWN", "")
		req := l2.request("TEARDOWN")
		if want := ids["/trackID="+string(rune('0'+n))]; req.Header.Get("Session") != want {
			t.Errorf("session %d ends as %s, want %s", n, req.Header.Get("Session"), want)
		}
		l2.reply(req, 200, "")
		p.want(200)
	}
	proxytest.Eventually(t, soon, "the places are free", func() bool { return e.places() == 0 })
}

// TestFailoverTwoSessionsNot: where one of them cannot move, neither does, and what
// the next origin has of them is ended there.
func TestFailoverTwoSessionsNot(t *testing.T) {
	t.Parallel() // it mostly waits
	f := func(what string, next func(*fakeLink)) {
		t.Helper()
		one, two := newFake(t), newFake(t)
		e := newEdge(t, quick, one.url(), two.url())
		p, _, l := pairOnOne(e, one)
		l.reset()
		l2 := two.accept()
		l2.describe(2)
		next(l2)
		l2.wantEnd()
		p.wantEnd()
		proxytest.Eventually(t, soon, what+": the places are free", func() bool { return e.places() == 0 })
	}
	f("the second is refused", func(l *fakeLink) {
		l.setup("80")
		l.reply(l.request("SETUP"), 453, "")
		if got := l.request("TEARDOWN").Header.Get("Session"); got != "80" {
			t.Errorf("session %s is ended", got)
		}
	})
	f("both have one name", func(l *fakeLink) {
		l.setup("80")
		l.setup("80")
		l.request("TEARDOWN")
	})
	f("the second does not play", func(l *fakeLink) {
		l.setup("80")
		l.setup("81")
		l.play()
		l.reply(l.request("PLAY"), 453, "")
	})
}
