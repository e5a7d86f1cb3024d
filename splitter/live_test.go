package splitter_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"weir/proxy"
	"weir/proxy/origintest"
	"weir/proxy/proxytest"
	"weir/proxy/rtp"
	"weir/proxy/viewer"
	"weir/splitter"
)

func now() time.Time { return time.Now() }

const clock = "/live/clock"

func TestMode(t *testing.T) {
	proxytest.TestMode(t, func(env proxy.Env) (proxy.Mode, error) {
		o := edgeOptions()
		o.Linger, o.Timeout = 0, 500*time.Millisecond
		return splitter.New(o, env)
	})
}

// Fifty viewers who come at once cost the origin one connection and one pull.
func TestOnePullForAll(t *testing.T) {
	origin := newOrigin(t, origintest.Options{})
	e := newEdge(t, edgeOptions(), balancer(t, origin.URL()))
	start := time.Now()
	watchers := crowd(t, 50, e.url+clock, "tcp")
	t.Logf("50 viewers were playing within %v", time.Since(start))
	more(t, watchers, 0, 10)
	if c := origin.Counts(); c.Pulls != 1 || c.Connections != 1 {
		t.Errorf("50 viewers at once: %d pulls on %d connections, want 1 on 1", c.Pulls, c.Connections)
	}
	if st := e.Status().(splitter.Status); st.Viewers != 50 {
		t.Errorf("status counts %d viewers, want 50", st.Viewers)
	}
}

// Fifty requests within ten milliseconds, before anything is known of the path:
// the origin is asked once.
func TestOneQuestionForAll(t *testing.T) {
	origin := newOrigin(t, origintest.Options{})
	e := newEdge(t, edgeOptions(), balancer(t, origin.URL()))
	conns := make([]net.Conn, 50)
	for i := range conns {
		c, err := net.Dial("tcp", strings.TrimPrefix(e.url, "rtsp://"))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		conns[i] = c
	}
	start := time.Now()
	for _, c := range conns {
		c.Write([]byte(request("DESCRIBE", e.url+clock, "CSeq: 1"))) //nolint:errcheck
	}
	if d := time.Since(start); d > 10*time.Millisecond {
		t.Logf("the requests took %v: not quite at once", d)
	}
	for _, c := range conns {
		c.SetDeadline(time.Now().Add(5 * time.Second)) //nolint:errcheck
		if a := answers(c, 1); !strings.HasPrefix(a[0], "200") {
			t.Errorf("answer %q", a)
		}
	}
	if c := origin.Counts(); c.Connections != 1 || c.Requests["DESCRIBE"] != 1 || c.Pulls != 1 {
		t.Errorf("50 requests at once: %d connections, %d questions, %d pulls, want 1 each", c.Connections, c.Requests["DESCRIBE"], c.Pulls)
	}
}

// crowd opens n viewers within the same few milliseconds.
func crowd(t *testing.T, n int, url, transport string) []*watcher {
	t.Helper()
	ws := make([]*watcher, n)
	errs := make([]error, n)
	var wg sync.WaitGroup
	for i := range ws {
		wg.Go(func() { ws[i], errs[i] = open(url, transport) })
	}
	wg.Wait()
	for _, w := range ws {
		if w != nil {
			t.Cleanup(w.leave)
		}
	}
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	return ws
}

// The origin dies under its viewers and comes back: none is disconnected, and
// SSRC, sequence numbers and time stamps go on.
func TestOriginRestart(t *testing.T) {
	for _, transport := range []string{"tcp", "udp"} {
		t.Run(transport, func(t *testing.T) {
			origin := newOrigin(t, origintest.Options{})
			e := newEdge(t, edgeOptions(), balancer(t, origin.URL()))
			watchers := crowd(t, 20, e.url+clock, transport)
			more(t, watchers, 0, 30)
			origin.Die()
			died := time.Now()
			proxytest.Eventually(t, 3*time.Second, "feed away", func() bool { return e.feed(clock).State == "away" })
			proxytest.Eventually(t, 3*time.Second, "outage", func() bool { return time.Since(died) > time.Second })
			if err := origin.Revive(); err != nil {
				t.Fatal(err)
			}
			more(t, watchers, 0, 60)
			more(t, watchers, 1, 10)
			for _, w := range watchers {
				if err := w.over(); err != nil {
					t.Errorf("viewer ended: %v", err)
				}
				for track, rate := range []float64{90000, 48000} {
					continues(t, w.received(track), rate)
				}
			}
			if c := origin.Counts(); c.Pulls != 2 {
				t.Errorf("%d pulls after one restart, want 2", c.Pulls)
			}
		})
	}
}

// continues checks that packets of a track are one stream, whatever happened
// upstream: one SSRC, no number left out, and time stamps that follow the clock.
func continues(t *testing.T, ps []packet, rate float64) {
	t.Helper()
	for i, p := range ps[1:] {
		prev := ps[i]
		if p.ssrc != prev.ssrc {
			t.Fatalf("packet %d: SSRC %08x after %08x", i+1, p.ssrc, prev.ssrc)
		}
		if p.seq != prev.seq+1 {
			t.Fatalf("packet %d: sequence number %d after %d", i+1, p.seq, prev.seq)
		}
		step := float64(int32(p.ts-prev.ts)) / rate
		if step < 0 {
			t.Fatalf("packet %d: time stamp goes back by %.3f s", i+1, -step)
		}
	}
	media := float64(int32(ps[len(ps)-1].ts-ps[0].ts)) / rate
	wall := ps[len(ps)-1].at.Sub(ps[0].at).Seconds()
	// The start burst holds up to one group of pictures, one second.
	if d := media - wall; d < -0.3 || d > 1.3 {
		t.Errorf("time stamps advanced by %.3f s in %.3f s", media, wall)
	}
}

// A new viewer gets the last key frame first, and RTP-Info says so truly.
func TestStartsAtKeyFrame(t *testing.T) {
	origin := newOrigin(t, origintest.Options{})
	e := newEdge(t, edgeOptions(), balancer(t, origin.URL()))
	watch(t, e.url+clock, "tcp").more(t, 0, 40)
	for i := range 6 {
		transport := []string{"tcp", "udp"}[i%2]
		w := watch(t, e.url+clock, transport)
		w.more(t, 0, 5)
		w.more(t, 1, 5)
		if took := w.Stats().FirstKeyAfter; took > 500*time.Millisecond {
			t.Errorf("%s: first key frame %v after the dial; the group of pictures is 1 s", transport, took)
		}
		first := w.received(0)[0]
		if !rtp.H264.IsKey(first.head) && first.head[0]&31 != 6 && first.head[0]&31 != 9 {
			t.Errorf("%s: first packet begins with NAL unit type %d, want a key frame's", transport, first.head[0]&31)
		}
		for track, tr := range w.Tracks() {
			p := w.received(track)[0]
			if tr.SSRC == nil || *tr.SSRC != p.ssrc {
				t.Errorf("%s track %d: SSRC %08x, Transport said %v", transport, track, p.ssrc, tr.SSRC)
			}
			if tr.Seq == nil || *tr.Seq != p.seq {
				t.Errorf("%s track %d: first sequence number %d, RTP-Info said %v", transport, track, p.seq, tr.Seq)
			}
		}
		if r := w.PlayResponse().Header.Get("Range"); r != "npt=now-" {
			t.Errorf("%s: Range %q in the answer to PLAY, want npt=now-", transport, r)
		}
		if tr := w.Tracks()[0]; tr.RTPTime == nil || *tr.RTPTime != first.ts {
			t.Errorf("%s: first time stamp %d, RTP-Info said %v", transport, first.ts, tr.RTPTime)
		}
		w.leave()
	}
}

// Sender reports come with the start, and relate the tracks by one clock.
func TestSenderReports(t *testing.T) {
	origin := newOrigin(t, origintest.Options{})
	e := newEdge(t, edgeOptions(), balancer(t, origin.URL()))
	watch(t, e.url+clock, "tcp").more(t, 0, 60) // the feed's clock has settled
	for _, transport := range []string{"tcp", "udp"} {
		w := watch(t, e.url+clock, transport)
		w.more(t, 0, 10)
		related(t, w)
	}
}

// The very first viewer has his reports within a second of PLAY.
func TestFirstSenderReports(t *testing.T) {
	origin := newOrigin(t, origintest.Options{})
	e := newEdge(t, edgeOptions(), balancer(t, origin.URL()))
	w := watch(t, e.url+clock, "tcp")
	w.more(t, 0, 1)
	first := time.Now()
	proxytest.Eventually(t, 3*time.Second, "reports of both tracks", func() bool { return len(w.reports()) >= 2 })
	if d := time.Since(first); d > 1200*time.Millisecond {
		t.Errorf("reports came %v after the first packet", d)
	}
	related(t, w)
}

// related checks that the reports put packets of both tracks that came together
// at about the same time of one clock.
func related(t *testing.T, w *watcher) {
	t.Helper()
	w.more(t, 1, 1)
	video, audio := w.received(0), w.received(1)
	v, a := video[len(video)-1], audio[len(audio)-1]
	rate := map[uint32]float64{v.ssrc: 90000, a.ssrc: 48000}
	at := map[uint32]func(ts uint32) time.Time{}
	for _, r := range w.reports() {
		if r[1] == 200 {
			ssrc, ntp, ref := binary.BigEndian.Uint32(r[4:]), rtp.FromNTP(binary.BigEndian.Uint64(r[8:])), binary.BigEndian.Uint32(r[16:])
			at[ssrc] = func(ts uint32) time.Time {
				return ntp.Add(time.Duration(float64(int32(ts-ref)) / rate[ssrc] * 1e9))
			}
		}
	}
	if len(at) != 2 || at[v.ssrc] == nil || at[a.ssrc] == nil {
		t.Fatalf("reports of %d tracks, want those of both", len(at))
	}
	vt, atime := at[v.ssrc](v.ts), at[a.ssrc](a.ts)
	if d := vt.Sub(atime) - v.at.Sub(a.at); d < -150*time.Millisecond || d > 150*time.Millisecond {
		t.Errorf("reports put the tracks %v apart", d)
	}
	if d := v.at.Sub(vt); d < -2*time.Second || d > 2*time.Second {
		t.Errorf("reports are %v off the clock", d)
	}
}

// The pull begins with the first viewer and ends a linger after the last.
func TestLinger(t *testing.T) {
	origin := newOrigin(t, origintest.Options{})
	o := edgeOptions()
	o.Linger = 300 * time.Millisecond
	e := newEdge(t, o, balancer(t, origin.URL()))
	if c := origin.Counts(); c.Connections != 0 {
		t.Fatalf("%d connections before the first viewer", c.Connections)
	}
	w := watch(t, e.url+clock, "tcp")
	w.more(t, 0, 60) // longer than the grace between DESCRIBE and SETUP
	w.leave()
	left := time.Now()
	proxytest.Eventually(t, 3*time.Second, "pull ended", func() bool { return origin.Counts().Playing == 0 })
	if d := time.Since(left); d < o.Linger {
		t.Errorf("pull ended %v after the last viewer, want %v", d, o.Linger)
	}
	proxytest.Eventually(t, time.Second, "connection closed", func() bool { return origin.Counts().Open == 0 })
	// And it begins anew.
	watch(t, e.url+clock, "tcp").more(t, 0, 5)
	if c := origin.Counts(); c.Pulls != 2 {
		t.Errorf("%d pulls, want 2", c.Pulls)
	}
}

// A viewer who is there within the linger finds the feed as it was.
func TestZappingBackIsFree(t *testing.T) {
	origin := newOrigin(t, origintest.Options{})
	o := edgeOptions()
	o.Linger = 5 * time.Second
	e := newEdge(t, o, balancer(t, origin.URL()))
	for range 3 {
		w := watch(t, e.url+clock, "tcp")
		w.more(t, 0, 5)
		w.leave()
	}
	if c := origin.Counts(); c.Pulls != 1 {
		t.Errorf("%d pulls for a viewer who came back twice, want 1", c.Pulls)
	}
}

// Each way in which there is nothing to see has its code, in time.
func TestRefusals(t *testing.T) {
	origin := newOrigin(t, origintest.Options{})
	mute := newOrigin(t, origintest.Options{})
	mute.Mute(true)
	locked := newOrigin(t, origintest.Options{User: "u", Password: "p"})
	f := func(what string, up proxy.Upstream, path string, want int, within time.Duration) {
		t.Helper()
		e := newEdge(t, edgeOptions(), up)
		start := time.Now()
		got := ask(t, e, 1, request("DESCRIBE", e.url+path, "CSeq: 7"))[0]
		if !strings.HasPrefix(got, fmt.Sprint(want, " ")) || !strings.Contains(got, "CSeq: 7\n") {
			t.Errorf("%s: %q, want %d", what, got, want)
		}
		if want > 500 && want != 502 && !strings.Contains(got, "Retry-After: ") {
			t.Errorf("%s: no Retry-After in %q", what, got)
		}
		if d := time.Since(start); d > within {
			t.Errorf("%s: answered after %v, want within %v", what, d, within)
		}
	}
	f("unknown path", balancer(t, origin.URL()), "/live/nothing", 404, 500*time.Millisecond)
	f("no origin", balancer(t), clock, 404, 500*time.Millisecond)
	f("dead origin", balancer(t, "rtsp://"+proxytest.ClosedAddr(t)), clock, 503, time.Second)
	f("mute origin", balancer(t, mute.URL()), clock, 504, 2500*time.Millisecond)
	f("wrong password", balancer(t, locked.URL()), clock, 502, time.Second)
	f("climbing path", balancer(t, origin.URL()), "/live/%2e%2e/clock", 400, 500*time.Millisecond)
}

// A dead origin is passed over for the next one.
func TestNextOrigin(t *testing.T) {
	origin := newOrigin(t, origintest.Options{})
	e := newEdge(t, edgeOptions(), balancer(t, "rtsp://"+proxytest.ClosedAddr(t), origin.URL()))
	watch(t, e.url+clock, "tcp").more(t, 0, 5)
}

// An unknown path asked for by many costs the origin one question.
func TestUnknownPathIsRemembered(t *testing.T) {
	origin := newOrigin(t, origintest.Options{})
	e := newEdge(t, edgeOptions(), balancer(t, origin.URL()))
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() { ask(t, e, 1, request("DESCRIBE", e.url+"/live/nothing", "CSeq: 1")) })
	}
	wg.Wait()
	if n := origin.Counts().Requests["DESCRIBE"]; n > 2 {
		t.Errorf("20 viewers of an unknown path: the origin was asked %d times", n)
	}
}

// Stored streams and back channels are the next rung's.
func TestLeavesWhatIsNotLive(t *testing.T) {
	origin := newOrigin(t, origintest.Options{})
	e := newEdge(t, edgeOptions(), balancer(t, origin.URL()))
	for range 3 {
		if got := ask(t, e, 1, request("DESCRIBE", e.url+"/vod/clip", "CSeq: 1")); !strings.HasPrefix(got[0], "299") {
			t.Errorf("stored stream: %q, want it left", got)
		}
	}
	if n := origin.Counts().Requests["DESCRIBE"]; n != 1 {
		t.Errorf("the origin was asked %d times what it is, want once", n)
	}
	got := ask(t, e, 1, request("DESCRIBE", e.url+clock, "CSeq: 1", "Require: www.onvif.org/ver20/backchannel"))
	if !strings.HasPrefix(got[0], "299") {
		t.Errorf("back channel: %q, want it left", got)
	}
	// On a connection that is ours already, the viewer has to dial again.
	if got := ask(t, e, 2, request("DESCRIBE", e.url+clock, "CSeq: 1"), request("DESCRIBE", e.url+"/vod/clip", "CSeq: 2")); len(got) != 2 || !strings.HasPrefix(got[1], "end:") {
		t.Errorf("stored stream after a live one: %q, want the connection closed", got)
	}
}

// PAUSE stops the media, PLAY goes on at the live edge with a key frame.
func TestPauseAndPlay(t *testing.T) {
	origin := newOrigin(t, origintest.Options{})
	e := newEdge(t, edgeOptions(), balancer(t, origin.URL()))
	for _, transport := range []string{"tcp", "udp"} {
		w := watch(t, e.url+clock, transport)
		w.more(t, 0, 30)
		ctx := context.Background()
		if err := w.Pause(ctx); err != nil {
			t.Fatal(err)
		}
		if st := e.feed(clock); st.Viewers[len(st.Viewers)-1].State != "paused" {
			t.Errorf("%s: state %q after PAUSE", transport, st.Viewers[len(st.Viewers)-1].State)
		}
		proxytest.Eventually(t, time.Second, "silence", func() bool {
			n := len(w.received(0))
			quiet := time.NewTimer(200 * time.Millisecond)
			<-quiet.C
			return len(w.received(0)) == n
		})
		n := len(w.received(0))
		if err := w.Play(ctx, "npt=now-"); err != nil {
			t.Fatal(err)
		}
		w.more(t, 0, 30)
		if p := w.received(0)[n]; !rtp.H264.IsKey(p.head) {
			t.Errorf("%s: PLAY after PAUSE begins with NAL unit type %d", transport, p.head[0]&31)
		}
		if err := w.Play(ctx, "npt=0-"); err != nil { // a second one changes nothing
			t.Error(err)
		}
		w.leave()
	}
}

// Publishing is refused, and the connection stays.
func TestPublishRefused(t *testing.T) {
	origin := newOrigin(t, origintest.Options{})
	e := newEdge(t, edgeOptions(), balancer(t, origin.URL()))
	got := ask(t, e, 3, request("ANNOUNCE", e.url+clock, "CSeq: 1", "Content-Type: application/sdp"),
		request("RECORD", e.url+clock, "CSeq: 2", "Session: 1"),
		request("DESCRIBE", e.url+clock, "CSeq: 3"))
	for i, want := range []string{"405", "405", "200"} {
		if i >= len(got) || !strings.HasPrefix(got[i], want) {
			t.Fatalf("answers %q, want 405, 405, 200", got)
		}
	}
}

// The description that viewers get leaks nothing of the origin.
func TestDescription(t *testing.T) {
	origin := newOrigin(t, origintest.Options{User: "cam", Password: "secret"})
	u, _ := url.Parse(origin.URL())
	u.User = url.UserPassword("cam", "secret")
	e := newEdge(t, edgeOptions(), balancer(t, u.String()))
	got := ask(t, e, 1, request("DESCRIBE", e.url+clock+"?token=abc", "CSeq: 1"))[0]
	for _, want := range []string{"200 OK", "Content-Base: " + e.url + clock + "/\n", "a=control:trackID=0", "a=control:trackID=1", "a=range:npt=now-", "sprop-parameter-sets", "Server: Weir"} {
		if !strings.Contains(got, want) {
			t.Errorf("description lacks %q:\n%s", want, got)
		}
	}
	for _, secret := range []string{u.Port(), "secret", "token", "abc"} {
		if strings.Contains(got, secret) {
			t.Errorf("description holds %q:\n%s", secret, got)
		}
	}
}

// gortsplib holds up every SETUP of GStreamer for a second; viewers of Weir do
// not notice.
func TestGStreamerIsNotHeldUp(t *testing.T) {
	origin := newOrigin(t, origintest.Options{})
	e := newEdge(t, edgeOptions(), balancer(t, origin.URL()))
	watch(t, e.url+clock, "tcp").more(t, 0, 1)
	start := time.Now()
	got := ask(t, e, 1, request("SETUP", e.url+clock+"/trackID=0", "CSeq: 1", "User-Agent: GStreamer/1.22.0", "Transport: RTP/AVP/TCP;unicast;interleaved=0-1"))[0]
	if d := time.Since(start); !strings.HasPrefix(got, "200") || d > 500*time.Millisecond {
		t.Errorf("SETUP of GStreamer took %v: %q", d, got)
	}
	if !strings.Contains(got, ";timeout=60") || !strings.Contains(got, ";ssrc=") {
		t.Errorf("SETUP over TCP without timeout or SSRC: %q", got)
	}
}

// A viewer may choose his channels, and one track only.
func TestChosenChannels(t *testing.T) {
	origin := newOrigin(t, origintest.Options{})
	e := newEdge(t, edgeOptions(), balancer(t, origin.URL()))
	c := talk(t, e)
	id := sessionID(c.ask("SETUP", e.url+clock+"/trackID=1", "Transport: RTP/AVP/TCP;unicast;interleaved=6-7"))
	c.ask("PLAY", e.url+clock, id)
	if frames, others := channels(c.r, 20); frames[6] < 15 || len(others) > 0 {
		t.Errorf("audio on channel 6 alone: got channels %v and others %v", frames, others)
	}
}

// The origin stalls without a word: it is asked again.
func TestStalledOrigin(t *testing.T) {
	origin := newOrigin(t, origintest.Options{})
	e := newEdge(t, edgeOptions(), balancer(t, origin.URL()))
	w := watch(t, e.url+clock, "tcp")
	w.more(t, 0, 10)
	origin.Stall(true)
	proxytest.Eventually(t, 4*time.Second, "feed away", func() bool { return e.feed(clock).Pulls >= 2 || e.feed(clock).State == "away" })
	origin.Stall(false)
	w.more(t, 0, 30)
	continues(t, w.received(0), 90000)
	if err := w.over(); err != nil {
		t.Errorf("viewer ended: %v", err)
	}
}

// The origin changes its SSRCs, which makes gortsplib drop all that follows.
func TestChangedSSRC(t *testing.T) {
	origin := newOrigin(t, origintest.Options{})
	e := newEdge(t, edgeOptions(), balancer(t, origin.URL()))
	w := watch(t, e.url+clock, "tcp")
	w.more(t, 0, 10)
	origin.ChangeSSRC()
	proxytest.Eventually(t, 3*time.Second, "redial", func() bool { return origin.Counts().Pulls == 2 })
	w.more(t, 0, 30)
	continues(t, w.received(0), 90000)
	if err := w.over(); err != nil {
		t.Errorf("viewer ended: %v", err)
	}
}

// Loss upstream stays visible: viewers' reports are about their own line too.
func TestUpstreamLossStaysVisible(t *testing.T) {
	origin := newOrigin(t, origintest.Options{})
	e := newEdge(t, edgeOptions(), balancer(t, origin.URL()))
	w := watch(t, e.url+clock, "tcp")
	w.more(t, 0, 10)
	origin.Lose(20)
	proxytest.Eventually(t, 5*time.Second, "loss", func() bool { return w.Stats().Lost >= 3 })
}

// After the wait, viewers of a source that stays away are let go.
func TestWait(t *testing.T) {
	origin := newOrigin(t, origintest.Options{})
	o := edgeOptions()
	o.Wait = 700 * time.Millisecond
	e := newEdge(t, o, balancer(t, origin.URL()))
	tcp, udp := watch(t, e.url+clock, "tcp"), watch(t, e.url+clock, "udp")
	tcp.more(t, 0, 10)
	udp.more(t, 0, 10)
	origin.Die()
	for _, w := range []*watcher{tcp, udp} {
		proxytest.Eventually(t, 4*time.Second, "viewer let go", func() bool { return w.over() != nil })
	}
	proxytest.Eventually(t, time.Second, "feed gone", func() bool { return e.feed(clock) == nil })
	if err := origin.Revive(); err != nil {
		t.Fatal(err)
	}
	watch(t, e.url+clock, "tcp").more(t, 0, 10)
}

// A camera behind TLS and Digest, under a path of its own.
func TestSecureSource(t *testing.T) {
	cfg, pool := selfSigned(t)
	origin := newOrigin(t, origintest.Options{TLS: cfg, User: "cam", Password: "secret"})
	u, _ := url.Parse(origin.URL())
	up := &proxytest.Upstream{DialFunc: func(ctx context.Context, w proxy.Want) (*proxy.Link, error) {
		var d net.Dialer
		c, err := d.DialContext(ctx, "tcp", u.Host)
		if err != nil {
			return nil, err
		}
		far := &url.URL{Scheme: "rtsps", User: url.UserPassword("cam", "secret"), Host: u.Host, Path: clock}
		return &proxy.Link{Conn: c, URL: far, TLS: pool, Origin: u.Host, Fail: func(error) {}}, nil
	}}
	e := newEdge(t, edgeOptions(), up)
	watch(t, e.url+"/cam/door", "tcp").more(t, 0, 10)
}

// Media may come from the origin over UDP, or by trial.
func TestPullOverUDP(t *testing.T) {
	f := func(transport string, offered bool) {
		origin := newOrigin(t, origintest.Options{UDP: offered})
		o := edgeOptions()
		o.Transport = transport
		e := newEdge(t, o, balancer(t, origin.URL()))
		w := watch(t, e.url+clock, "tcp")
		w.more(t, 0, 40)
		w.more(t, 1, 20)
		continues(t, w.received(0), 90000)
	}
	f("udp", true)
	f("auto", true)
	f("auto", false)
}

// A viewer who has gone without a word does not keep his port from the next.
func TestUDPPortIsTakenOver(t *testing.T) {
	origin := newOrigin(t, origintest.Options{})
	e := newEdge(t, edgeOptions(), balancer(t, origin.URL()))
	setup := request("SETUP", e.url+clock+"/trackID=0", "CSeq: 1", "Transport: RTP/AVP;unicast;client_port=40000-40001")
	for range 3 {
		if got := ask(t, e, 1, setup)[0]; !strings.HasPrefix(got, "200") {
			t.Fatalf("SETUP of a port that was used before: %q", got)
		}
	}
}

// A viewer that stops reading is closed after the lag, and the others lose
// nothing.
func TestSlowViewerHarmsNobody(t *testing.T) {
	origin := newOrigin(t, origintest.Options{})
	o := edgeOptions()
	o.Lag = 500 * time.Millisecond
	e := newEdge(t, o, balancer(t, origin.URL()))
	others := crowd(t, 4, e.url+clock, "tcp")
	slow := stuck(t, e)
	proxytest.Eventually(t, 20*time.Second, "stuck viewer closed", func() bool { return len(e.feed(clock).Viewers) == 4 })
	slow.Close()
	more(t, others, 0, 10)
	for _, w := range others {
		if st := w.Stats(); st.Lost > 0 || w.over() != nil {
			t.Errorf("another viewer lost %d packets (ended: %v)", st.Lost, w.over())
		}
	}
}

// stuck is a viewer with the smallest buffers who plays and reads nothing more.
func stuck(t *testing.T, e *edge) net.Conn {
	t.Helper()
	d := net.Dialer{Control: smallBuffers}
	c, err := d.Dial("tcp", strings.TrimPrefix(e.url, "rtsp://"))
	if err != nil {
		t.Fatal(err)
	}
	c.Write([]byte(request("SETUP", e.url+clock+"/trackID=0", "CSeq: 1", "Transport: RTP/AVP/TCP;unicast;interleaved=0-1"))) //nolint:errcheck
	a := answers(c, 1)[0]
	_, rest, _ := strings.Cut(a, "Session: ")
	id, _, _ := strings.Cut(rest, ";")
	c.Write([]byte(request("PLAY", e.url+clock, "CSeq: 2", "Session: "+id))) //nolint:errcheck
	return c
}

// The status names feeds and their viewers.
func TestStatusNamesViewers(t *testing.T) {
	origin := newOrigin(t, origintest.Options{})
	e := newEdge(t, edgeOptions(), balancer(t, origin.URL()))
	w, err := viewer.Open(context.Background(), viewer.Options{URL: e.url + clock, UserAgent: "a very special player"})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	st := e.feed(clock)
	if st.State != "up" || st.Tracks != "H264, mpeg4-generic" || st.Watching != 1 || st.Viewers[0].UserAgent != "a very special player" {
		t.Errorf("status %+v", st)
	}
}
