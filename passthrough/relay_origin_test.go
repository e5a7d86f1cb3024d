package passthrough

import (
	"context"
	"crypto/tls"
	"net"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"weir/proxy"
	"weir/proxy/origintest"
	"weir/proxy/proxytest"
)

// reset closes a connection as a process that dies does.
func (l *fakeLink) reset() {
	l.c.(*net.TCPConn).SetLinger(0) //nolint:errcheck // it has gone already, then
	l.c.Close()
}

// TestRelayNextOrigin: the viewer does not notice origins that fail before they
// have said anything.
func TestRelayNextOrigin(t *testing.T) {
	closes, resets, good := newFake(t), newFake(t), newFake(t)
	e := newEdge(t, quick, "rtsp://"+proxytest.ClosedAddr(t), closes.url(), resets.url(), good.url())
	p := e.dial("/cam")
	p.send("SETUP", "/trackID=0", "Transport", overTCP)
	closes.accept().c.Close()
	l := resets.accept()
	l.request("SETUP")
	l.reset()
	good.accept().setup("77")
	p.want(200)
	if n := e.places(); n != 1 {
		t.Errorf("%d places, want 1", n)
	}
}

// TestRelayNextOriginAuth: the next origin asks for credentials, too.
func TestRelayNextOriginAuth(t *testing.T) {
	bad := newFake(t)
	good := testOrigin(t, "u", "s3cret")
	e := newEdge(t, quick, strings.Replace(bad.url(), "//", "//u:s3cret@", 1), strings.Replace(good.URL(), "//", "//u:s3cret@", 1))
	p := e.dial("/live/clock")
	p.send("DESCRIBE", "")
	l := bad.accept()
	l.reply(l.request("DESCRIBE"), 401, "", "WWW-Authenticate", `Basic realm="x"`)
	if got := l.request("DESCRIBE").Header.Get("Authorization"); !strings.HasPrefix(got, "Basic ") {
		t.Errorf("the origin gets Authorization %q", got)
	}
	l.reset()
	p.want(200)
}

// TestRelayIdleOrigin: an origin that closes between DESCRIBE and SETUP is dialled
// again.
func TestRelayIdleOrigin(t *testing.T) {
	f := newFake(t)
	e := newEdge(t, quick, f.url())
	p := e.dial("/cam")
	p.send("DESCRIBE", "")
	l := f.accept()
	l.describe(1)
	p.want(200)
	l.c.Close()
	p.send("SETUP", "/trackID=0", "Transport", overTCP)
	f.accept().setup("77")
	p.want(200)
}

// TestRelayIdleOriginKeepsNames: what the origin has named on the connection that it
// closed is known on the next.
func TestRelayIdleOriginKeepsNames(t *testing.T) {
	f := newFake(t)
	e := newEdge(t, quick, f.url())
	p := e.dial("/cam")
	p.send("DESCRIBE", "")
	l := f.accept()
	l.reply(l.request("DESCRIBE"), 200, strings.ReplaceAll(description(1), "trackID=0", f.url()+"/elsewhere/7"), "Content-Type", "application/sdp")
	p.want(200)
	l.c.Close()
	p.send("SETUP", "rtsp://"+e.addr+"/elsewhere/7", "Transport", overTCP)
	l = f.accept()
	l.setup("77")
	p.setUp(p.want(200))
	if got := e.gate.Tickets()[0].Declared(); len(got) != 1 {
		t.Errorf("declared %v", got)
	}
	p.c.Close()
	if got := l.request("TEARDOWN").URL; got != p.url {
		t.Errorf("the origin is told to end %s, want %s", got, p.url)
	}
}

// TestRelayTLS: an origin behind TLS, at whose socket nobody can look.
func TestRelayTLS(t *testing.T) {
	cert := serverCert(t)
	o := startOrigin(t, origintest.Options{Addr: "127.0.0.1:0", TLS: &tls.Config{Certificates: []tls.Certificate{cert}}})
	addr := strings.TrimPrefix(o.URL(), "rtsps://")
	up := &proxytest.Upstream{DialFunc: func(ctx context.Context, w proxy.Want) (*proxy.Link, error) {
		c, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
		if err != nil {
			return nil, err
		}
		return &proxy.Link{Conn: c, URL: &url.URL{Scheme: "rtsps", Host: addr, Path: w.Path}, TLS: &tls.Config{InsecureSkipVerify: true}, Origin: addr, Fail: func(error) {}}, nil
	}}
	e := edgeOver(t, quick, "127.0.0.1:0", up)
	p := e.dial("/live/clock").watch()
	for range 50 {
		p.frame()
	}
	p.ask(200, "TEARDOWN", "")
	if strings.Contains(p.texts.String(), "rtsps") {
		t.Errorf("the viewer reads\n%s", p.texts.String())
	}
}

// TestRelayTLSFails: an origin with which there is no TLS makes room for the next.
func TestRelayTLSFails(t *testing.T) {
	bad, good := newFake(t), newFake(t)
	up := &proxytest.Upstream{DialFunc: func(ctx context.Context, w proxy.Want) (*proxy.Link, error) {
		f, cfg := bad, &tls.Config{InsecureSkipVerify: true}
		if slices.Contains(w.Avoid, "bad") {
			f, cfg = good, nil
		}
		c, err := (&net.Dialer{}).DialContext(ctx, "tcp", f.addr)
		if err != nil {
			return nil, err
		}
		return &proxy.Link{Conn: c, URL: &url.URL{Scheme: "rtsp", Host: f.addr, Path: w.Path}, TLS: cfg, Origin: "bad", Fail: func(error) {}}, nil
	}}
	e := edgeOver(t, quick, "127.0.0.1:0", up)
	p := e.dial("/cam")
	p.send("DESCRIBE", "")
	bad.accept().c.Close()
	good.accept().describe(1)
	p.want(200)
}

// TestRelayOriginsFail: what a viewer is told if none is left.
func TestRelayOriginsFail(t *testing.T) {
	o := quick
	o.Timeout = 200 * time.Millisecond
	fake := newFake(t)
	f := func(what string, want int, origin string, does func(*fakeLink)) *player {
		t.Helper()
		p := newEdge(t, o, origin).dial("/cam")
		p.send("DESCRIBE", "")
		if does != nil {
			l := fake.accept()
			l.request("DESCRIBE")
			does(l)
		}
		if res := p.answer(); res.Code != want || res.Header.Get("CSeq") != "1" || want != 502 && res.Header.Get("Retry-After") == "" {
			t.Errorf("%s: answered %d\n%swant %d", what, res.Code, text(res.Header), want)
		}
		return p
	}
	f("refused", 503, "rtsp://"+proxytest.ClosedAddr(t), nil)
	f("closed", 503, fake.url(), func(l *fakeLink) { l.c.Close() })
	f("silent", 504, fake.url(), func(l *fakeLink) {})
	f("nonsense", 502, fake.url(), func(l *fakeLink) { l.write([]byte("HTTP/1.1 200 OK\r\n\r\n")) })
	f("smuggling", 502, fake.url(), func(l *fakeLink) {
		l.write([]byte("RTSP/1.0 200 OK\r\nCSeq: 1\r\nContent-Length: 0\r\nContent-Length: 5\r\n\r\n"))
	})
	p := f("half an answer", 503, fake.url(), func(l *fakeLink) {
		l.write([]byte("RTSP/1.0 200 OK\r\nCSeq: 1\r\n"))
		l.c.Close()
	})
	p.send("DESCRIBE", "") // it may come again on the same connection
	fake.accept().describe(1)
	p.want(200)
}

// TestRelayOriginDies: in the middle of a session the viewer's connection ends at
// once, so that he knows.
func TestRelayOriginDies(t *testing.T) {
	o := quick
	o.Beat = 40 * time.Millisecond
	live := testOrigin(t, "", "")
	e := newEdge(t, o, live.URL())
	p := e.dial("/live/clock").watch()
	p.frame()
	_, offer := udpPair(t, "127.0.0.1")
	q := e.dial("/live/clock")
	q.setUp(q.ask(200, "SETUP", "/trackID=0", "Transport", offer))
	q.ask(200, "PLAY", "")
	live.Die()
	p.wantEnd()
	q.wantEnd()
	proxytest.Eventually(t, soon, "the places are free", func() bool { return e.places() == 0 })
	if err := live.Revive(); err != nil {
		t.Fatal(err)
	}
	e.dial("/live/clock").watch().frame()
}

// TestRelayOriginStalls: no media is no fault of the connection's; without
// answers there is one.
func TestRelayOriginStalls(t *testing.T) {
	o := quick
	o.Timeout = 300 * time.Millisecond
	live := testOrigin(t, "", "")
	e := newEdge(t, o, live.URL())
	p := e.dial("/live/clock").watch()
	live.Stall(true)
	p.ask(200, "GET_PARAMETER", "")
	live.Stall(false)
	p.frame()
	live.Mute(true)
	p.ask(504, "GET_PARAMETER", "")
	p.wantEnd()
}
