package passthrough

import (
	"bytes"
	"math/rand/v2"
	"net"
	"strings"
	"testing"
	"time"

	"weir/proxy/wire"
)

// TestMediaUnchanged: all frames arrive, in order, byte by byte, with messages
// between them, however they are cut on the way.
func TestMediaUnchanged(t *testing.T) {
	for _, beat := range []time.Duration{0, 5 * time.Millisecond, 40 * time.Millisecond} {
		t.Run(beat.String(), func(t *testing.T) {
			o := quick
			o.Beat = beat
			f := newFake(t)
			p, l := staged(newEdge(t, o, f.url()), f, "/cam", overTCP)
			r := rand.New(rand.NewPCG(1, uint64(beat)))
			var sent [][]byte
			var stream []byte
			for n := range 300 {
				payload := randomPayload(r, n)
				sent = append(sent, payload)
				stream = append(stream, frameOf(byte(n%2), payload)...)
				switch r.IntN(8) {
				case 0:
					stream = append(stream, "\r\n"...)
				case 1:
					stream = append(stream, "RTSP/1.0 200 OK\r\nCSeq: nobody's\r\nContent-Length: 3\r\n\r\n$$$"...)
				case 2:
					stream = append(stream, frameOf(9, payload)...) // a channel that was not set up
				}
			}
			go scatter(l.c, stream, r)
			for n, payload := range sent {
				p.wantFrame(byte(n%2), payload)
			}
		})
	}
}

// randomPayload is of a packet's size mostly; now and then one is as large or as
// small as can be.
func randomPayload(r *rand.Rand, n int) []byte {
	size := r.IntN(1500)
	switch n % 50 {
	case 7:
		size = 0
	case 20:
		size = 65535
	case 40:
		size = r.IntN(65536)
	}
	b := make([]byte, size)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

// scatter writes in pieces of any size, and closes.
func scatter(c net.Conn, b []byte, r *rand.Rand) {
	defer c.Close()
	for len(b) > 0 {
		n := min(len(b), 1+r.IntN(1<<r.IntN(18)))
		if _, err := c.Write(b[:n]); err != nil {
			return
		}
		b = b[n:]
	}
}

// TestMediaChannels: the viewer's numbers hold, whatever the origin chooses, for
// one track, and for two that have changed places.
func TestMediaChannels(t *testing.T) {
	f := newFake(t)
	e := newEdge(t, quick, f.url())
	p := e.dial("/cam")
	p.send("SETUP", "/trackID=0", "Transport", "RTP/AVP/TCP;unicast;interleaved=10-11")
	l := f.accept()
	l.reply(l.request("SETUP"), 200, "", "Session", "77", "Transport", "RTP/AVP/TCP;unicast;interleaved=2-3")
	if got := p.setUp(p.want(200)).Header.Get("Transport"); got != "RTP/AVP/TCP;unicast;interleaved=10-11" {
		t.Errorf("Transport %s", got)
	}
	p.send("SETUP", "/trackID=1", "Transport", "RTP/AVP/TCP;unicast;interleaved=2-3")
	req := l.request("SETUP")
	if got := req.Header.Get("Transport"); !strings.HasSuffix(got, "interleaved=0-1") {
		t.Errorf("the origin is offered %s, though 2 and 3 are taken there", got)
	}
	l.reply(req, 200, "", "Session", "77", "Transport", "RTP/AVP/TCP;unicast;interleaved=10-11")
	p.want(200)
	p.send("PLAY", "")
	l.play()
	p.want(200)
	l.write(bytes.Join([][]byte{frameOf(2, []byte("a")), frameOf(10, []byte("b")), frameOf(3, []byte("c")), frameOf(11, []byte("d")), frameOf(0, []byte("e")), frameOf(2, nil)}, nil))
	p.wantFrame(10, []byte("a"))
	p.wantFrame(2, []byte("b"))
	p.wantFrame(11, []byte("c"))
	p.wantFrame(3, []byte("d"))
	p.wantFrame(10, nil)

	p.write(string(bytes.Join([][]byte{frameOf(2, []byte("B")), frameOf(99, []byte("?")), frameOf(11, []byte("C"))}, nil)))
	for _, want := range []string{"\x0aB", "\x03C"} {
		if got := l.frame(); string(got) != want {
			t.Errorf("the origin hears %q, want %q", got, want)
		}
	}
}

// TestMediaSameChannels: a viewer who wants the same numbers twice gets others.
func TestMediaSameChannels(t *testing.T) {
	f := newFake(t)
	e := newEdge(t, quick, f.url())
	p, l := staged(e, f, "/cam", overTCP)
	p.send("SETUP", "/trackID=1", "Transport", overTCP)
	l.setup("77")
	if got := p.want(200).Header.Get("Transport"); !strings.HasPrefix(got, "RTP/AVP/TCP;unicast;interleaved=2-3") {
		t.Errorf("Transport %s", got)
	}
}

// TestMediaUpward: what the viewer sends reaches the origin while it plays, and
// only then.
func TestMediaUpward(t *testing.T) {
	f := newFake(t)
	e := newEdge(t, quick, f.url())
	p := e.dial("/cam")
	p.send("SETUP", "/trackID=0", "Transport", overTCP)
	l := f.accept()
	l.setup("77")
	p.setUp(p.want(200))
	p.write(string(frameOf(1, []byte("before PLAY"))))
	p.send("PLAY", "")
	l.play()
	p.want(200)
	speech := bytes.Repeat([]byte("hello"), 13000)
	p.write(string(frameOf(0, speech)))
	if got := l.frame(); got[0] != 0 || !bytes.Equal(got[1:], speech) {
		t.Errorf("the origin hears %d bytes on %d", len(got)-1, got[0])
	}
	p.write("PAUSE " + p.url + " RTSP/1.0\r\nCSeq: 3\r\nSession: " + p.session + "\r\n\r\n" + string(frameOf(1, []byte("paused"))))
	l.reply(l.request("PAUSE"), 200, "")
	p.answer()
	p.cseq = 3
	p.send("GET_PARAMETER", "")
	l.reply(l.request("GET_PARAMETER"), 200, "")
	p.want(200)
	if len(l.frames) > 0 {
		t.Errorf("the origin hears %q", l.frames)
	}
}

// TestMediaAfterTeardown: the connection can be used for another session; what
// still comes of the old one is nobody's.
func TestMediaAfterTeardown(t *testing.T) {
	f := newFake(t)
	e := newEdge(t, quick, f.url())
	p, l := staged(e, f, "/cam", overTCP)
	p.send("TEARDOWN", "")
	req := l.request("TEARDOWN")
	l.write(frameOf(0, []byte("last")))
	l.reply(req, 200, "")
	p.want(200)
	p.wantFrame(0, []byte("last"))
	l.write(frameOf(0, []byte("too late")))
	p.session = ""
	p.send("SETUP", "/trackID=0", "Transport", "RTP/AVP/TCP;unicast;interleaved=4-5")
	l.setup("78")
	p.setUp(p.want(200))
	p.send("PLAY", "")
	l.play()
	p.want(200)
	l.write(frameOf(4, []byte("new")))
	p.wantFrame(4, []byte("new"))
}

// TestMediaEnd: the end is noticed with the next beat, behind the last frame; and
// at once by who waits for media that does not come.
func TestMediaEnd(t *testing.T) {
	o := quick
	o.Beat = 200 * time.Millisecond
	f := newFake(t)
	e := newEdge(t, o, f.url())
	p, l := staged(e, f, "/cam", overTCP)
	began := time.Now()
	last := bytes.Repeat([]byte("x"), 60000)
	l.write(frameOf(0, last))
	l.c.Close()
	p.wantFrame(0, last)
	p.wantEnd()
	if took := time.Since(began); took > 4*o.Beat {
		t.Errorf("the end was noticed after %v", took)
	}
}

// TestRoutes: routes that are handed out do not change.
func TestRoutes(t *testing.T) {
	s, other := &session{}, &session{}
	a := &track{s: s, viewer: [2]int{4, 5}}
	a.way.Store(&way{channels: [2]int{0, 1}})
	b := &track{s: other, viewer: [2]int{6, 7}}
	b.way.Store(&way{channels: [2]int{2, 3}})
	none := newRoutes()
	one := none.with(a)
	two := one.with(b)
	left := two.without(s)
	f := func(r *routes, up4, up6 int16, down0, down2 *track) {
		t.Helper()
		if r.up[4] != up4 || r.up[6] != up6 || r.down[0].t != down0 || r.down[2].t != down2 {
			t.Errorf("up %d, %d, down %p, %p", r.up[4], r.up[6], r.down[0].t, r.down[2].t)
		}
	}
	f(none, -1, -1, nil, nil)
	f(one, 0, -1, a, nil)
	f(two, 0, 2, a, b)
	f(left, -1, 2, nil, b)
}

// TestMediaLargeMessage: a description as large as can be, in the middle of media.
func TestMediaLargeMessage(t *testing.T) {
	f := newFake(t)
	e := newEdge(t, quick, f.url())
	p, l := staged(e, f, "/cam", overTCP)
	p.send("GET_PARAMETER", "")
	req := l.request("GET_PARAMETER")
	l.write(frameOf(0, []byte("before")))
	body := strings.Repeat("$", wire.MaxBody)
	l.reply(req, 200, body)
	l.write(frameOf(0, []byte("behind")))
	if res := p.want(200); string(res.Body) != body {
		t.Errorf("body of %d bytes, want %d", len(res.Body), len(body))
	}
	p.wantFrame(0, []byte("before"))
	p.wantFrame(0, []byte("behind"))
}
