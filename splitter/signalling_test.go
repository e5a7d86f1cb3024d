package splitter_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"weir/proxy"
	"weir/proxy/front"
	"weir/proxy/origintest"
	"weir/proxy/proxytest"
	"weir/proxy/wire"
)

// Live is where everybody is, whatever Range, Scale and Speed were asked for.
func TestPlayIsLive(t *testing.T) {
	origin := newOrigin(t, origintest.Options{})
	e := newEdge(t, edgeOptions(), balancer(t, origin.URL()))
	watch(t, e.url+clock, "tcp").more(t, 0, 30)
	f := func(want string, fields ...string) {
		t.Helper()
		c := talk(t, e)
		id := sessionID(c.ask("SETUP", e.url+clock+"/trackID=0", overTCP))
		res := c.ask("PLAY", e.url+clock+"/", append(fields, id)...)
		got := fmt.Sprintf("%d %s %s %s", res.Code, res.Header.Get("Range"), res.Header.Get("Scale"), res.Header.Get("Speed"))
		if strings.TrimSpace(got) != want {
			t.Errorf("PLAY with %q: %q, want %q", fields, got, want)
		}
		if info := res.Header.Get("RTP-Info"); !strings.Contains(info, ";seq=") || !strings.Contains(info, ";rtptime=") {
			t.Errorf("PLAY with %q: RTP-Info %q", fields, info)
		}
		if frames, _ := channels(c.r, 10); frames[0] < 9 {
			t.Errorf("PLAY with %q plays %v", fields, frames)
		}
	}
	f("200 npt=now-")
	for _, r := range []string{"npt=0-", "npt=now-", "npt=0.000-", "npt=0.000-0.000", "npt=0.0-7.5", "npt=-5", "npt=12:05:35.3-", "clock=19961108T143720.25Z-", "smpte=10:07:33-",
		"smpte-30-drop=0:10:20-;time=19970123T153600Z", "nonsense", "npt=", "="} {
		f("200 npt=now-", "Range: "+r)
	}
	f("200 npt=now- 1.0", "Scale: 2.0")
	f("200 npt=now- 1.0 1.0", "scale: 1", "Speed: 0.5", "Range: npt=0-")
	f("200 npt=now-  1.0", "Speed: 1.000")
}

// What a viewer writes of tokens and credentials into his URLs is not said again.
func TestTokensAreNotSaidAgain(t *testing.T) {
	origin := newOrigin(t, origintest.Options{})
	e := newEdge(t, edgeOptions(), balancer(t, origin.URL()))
	host := strings.TrimPrefix(e.url, "rtsp://")
	f := func(describe, setup, base, info string) {
		t.Helper()
		c := talk(t, e)
		d := c.ask("DESCRIBE", "rtsp://"+describe)
		if got := d.Header.Get("Content-Base"); got != e.url+base {
			t.Errorf("%s: Content-Base %q, want %q", describe, got, e.url+base)
		}
		s := c.ask("SETUP", "rtsp://"+setup, overTCP)
		p := c.ask("PLAY", "rtsp://"+describe, sessionID(s))
		if got := p.Header.Get("RTP-Info"); !strings.HasPrefix(got+";", "url="+e.url+info+";") {
			t.Errorf("%s: RTP-Info %q, want %q", setup, got, e.url+info)
		}
		for _, res := range []*wire.Response{d, s, p} {
			if strings.Contains(string(res.Raw), "secret") {
				t.Errorf("a secret is in %q", res.Raw)
			}
		}
	}
	const path = "/live/clock"
	f(host+path, host+path+"/trackID=1", path+"/", path+"/trackID=1")
	f(host+path+"?token=secret", host+path+"/trackID=1?token=secret", path+"/", path+"/trackID=1")
	f(host+path+"?token=secret", host+path+"?token=secret/trackID=1", path+"/", path+"/trackID=1")
	f(host+path+"/?token=secret/", host+path+"/?token=secret/trackID=1", path+"/", path+"/trackID=1")
	f("u:secret@"+host+path, "u:secret@"+host+path+"/trackID=0", path+"/", path+"/trackID=0")
	f("u@secret@"+host+path, "u@secret@"+host+path+"/trackID=0", path+"/", path+"/trackID=0")
	f(host+"//live//clock//", host+"//live//clock/./trackID=0", "//live//clock/", "//live//clock/./trackID=0")
	f(host+"/live/%63lock", host+"/live/%63lock/trackID=0", "/live/%63lock/", "/live/%63lock/trackID=0")
}

// One track needs no name in SETUP, as ffmpeg has it with MPEG-TS.
func TestOnlyTrack(t *testing.T) {
	origin := newOrigin(t, origintest.Options{})
	e := newEdge(t, edgeOptions(), balancer(t, origin.URL()))
	for _, end := range []string{"", "/", "?x", "?x/", "/trackID=0"} {
		c := talk(t, e)
		id := sessionID(c.ask("SETUP", e.url+"/live/video"+end, "Transport: RTP/AVP/TCP;unicast"))
		if res := c.ask("PLAY", e.url+"/live/video"+end, id); res.Code != 200 {
			t.Errorf("%q: PLAY answered %d", end, res.Code)
		}
		if frames, others := channels(c.r, 5); frames[0] < 4 && frames[6] == 0 {
			t.Errorf("%q: frames %v, others %v", end, frames, others)
		}
	}
}

// Every answer to SETUP names the time-out, and a viewer over TCP who sends nothing
// but reads stays long after connections without traffic have been closed; one who
// has paused does not, and one whose requests come in time does.
func TestLiveness(t *testing.T) {
	const idle = 400 * time.Millisecond
	origin := newOrigin(t, origintest.Options{})
	e := newEdge(t, edgeOptions(), balancer(t, origin.URL()))
	watch(t, e.url+clock, "tcp").more(t, 0, 30) // a key frame is at hand
	door, err := front.New(front.Config{Options: front.Options{RTSP: "127.0.0.1:0", FirstByte: 5 * time.Second, Idle: idle},
		Handler: e.Splitter, Gate: proxy.Open, Metrics: prometheus.NewRegistry(), Log: proxytest.Logger(t)})
	if err != nil {
		t.Fatal(err)
	}
	background(t, door.Run)
	short := *e
	short.url = "rtsp://" + door.RTSPAddr().String()
	play := func() (*talker, string) {
		t.Helper()
		c := talk(t, &short)
		res := c.ask("SETUP", short.url+clock+"/trackID=0", overTCP)
		if s := res.Header.Get("Session"); !strings.HasSuffix(s, ";timeout=60") {
			t.Errorf("Session: %q", s)
		}
		if res := c.ask("PLAY", short.url+clock, sessionID(res)); res.Code != 200 {
			t.Fatalf("PLAY answered %d", res.Code)
		}
		return c, sessionID(res)
	}
	silent, _ := play()
	for start := time.Now(); time.Since(start) < 4*idle; {
		if _, err := silent.r.Next(); err != nil {
			t.Fatalf("a viewer who reads was closed after %v: %v", time.Since(start), err)
		}
	}
	pinging, id := play()
	pinging.ask("PAUSE", short.url+clock, id)
	tick := time.NewTicker(idle / 4)
	defer tick.Stop()
	for range 12 {
		<-tick.C
		if res := pinging.ask("GET_PARAMETER", short.url+clock, id); res.Code != 200 {
			t.Fatalf("a paused viewer who asks was answered %d", res.Code)
		}
	}
	for paused := time.Now(); ; {
		if _, err := pinging.r.Next(); err != nil {
			if d := time.Since(paused); d < idle/2 {
				t.Errorf("closed %v after its last request: %v", d, err)
			}
			break
		}
	}
	proxytest.Eventually(t, 2*time.Second, "its session is over", func() bool { return len(e.feed(clock).Viewers) == 2 })
}

// A second PLAY is answered like the first and changes nothing: no burst again, no gap.
func TestSecondPlay(t *testing.T) {
	origin := newOrigin(t, origintest.Options{})
	e := newEdge(t, edgeOptions(), balancer(t, origin.URL()))
	c := talk(t, e)
	id := sessionID(c.ask("SETUP", e.url+clock+"/trackID=0", overTCP))
	first := c.ask("PLAY", e.url+clock, id)
	next := uint16(0)
	for n := range 60 {
		if n%10 == 9 {
			c.cseq++
			c.Write([]byte(request("PLAY", e.url+clock, fmt.Sprint("CSeq: ", c.cseq), id, "Range: npt=now-"))) //nolint:errcheck // the read says it
		}
		switch m, err := c.r.Next(); m := m.(type) {
		case *wire.Frame:
			if m.Channel != 0 {
				continue
			}
			p := parse(m.Payload)
			if next != 0 && p.seq != next {
				t.Fatalf("packet %d after %d", p.seq, next-1)
			}
			next = p.seq + 1
		case *wire.Response:
			if m.Code != 200 || m.Header.Get("RTP-Info") != first.Header.Get("RTP-Info") {
				t.Errorf("a second PLAY is answered %q, the first %q", m.Raw, first.Raw)
			}
		default:
			t.Fatal(err)
		}
	}
}

// Refusals by the gate and by the edge's state, with the codes that RFC 2326 and the
// table of reasons have for them.
func TestSetupRefusedByTheGate(t *testing.T) {
	origin := newOrigin(t, origintest.Options{})
	f := func(reason proxy.Reason, want int) {
		t.Helper()
		e := newEdgeWith(t, edgeOptions(), balancer(t, origin.URL()), &proxytest.Gate{RefuseAdmit: &proxy.Refusal{Reason: reason, RetryAfter: 3 * time.Second}})
		c := talk(t, e)
		res := c.ask("SETUP", e.url+clock+"/trackID=0", overTCP)
		if res.Code != want || res.Header.Get("Retry-After") != "3" || res.Header.Get("Session") != "" {
			t.Errorf("%s: %q, want %d", reason, res.Raw, want)
		}
		if res := c.ask("OPTIONS", e.url+clock); res.Code != 200 {
			t.Errorf("%s: the connection does not go on: %d", reason, res.Code)
		}
	}
	f(proxy.Full, 453)
	f(proxy.NoBandwidth, 453)
	f(proxy.TooMany, 453)
	f(proxy.Overloaded, 503)
	f(proxy.Draining, 503)
	f(proxy.Forbidden, 403)
}
