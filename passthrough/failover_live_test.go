package passthrough

import (
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"testing"
	"time"

	"weir/proxy/origintest"
	"weir/proxy/proxytest"
	"weir/proxy/rtp"
)

// A follower checks, packet by packet, that a track goes on: one SSRC, numbers
// that follow one another, time stamps that do not go back by more than pictures
// out of order may.
type follower struct {
	t       *testing.T
	what    string
	started bool
	ssrc    uint32
	seq     uint16
	ts      uint32
	lost    int
	packets int
	at      time.Time     // the last packet
	gap     time.Duration // the longest
	jump    uint32        // the largest step of time stamps
}

func (f *follower) packet(pkt []byte) {
	f.t.Helper()
	now := time.Now()
	ssrc, seq, ts := rtp.SSRC(pkt), rtp.Seq(pkt), rtp.Timestamp(pkt)
	if f.started {
		if ssrc != f.ssrc {
			f.t.Fatalf("%s: SSRC %08x after %08x", f.what, ssrc, f.ssrc)
		}
		if step := int16(seq - f.seq); step < 1 {
			f.t.Fatalf("%s: number %d after %d", f.what, seq, f.seq)
		} else {
			f.lost += int(step) - 1
		}
		if int32(ts-f.ts) < 0 {
			f.t.Fatalf("%s: time stamp %d after %d", f.what, ts, f.ts)
		}
		f.jump = max(f.jump, ts-f.ts)
		f.gap = max(f.gap, now.Sub(f.at))
	}
	f.started, f.ssrc, f.seq, f.ts, f.at = true, ssrc, seq, ts, now
	f.packets++
}

// following is followers of both tracks of the clip, on channels 0 and 2.
func following(t *testing.T) map[byte]*follower {
	return map[byte]*follower{0: {t: t, what: "video"}, 2: {t: t, what: "audio"}}
}

// take takes frames until done says so.
func (p *player) take(fs map[byte]*follower, done func() bool) {
	p.t.Helper()
	end := time.Now().Add(soon)
	for !done() {
		ch, pkt := p.frame()
		if f := fs[ch]; f != nil {
			f.packet(pkt)
		}
		if time.Now().After(end) {
			p.t.Fatal("it does not come to that")
		}
	}
}

// watchBoth plays both tracks of a stream.
func (p *player) watchBoth() *player {
	p.t.Helper()
	p.ask(200, "DESCRIBE", "")
	p.setUp(p.ask(200, "SETUP", "/trackID=0", "Transport", "RTP/AVP/TCP;unicast;interleaved=0-1"))
	p.ask(200, "SETUP", "/trackID=1", "Transport", "RTP/AVP/TCP;unicast;interleaved=2-3")
	p.ask(200, "PLAY", "", "Range", "npt=0-")
	return p
}

// pairOf is two origins with the same clip, one of which has the edge's next
// session.
func pairOf(t *testing.T) (one, two *origintest.Origin) {
	return testOrigin(t, "", ""), testOrigin(t, "", "")
}

// playing finds the one of two origins that somebody watches.
func playing(t *testing.T, one, two *origintest.Origin) (at, other *origintest.Origin) {
	t.Helper()
	switch a, b := one.Counts().Playing, two.Counts().Playing; {
	case a == 1 && b == 0:
		return one, two
	case a == 0 && b == 1:
		return two, one
	default:
		t.Fatalf("%d and %d play", a, b)
		return nil, nil
	}
}

// TestFailoverLive: origins die one after another, and the viewer sees a gap.
func TestFailoverLive(t *testing.T) {
	t.Parallel() // it mostly waits
	one, two := pairOf(t)
	e := newEdge(t, quick, one.URL(), two.URL())
	p := e.dial("/live/clock").watchBoth()
	fs := following(t)
	for kill := range 4 {
		n := fs[0].packets
		p.take(fs, func() bool { return fs[0].packets > n+100 && fs[2].packets > 20 })
		at, other := playing(t, one, two)
		fs[0].gap, fs[2].gap = 0, 0
		at.Die()
		n, m := fs[0].packets, fs[2].packets
		p.take(fs, func() bool {
			return fs[0].packets > n+20 && fs[2].packets > m+20 && other.Counts().Playing == 1
		})
		t.Logf("kill %d: video after %v, audio after %v, steps %d and %d", kill, fs[0].gap, fs[2].gap, fs[0].jump, fs[2].jump)
		if err := at.Revive(); err != nil {
			t.Fatal(err)
		}
	}
	if fs[0].lost+fs[2].lost > 0 {
		t.Errorf("%d and %d numbers are missing", fs[0].lost, fs[2].lost)
	}
	if n := e.places(); n != 1 {
		t.Errorf("%d places, want 1", n)
	}
	p.ask(200, "GET_PARAMETER", "")
	p.ask(200, "TEARDOWN", "")
	proxytest.Eventually(t, soon, "the place is free", func() bool { return e.places() == 0 })
}

// TestFailoverTLS: from one origin behind TLS to another.
func TestFailoverTLS(t *testing.T) {
	cert := serverCert(t)
	behind := func() *origintest.Origin {
		return startOrigin(t, origintest.Options{Addr: "127.0.0.1:0", TLS: &tls.Config{Certificates: []tls.Certificate{cert}}})
	}
	sum := sha256.Sum256(cert.Certificate[0])
	pin := "#fingerprint=" + hex.EncodeToString(sum[:])
	one, two := behind(), behind()
	e := newEdge(t, quick, one.URL()+pin, two.URL()+pin)
	p := e.dial("/live/clock").watchBoth()
	fs := following(t)
	p.take(fs, func() bool { return fs[0].packets > 50 && fs[2].packets > 10 })
	at, other := playing(t, one, two)
	at.Die()
	n, m := fs[0].packets, fs[2].packets
	p.take(fs, func() bool {
		return fs[0].packets > n+20 && fs[2].packets > m+20 && other.Counts().Playing == 1
	})
	if fs[0].lost+fs[2].lost > 0 {
		t.Errorf("%d and %d numbers are missing", fs[0].lost, fs[2].lost)
	}
}

// TestFailoverBeforeTheFirst: an origin dies when it has said what it will send, and has
// sent nothing: the viewer gets what he was told of.
func TestFailoverBeforeTheFirst(t *testing.T) {
	one, two := newFake(t), newFake(t)
	e := newEdge(t, quick, one.url(), two.url())
	p := e.dial("/cam")
	p.send("DESCRIBE", "")
	l := one.accept()
	l.describe(1)
	p.want(200)
	p.send("SETUP", "/trackID=0", "Transport", overTCP)
	l.setup("77") // of SSRC 1
	p.setUp(p.want(200))
	p.send("PLAY", "")
	l.playAs("npt=now-", 300, 5000)
	p.want(200)
	l.reset()
	l2, _ := two.takesOver(true)
	l2.write(frameOf(0, rtpOf(0xbbbb, 9, 70, params)))
	pkt := p.wantPacket(1, 300)
	if ts := stamp(pkt); ts <= 5000 || ts > 5000+90_000*60 {
		t.Errorf("time stamp %d, want one soon after 5000", ts)
	}
}

// TestFailoverSilent: an origin that plays and has gone silent is left for another,
// once.
func TestFailoverSilent(t *testing.T) {
	t.Parallel() // it mostly waits
	one, two := pairOf(t)
	e := newEdge(t, quick, one.URL(), two.URL())
	p := e.dial("/live/clock").watchBoth()
	fs := following(t)
	p.take(fs, func() bool { return fs[0].packets > 50 })
	at, other := playing(t, one, two)
	at.Stall(true)
	n, m := fs[0].packets, fs[2].packets
	p.take(fs, func() bool { return other.Counts().Playing == 1 && fs[0].packets > n+50 && fs[2].packets > m+20 })
	t.Logf("video after %v, audio after %v", fs[0].gap, fs[2].gap)
	if fs[0].gap < quietLimit {
		t.Errorf("the origin is left after %v of silence", fs[0].gap)
	}
	if n := at.Counts().Playing; n != 0 {
		t.Errorf("%d still play at the origin that was left", n)
	}
	if n := fs[0].lost + fs[2].lost; n > 0 {
		t.Errorf("%d numbers are missing", n)
	}
}

// TestFailoverSilentAlone: a viewer of an origin that is silent, and the only one,
// stays.
func TestFailoverSilentAlone(t *testing.T) {
	t.Parallel() // it mostly waits
	only := testOrigin(t, "", "")
	e := newEdge(t, quick, only.URL())
	p := e.dial("/live/clock").watchBoth()
	fs := following(t)
	p.take(fs, func() bool { return fs[0].packets > 50 })
	only.Stall(true)
	l := e.leg()
	proxytest.Eventually(t, soon, "another origin is looked for", func() bool { return l.patient.Load() > time.Now().Add(seekAgain/2).UnixNano() })
	only.Stall(false)
	n := fs[0].packets
	p.take(fs, func() bool { return fs[0].packets > n+50 })
	p.ask(200, "GET_PARAMETER", "")
	if n := only.Counts().Connections; n != 1 {
		t.Errorf("%d connections, want 1", n)
	}
}

// leg is that of the edge's only connection.
func (e *edge) leg() *leg {
	e.t.Helper()
	e.relay.mu.Lock()
	defer e.relay.mu.Unlock()
	for c := range e.relay.conns {
		return c.leg.Load()
	}
	e.t.Fatal("there is no connection")
	return nil
}

// TestFailoverUDP: the same for a viewer over UDP, whose connection lives, and
// for one whose connection has gone.
func TestFailoverUDP(t *testing.T) {
	t.Parallel() // it mostly waits
	for _, gone := range []bool{false, true} {
		one, two := pairOf(t)
		e := newEdge(t, quick, one.URL(), two.URL())
		p := e.dial("/live/clock")
		pair, offer := udpPair(t, "127.0.0.1")
		p.ask(200, "DESCRIBE", "")
		p.setUp(p.ask(200, "SETUP", "/trackID=0", "Transport", offer))
		p.ask(200, "PLAY", "")
		f := &follower{t: t, what: "video"}
		take := func(more int, done func() bool) {
			for n := f.packets; f.packets < n+more || !done(); {
				b := make([]byte, 2048)
				n, err := pair.RTP.Read(b)
				if err != nil {
					t.Fatal(err)
				}
				f.packet(b[:n])
			}
		}
		take(50, func() bool { return true })
		at, other := playing(t, one, two)
		if gone {
			p.c.Close()
		}
		f.gap = 0
		at.Die()
		take(50, func() bool { return other.Counts().Playing == 1 })
		t.Logf("gone %v: video after %v", gone, f.gap)
		if f.lost > 0 {
			t.Errorf("%d numbers are missing", f.lost)
		}
		if gone {
			q := e.dial("/live/clock")
			q.session = p.session
			q.ask(200, "TEARDOWN", "")
		} else {
			p.ask(200, "TEARDOWN", "")
		}
		proxytest.Eventually(t, soon, "the place is free", func() bool { return e.places() == 0 })
	}
}

// TestFailoverMute: an origin that answers nothing is passed over, and blamed.
func TestFailoverMute(t *testing.T) {
	t.Parallel() // it mostly waits
	one, two, three := newFake(t), newFake(t), newFake(t)
	e := newEdge(t, quick, one.url(), two.url(), three.url())
	_, l := staged(e, one, "/cam", overTCP)
	l.reset()
	two.accept().request("DESCRIBE")
	three.takesOver(true)
	up := e.relay.env.Upstream.(*Balancer)
	up.mu.Lock()
	defer up.mu.Unlock()
	for _, o := range up.origins[up.sites[1]] {
		if o.health.strikes == 0 {
			t.Error("the mute origin is not blamed")
		}
	}
}

// TestFailoverStops: the relay ends while a session moves.
func TestFailoverStops(t *testing.T) {
	one, two := newFake(t), newFake(t)
	e := newEdge(t, quick, one.url(), two.url())
	p, l := staged(e, one, "/cam", overTCP)
	l.reset()
	two.accept().request("DESCRIBE")
	e.drain()
	e.stop()
	p.wantEnd()
}
