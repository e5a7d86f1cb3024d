package viewer

import (
	"bufio"
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"weir/proxy/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const oneVideo = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n" +
	"m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=control:trackID=0\r\n"

// A fake is a server that does what a test wants: for faults that a real one
// does not have.
type fake struct {
	addr string
	sdp  string
	// answer may change the answer to a request (nil for none), or write to the
	// connection itself. It runs on the connection's goroutine.
	answer func(c net.Conn, req *wire.Request, res *wire.Response) *wire.Response

	mu   sync.Mutex
	reqs []*wire.Request
	ress []*wire.Response // of the viewer
}

type answerFunc = func(net.Conn, *wire.Request, *wire.Response) *wire.Response

func fakeServer(t *testing.T, answer answerFunc) *fake {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return fakeOn(t, ln, answer)
}

// secureServer is a fakeServer under TLS, and who trusts it.
func secureServer(t *testing.T, answer answerFunc) (*fake, *tls.Config) {
	t.Helper()
	pair := httptest.NewTLSServer(nil) // it has a certificate
	defer pair.Close()
	ln, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: pair.TLS.Certificates})
	if err != nil {
		t.Fatal(err)
	}
	return fakeOn(t, ln, answer), pair.Client().Transport.(*http.Transport).TLSClientConfig
}

func fakeOn(t *testing.T, ln net.Listener, answer answerFunc) *fake {
	t.Helper()
	f := &fake{addr: ln.Addr().String(), sdp: oneVideo, answer: answer}
	ctx, cancel := context.WithCancel(t.Context())
	var owned sync.WaitGroup
	owned.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			owned.Go(func() { f.serve(ctx, c) })
		}
	})
	t.Cleanup(func() {
		cancel()
		ln.Close()
		owned.Wait()
	})
	return f
}

func (f *fake) serve(ctx context.Context, c net.Conn) {
	defer c.Close()
	defer context.AfterFunc(ctx, func() { c.Close() })()
	r := wire.NewReader(bufio.NewReader(c))
	for {
		msg, err := r.Next()
		if err != nil {
			return
		}
		f.note(msg)
		req, ok := msg.(*wire.Request)
		if !ok {
			continue
		}
		res := f.usual(req)
		if f.answer != nil {
			res = f.answer(c, req, res)
		}
		if res == nil {
			continue
		}
		if _, err := c.Write(res.Append(nil)); err != nil {
			return
		}
	}
}

func (f *fake) note(msg any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch m := msg.(type) {
	case *wire.Request:
		f.reqs = append(f.reqs, m)
	case *wire.Response:
		f.ress = append(f.ress, m)
	}
}

func (f *fake) usual(req *wire.Request) *wire.Response {
	res := &wire.Response{Code: 200, Phrase: "OK"}
	res.Header.Add("CSeq", req.Header.Get("CSeq"))
	switch req.Method {
	case "DESCRIBE":
		res.Body = []byte(f.sdp)
	case "SETUP":
		res.Header.Add("Transport", req.Header.Get("Transport"))
		res.Header.Add("Session", "abc;timeout=1")
	}
	return res
}

// requests returns those of a method.
func (f *fake) requests(method string) []*wire.Request {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(f.reqs), func(r *wire.Request) bool { return r.Method != method })
}

func (f *fake) responses() []*wire.Response {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.ress)
}

// afterPlay answers PLAY and then writes b.
func afterPlay(b []byte) answerFunc {
	return func(c net.Conn, req *wire.Request, res *wire.Response) *wire.Response {
		if req.Method != "PLAY" {
			return res
		}
		// A test that misses the bytes sees that.
		_, _ = c.Write(append(res.Append(nil), b...))
		return nil
	}
}

// packet is an RTP packet with a picture in it that is no key frame.
func packet(seq uint16) []byte {
	return []byte{0x80, 96, byte(seq >> 8), byte(seq), 0, 0, 0, 0, 0, 0, 0, 7, 0x41, 1, 2, 3}
}

// frames puts packets on channel 0.
func frames(seqs ...uint16) (b []byte) {
	for _, s := range seqs {
		b = append(b, frame(0, packet(s))...)
	}
	return b
}

func frame(channel byte, pkt []byte) []byte {
	return append([]byte{'$', channel, byte(len(pkt) >> 8), byte(len(pkt))}, pkt...)
}

func open1(t *testing.T, o Options) *Viewer {
	t.Helper()
	v, err := Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { v.Close() })
	return v
}

// running runs v until the test, or stop, stops it; stop returns what Run did.
func running(t *testing.T, v *Viewer) (stop func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- v.Run(ctx) }()
	stop = sync.OnceValue(func() error {
		cancel()
		return <-done
	})
	t.Cleanup(func() { stop() })
	return stop
}

// eventually polls until ok holds.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(5 * time.Second)
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("not within 5 s: %s", what)
		}
	}
}

func contains(err error, s string) bool { return err != nil && strings.Contains(err.Error(), s) }
