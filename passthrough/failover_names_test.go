package passthrough

import (
	"strings"
	"testing"
)

// renamed has an origin name its tracks and number its payload types in a way of its own.
var renamed = strings.NewReplacer("trackID=", "streamid=", "AVP 96", "AVP 100 101", ":96", ":100")

// TestFailoverNames: an origin that calls tracks and payload types otherwise goes on with a
// session, and its viewer uses the names he knows; also for what he asks for later, and
// with the origin after that.
func TestFailoverNames(t *testing.T) {
	one, two := newFake(t), newFake(t)
	e := newEdge(t, quick, one.url(), two.url())
	p := e.dial("/cam")
	p.send("DESCRIBE", "")
	l := one.accept()
	l.describe(2)
	p.want(200)
	p.send("SETUP", "/trackID=0", "Transport", overTCP)
	l.setup("77;timeout=60")
	p.setUp(p.want(200))
	p.send("PLAY", "")
	l.play()
	p.want(200)
	l.write(frameOf(0, rtpOf(7, 100, 1000, key)))
	p.wantPacket(7, 100)
	l.reset()

	l2 := two.accept()
	l2.reply(l2.request("DESCRIBE"), 200, renamed.Replace(description(2)), "Content-Type", "application/sdp", "Content-Base", "rtsp://198.51.100.7/there/")
	wantURL := func(got, want string) {
		t.Helper()
		if got != want {
			t.Errorf("the origin is asked for %s, want %s", got, want)
		}
	}
	const first, second = "rtsp://198.51.100.7/there/streamid=0", "rtsp://198.51.100.7/there/streamid=1"
	wantURL(l2.setup("88;timeout=60").URL, first)
	l2.play()
	e.wantAt(two)
	from := func(pt byte, seq uint16) []byte {
		b := rtpOf(9, seq, 5000, key)
		b[1] = b[1]&0x80 | pt
		return frameOf(0, b)
	}
	l2.write(append(from(101, 1), from(100, 2)...)) // of 101 the viewer knows nothing
	if pkt := p.wantPacket(7, 101); pkt[1] != 0x80|96 {
		t.Errorf("payload type %d, and marker: %x", pkt[1]&0x7f, pkt[1])
	}

	p.send("SETUP", "/trackID=1", "Transport", "RTP/AVP/TCP;unicast;interleaved=2-3")
	wantURL(l2.setup("88;timeout=60").URL, second)
	p.want(200)
	p.send("PLAY", "")
	req := l2.request("PLAY")
	l2.reply(req, 200, "", "Session", "88", "RTP-Info", "url="+first+";seq=3;rtptime=8000,url="+second+";seq=1;rtptime=5")
	if got := p.want(200).Header.Get("RTP-Info"); strings.Contains(got, "streamid") || !strings.Contains(got, "/cam/trackID=0;seq=102") || !strings.Contains(got, "/cam/trackID=1") {
		t.Errorf("RTP-Info: %s", got)
	}
	b := rtpOf(11, 1, 5, key)
	b[1] = 100
	l2.write(frameOf(2, b))
	if _, pkt := p.frame(); pkt[1] != 96 {
		t.Errorf("payload type %d of a track that was set up later", pkt[1])
	}

	l2.reset()
	l = one.accept()
	l.describe(2)
	wantURL(l.setup("99").URL, p.url+"/trackID=0")
	wantURL(l.setup("99").URL, p.url+"/trackID=1")
	l.play()
	e.wantAt(one)
	l.write(frameOf(0, rtpOf(13, 1000, 1, key)))
	if pkt := p.wantPacket(7, 102); pkt[1] != 0x80|96 {
		t.Errorf("back at the first: payload type %d", pkt[1]&0x7f)
	}
}
