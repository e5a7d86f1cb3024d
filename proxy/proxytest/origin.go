package proxytest

import (
	"bufio"
	"context"
	"encoding/binary"
	"net"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"weir/proxy"
	"weir/proxy/wire"
)

// An origin has one live stream for every path, and plays it over TCP only. It
// is no more than the suite needs: a real one is proxy/origintest.
type origin struct {
	l  net.Listener
	wg sync.WaitGroup

	mu    sync.Mutex
	conns []net.Conn // nil once closed
	ended bool
}

const originSDP = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=live\r\nc=IN IP4 0.0.0.0\r\nt=0 0\r\na=control:*\r\na=range:npt=now-\r\n" +
	"m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\n" +
	"a=fmtp:96 packetization-mode=1; sprop-parameter-sets=Z0LAHtkDxWhAAAADAEAAAAwDxYuS,aMuMsg==\r\na=control:trackID=0\r\n"

func newOrigin(t testing.TB) *origin {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	o := &origin{l: l}
	o.wg.Go(o.accept)
	t.Cleanup(o.close) // of use only if the test fails before
	return o
}

// close may be called more than once.
func (o *origin) close() {
	o.l.Close()
	o.mu.Lock()
	o.ended = true
	for _, c := range o.conns {
		c.Close()
	}
	o.mu.Unlock()
	o.wg.Wait()
}

func (o *origin) dial(ctx context.Context, w proxy.Want) (*proxy.Link, error) {
	c, err := (&net.Dialer{}).DialContext(ctx, "tcp", o.l.Addr().String())
	if err != nil {
		return nil, &proxy.Refusal{Reason: proxy.OriginDown, Err: err}
	}
	return &proxy.Link{
		Conn:   c,
		URL:    &url.URL{Scheme: "rtsp", Host: o.l.Addr().String(), Path: w.Path},
		Origin: o.l.Addr().String(),
		Fail:   func(error) {},
	}, nil
}

func (o *origin) accept() {
	for {
		c, err := o.l.Accept()
		if err != nil {
			return
		}
		o.mu.Lock()
		o.conns = append(o.conns, c)
		if o.ended {
			c.Close()
		}
		o.mu.Unlock()
		o.wg.Go(func() { o.serve(c) })
	}
}

// serve answers requests until the connection ends.
func (o *origin) serve(c net.Conn) {
	defer c.Close()
	r := wire.NewReader(bufio.NewReader(c))
	playing := false
	for {
		m, err := r.Next()
		if err != nil {
			return
		}
		req, ok := m.(*wire.Request)
		if !ok { // receiver reports
			continue
		}
		if _, err := c.Write(answerTo(req).Append(nil)); err != nil {
			return
		}
		if req.Method == "PLAY" && !playing {
			playing = true
			o.wg.Go(func() { play(c) })
		}
	}
}

func answerTo(req *wire.Request) *wire.Response {
	res := &wire.Response{Code: 200, Phrase: "OK"}
	res.Header.Add("CSeq", req.Header.Get("CSeq"))
	switch req.Method {
	case "OPTIONS":
		res.Header.Add("Public", "DESCRIBE, SETUP, PLAY, GET_PARAMETER, TEARDOWN")
	case "DESCRIBE":
		res.Header.Add("Content-Base", strings.TrimSuffix(req.URL, "/")+"/")
		res.Header.Add("Content-Type", "application/sdp")
		res.Body = []byte(originSDP)
	case "SETUP":
		if !strings.Contains(req.Header.Get("Transport"), "RTP/AVP/TCP") {
			res.Code, res.Phrase = 461, "Unsupported Transport"
			return res
		}
		res.Header.Add("Transport", "RTP/AVP/TCP;unicast;interleaved=0-1;ssrc=0000002A")
		res.Header.Add("Session", "1;timeout=60")
	default:
		res.Header.Add("Session", "1")
	}
	return res
}

// play writes a key frame of one packet a hundred times a second.
func play(c net.Conn) {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for n := uint32(0); ; n++ {
		b := []byte{'$', 0, 0, 16, 0x80, 0x80 | 96}
		b = binary.BigEndian.AppendUint16(b, uint16(n))
		b = binary.BigEndian.AppendUint32(b, n*900)
		b = binary.BigEndian.AppendUint32(b, 42)
		b = append(b, 0x65, 0x88, 0x84, 0x00)
		if _, err := c.Write(b); err != nil {
			return
		}
		<-tick.C
	}
}
