package splitter

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"weir/proxy"
	"weir/proxy/proxytest"
	"weir/proxy/wire"
)

// newTestSplitter makes a splitter that is not run; what is blank in o is usual.
func newTestSplitter(t testing.TB, o Options) *Splitter {
	t.Helper()
	usual := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	usual(&o.Linger, time.Second)
	usual(&o.Wait, 30*time.Second)
	usual(&o.Lag, 5*time.Second)
	usual(&o.Timeout, time.Second)
	o.Transport, o.Start = "tcp", cmp.Or(o.Start, startBurst)
	s, err := New(o, proxytest.Env(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.udp.close)
	return s
}

// metric is the value of one of the splitter's counters.
func metric(t testing.TB, s *Splitter, name string) float64 {
	t.Helper()
	families, err := s.env.Metrics.(*prometheus.Registry).Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == "weir_splitter_"+name {
			return f.GetMetric()[0].GetCounter().GetValue()
		}
	}
	t.Fatalf("no metric %s", name)
	return 0
}

// work runs the workers until the test ends.
func work(t testing.TB, s *Splitter) {
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	for _, w := range s.workers {
		wg.Go(func() { w.run(ctx, newBatch(s.udp)) })
	}
	t.Cleanup(func() { cancel(); wg.Wait() })
}

// feedOf makes a feed that a camera plays into.
func feedOf(s *Splitter, c *camera, text string, t testing.TB) *feed {
	f := newFeed("/cam", s)
	f.sdp, f.in, f.state = parseSDP(t, text), c.ingest, "up"
	c.publish = f.out.publish
	close(f.opened)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.feeds[f.path] = f
	return f
}

// slowPair connects two sockets that take little at once, as a real line does.
func slowPair(t testing.TB) (client, server *net.TCPConn) {
	t.Helper()
	set := func(level, opt, value int) func(string, string, syscall.RawConn) error {
		return func(_, _ string, c syscall.RawConn) (err error) {
			cerr := c.Control(func(fd uintptr) {
				err = errors.Join(syscall.SetsockoptInt(int(fd), level, opt, value),
					syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, syscall.TCP_MAXSEG, 1448))
			})
			return errors.Join(err, cerr)
		}
	}
	l, err := (&net.ListenConfig{Control: set(syscall.SOL_SOCKET, syscall.SO_SNDBUF, 8<<10)}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	d := net.Dialer{Control: set(syscall.SOL_SOCKET, syscall.SO_RCVBUF, 8<<10)}
	cc, err := d.DialContext(t.Context(), "tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cc.Close() })
	sc, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { sc.Close() })
	return cc.(*net.TCPConn), sc.(*net.TCPConn)
}

// A rig is a viewer over TCP and the feed that it watches, put together by hand.
type rig struct {
	*conn
	t      *testing.T
	cam    *camera
	view   *session
	ticket *proxytest.Ticket

	parked  atomic.Int64 // calls of waitPump
	counted atomic.Int64 // bytes that the conn says it sent

	client net.Conn
	wire   *wire.Reader
	read   atomic.Int64 // bytes read by the viewer
	want   cursor       // the next packet of the ring that the viewer may get
	media  int          // bytes of frames read
	open   *opening     // of the last play
}

// What a viewer's connection can be like.
type line struct {
	lag      time.Duration
	plain    bool  // no writes without waiting
	channels []int // by track; nil: as they stand in the ring
}

// from is where a reader of a ring begins who does not wait for a key frame.
func from(r *ring) cursor {
	at, waits := r.start()
	if waits {
		return *r.head.Load()
	}
	return at
}

func newRig(t *testing.T, l line) *rig {
	t.Helper()
	s := newTestSplitter(t, Options{Lag: l.lag})
	work(t, s)
	r := &rig{t: t, cam: newCamera(t, avSDP)}
	f := feedOf(s, r.cam, avSDP, t)
	client, server := slowPair(t)
	v := &proxy.Viewer{Path: "/cam", Protocol: "rtsp"}
	tcp := server
	if l.plain {
		tcp = nil
	}
	rc := proxy.NewRTSPConn(countedConn{server, &r.counted}, &wire.Request{}, v, tcp, func(n int) { r.counted.Add(int64(n)) })
	r.conn = newConn(t.Context(), s, rc)
	r.conn.waited = func(fd uintptr) bool { r.parked.Add(1); return r.conn.waitPump(fd) }
	t.Cleanup(func() { r.conn.Close(); r.conn.work.Wait() })
	r.client = client
	r.wire = wire.NewReader(bufio.NewReaderSize(io.TeeReader(client, counter{&r.read}), 4096))
	ticket, _ := s.env.Gate.Admit(t.Context(), v)
	r.ticket = ticket.(*proxytest.Ticket)
	r.view = newSession(f, r.conn, nil, ticket)
	if l.channels == nil {
		l.channels = []int{0, 2}
	}
	for i, ch := range l.channels {
		if ch >= 0 {
			r.view.setUp(i, ch, "rtsp://edge/cam/trackID=0")
		}
	}
	r.cam.source(time.Now())
	return r
}

// A counter counts what is written to it.
type counter struct{ n *atomic.Int64 }

func (c counter) Write(b []byte) (int, error) {
	c.n.Add(int64(len(b)))
	return len(b), nil
}

// A viewer who is let go gets a goodbye of each track behind whole packets, whether his
// connection can be written to without waiting or not, and nothing behind it. One who
// reads nothing is waited for a second.
func TestLetGo(t *testing.T) {
	f := func(l line) {
		t.Helper()
		l.lag = 5 * time.Second
		r := newRig(t, l)
		r.cam.picture(true, 1, time.Now())
		r.cam.hear(time.Now())
		r.play()
		for range 40 { // more than the sockets take: the last packet is cut
			r.cam.picture(false, 20, time.Now())
		}
		gone := make(chan struct{})
		go func() { defer close(gone); letGo([]*session{r.view}) }()
		byes := map[byte]bool{}
		for len(byes) < 2 {
			m, ok := r.next().(*wire.Frame)
			if !ok {
				t.Fatalf("%+v: %d goodbyes came", l, len(byes))
			}
			if p := m.Payload; m.Channel%2 == 1 && p[len(p)-7] == 203 {
				byes[m.Channel] = true
			} else if len(byes) > 0 {
				t.Errorf("%+v: channel %d goes on behind a goodbye", l, m.Channel)
			}
		}
		<-gone
	}
	f(line{})
	f(line{plain: true})
	f(line{channels: []int{4, 8}})

	r := newRig(t, line{lag: time.Minute})
	r.cam.picture(true, 1, time.Now())
	r.play()
	for range 40 {
		r.cam.picture(false, 20, time.Now())
	}
	proxytest.Eventually(t, 5*time.Second, "the socket is full", func() bool { return r.parked.Load() > 0 })
	letGo([]*session{r.view}) // it returns
}

// play answers PLAY.
func (r *rig) play() {
	r.t.Helper()
	r.open = r.cam.opens(r.view.conn.s.opt.Start, time.Now())
	r.open.of, r.want = r.view, from(r.cam.ring)
	r.arm(r.open)
	r.answer(0)
	if m := r.next(); !bytes.HasPrefix(m.(*wire.Response).Raw, []byte("RTSP/1.0 200")) {
		r.t.Fatalf("PLAY was answered by %v", m)
	}
}

// answer sends an answer of a number, as gortsplib does.
func (r *rig) answer(n int) {
	r.t.Helper()
	if _, err := fmt.Fprintf(r.conn, "RTSP/1.0 200 OK\r\nCSeq: %d\r\n\r\n", n); err != nil {
		r.t.Errorf("answer %d: %v", n, err)
	}
}

// next is the next message that the viewer reads.
func (r *rig) next() any {
	r.t.Helper()
	r.client.SetReadDeadline(time.Now().Add(5 * time.Second)) //nolint:errcheck // the read says it
	m, err := r.wire.Next()
	if err != nil {
		r.t.Fatalf("the viewer reads: %v", err)
	}
	return m
}

// match says how many packets of the ring were left out before this frame, which
// has to be one of them, whole, on the viewer's channel.
func (r *rig) match(f *wire.Frame) (skipped int) {
	r.t.Helper()
	r.media += headerLen + len(f.Payload)
	for {
		pkt, ch, after := r.want.packet()
		if pkt == nil {
			r.t.Fatalf("frame of %d bytes on channel %d is none of the ring", len(f.Payload), f.Channel)
		}
		r.want = after
		out := r.view.channels[ch/2]
		if out < 0 {
			continue
		}
		if byte(out)+ch%2 == f.Channel && bytes.Equal(pkt, f.Payload) {
			return skipped
		}
		skipped++
	}
}

// frames reads n frames, which have to come without a gap, and returns the
// answers between them.
func (r *rig) frames(n int) (answers []string) {
	r.t.Helper()
	for n > 0 {
		switch m := r.next().(type) {
		case *wire.Response:
			answers = append(answers, m.Header.Get("CSeq"))
		case *wire.Frame:
			if n--; r.match(m) > 0 {
				r.t.Fatalf("%d frames before the end: a gap", n)
			}
		}
	}
	return answers
}

// idle waits until nobody writes.
func (r *rig) idle() {
	r.t.Helper()
	proxytest.Eventually(r.t, 2*time.Second, "the viewer has caught up and nobody waits for it", func() bool {
		r.conn.mu.Lock()
		defer r.conn.mu.Unlock()
		return !r.busy && !r.more()
	})
}

// lines are all ways in which a connection is written to.
var lines = map[string]line{
	"raw":           {},
	"waiting":       {plain: true},
	"mapped":        {channels: []int{8, 4}},
	"one track":     {channels: []int{2, -1}},
	"mapped, waits": {plain: true, channels: []int{6, 0}},
}

func eachLine(t *testing.T, test func(t *testing.T, l line)) {
	for name, l := range lines {
		t.Run(name, func(t *testing.T) { t.Parallel(); test(t, l) })
	}
}

// A countedConn counts what is written to it, as front's do.
type countedConn struct {
	net.Conn
	n *atomic.Int64
}

func (c countedConn) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	c.n.Add(int64(n))
	return n, err
}

// A viewer who reads slowly gets every frame and every answer whole, in order,
// and all is counted.
func TestSlowViewerGetsAll(t *testing.T) {
	eachLine(t, func(t *testing.T, l line) {
		r := newRig(t, l)
		r.play()
		const pictures, perPicture, replies = 60, 8, 200
		var wg sync.WaitGroup
		wg.Go(func() {
			for n := range pictures {
				r.cam.picture(n == 0, perPicture, time.Now())
				r.cam.hear(time.Now())
			}
			r.cam.mu.Lock()
			defer r.cam.mu.Unlock()
			r.cam.flush(time.Now())
		})
		wg.Go(func() {
			for n := range replies {
				r.answer(n)
				r.kick()
			}
		})
		want := pictures * (perPicture + 1)
		if l.channels != nil && l.channels[1] < 0 {
			want = pictures * perPicture
		}
		answers := r.frames(want)
		wg.Wait()
		for len(answers) < replies {
			answers = append(answers, r.next().(*wire.Response).Header.Get("CSeq"))
		}
		for n, cseq := range answers {
			if cseq != fmt.Sprint(n) {
				t.Fatalf("answer %d has CSeq %s", n, cseq)
			}
		}
		r.idle()
		if !l.plain && r.parked.Load() == 0 {
			t.Error("the socket was never full: this tests nothing")
		}
		if got, want := r.counted.Load(), r.read.Load(); got != want {
			t.Errorf("the connection counts %d bytes, the viewer read %d", got, want)
		}
		if got := r.view.bytes.Load(); got != uint64(r.media) || r.ticket.Bytes() != r.media {
			t.Errorf("the session counts %d bytes, the ticket %d; the viewer got %d of media", got, r.ticket.Bytes(), r.media)
		}
	})
}

// fill publishes pictures until the viewer's socket is full and somebody waits.
func (r *rig) fill() {
	r.t.Helper()
	for range 40 {
		r.cam.picture(false, 8, time.Now())
	}
	proxytest.Eventually(r.t, 2*time.Second, "the socket is full", func() bool {
		r.conn.mu.Lock()
		defer r.conn.mu.Unlock()
		return r.busy
	})
}

// A viewer who has caught up is served by the workers again, also when the time
// that it was given is long over.
func TestParkedIsHandedBack(t *testing.T) {
	r := newRig(t, line{lag: 200 * time.Millisecond})
	r.cam.picture(true, 8, time.Now())
	r.play()
	r.frames(8)
	for range 2 {
		r.fill()
		r.frames(40 * 8)
		r.idle()
		<-time.After(r.lag + 50*time.Millisecond)
		before := r.parked.Load()
		r.cam.picture(false, 2, time.Now())
		r.frames(2)
		if r.parked.Load() != before {
			t.Error("a viewer with room is waited for")
		}
	}
}

// A viewer who takes nothing for the lag is closed and counted, and says why.
func TestStuckViewerIsClosed(t *testing.T) {
	f := func(l line) {
		t.Helper()
		l.lag = 150 * time.Millisecond
		r := newRig(t, l)
		r.cam.picture(true, 8, time.Now())
		r.play()
		start := time.Now()
		r.fill()
		proxytest.Eventually(t, 3*time.Second, "a stuck viewer is closed", func() bool {
			r.conn.mu.Lock()
			defer r.conn.mu.Unlock()
			return r.dead != nil
		})
		r.work.Wait()
		if took := time.Since(start); !errors.Is(r.dead, errSlow) || took < l.lag {
			t.Errorf("closed after %v: %v, want %v after %v", took, r.dead, errSlow, l.lag)
		}
		if n := metric(t, r.s, "slow_total"); n != 1 || r.view.why() != "too slow" {
			t.Errorf("%v counted, reason %q", n, r.view.why())
		}
		if _, err := r.Write([]byte("RTSP/1.0 200 OK\r\n\r\n")); !errors.Is(err, errSlow) {
			t.Errorf("an answer after that: %v", err)
		}
		if _, err := io.Copy(io.Discard, r.client); errors.Is(err, context.DeadlineExceeded) {
			t.Error("the socket is still open")
		}
	}
	f(line{})
	f(line{plain: true})
}

// A viewer who takes a little now and then is not stuck.
func TestTricklingViewerStays(t *testing.T) {
	const lag = 200 * time.Millisecond
	r := newRig(t, line{lag: lag})
	r.cam.picture(true, 8, time.Now())
	r.play()
	r.fill()
	tick := time.NewTicker(lag / 4)
	defer tick.Stop()
	for start := time.Now(); time.Since(start) < 4*lag; <-tick.C {
		r.frames(12)
	}
	r.conn.mu.Lock()
	defer r.conn.mu.Unlock()
	if r.dead != nil {
		t.Errorf("closed: %v", r.dead)
	}
}

// A viewer far behind goes on with the newest key frame, at the border of two
// packets, and that is counted.
func TestFarBehindJumps(t *testing.T) {
	eachLine(t, func(t *testing.T, l line) {
		r := newRig(t, l)
		r.cam.picture(true, 8, time.Now())
		r.play()
		for n := range 60 * 8 { // 4 MB, a key frame every half
			r.cam.picture(n%60 == 0, 8, time.Now())
		}
		r.cam.mu.Lock()
		last := r.cam.seq[0] - 1
		r.cam.mu.Unlock()
		jumps := 0
		for seq := last + 1; seq != last; {
			m, ok := r.next().(*wire.Frame)
			if !ok {
				continue
			}
			seq = uint16(m.Payload[2])<<8 | uint16(m.Payload[3])
			if skipped := r.match(m); skipped > 0 {
				jumps++
				if m.Payload[12] != 0x65 {
					t.Errorf("after %d packets left out comes % x, no key frame", skipped, m.Payload[:16])
				}
			}
		}
		if jumps == 0 {
			t.Error("no jump, at 4 MB behind")
		}
		if got := r.view.jumps.Load(); int(got) != jumps || metric(t, r.s, "jumps_total") != float64(jumps) {
			t.Errorf("%d jumps counted, %d seen", got, jumps)
		}
	})
}

// Where no newer key frame has come, a viewer far behind goes on where it is.
func TestFarBehindInOneGroup(t *testing.T) {
	r := newRig(t, line{})
	r.cam.picture(true, 8, time.Now())
	r.play()
	const pictures = 3 * maxBehind / 8000
	for range pictures {
		r.cam.picture(false, 8, time.Now())
	}
	r.frames(8 * (1 + pictures))
	if n := r.view.jumps.Load(); n != 0 {
		t.Errorf("%d jumps", n)
	}
}

// PAUSE stops the media, but completes the packet that is under way.
func TestRestCompletesThePacket(t *testing.T) {
	eachLine(t, func(t *testing.T, l line) {
		r := newRig(t, l)
		r.cam.picture(true, 8, time.Now())
		r.play()
		r.fill()
		r.view.rest("paused")
		r.conn.mu.Lock()
		cut := len(r.out)
		r.conn.mu.Unlock()
		r.answer(77)
		r.cam.picture(true, 8, time.Now())
		for {
			if m, ok := r.next().(*wire.Response); ok {
				if m.Header.Get("CSeq") != "77" {
					t.Errorf("answer %s", m.Header.Get("CSeq"))
				}
				break
			}
		}
		r.idle()
		r.kick()
		if n := r.read.Load(); r.counted.Load() != n {
			t.Errorf("%d bytes follow PAUSE's answer (%d were under way)", r.counted.Load()-n, cut)
		}
	})
}

// Close ends whoever waits for the socket.
func TestCloseWhileParked(t *testing.T) {
	eachLine(t, func(t *testing.T, l line) {
		l.lag = time.Minute
		r := newRig(t, l)
		r.cam.picture(true, 8, time.Now())
		r.play()
		r.fill()
		done := make(chan struct{})
		go func() { r.work.Wait(); close(done) }()
		r.Close()
		select {
		case <-done:
		case <-time.After(2 * time.Second):
			t.Fatal("somebody still waits for the socket")
		}
		if n := metric(t, r.s, "slow_total"); n != 0 {
			t.Error("counted as too slow")
		}
	})
}

// A dead socket shows at the next write, and closes the connection.
func TestViewerHangsUp(t *testing.T) {
	r := newRig(t, line{})
	r.cam.picture(true, 8, time.Now())
	r.play()
	r.client.(*net.TCPConn).SetLinger(0) //nolint:errcheck // then it is closed without
	r.client.Close()
	proxytest.Eventually(t, 2*time.Second, "the connection is dead", func() bool {
		r.cam.picture(false, 1, time.Now())
		r.conn.mu.Lock()
		defer r.conn.mu.Unlock()
		return r.dead != nil && !r.busy
	})
	r.work.Wait()
	if _, err := r.RTSPConn.Write([]byte{0}); !errors.Is(err, net.ErrClosed) {
		t.Errorf("the socket is not closed: %v", err)
	}
}

// Media begins with PLAY's 200, and with nothing else.
func TestArm(t *testing.T) {
	f := func(answer string, want string) {
		t.Helper()
		r := newRig(t, line{})
		r.cam.picture(true, 1, time.Now())
		o := r.cam.opens(startBurst, time.Now())
		o.of = r.view
		r.arm(o)
		if _, err := io.WriteString(r.conn, answer); err != nil {
			t.Fatal(err)
		}
		r.answer(1)
		r.client.SetReadDeadline(time.Now().Add(5 * time.Second)) //nolint:errcheck // the read says it
		buf := make([]byte, len(want))
		if _, err := io.ReadFull(r.client, buf); err != nil || string(buf) != want {
			t.Errorf("after %q the viewer reads %q, %v", answer, buf, err)
		}
	}
	bad := "RTSP/1.0 454 Session Not Found\r\n\r\n"
	f(bad, bad+"RTSP/1.0 200 OK\r\nCSeq: 1\r\n\r\n")
	good := "RTSP/1.0 200 OK\r\nSession: 1\r\n\r\n"
	f(good, good+"$\x00\x03\xf4")
}

// The reports that relate the tracks come before the first packet, on the
// viewer's channels.
func TestReportsComeFirst(t *testing.T) {
	eachLine(t, func(t *testing.T, l line) {
		r := newRig(t, l)
		start := time.Now().Add(-2 * settleTime)
		for n := range 50 { // settled by time, and reported in the ring
			r.cam.picture(n == 0, 1, start.Add(time.Duration(n)*40*time.Millisecond))
			r.cam.hear(start.Add(time.Duration(n) * 40 * time.Millisecond))
		}
		r.cam.picture(true, 2, time.Now())
		r.play()
		for i, ch := range r.view.channels {
			if ch < 0 {
				continue
			}
			m, ok := r.next().(*wire.Frame)
			if !ok || int(m.Channel) != ch+1 || !bytes.Equal(m.Payload, r.open.tracks[i].report) {
				t.Fatalf("first comes %+v, want the report of track %d", m, i)
			}
		}
		r.frames(2) // the key frame
		reports := len(r.open.tracks)
		if r.view.channels[1] < 0 {
			reports--
		}
		r.cam.picture(false, 1, time.Now().Add(reportTime))
		r.frames(1 + reports) // later ones stand in the ring
	})
}

// A viewer who asks and never reads the answers is closed.
func TestUnreadAnswers(t *testing.T) {
	r := newRig(t, line{})
	answer := "RTSP/1.0 200 OK\r\n" + strings.Repeat("X: 1234567890\r\n", 1000) + "\r\n"
	sent := 0
	for {
		n, err := io.WriteString(r.conn, answer)
		if err != nil {
			if !errors.Is(err, errSlow) {
				t.Errorf("after %d bytes: %v", sent, err)
			}
			break
		}
		if sent += n; sent > 10<<20 {
			t.Fatal("10 MB of answers wait")
		}
	}
	if sent < maxAnswer {
		t.Errorf("closed after %d bytes", sent)
	}
}
