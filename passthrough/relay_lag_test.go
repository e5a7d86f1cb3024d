package passthrough

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"testing"
	"time"

	"weir/proxy/proxytest"
)

// flood sends frames until nobody takes them any more, and returns how many
// bytes that were, and whether it ended.
func flood(l *fakeLink, until time.Duration) (sent int, over bool) {
	frame := frameOf(0, make([]byte, 60000))
	l.c.SetWriteDeadline(time.Now().Add(until)) //nolint:errcheck // the write says it
	for {
		n, err := l.c.Write(frame)
		sent += n
		if err != nil {
			return sent, !errors.Is(err, os.ErrDeadlineExceeded)
		}
	}
}

// TestRelayLag: who takes nothing is closed, and his place at the origin free;
// what waits for him is bounded by what sockets hold.
func TestRelayLag(t *testing.T) {
	o := quick
	o.Lag = 400 * time.Millisecond
	f := newFake(t)
	e := newEdge(t, o, f.url())
	_, l := staged(e, f, "/cam", overTCP)
	if sent, over := flood(l, o.Lag/2); over || sent > 64<<20 {
		t.Errorf("%d bytes are held for one viewer; closed early: %v", sent, over)
	}
	if _, over := flood(l, soon); !over {
		t.Error("the origin's connection is not closed")
	}
	proxytest.Eventually(t, soon, "the place is free", func() bool { return e.places() == 0 })
}

// fill sends frames until one is not taken at once, and returns how many there
// were.
func fill(l *fakeLink, s *session) (frames int) {
	frame := frameOf(0, make([]byte, 60000))
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for taken := true; taken; {
		l.write(frame)
		frames++
		taken = false
		for n := 0; n < 100 && !taken; n++ {
			<-tick.C
			taken = s.bytes.Load() == uint64(frames*len(frame))
		}
	}
	return frames
}

// TestRelaySlowViewer: one who takes nothing for a while is no fault of the
// origin's, though its answers are not read meanwhile; he misses nothing.
func TestRelaySlowViewer(t *testing.T) {
	o := quick
	o.Timeout, o.Lag = 150*time.Millisecond, soon
	f := newFake(t)
	b := balancer(t, "-origin", f.url())
	e := edgeOver(t, o, "127.0.0.1:0", b)
	p, l := staged(e, f, "/cam", overTCP)
	frames := fill(l, e.only())
	p.send("GET_PARAMETER", "")
	l.reply(l.request("GET_PARAMETER"), 200, "")
	<-time.After(4 * o.Timeout)
	p.want(200)
	if len(p.frames) != frames {
		t.Errorf("%d frames, want %d", len(p.frames), frames)
	}
	if s := status(b)[0]; s.Failures != 0 || s.State != "up" {
		t.Errorf("the origin is blamed: %+v", s)
	}
}

// TestRelayDrain: all sessions end when the node's time is over, and origins are
// told.
func TestRelayDrain(t *testing.T) {
	o := testOrigin(t, "", "")
	e := newEdge(t, quick, o.URL())
	var players []*player
	for range 3 {
		players = append(players, e.dial("/live/clock").watch())
	}
	_, offer := udpPair(t, "127.0.0.1")
	for _, gone := range []bool{false, true} {
		p := e.dial("/live/clock")
		p.setUp(p.ask(200, "SETUP", "/trackID=0", "Transport", offer))
		p.ask(200, "PLAY", "")
		if gone {
			p.c.Close()
		} else {
			players = append(players, p)
		}
	}
	e.drain()
	for _, p := range players {
		p.wantEnd()
	}
	if n := e.places(); n != 0 {
		t.Errorf("%d places are taken", n)
	}
	proxytest.Eventually(t, soon, "the origin has no sessions", func() bool { return o.Counts().Open == 0 })
	if n := o.Counts().Requests["TEARDOWN"]; n != 5 {
		t.Errorf("the origin was told %d times, want 5", n)
	}
}

// TestRelayStops: whoever waits for an origin does not keep the relay.
func TestRelayStops(t *testing.T) {
	o := quick
	o.Timeout = time.Minute
	f := newFake(t)
	env := proxytest.Env(t)
	env.Upstream = balancer(t, "-origin", f.url())
	r, err := New(o, env)
	if err != nil {
		t.Fatal(err)
	}
	stop := running(t, r)
	client, rc := proxytest.RTSPConn(t, "DESCRIBE rtsp://edge/cam RTSP/1.0\r\nCSeq: 1\r\n\r\n")
	served := make(chan struct{})
	go func() {
		defer close(served)
		r.ServeRTSP(context.Background(), rc)
	}()
	f.accept().request("DESCRIBE")
	stop()
	<-served
	client.SetReadDeadline(time.Now().Add(soon))                              //nolint:errcheck // the read says it
	if _, err := io.ReadAll(client); errors.Is(err, os.ErrDeadlineExceeded) { // he may be told why, and then it is over
		t.Error("the viewer's connection goes on")
	}
	_, late := proxytest.RTSPConn(t, "DESCRIBE rtsp://edge/cam RTSP/1.0\r\nCSeq: 1\r\n\r\n")
	r.ServeRTSP(context.Background(), late) // returns
}

// TestRelayManyUnanswered: who asks faster than he is answered is not read.
func TestRelayManyUnanswered(t *testing.T) {
	f := newFake(t)
	e := newEdge(t, quick, f.url())
	p, l := staged(e, f, "/cam", overTCP)
	one := []byte("GET_PARAMETER " + p.url + " RTSP/1.0\r\nCSeq: 1\r\nSession: " + p.session + "\r\n\r\n")
	p.write(string(bytes.Repeat(one, 2*maxUnanswered)))
	for range maxUnanswered {
		l.request("GET_PARAMETER")
	}
	l.c.SetReadDeadline(time.Now().Add(100 * time.Millisecond)) //nolint:errcheck // the read says it
	if m, err := l.in.Next(); err == nil {
		t.Errorf("one more: %+v", m)
	}
}
