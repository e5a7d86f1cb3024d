package splitter

import (
	"net"
	"sync/atomic"
	"testing"
	"time"

	pion "github.com/pion/rtp"

	"github.com/pion/rtcp"

	"weir/proxy"
	"weir/proxy/proxytest"
	"weir/proxy/rtp"
	"weir/proxy/udp"
	"weir/proxy/wire"
)

// A udpRig is a viewer over UDP and the feed that it watches.
type udpRig struct {
	s    *Splitter
	cam  *camera
	view *session
	conn *conn
	sent atomic.Int64 // bytes that the connection was told of
	open *opening     // of the last play

	rtp, rtcp [2]*net.UDPConn // the viewer's, by track
}

func newUDPRig(t *testing.T, addr string) *udpRig {
	t.Helper()
	r := &udpRig{s: newTestSplitter(t, Options{UDP: addr}), cam: newCamera(t, avSDP)}
	work(t, r.s)
	f := feedOf(r.s, r.cam, avSDP, t)
	_, server := slowPair(t)
	v := &proxy.Viewer{Path: "/cam"}
	r.conn = newConn(t.Context(), r.s, proxy.NewRTSPConn(server, &wire.Request{}, v, server, func(n int) { r.sent.Add(int64(n)) }))
	ticket, _ := r.s.env.Gate.Admit(t.Context(), v)
	r.view = newSession(f, r.conn, nil, ticket)
	r.view.udp = newUDPTarget(2)
	for i := range 2 {
		r.view.setUp(i, 2*i, "")
		r.rtp[i], r.view.udp.rtp[i] = listenLoopback(t)
		r.rtcp[i], r.view.udp.rtcp[i] = listenLoopback(t)
	}
	t.Cleanup(func() { r.view.rest("ended"); r.ended(t) })
	r.cam.source(time.Now())
	return r
}

func listenLoopback(t *testing.T) (*net.UDPConn, *net.UDPAddr) {
	t.Helper()
	c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	c.SetReadBuffer(4 << 20) //nolint:errcheck // less may do
	t.Cleanup(func() { c.Close() })
	return c, c.LocalAddr().(*net.UDPAddr)
}

// play begins as signalling does.
func (r *udpRig) play() {
	r.open = r.cam.opens(r.s.opt.Start, time.Now())
	r.open.of = r.view
	r.view.begin(r.open)
}

// ended waits until nothing works for the session any more.
func (r *udpRig) ended(t *testing.T) {
	t.Helper()
	proxytest.Eventually(t, time.Second, "the pacing has ended", func() bool {
		r.conn.mu.Lock()
		defer r.conn.mu.Unlock()
		return r.conn.holds == 0
	})
}

// get returns the next datagram, nil if none comes for a while.
func get(c *net.UDPConn, patience time.Duration) []byte {
	c.SetReadDeadline(time.Now().Add(patience)) //nolint:errcheck // the read says it
	b := make([]byte, 2048)
	n, err := c.Read(b)
	if err != nil {
		return nil
	}
	return b[:n]
}

// drain returns what has come already.
func drain(c *net.UDPConn) (pkts [][]byte) {
	for {
		b := get(c, 20*time.Millisecond)
		if b == nil {
			return pkts
		}
		pkts = append(pkts, b)
	}
}

// A start burst comes in order and complete, and never faster than 64 packets in
// 5 ms, whatever is published meanwhile.
func TestStartBurstIsPaced(t *testing.T) {
	r := newUDPRig(t, "127.0.0.1:0")
	const n = 8*64 + 1
	r.cam.picture(true, n-1, time.Now())
	start := time.Now()
	r.play()
	for i := range n {
		if i == 1 {
			r.cam.picture(false, 1, time.Now())
		}
		b := get(r.rtp[0], time.Second)
		if b == nil || int(rtp.Seq(b)) != i {
			t.Fatalf("packet %d: % x", i, b[:min(12, len(b))])
		}
		if most := 64 * (1 + int(time.Since(start)/(5*time.Millisecond))); i >= most {
			t.Fatalf("packet %d came after %v", i, time.Since(start))
		}
	}
	r.ended(t)
	r.cam.picture(false, 3, time.Now()) // from here on the workers send
	r.cam.hear(time.Now())
	r.cam.picture(false, 3, time.Now())
	for i := range uint16(6) {
		if b := get(r.rtp[0], time.Second); b == nil || rtp.Seq(b) != n+i {
			t.Fatalf("packet %d behind the burst: % x", i, b[:min(12, len(b))])
		}
	}
	if b := get(r.rtp[1], time.Second); b == nil || string(b[12:]) != "\x01\x02\x03\x04" {
		t.Errorf("sound: % x", b)
	}
}

// PAUSE and PLAY in a hurry do not make the burst faster.
func TestPauseAndPlayKeepThePace(t *testing.T) {
	r := newUDPRig(t, "127.0.0.1:0")
	const n = 12 * paceBurst
	r.cam.picture(true, n, time.Now())
	for range 3 {
		r.play()
		r.view.rest("paused")
		r.view.setState("ready")
	}
	drain(r.rtp[0])
	start := time.Now()
	r.play()
	r.view.rest("paused")
	r.play()
	for i := range n {
		if get(r.rtp[0], time.Second) == nil {
			t.Fatalf("%d packets came, want %d", i, n)
		}
		// The burst that was cut short counts as one.
		if most := paceBurst * (2 + int(time.Since(start)/paceEvery)); i >= most {
			t.Fatalf("packet %d came after %v", i, time.Since(start))
		}
	}
}

// rest ends the pacing, and nothing follows.
func TestRestEndsThePacing(t *testing.T) {
	r := newUDPRig(t, "127.0.0.1:0")
	r.cam.picture(true, 100*paceBurst, time.Now())
	r.play()
	if get(r.rtp[0], time.Second) == nil {
		t.Fatal("nothing came")
	}
	r.view.rest("paused")
	r.ended(t)
	if n := len(drain(r.rtp[0])); n > 20*paceBurst {
		t.Errorf("%d packets came before the end", n)
	}
	r.cam.picture(true, 1, time.Now())
	if b := get(r.rtp[0], 30*time.Millisecond); b != nil {
		t.Errorf("after the end came % x", b[:12])
	}
	if r.view.at != (cursor{}) {
		t.Error("a session at rest keeps the ring alive")
	}
}

// A PLAY that is answered when its session has ended begins nothing.
func TestPlayAfterTheEnd(t *testing.T) {
	r := newUDPRig(t, "127.0.0.1:0")
	r.cam.picture(true, 200, time.Now())
	r.view.rest("ended")
	r.play()
	r.view.udp.mu.Lock()
	defer r.view.udp.mu.Unlock()
	if r.view.udp.s != nil || r.view.at != (cursor{}) {
		t.Error("a session that has ended plays")
	}
}

// Another track may be set up as soon as PAUSE is answered, whatever the pacing of the
// PLAY before it does yet.
func TestSetUpAfterPause(t *testing.T) {
	r := newUDPRig(t, "127.0.0.1:0")
	r.cam.picture(true, 20, time.Now())
	_, media := listenLoopback(t)
	_, reports := listenLoopback(t)
	for range 200 {
		r.play()
		r.view.rest("paused")
		r.view.udp.setUp(1, media, reports)
	}
	r.ended(t)
}

// Reports go to the RTCP port: first those that relate the tracks, then those of
// the ring.
func TestReportsGoToTheirPort(t *testing.T) {
	r := newUDPRig(t, "127.0.0.1:0")
	start := time.Now().Add(-2 * settleTime)
	for n := range 40 {
		r.cam.picture(n == 0, 1, start.Add(time.Duration(n)*40*time.Millisecond))
		r.cam.hear(start.Add(time.Duration(n) * 40 * time.Millisecond))
	}
	r.play()
	for i, c := range r.rtcp {
		for range 2 {
			if ssrc, _, _ := srOf(t, get(c, time.Second)); ssrc != r.cam.tracks[i].num.SSRC {
				t.Errorf("track %d: report of %08x", i, ssrc)
			}
		}
	}
	for i, c := range r.rtp {
		if pkts := drain(c); len(pkts) < 39 {
			t.Errorf("track %d: %d packets", i, len(pkts))
		}
	}
}

// What does not fit a datagram is left out and counted; a track that was not set
// up is left out in silence.
func TestTooLongForUDP(t *testing.T) {
	r := newUDPRig(t, "127.0.0.1:0")
	r.view.udp.rtp[1] = nil
	r.cam.picture(true, 1, time.Now())
	r.play()
	get(r.rtp[0], time.Second)
	for _, size := range []int{udp.MaxPayload - 12, udp.MaxPayload - 12 + 1, 30000, 100} {
		r.cam.send(0, time.Now(), true, append([]byte{0x41}, make([]byte, size-1)...)...)
		r.cam.hear(time.Now())
	}
	for _, want := range []int{udp.MaxPayload, 112} {
		if b := get(r.rtp[0], time.Second); len(b) != want {
			t.Errorf("%d bytes came, want %d", len(b), want)
		}
	}
	if n := metric(t, r.s, "udp_too_long_total"); n != 2 {
		t.Errorf("%v packets counted, want 2", n)
	}
}

// All that goes to a viewer is counted as that viewer's.
func TestDatagramsAreCounted(t *testing.T) {
	r := newUDPRig(t, "127.0.0.1:0")
	r.cam.picture(true, 10, time.Now())
	r.cam.hear(time.Now())
	r.cam.picture(false, 10, time.Now())
	r.play()
	want := 0
	for range 20 {
		want += len(get(r.rtp[0], time.Second))
	}
	want += len(get(r.rtp[1], time.Second))
	if got, ticket := r.view.bytes.Load(), r.view.ticket.(*proxytest.Ticket).Bytes(); got != uint64(want) || ticket != want || r.sent.Load() != int64(want) {
		t.Errorf("%d bytes counted, %d by the ticket, %d came", got, ticket, want)
	}
}

// What a source calls RTP and is not never leaves as a datagram of ours.
func TestInvalidIsNotSent(t *testing.T) {
	r := newUDPRig(t, "127.0.0.1:0")
	r.cam.picture(true, 1, time.Now())
	copy(r.cam.ring.append(0, 20), "no packet at all")
	r.cam.packet(0, &pion.Packet{Header: pion.Header{Version: 2, Marker: true, SequenceNumber: 1}, Payload: []byte{0x41}}, time.Now())
	r.play()
	for _, want := range []int{1012, 13} {
		if b := get(r.rtp[0], time.Second); len(b) != want {
			t.Errorf("%d bytes came, want %d", len(b), want)
		}
	}
}

// The pair is an even port and the next; what cannot be had says which flag.
func TestListenUDP(t *testing.T) {
	for range 10 {
		u, err := listenUDP("127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		a, b := u.RTP.LocalAddr().(*net.UDPAddr).Port, u.RTCP.LocalAddr().(*net.UDPAddr).Port
		if a%2 != 0 || b != a+1 {
			t.Errorf("ports %d and %d", a, b)
		}
		if _, err := listenUDP(u.RTP.LocalAddr().String()); err == nil {
			t.Error("the same pair twice")
		} else {
			mentions(t, err, "-splitter.udp")
		}
		u.close()
	}
	for _, bad := range []string{"127.0.0.1:20001", "nonsense", "127.0.0.1:99999"} {
		if u, err := listenUDP(bad); err == nil {
			u.close()
			t.Errorf("%q: no error", bad)
		} else {
			mentions(t, err, "-splitter.udp")
		}
	}
}

// Nothing overtakes anything where the workers take over from the pacing.
func TestHandOverKeepsOrder(t *testing.T) {
	r := newUDPRig(t, "127.0.0.1:0")
	for range 20 {
		r.cam.picture(true, paceBurst+20, time.Now())
		r.play()
		first := r.open.tracks[0].seq
		const more = 500
		done := make(chan struct{})
		go func() { // some go out by the pacing, some by the workers
			defer close(done)
			tick := time.NewTicker(30 * time.Microsecond)
			defer tick.Stop()
			for range more {
				r.cam.picture(false, 1, time.Now())
				<-tick.C
			}
		}()
		for n := range uint16(paceBurst + 20 + more) {
			if b := get(r.rtp[0], time.Second); b == nil || rtp.Seq(b) != first+n {
				t.Errorf("packet %d has number %d, want %d", n, rtp.Seq(b), first+n)
				break
			}
		}
		<-done
		r.view.rest("paused")
	}
}

// A viewer who is let go gets a goodbye, too, and nothing behind it.
func TestLetGoOverUDP(t *testing.T) {
	r := newUDPRig(t, "127.0.0.1:0")
	r.cam.picture(true, 1, time.Now())
	r.cam.hear(time.Now())
	r.play()
	r.ended(t)
	letGo([]*session{r.view})
	for i := range r.rtcp {
		getsGoodbye(t, r, i)
	}
	drain(r.rtp[0])
	r.cam.picture(false, 1, time.Now())
	if b := get(r.rtp[0], 30*time.Millisecond); b != nil {
		t.Errorf("behind the goodbye came % x", b[:12])
	}
}

// What is published at once comes whole, however much more it is than a worker sends
// in one round, though nothing is published behind it; and so does the goodbye.
func TestLargeBurstComesWhole(t *testing.T) {
	r := newUDPRig(t, "127.0.0.1:0")
	r.cam.picture(true, 1, time.Now())
	r.play()
	get(r.rtp[0], time.Second)
	r.ended(t) // from here on the workers send
	const n = 3 * maxFlush / 2
	now := time.Now()
	for range n { // on two sockets: one might not have the room
		r.cam.send(0, now, false, 0x41, 1, 2, 3)
		r.cam.send(1, now, false, 1, 2, 3, 4)
	}
	r.cam.bye(now)
	for i, c := range r.rtp {
		for got := range n {
			if get(c, 5*time.Second) == nil {
				t.Fatalf("track %d: %d packets came, want %d", i, got, n)
			}
		}
		getsGoodbye(t, r, i)
	}
}

// getsGoodbye fails unless a report with a goodbye comes on a track's RTCP port.
func getsGoodbye(t *testing.T, r *udpRig, track int) {
	t.Helper()
	for b := get(r.rtcp[track], 5*time.Second); b != nil; b = get(r.rtcp[track], 5*time.Second) {
		packets, err := rtcp.Unmarshal(b)
		if err != nil {
			t.Fatal(err)
		}
		bye, ok := packets[len(packets)-1].(*rtcp.Goodbye)
		if !ok {
			continue
		}
		if len(packets) != 3 || len(bye.Sources) != 1 || bye.Sources[0] != r.cam.tracks[track].num.SSRC {
			t.Errorf("track %d: last came %v, want a goodbye of %08x behind a report", track, packets, r.cam.tracks[track].num.SSRC)
		}
		return
	}
	t.Errorf("track %d: no goodbye", track)
}

// A feed that ends says so on the RTCP port of each track that plays, behind a
// last report.
func TestBye(t *testing.T) {
	r := newUDPRig(t, "127.0.0.1:0")
	r.cam.picture(true, 1, time.Now())
	r.cam.hear(time.Now())
	r.play()
	get(r.rtp[0], time.Second)
	r.cam.bye(time.Now())
	for i := range r.rtcp {
		getsGoodbye(t, r, i)
	}
}
