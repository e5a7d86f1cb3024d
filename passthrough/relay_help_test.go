package passthrough

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"weir/proxy"
	"weir/proxy/front"
	"weir/proxy/proxytest"
	"weir/proxy/udp"
	"weir/proxy/wire"
)

// soon is how long a test waits for what must come.
const soon = 5 * time.Second

// quick are options with which little has to be waited for.
var quick = Options{UDP: "22000-22999", Timeout: 2 * time.Second, Beat: 5 * time.Millisecond, Lag: 2 * time.Second}

// An edge is a relay behind a real front. When its test ends it is drained; then
// nothing that it gave out may be left, and each place was given back once.
type edge struct {
	t     testing.TB
	relay *Relay
	gate  *proxytest.Gate
	addr  string // of the front
	drain func() // ends the front as SIGTERM does; waits
	stop  func() // ends the relay; waits
}

// newEdge is an edge in front of origins, tried in that order.
func newEdge(t testing.TB, o Options, origins ...string) *edge {
	t.Helper()
	args := []string{inTurn}
	for _, origin := range origins {
		args = append(args, "-origin", origin)
	}
	return edgeOver(t, o, "127.0.0.1:0", balancer(t, args...))
}

func edgeOver(t testing.TB, o Options, listen string, up proxy.Upstream) *edge {
	t.Helper()
	e := &edge{t: t, gate: &proxytest.Gate{}}
	env := proxytest.Env(t)
	env.Gate, env.Upstream = e.gate, up
	var err error
	if e.relay, err = New(o, env); err != nil {
		t.Fatal(err)
	}
	f, err := front.New(front.Config{Options: front.Options{RTSP: listen, FirstByte: soon, Idle: time.Minute},
		Handler: e.relay, Gate: e.gate, Metrics: prometheus.NewRegistry(), Log: env.Log})
	if err != nil {
		t.Fatal(err)
	}
	e.addr = f.RTSPAddr().String()
	e.drain, e.stop = running(t, f), running(t, e.relay)
	t.Cleanup(func() {
		e.drain()
		e.stop()
		e.wantNothingLeft()
	})
	return e
}

// running runs a part until the returned function is called, which waits for its
// end; more calls do nothing.
func running(t testing.TB, p proxy.Part) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	return func() {
		if ctx.Err() != nil {
			return
		}
		cancel()
		select {
		case err := <-done:
			if err != nil {
				t.Errorf("%T: %v", p, err)
			}
		case <-time.After(2 * soon):
			t.Errorf("%T does not stop", p)
		}
	}
}

func (e *edge) wantNothingLeft() {
	e.t.Helper()
	if n := len(e.relay.list()); n > 0 {
		e.t.Errorf("%d sessions are left", n)
	}
	if n := e.relay.ports.inUse(); n > 0 {
		e.t.Errorf("%d pairs of ports are left", n)
	}
	for i, ticket := range e.gate.Tickets() {
		if n := ticket.Closes(); n != 1 {
			e.t.Errorf("place %d was given back %d times", i, n)
		}
	}
}

// places is how many places are taken.
func (e *edge) places() (n int) {
	for _, ticket := range e.gate.Tickets() {
		if ticket.Closes() == 0 {
			n++
		}
	}
	return n
}

// A player speaks RTSP over TCP by hand, so that it sees what libraries hide.
type player struct {
	t       testing.TB
	c       net.Conn
	in      *wire.Reader
	url     string // of the stream
	session string
	cseq    int
	frames  [][]byte       // that came before answers: channel and payload
	asked   []wire.Request // by the other side, likewise
	texts   strings.Builder
}

// dial is a player on a connection of its own. from is its address, "" for any.
func (e *edge) dial(path string, from ...string) *player {
	e.t.Helper()
	d := net.Dialer{Timeout: soon}
	for _, ip := range from {
		d.LocalAddr = &net.TCPAddr{IP: net.ParseIP(ip)}
	}
	return e.dialed(&d, e.addr, path)
}

func (e *edge) dialed(d *net.Dialer, addr, path string) *player {
	e.t.Helper()
	c, err := d.Dial("tcp", addr)
	if err != nil {
		e.t.Fatal(err)
	}
	e.t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(4 * soon))
	return &player{t: e.t, c: c, in: wire.NewReader(bufio.NewReaderSize(c, 128<<10)), url: "rtsp://" + addr + path}
}

// write sends text as it is.
func (p *player) write(text string) {
	p.t.Helper()
	if _, err := p.c.Write([]byte(text)); err != nil {
		p.t.Fatal(err)
	}
}

// send sends a request; header is names and values by turns. A URL that begins
// with a slash is below the stream's.
func (p *player) send(method, url string, header ...string) {
	p.t.Helper()
	if strings.HasPrefix(url, "/") || url == "" {
		url = p.url + url
	}
	p.cseq++
	req := wire.Request{Method: method, URL: url}
	req.Header.Add("CSeq", fmt.Sprint(p.cseq))
	if p.session != "" {
		req.Header.Add("Session", p.session)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Add(header[i], header[i+1])
	}
	p.write(string(req.Append(nil)))
}

// answer returns the next answer; what comes before it is kept.
func (p *player) answer() *wire.Response {
	p.t.Helper()
	for {
		m, err := p.in.Next()
		if err != nil {
			p.t.Fatalf("instead of an answer: %v", err)
		}
		switch m := m.(type) {
		case *wire.Response:
			p.texts.Write(m.Raw)
			return m
		case *wire.Request:
			p.texts.Write(m.Raw)
			p.asked = append(p.asked, *m)
		case *wire.Frame:
			p.frames = append(p.frames, append([]byte{m.Channel}, m.Payload...))
		}
	}
}

// frame returns the next interleaved frame: its channel, and its payload.
func (p *player) frame() (channel byte, payload []byte) {
	p.t.Helper()
	for len(p.frames) == 0 {
		m, err := p.in.Next()
		if err != nil {
			p.t.Fatalf("instead of media: %v", err)
		}
		if f, ok := m.(*wire.Frame); ok {
			p.frames = append(p.frames, append([]byte{f.Channel}, f.Payload...))
		}
	}
	f := p.frames[0]
	p.frames = p.frames[1:]
	return f[0], f[1:]
}

// ask sends a request and fails the test unless it is answered so.
func (p *player) ask(want int, method, url string, header ...string) *wire.Response {
	p.t.Helper()
	p.send(method, url, header...)
	return p.want(want)
}

// want is the answer to the latest request.
func (p *player) want(code int) *wire.Response {
	p.t.Helper()
	res := p.answer()
	if res.Code != code {
		p.t.Fatalf("answered %d %s, want %d", res.Code, res.Phrase, code)
	}
	if got, want := res.Header.Get("CSeq"), fmt.Sprint(p.cseq); got != want {
		p.t.Fatalf("answer %d has CSeq %q, want %q", res.Code, got, want)
	}
	return res
}

// setUp notes the session of an answer to SETUP.
func (p *player) setUp(res *wire.Response) *wire.Response {
	p.session, _, _ = strings.Cut(res.Header.Get("Session"), ";")
	return res
}

// watch plays the first track of a stream over TCP, on channels 0 and 1.
func (p *player) watch() *player {
	p.t.Helper()
	p.ask(200, "DESCRIBE", "")
	p.setUp(p.ask(200, "SETUP", "/trackID=0", "Transport", "RTP/AVP/TCP;unicast;interleaved=0-1"))
	p.ask(200, "PLAY", "", "Range", "npt=0-")
	return p
}

// wantEnd fails the test unless the connection ends; media and requests before
// the end are dropped.
func (p *player) wantEnd() {
	p.t.Helper()
	for {
		m, err := p.in.Next()
		switch res, ok := m.(*wire.Response); {
		case ok:
			p.t.Fatalf("instead of the end: %d %s", res.Code, res.Phrase)
		case errors.Is(err, os.ErrDeadlineExceeded):
			p.t.Fatalf("the connection does not end: %v", err)
		case err != nil:
			return
		}
	}
}

const overTCP = "RTP/AVP/TCP;unicast;interleaved=0-1"

// frameOf is an interleaved frame.
func frameOf(channel byte, payload []byte) []byte {
	return append([]byte{'$', channel, byte(len(payload) >> 8), byte(len(payload))}, payload...)
}

// wantFrame fails the test unless this is the next frame.
func (p *player) wantFrame(channel byte, payload []byte) {
	p.t.Helper()
	if ch, got := p.frame(); ch != channel || !bytes.Equal(got, payload) {
		p.t.Fatalf("frame of %d bytes on channel %d (%.20x), want %d on %d (%.20x)", len(got), ch, got, len(payload), channel, payload)
	}
}

// udpPair is a player's pair of ports, and the Transport that offers it.
func udpPair(t testing.TB, ip string) (*udp.Pair, string) {
	t.Helper()
	pair, err := udp.Listen(net.UDPAddr{IP: net.ParseIP(ip)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pair.Close)
	for _, c := range []*net.UDPConn{pair.RTP, pair.RTCP} {
		c.SetDeadline(time.Now().Add(2 * soon))
	}
	return pair, fmt.Sprintf("RTP/AVP;unicast;client_port=%d-%d", pair.Port(), pair.Port()+1)
}
