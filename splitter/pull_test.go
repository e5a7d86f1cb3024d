package splitter

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bluenviron/gortsplib/v4/pkg/base"
	"github.com/bluenviron/gortsplib/v4/pkg/liberrors"

	"weir/proxy"
	"weir/proxy/proxytest"
	"weir/proxy/wire"
)

// A fakeOrigin answers as it is told, over pipes, so that time can be faked. Its
// fields are set before it is used.
type fakeOrigin struct {
	sdp    string
	delay  time.Duration  // before each answer
	codes  map[string]int // answers by method that are not 200; -1: none
	header map[string]string
	mute   bool        // plays nothing
	paused atomic.Bool // the same, for a while
	basic  string      // the Authorization it wants; "" for none
	every  time.Duration

	mu    sync.Mutex // guards what follows, and each write
	down  bool       // refuses to be dialled
	dials []time.Time
	asked map[string]int
	conns []net.Conn
	fails []error // what links were told
	wg    sync.WaitGroup
}

func newFakeOrigin() *fakeOrigin {
	return &fakeOrigin{sdp: avSDP, every: 40 * time.Millisecond, asked: map[string]int{}, codes: map[string]int{}, header: map[string]string{}}
}

// dial is a proxy.Upstream's DialRTSP.
func (o *fakeOrigin) dial(_ context.Context, w proxy.Want) (*proxy.Link, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.dials = append(o.dials, time.Now())
	if o.down {
		return nil, &proxy.Refusal{Reason: proxy.OriginDown}
	}
	near, far := net.Pipe()
	o.conns = append(o.conns, far)
	o.wg.Go(func() { o.serve(far) })
	return &proxy.Link{Conn: near, URL: &url.URL{Scheme: "rtsp", Host: "origin:554", Path: w.Path}, Origin: "one", Fail: o.failed}, nil
}

func (o *fakeOrigin) failed(err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.fails = append(o.fails, err)
}

// kill closes all connections; down says whether new ones are refused.
func (o *fakeOrigin) kill(down bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.down = down
	for _, c := range o.conns {
		c.Close()
	}
	o.conns = nil
}

// close ends all that the origin does.
func (o *fakeOrigin) close() {
	o.kill(true)
	o.wg.Wait()
}

// count is how often a method was asked.
func (o *fakeOrigin) count(method string) int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.asked[method]
}

// serve answers until the connection ends.
func (o *fakeOrigin) serve(c net.Conn) {
	defer c.Close()
	var wg sync.WaitGroup
	defer wg.Wait()
	gone := make(chan struct{})
	defer close(gone)
	r := wire.NewReader(bufio.NewReader(c))
	for setups := 0; ; {
		m, err := r.Next()
		if err != nil {
			return
		}
		req, ok := m.(*wire.Request)
		if !ok {
			continue
		}
		o.mu.Lock()
		o.asked[req.Method]++
		code := o.codes[req.Method]
		o.mu.Unlock()
		if o.delay > 0 {
			<-time.After(o.delay)
		}
		if code < 0 {
			continue
		}
		res := o.answer(req, setups, code)
		if req.Method == "SETUP" {
			setups++
		}
		if _, err := c.Write(res.Append(nil)); err != nil {
			return
		}
		if req.Method == "PLAY" && res.Code == 200 && !o.mute {
			wg.Go(func() { o.play(c, gone) })
		}
	}
}

func (o *fakeOrigin) answer(req *wire.Request, setups, code int) *wire.Response {
	res := &wire.Response{Code: code, Phrase: "So It Is"}
	if code == 0 {
		res.Code = 200
	}
	res.Header.Add("CSeq", req.Header.Get("CSeq"))
	for k, v := range o.header {
		res.Header.Add(k, v)
	}
	switch {
	case res.Code != 200:
	case o.basic != "" && req.Header.Get("Authorization") != o.basic:
		res.Code = 401
		res.Header.Add("WWW-Authenticate", `Basic realm="camera"`)
	case req.Method == "OPTIONS":
		res.Header.Add("Public", "DESCRIBE, SETUP, PLAY, GET_PARAMETER, TEARDOWN")
	case req.Method == "DESCRIBE":
		res.Header.Add("Content-Base", req.URL+"/")
		res.Header.Add("Content-Type", "application/sdp")
		res.Body = []byte(o.sdp)
	case req.Method == "SETUP":
		res.Header.Add("Transport", fmt.Sprintf("RTP/AVP/TCP;unicast;interleaved=%d-%d", 2*setups, 2*setups+1))
		res.Header.Add("Session", "1;timeout=60")
	default:
		res.Header.Add("Session", "1")
	}
	return res
}

// play writes a key frame of one packet now and then.
func (o *fakeOrigin) play(c net.Conn, gone <-chan struct{}) {
	tick := time.NewTicker(o.every)
	defer tick.Stop()
	for n := uint32(0); ; n++ {
		if !o.paused.Load() {
			if _, err := c.Write(keyFrame(n)); err != nil {
				return
			}
		}
		select {
		case <-tick.C:
		case <-gone:
			return
		}
	}
}

// keyFrame is an interleaved frame of the video track.
func keyFrame(n uint32) []byte {
	b := []byte{'$', 0, 0, 16, 0x80, 0x80 | 96}
	b = binary.BigEndian.AppendUint16(b, uint16(n))
	b = binary.BigEndian.AppendUint32(b, n*3600)
	b = binary.BigEndian.AppendUint32(b, 42)
	return append(b, 0x65, 0x88, 0x84, 0x00)
}

// pause has it send nothing until that is over.
func (o *fakeOrigin) pause(on bool) { o.paused.Store(on) }

// upstream makes the origin the only one there is.
func (o *fakeOrigin) upstream() proxy.Upstream { return &proxytest.Upstream{DialFunc: o.dial} }

func (o *fakeOrigin) puller() *puller {
	return &puller{path: "/cam", upstream: o.upstream(), transport: "tcp", timeout: time.Second}
}

// What an origin answers reaches viewers as one of the edge's own reasons.
func TestRefusals(t *testing.T) {
	f := func(what string, set func(o *fakeOrigin), want proxy.Reason, retry bool) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			o := newFakeOrigin()
			set(o)
			pl, err := o.puller().describe(t.Context())
			if err == nil {
				ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second) // as feed.start does
				defer cancel()
				err = pl.play(ctx, newIngest(pl.sdp, "weir", func() {}))
				pl.close()
			}
			var r *proxy.Refusal
			if !errors.As(err, &r) || r.Reason != want || (r.RetryAfter > 0) != retry {
				t.Errorf("%s: %v, want %s, to be tried again %v", what, err, want, retry)
			}
			o.close()
		})
	}
	code := func(method string, code int) func(*fakeOrigin) {
		return func(o *fakeOrigin) { o.codes[method] = code }
	}
	f("no origin", func(o *fakeOrigin) { o.down = true }, proxy.OriginDown, false)
	f("DESCRIBE 404", code("DESCRIBE", 404), proxy.NotFound, false)
	f("DESCRIBE 410", code("DESCRIBE", 410), proxy.NotFound, false)
	f("DESCRIBE 401", code("DESCRIBE", 401), proxy.OriginRefused, false)
	f("DESCRIBE 403", code("DESCRIBE", 403), proxy.OriginRefused, false)
	f("DESCRIBE 453", code("DESCRIBE", 453), proxy.OriginDown, true)
	f("DESCRIBE 503", code("DESCRIBE", 503), proxy.OriginDown, true)
	f("DESCRIBE 500", code("DESCRIBE", 500), proxy.OriginBad, false)
	f("SETUP 461", code("SETUP", 461), proxy.OriginBad, false)
	f("PLAY 455", code("PLAY", 455), proxy.OriginBad, false)
	f("no answer to DESCRIBE", code("DESCRIBE", -1), proxy.OriginSlow, true)
	f("no answer to PLAY", code("PLAY", -1), proxy.OriginSlow, true)
	f("every answer slow", func(o *fakeOrigin) { o.delay = 900 * time.Millisecond }, proxy.OriginSlow, true)
	f("every answer late", func(o *fakeOrigin) { o.delay = 1500 * time.Millisecond }, proxy.OriginSlow, true)
	f("sent elsewhere", func(o *fakeOrigin) { o.codes["DESCRIBE"] = 302; o.header["Location"] = "rtsp://evil:554/cam" }, proxy.OriginDown, true)
}

func TestRefusalOf(t *testing.T) {
	f := func(err error, want proxy.Reason, retry time.Duration) {
		t.Helper()
		if r := refusal(fmt.Errorf("describe: %w", err)); r.Reason != want || r.RetryAfter != retry || !errors.Is(r, err) && r.Err != nil {
			t.Errorf("refusal(%v) = %v after %v, want %v after %v", err, r.Reason, r.RetryAfter, want, retry)
		}
	}
	const later = 5 * time.Second
	f(liberrors.ErrClientBadStatusCode{Code: base.StatusNotFound}, proxy.NotFound, 0)
	f(liberrors.ErrClientBadStatusCode{Code: base.StatusNotEnoughBandwidth}, proxy.OriginDown, later)
	f(liberrors.ErrClientRequestTimedOut{}, proxy.OriginSlow, later)
	f(os.ErrDeadlineExceeded, proxy.OriginSlow, later)
	f(context.DeadlineExceeded, proxy.OriginSlow, later)
	f(&net.OpError{Op: "dial", Err: os.ErrDeadlineExceeded}, proxy.OriginSlow, later)
	f(&net.OpError{Op: "dial", Err: errors.New("connection refused")}, proxy.OriginDown, later)
	f(errors.New("anything"), proxy.OriginDown, later)
	f(&proxy.Refusal{Reason: proxy.NoOrigin, RetryAfter: time.Minute}, proxy.NoOrigin, time.Minute)
}

// newPull makes a pull by hand, of a video, a sound and a metadata track.
func newPull(t *testing.T) *pull {
	return &pull{sdp: parseSDP(t, silentSDP), silence: time.Second, lost: make(chan error, 1), delivered: make([]atomic.Int64, 3)}
}

// lostBy returns why a pull was given up, nil if it was not.
func (pl *pull) lostBy() error {
	select {
	case err := <-pl.lost:
		return err
	default:
		return nil
	}
}

// An origin that has forgotten the session is left at once; before any media the
// same answers are no more than answers.
func TestResponse(t *testing.T) {
	f := func(code base.StatusCode, flows, lost bool) {
		t.Helper()
		pl := newPull(t)
		pl.playing.Store(flows)
		pl.response(&base.Response{StatusCode: code})
		if err := pl.lostBy(); (err != nil) != lost {
			t.Errorf("answer %d, media flows %v: lost by %v", code, flows, err)
		}
	}
	f(401, false, false)
	f(454, false, false)
	f(401, true, true)
	f(454, true, true)
	f(200, true, false)
	f(501, true, false) // many do not know the keep-alive
	(&pull{}).response(&base.Response{StatusCode: 401})
}

// Many packets of nobody's within a second mean another source; single ones, and
// payload types that are not described, do not.
func TestUndecodable(t *testing.T) {
	pl := newPull(t)
	bad := errors.New("wrong SSRC")
	for range 3 {
		for range strangers - 1 {
			pl.undecodable(bad)
		}
		pl.strange.Store(0) // as if a second had passed
	}
	for range 5 * strangers {
		pl.undecodable(liberrors.ErrClientRTPPacketUnknownPayloadType{PayloadType: 99})
	}
	if err := pl.lostBy(); err != nil {
		t.Fatalf("given up: %v", err)
	}
	for range 5 * strangers {
		pl.undecodable(bad)
	}
	if err := pl.lostBy(); !errors.Is(err, bad) {
		t.Errorf("after %d within a second: %v", strangers, err)
	}
	if err := pl.lostBy(); err != nil {
		t.Errorf("given up twice: %v", err)
	}
}

func TestSilent(t *testing.T) {
	start := time.Now()
	f := func(what string, after time.Duration, want bool, delivered ...time.Duration) {
		t.Helper()
		pl := newPull(t)
		for i, d := range delivered {
			if d > 0 {
				pl.delivered[i].Store(start.Add(d).UnixNano())
			}
		}
		if err := pl.silent(start, start.Add(after)); (err != nil) != want {
			t.Errorf("%s: %v", what, err)
		}
	}
	const s = time.Second // the silence of newPull
	f("nothing yet", s, false)
	f("nothing for too long", s+1, true)
	f("all flows", 100*s, false, 100*s, 100*s, 100*s)
	f("some tracks never came", 100*s, false, 100*s, 0, 0)
	f("all stopped", 100*s+1, true, 99*s, 99*s, 99*s)
	f("video stopped", 102*s+1, true, 100*s, 102*s, 102*s)
	f("video pauses", 102*s, false, 100*s, 102*s, 102*s)
	f("sound stopped", 102*s+1, true, 102*s, 100*s, 102*s)
	f("metadata stopped", 200*s, false, 200*s, 200*s, 1*s)
}

// A source that falls silent, or says nothing from the start, is lost in time.
func TestWatch(t *testing.T) {
	f := func(what string, set func(o *fakeOrigin), after func(o *fakeOrigin), soonest, latest time.Duration) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			o := newFakeOrigin()
			o.sdp = head + h264
			set(o)
			pl, err := o.puller().describe(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			in := newIngest(pl.sdp, "weir", func() {})
			if err := pl.play(t.Context(), in); err != nil {
				t.Fatal(err)
			}
			start := time.Now()
			go after(o)
			err = pl.watch(t.Context())
			if took := time.Since(start); err == nil || took < soonest || took > latest {
				t.Errorf("%s: lost after %v (%v), want %v to %v", what, took, err, soonest, latest)
			}
			pl.close()
			in.stop()
			o.close()
		})
	}
	nothing := func(*fakeOrigin) {}
	f("mute", func(o *fakeOrigin) { o.mute = true }, nothing, time.Second, 1500*time.Millisecond)
	f("a picture every 10 s", func(o *fakeOrigin) { o.every = 10 * time.Second }, nothing, time.Second, 1500*time.Millisecond)
	f("plays for a minute and hangs up", nothing, func(o *fakeOrigin) { <-time.After(time.Minute); o.kill(true) }, time.Minute, time.Minute+time.Second)
	f("a stranger now and then", nothing, func(o *fakeOrigin) {
		for range 3 * strangers {
			<-time.After(100 * time.Millisecond)
			o.strange(1)
		}
		o.kill(true)
	}, 6*time.Second, 6100*time.Millisecond)
	f("changes its SSRC", nothing, func(o *fakeOrigin) { <-time.After(7 * time.Second); o.strange(2 * strangers) }, 7*time.Second, 10*time.Second)
}

// strange plays n packets of another SSRC beside its own.
func (o *fakeOrigin) strange(n uint32) {
	o.mu.Lock()
	c := o.conns[0]
	o.mu.Unlock()
	for i := range n {
		b := keyFrame(i)
		b[15] = 43
		if _, err := c.Write(b); err != nil {
			return
		}
	}
}
