package splitter_test

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"weir/proxy/origintest"
	"weir/proxy/proxytest"
	"weir/proxy/wire"
	"weir/splitter"
)

// A liar is an origin over TCP that answers as it is told.
type liar struct {
	url    string
	sdp    string
	answer func(req *wire.Request) []byte // instead of what is right, if not nil and not returning nil
	play   func(c net.Conn)               // after PLAY's answer, until the connection ends
	greet  string                         // written before anything is asked
	hangUp bool                           // and close

	mu    sync.Mutex
	conns []net.Conn
	wg    sync.WaitGroup
}

const liarSDP = "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n" +
	"m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=fmtp:96 packetization-mode=1\r\na=control:0\r\n"

// run serves until the test ends.
func (l *liar) run(t *testing.T) *liar {
	t.Helper()
	if l.sdp == "" {
		l.sdp = liarSDP
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.url = "rtsp://" + ln.Addr().String()
	l.wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			l.mu.Lock()
			l.conns = append(l.conns, c)
			l.mu.Unlock()
			l.wg.Go(func() { l.serve(c) })
		}
	})
	t.Cleanup(func() {
		ln.Close()
		l.mu.Lock()
		for _, c := range l.conns {
			c.Close()
		}
		l.mu.Unlock()
		l.wg.Wait()
	})
	return l
}

func (l *liar) serve(c net.Conn) {
	defer c.Close()
	c.Write([]byte(l.greet)) //nolint:errcheck // the edge may have gone
	if l.hangUp {
		return
	}
	r := wire.NewReader(bufio.NewReader(c))
	for {
		m, err := r.Next()
		if err != nil {
			return
		}
		req, ok := m.(*wire.Request)
		if !ok {
			continue
		}
		var b []byte
		if l.answer != nil {
			b = l.answer(req)
		}
		if b == nil {
			b = l.right(req)
		}
		if _, err := c.Write(b); err != nil {
			return
		}
		if req.Method == "PLAY" && l.play != nil {
			l.wg.Go(func() { l.play(c) })
		}
	}
}

// right is the answer that the liar gives where it does not lie.
func (l *liar) right(req *wire.Request) []byte {
	head := "RTSP/1.0 200 OK\r\nCSeq: " + req.Header.Get("CSeq") + "\r\n"
	switch req.Method {
	case "OPTIONS":
		head += "Public: DESCRIBE, SETUP, PLAY, TEARDOWN\r\n"
	case "DESCRIBE":
		return fmt.Appendf(nil, "%sContent-Base: %s/\r\nContent-Type: application/sdp\r\nContent-Length: %d\r\n\r\n%s", head, req.URL, len(l.sdp), l.sdp)
	case "SETUP":
		head += "Session: 1\r\nTransport: RTP/AVP/TCP;unicast;interleaved=" + joinedChannels(req) + "\r\n"
	default:
		head += "Session: 1\r\n"
	}
	return []byte(head + "\r\n")
}

func joinedChannels(req *wire.Request) string {
	_, ch, _ := strings.Cut(req.Header.Get("Transport"), "interleaved=")
	ch, _, _ = strings.Cut(ch, ";")
	return ch
}

// lie answers one method with something else.
func lie(method, what string) func(*wire.Request) []byte {
	return func(req *wire.Request) []byte {
		if req.Method != method {
			return nil
		}
		return []byte(strings.ReplaceAll(what, "CSEQ", req.Header.Get("CSeq")))
	}
}

// frameOf is an interleaved frame of RTP.
func frameOf(channel, payloadType byte, seq uint16, payload []byte) []byte {
	b := []byte{'$', channel}
	b = binary.BigEndian.AppendUint16(b, uint16(12+len(payload)))
	b = append(b, 0x80, 0x80|payloadType)
	b = binary.BigEndian.AppendUint16(b, seq)
	b = binary.BigEndian.AppendUint32(b, uint32(seq)*3600)
	b = binary.BigEndian.AppendUint32(b, 42)
	return append(b, payload...)
}

// every writes what next returns, 25 times a second, until the connection ends.
func every(next func(n uint16) []byte) func(net.Conn) {
	return func(c net.Conn) {
		tick := time.NewTicker(40 * time.Millisecond)
		defer tick.Stop()
		for n := uint16(0); ; n++ {
			if _, err := c.Write(next(n)); err != nil {
				return
			}
			<-tick.C
		}
	}
}

// What an origin does wrong reaches its viewers as 502, 503 or 504, in time, and
// nothing is left of it.
func TestLyingOrigins(t *testing.T) {
	f := func(what string, l *liar, want int) {
		t.Helper()
		l.run(t)
		o := edgeOptions()
		o.Timeout = 500 * time.Millisecond
		e := newEdge(t, o, balancer(t, l.url))
		c := talk(t, e)
		start := time.Now()
		res := c.ask("DESCRIBE", e.url+"/cam")
		if res.Code != want {
			t.Errorf("%s: DESCRIBE answered %d, want %d", what, res.Code, want)
		}
		if d := time.Since(start); d > 4*o.Timeout+2*time.Second {
			t.Errorf("%s: answered after %v", what, d)
		}
		if want >= 503 && res.Header.Get("Retry-After") == "" {
			t.Errorf("%s: no Retry-After", what)
		}
		if res := c.ask("OPTIONS", e.url+"/cam"); res.Code != 200 {
			t.Errorf("%s: the connection does not go on", what)
		}
		proxytest.Eventually(t, 2*time.Second, what+": no feed is left", func() bool { return e.feed("/cam") == nil })
	}
	f("hangs up", &liar{hangUp: true}, 503)
	f("is another server", &liar{greet: "220 mail.example ESMTP\r\n", answer: func(*wire.Request) []byte { return []byte("500 unknown command\r\n") }}, 502)
	f("answers as HTTP", &liar{answer: lie("OPTIONS", "HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")}, 502)
	f("answers noise", &liar{answer: lie("OPTIONS", strings.Repeat("\x00\xff\x01 \r\n", 20000))}, 502)
	f("says nothing to DESCRIBE", &liar{answer: lie("DESCRIBE", "\r\n")}, 504)
	f("says half an answer", &liar{answer: lie("DESCRIBE", "RTSP/1.0 200 OK\r\nCSeq: CSEQ\r\nContent-Length: 500\r\n\r\nv=0")}, 504)
	f("says noise instead of a description", &liar{sdp: strings.Repeat("\x00\xff=", 500)}, 502)
	f("describes nothing", &liar{sdp: "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n"}, 502)
	f("sends an empty description", &liar{answer: lie("DESCRIBE", "RTSP/1.0 200 OK\r\nCSeq: CSEQ\r\nContent-Type: application/sdp\r\n\r\n")}, 502)
	f("describes a track in half a line", &liar{sdp: liarSDP + "m=audio\r\n"}, 502)
	f("describes too many tracks", &liar{sdp: liarSDP + strings.Repeat("m=audio 0 RTP/AVP 0\r\n", 100)}, 502)
	f("describes an impossible payload type", &liar{sdp: strings.ReplaceAll(liarSDP, "96", "960")}, 502)
	f("describes a page", &liar{answer: lie("DESCRIBE", "RTSP/1.0 200 OK\r\nCSeq: CSEQ\r\nContent-Type: text/html\r\nContent-Length: 4\r\n\r\n<p/>")}, 502)
	f("fails at SETUP", &liar{answer: lie("SETUP", "RTSP/1.0 500 Oops\r\nCSeq: CSEQ\r\n\r\n")}, 502)
	f("sets up without a transport", &liar{answer: lie("SETUP", "RTSP/1.0 200 OK\r\nCSeq: CSEQ\r\nSession: 1\r\n\r\n")}, 502)
	f("sets up something else", &liar{answer: lie("SETUP", "RTSP/1.0 200 OK\r\nCSeq: CSEQ\r\nSession: 1\r\nTransport: RTP/AVP;unicast;server_port=1-2\r\n\r\n")}, 502)
	f("says nothing to PLAY", &liar{answer: lie("PLAY", "\r\n")}, 504)
	f("refuses PLAY", &liar{answer: lie("PLAY", "RTSP/1.0 455 Not Now\r\nCSeq: CSEQ\r\n\r\n")}, 502)
}

// Odd packets among good ones do not keep the good ones from viewers: empty ones, those
// of other payload types, versions and lengths, RTCP that is none.
func TestOddPackets(t *testing.T) {
	key := append([]byte{0x65}, make([]byte, 100)...)
	l := (&liar{play: every(func(n uint16) []byte {
		b := frameOf(0, 96, n, key)
		b = append(b, '$', 0, 0, 0)                                     // of 0 bytes
		b = append(b, '$', 1, 0, 0)                                     // likewise, of RTCP
		b = append(b, '$', 0, 0, 3, 0x80, 96, 0)                        // shorter than a header
		b = append(b, frameOf(0, 99, n, key)...)                        // a payload type that is not described
		b = append(b, frameOf(7, 96, n, key)...)                        // a channel that was not agreed on
		b = append(b, '$', 1, 0, 8, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0) // RTCP of another version
		return append(b, '$', 1, 0, 5, 0x80, 200, 0, 9, 0)              // a report that is cut
	})}).run(t)
	e := newEdge(t, edgeOptions(), balancer(t, l.url))
	w := watch(t, e.url+"/cam", "tcp")
	w.more(t, 0, 50)
	ps := w.received(0)
	for i, p := range ps[1:] {
		if p.seq != ps[i].seq+1 || p.head[0] != 0x65 {
			t.Fatalf("packet %d: number %d after %d, % x", i+1, p.seq, ps[i].seq, p.head[:4])
		}
	}
	if f := e.feed("/cam"); f.State != "up" || f.Pulls != 1 {
		t.Errorf("the feed: %+v", f)
	}
}

// The largest packets there can be pass over TCP. Over UDP they do not pass an Ethernet
// in one piece: who wants that is told so, unless he offers TCP as well.
func TestLargePackets(t *testing.T) {
	large := make([]byte, 65535-12)
	large[0] = 0x65
	l := (&liar{play: every(func(n uint16) []byte { return frameOf(0, 96, n, large) })}).run(t)
	e := newEdge(t, edgeOptions(), balancer(t, l.url))
	w := watch(t, e.url+"/cam", "tcp")
	w.more(t, 0, 5)
	c := talk(t, e)
	if res := c.ask("SETUP", e.url+"/cam/trackID=0", overUDP(41040)); res.Code != 461 {
		t.Errorf("SETUP over UDP of large packets answered %d, want 461", res.Code)
	}
	id := sessionID(c.ask("SETUP", e.url+"/cam/trackID=0", overUDP(41040)+",RTP/AVP/TCP;unicast"))
	c.ask("PLAY", e.url+"/cam", id)
	c.SetReadDeadline(time.Now().Add(5 * time.Second)) //nolint:errcheck // the read says it
	for {
		m, err := c.r.Next()
		if err != nil {
			t.Fatal(err)
		}
		if f, ok := m.(*wire.Frame); ok && f.Channel == 0 {
			if len(f.Payload) != 65535 {
				t.Errorf("a packet of %d bytes", len(f.Payload))
			}
			break
		}
	}
	// At 1472 bytes it just passes.
	l = (&liar{play: every(func(n uint16) []byte { return frameOf(0, 96, n, large[:1472-12]) })}).run(t)
	e = newEdge(t, edgeOptions(), balancer(t, l.url))
	watch(t, e.url+"/cam", "udp").more(t, 0, 5)
}

// Half requests, endless ones and noise end one connection each, and leave nothing.
func TestBrokenConnections(t *testing.T) {
	origin := newOrigin(t, origintest.Options{})
	o := edgeOptions()
	o.Linger = 5 * time.Second
	e := newEdge(t, o, balancer(t, origin.URL()))
	good := watch(t, e.url+clock, "tcp")
	good.more(t, 0, 30)
	f := func(what, send string, code int) {
		t.Helper()
		for _, plays := range []bool{false, true} {
			c := talk(t, e)
			id := sessionID(c.ask("SETUP", e.url+clock+"/trackID=0", overTCP))
			if plays {
				c.ask("PLAY", e.url+clock, id)
			}
			c.SetDeadline(time.Now().Add(5 * time.Second)) //nolint:errcheck // the reads say it
			c.Write([]byte(send))                          //nolint:errcheck // the edge may have closed before the end
			if code == 0 {
				c.Conn.(*net.TCPConn).CloseWrite() //nolint:errcheck // the reads say it
			}
			got := 0
			for {
				m, err := c.r.Next()
				if err != nil {
					break
				}
				if res, ok := m.(*wire.Response); ok {
					got = res.Code
				}
			}
			if got != code {
				t.Errorf("%s, playing %v: answered %d, want %d", what, plays, got, code)
			}
		}
	}
	f("noise", "\x00\x01\x02\xff\r\n\r\n", 400)
	f("TLS", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n", 400)
	f("HTTP", "GET / HTTP/1.1\r\nHost: edge\r\n\r\n", 400)
	f("RTSP 2.0", "PLAY rtsp://edge/cam RTSP/2.0\r\nCSeq: 1\r\n\r\n", 505)
	f("an endless header", "OPTIONS * RTSP/1.0\r\n"+strings.Repeat("X: y\r\n", 20000), 400)
	f("an endless line", "OPTIONS * RTSP/1.0\r\nX: "+strings.Repeat("y", 100<<10), 400)
	f("an endless first line", strings.Repeat("y", 100<<10), 400)
	f("endless blank lines", strings.Repeat("\r\n", 100<<10), 400)
	f("two lengths", "OPTIONS * RTSP/1.0\r\nCSeq: 1\r\nContent-Length: 0\r\nContent-Length: 4\r\n\r\n", 400)
	f("a length that is none", "OPTIONS * RTSP/1.0\r\nCSeq: 1\r\nContent-Length: -4\r\n\r\n", 400)
	f("a huge body", "OPTIONS * RTSP/1.0\r\nCSeq: 1\r\nContent-Length: 999999999\r\n\r\n", 400)
	f("half a request", "OPTIONS * RTSP/1.0\r\nCSe", 0)
	f("half a body", "OPTIONS * RTSP/1.0\r\nCSeq: 1\r\nContent-Length: 4\r\n\r\nab", 0)
	f("half a frame", "$\x00\xff\xff", 0)
	proxytest.Eventually(t, 5*time.Second, "one viewer is left", func() bool { return e.Status().(splitter.Status).Viewers == 1 })
	good.more(t, 0, 5)
	if st := good.Stats(); st.Lost > 0 || good.over() != nil {
		t.Errorf("who behaves lost %d packets (ended: %v)", st.Lost, good.over())
	}
}

// Frames that a viewer sends before PLAY, on channels of his own or others', change
// nothing.
func TestFramesBeforePlay(t *testing.T) {
	origin := newOrigin(t, origintest.Options{})
	e := newEdge(t, edgeOptions(), balancer(t, origin.URL()))
	c := talk(t, e)
	frames := "$\x00\x00\x04abcd$\xff\x00\x00$\x01\xff\xff" + strings.Repeat("$", 65535)
	c.ask("DESCRIBE", e.url+clock)
	c.Write([]byte(frames)) //nolint:errcheck // the answers say it
	id := sessionID(c.ask("SETUP", e.url+clock+"/trackID=0", overTCP))
	c.Write([]byte(frames)) //nolint:errcheck // likewise
	if res := c.ask("PLAY", e.url+clock, id); res.Code != 200 {
		t.Fatalf("PLAY answered %d", res.Code)
	}
	c.Write([]byte(frames)) //nolint:errcheck // likewise
	if frames, _ := channels(c.r, 10); frames[0] < 9 {
		t.Errorf("plays %v", frames)
	}
}

// A path that climbs, or that two servers could read differently, is refused in every
// request that has one, and the origin never hears of it.
func TestClimbingPaths(t *testing.T) {
	origin := newOrigin(t, origintest.Options{})
	e := newEdge(t, edgeOptions(), balancer(t, origin.URL()))
	watch(t, e.url+clock, "tcp").more(t, 0, 1)
	asked := origin.Counts().Requests["DESCRIBE"]
	for _, path := range []string{"/live/../vod/clip", "/..", "/live/%2e%2e/clock", "/live/.%2E/clock", "/live%2fclock", "/live%2Fclock", `/live\clock`, "/live%5cclock",
		"/live/clock%00", "/live/clock%0a", "/%ff", "/%zz", "/live/clock/trackID=0/.."} {
		for _, method := range []string{"DESCRIBE", "SETUP", "PLAY"} {
			first, c := talk(t, e), talk(t, e)
			id := sessionID(c.ask("SETUP", e.url+clock+"/trackID=0", overTCP))
			if method == "SETUP" {
				id = "X: y"
			} else if res := first.ask(method, e.url+path, overTCP); res.Code != 400 {
				t.Errorf("%s of %s as the first request: %d, want 400", method, path, res.Code)
			}
			if res := c.ask(method, e.url+path, overTCP, id); res.Code != 400 {
				t.Errorf("%s of %s: %d, want 400", method, path, res.Code)
			}
		}
	}
	if n := origin.Counts().Requests["DESCRIBE"]; n != asked {
		t.Errorf("the origin was asked %d times", n-asked)
	}
	for _, path := range []string{"//live//clock", "/live/./clock", "/live/clock///", "/%6cive/clock"} {
		if res := talk(t, e).ask("DESCRIBE", e.url+path); res.Code != 200 {
			t.Errorf("%s: %d, want 200", path, res.Code)
		}
	}
}
