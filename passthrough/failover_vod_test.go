package passthrough

import (
	"fmt"
	"strings"
	"testing"
)

// TestFailoverStored: a viewer of a stored stream goes on from where he is, though
// the next origin may begin a little earlier.
func TestFailoverStored(t *testing.T) {
	one, two := newFake(t), newFake(t)
	e := newEdge(t, quick, one.url(), two.url())
	p := e.dial("/film")
	p.send("DESCRIBE", "")
	l := one.accept()
	l.describeAs(stored(1, "7200.000"))
	p.want(200)
	p.send("SETUP", "/trackID=0", "Transport", overTCP)
	l.setup("77")
	p.setUp(p.want(200))
	p.send("PLAY", "", "Range", "npt=60-120", "Scale", "1.0", "x-mood", "good")
	l.playAs("npt=58.000-120.000", 100, 1_000_000)
	p.want(200)
	l.write(frameOf(0, rtpOf(0xaaaa, 100, 1_000_000, params)))
	p.wantPacket(0xaaaa, 100)
	l.write(frameOf(0, rtpOf(0xaaaa, 101, 1_000_000+90_000*10, slice))) // 10 s
	last := p.wantPacket(0xaaaa, 101)
	l.reset()
	l2 := two.accept()
	l2.describeAs(stored(1, "7200.000"))
	l2.setup("88")
	if got := l2.playAs("npt=66.000-120.000", 9, 7_000_000); got != "npt=68.000-120.000" {
		t.Errorf("the next origin is asked for %s", got)
	}
	l2.write(frameOf(0, rtpOf(0xbbbb, 9, 7_000_000, params)))
	next := p.wantPacket(0xaaaa, 102)
	if step := stamp(next) - stamp(last); step <= 0 || step > 90_000*5 {
		t.Errorf("the time stamp goes on by %d", step)
	}
	l2.write(frameOf(0, rtpOf(0xbbbb, 10, 7_000_000+90_000*4, slice))) // at 70 s
	p.wantPacket(0xaaaa, 103)
	e.wantAt(two)

	// And on again, to the first, while it is paused there.
	p.send("PAUSE", "")
	l2.reply(l2.request("PAUSE"), 200, "")
	p.want(200)
	l2.reset()
	p.send("GET_PARAMETER", "")
	l3 := one.accept()
	l3.describeAs(stored(1, "7200.000"))
	l3.setup("99")
	l3.reply(l3.request("GET_PARAMETER"), 200, "")
	p.want(200)
	p.send("PLAY", "")
	if got := l3.playAs("npt=70.000-120.000", 500, 4711); got != "npt=70.000-120.000" {
		t.Errorf("the next origin is asked for %s", got)
	}
	info := p.want(200).Header.Get("RTP-Info")
	l3.write(frameOf(0, rtpOf(0xcccc, 500, 4711, params)))
	third := p.wantPacket(0xaaaa, 104)
	if want := fmt.Sprintf("seq=104;rtptime=%d", uint32(stamp(third))); !strings.HasSuffix(info, want) {
		t.Errorf("RTP-Info is %s, want %s", info, want)
	}
	if stamp(third) <= stamp(next) {
		t.Errorf("time stamps go back")
	}
}

// TestFailoverScale: a viewer who winds on goes on winding where he is.
func TestFailoverScale(t *testing.T) {
	one, two := newFake(t), newFake(t)
	e := newEdge(t, quick, one.url(), two.url())
	p := e.dial("/film")
	p.send("DESCRIBE", "")
	l := one.accept()
	l.describeAs(stored(1, "7200.000"))
	p.want(200)
	p.send("SETUP", "/trackID=0", "Transport", overTCP)
	l.setup("77")
	p.setUp(p.want(200))
	p.send("PLAY", "", "Range", "npt=60-", "Scale", "4.0")
	l.playAs("npt=60.000-7200.000", 100, 1_000_000)
	p.want(200)
	l.write(frameOf(0, rtpOf(0xaaaa, 100, 1_000_000, params)))
	p.wantPacket(0xaaaa, 100)
	l.write(frameOf(0, rtpOf(0xaaaa, 101, 1_000_000+5*90_000, slice)))
	p.wantPacket(0xaaaa, 101)
	l.reset()
	l2 := two.accept()
	l2.describeAs(stored(1, "7200.000"))
	l2.setup("88")
	req := l2.request("PLAY")
	if from, scale := req.Header.Get("Range"), req.Header.Get("Scale"); from != "npt=80.000-7200.000" || scale != "4.0" {
		t.Errorf("the next origin is asked for %s, Scale %s", from, scale)
	}
	l2.reply(req, 200, "", "Session", "88", "Range", "npt=80.000-7200.000", "Scale", "4.0")
	l2.write(frameOf(0, rtpOf(0xbbbb, 9, 7_000_000, params)))
	p.wantPacket(0xaaaa, 102)
}

// TestFailoverSought: a viewer who has sought while he was watching is where he wanted to
// be, as soon as the origin is.
func TestFailoverSought(t *testing.T) {
	f := func(reaches bool) {
		t.Helper()
		one, two := newFake(t), newFake(t)
		e := newEdge(t, quick, one.url(), two.url())
		p := e.dial("/film")
		p.send("DESCRIBE", "")
		l := one.accept()
		l.describeAs(stored(1, "7200.000"))
		p.want(200)
		p.send("SETUP", "/trackID=0", "Transport", overTCP)
		l.setup("77")
		p.setUp(p.want(200))
		p.send("PLAY", "", "Range", "npt=60-")
		l.playAs("npt=60.000-7200.000", 100, 1_000_000)
		p.want(200)
		l.write(frameOf(0, rtpOf(0xaaaa, 100, 1_000_000, params)))
		p.wantPacket(0xaaaa, 100)
		p.send("PLAY", "", "Range", "npt=3000-")
		l.playAs("npt=3000.000-7200.000", 102, 5_000_000)
		p.want(200)
		l.write(frameOf(0, rtpOf(0xaaaa, 101, 1_003_000, slice))) // is on its way yet
		p.wantPacket(0xaaaa, 101)
		if !reaches {
			l.reset()
			p.wantEnd() // nobody knows how far he would have come
			return
		}
		l.write(frameOf(0, rtpOf(0xaaaa, 102, 5_000_000, params)))
		l.write(frameOf(0, rtpOf(0xaaaa, 103, 5_000_000+2*90_000, slice)))
		p.wantPacket(0xaaaa, 102)
		p.wantPacket(0xaaaa, 103)
		l.reset()
		l2 := two.accept()
		l2.describeAs(stored(1, "7200.000"))
		l2.setup("88")
		if got := l2.playAs("npt=3002.000-7200.000", 9, 7_000_000); got != "npt=3002.000-7200.000" {
			t.Errorf("the next origin is asked for %s", got)
		}
		l2.write(frameOf(0, rtpOf(0xbbbb, 9, 7_000_000, params)))
		p.wantPacket(0xaaaa, 104)
	}
	f(true)
	f(false)
}

func stamp(pkt []byte) int64 {
	return int64(pkt[4])<<24 | int64(pkt[5])<<16 | int64(pkt[6])<<8 | int64(pkt[7])
}

// TestFailoverStoredClip: the same with origins that really play.
func TestFailoverStoredClip(t *testing.T) {
	t.Parallel() // it mostly waits
	one, two := pairOf(t)
	e := newEdge(t, quick, one.URL(), two.URL())
	p := e.dial("/vod/clip")
	p.ask(200, "DESCRIBE", "")
	p.setUp(p.ask(200, "SETUP", "/trackID=0", "Transport", "RTP/AVP/TCP;unicast;interleaved=0-1"))
	p.ask(200, "SETUP", "/trackID=1", "Transport", "RTP/AVP/TCP;unicast;interleaved=2-3")
	p.ask(200, "PLAY", "", "Range", "npt=2-")
	fs := following(t)
	p.take(fs, func() bool { return fs[0].packets > 50 })
	at, other := playing(t, one, two)
	at.Die()
	n := fs[0].packets
	p.take(fs, func() bool { return other.Counts().Playing == 1 && fs[0].packets > n+30 })
	t.Logf("video after %v, audio after %v", fs[0].gap, fs[2].gap)
	for range 4000 { // to its end, which is the viewer's
		m, err := p.in.Next()
		if err != nil {
			t.Fatal(err)
		}
		if isEnd(m) {
			return
		}
	}
	t.Error("it does not end")
}
