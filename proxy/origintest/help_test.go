package origintest

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	wrtp "weir/proxy/rtp"
	"weir/proxy/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long a test waits for what must come.
const patience = 5 * time.Second

// run starts an origin, and waits for its end when the test is over.
func run(t *testing.T, opt Options) *Origin {
	t.Helper()
	opt.Addr = "127.0.0.1:0"
	o, err := New(opt)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- o.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	return o
}

// eventually polls.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(patience); !is(); <-tick.C {
		if time.Now().After(end) {
			t.Fatal("never:", what)
		}
	}
}

// A viewer speaks RTSP over TCP by hand, so that it sees what libraries hide.
type viewer struct {
	t       *testing.T
	c       net.Conn
	r       *wire.Reader
	url     string
	session string
	cseq    int
}

func dial(t *testing.T, o *Origin, path string) *viewer {
	t.Helper()
	c, err := net.Dial("tcp", strings.TrimPrefix(o.URL(), "rtsp://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(4 * patience))
	return &viewer{t: t, c: c, r: wire.NewReader(bufio.NewReader(c)), url: o.URL() + path}
}

// send sends a request; header is names and values by turns.
func (v *viewer) send(method, url string, header ...string) {
	v.t.Helper()
	v.cseq++
	req := wire.Request{Method: method, URL: url}
	req.Header.Add("CSeq", fmt.Sprint(v.cseq))
	if v.session != "" {
		req.Header.Add("Session", v.session)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Add(header[i], header[i+1])
	}
	if _, err := v.c.Write(req.Append(nil)); err != nil {
		v.t.Fatal(err)
	}
}

// do returns the answer; packets before it are dropped.
func (v *viewer) do(method, url string, header ...string) *wire.Response {
	v.t.Helper()
	v.send(method, url, header...)
	for {
		m, err := v.r.Next()
		if err != nil {
			v.t.Fatalf("%s: %v", method, err)
		}
		if res, is := m.(*wire.Response); is {
			return res
		}
	}
}

// ok is do for what must be answered 200.
func (v *viewer) ok(method, url string, header ...string) *wire.Response {
	v.t.Helper()
	res := v.do(method, url, header...)
	if res.Code != 200 {
		v.t.Fatalf("%s %s: %d %s", method, url, res.Code, res.Phrase)
	}
	return res
}

// setup sets up tracks on channels 0, 2 … and returns the SSRCs announced.
func (v *viewer) setup(n int) (ssrcs []string) {
	v.t.Helper()
	for i := range n {
		res := v.ok("SETUP", fmt.Sprintf("%s/trackID=%d", v.url, i),
			"Transport", fmt.Sprintf("RTP/AVP/TCP;unicast;interleaved=%d-%d", 2*i, 2*i+1))
		v.session, _, _ = strings.Cut(res.Header.Get("Session"), ";")
		_, ssrc, _ := strings.Cut(res.Header.Get("Transport"), "ssrc=")
		ssrcs = append(ssrcs, ssrc)
	}
	return ssrcs
}

// packet returns the next packet and its channel.
func (v *viewer) packet() (channel byte, pkt []byte) {
	v.t.Helper()
	m, err := v.r.Next()
	if err != nil {
		v.t.Fatal(err)
	}
	f, is := m.(*wire.Frame)
	if !is {
		v.t.Fatalf("%T instead of a packet", m)
	}
	return f.Channel, append([]byte(nil), f.Payload...)
}

// rtp returns the next RTP packet of a channel.
func (v *viewer) rtp(channel byte) []byte {
	v.t.Helper()
	for {
		if c, p := v.packet(); c == channel && wrtp.Valid(p) {
			return p
		}
	}
}
