package passthrough

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"weir/proxy"
	"weir/proxy/proxytest"
	"weir/proxy/wire"
)

// TestRelayBabble: eight viewers and an origin who say all kinds of things, right
// and wrong, in any order. The relay stays upright, nothing is left in the end, and
// nobody hears a word that was for another.
func TestRelayBabble(t *testing.T) {
	f := newFake(t)
	up := &proxytest.Upstream{DialFunc: func(ctx context.Context, w proxy.Want) (*proxy.Link, error) {
		c, err := (&net.Dialer{}).DialContext(ctx, "tcp", f.addr)
		if err != nil {
			return nil, err
		}
		return &proxy.Link{Conn: c, URL: &url.URL{Scheme: "rtsp", Host: f.addr, Path: w.Path}, Origin: f.addr, Fail: func(error) {}}, nil
	}}
	e := edgeOver(t, Options{UDP: "23000-23999", Timeout: 100 * time.Millisecond, Beat: time.Millisecond, Lag: 200 * time.Millisecond}, "127.0.0.1:0", up)
	go func() {
		for c := range f.links {
			go (&babbler{t: t, c: c, r: rand.New(rand.NewPCG(3, rand.Uint64()))}).originate()
		}
	}()
	ids := &gossip{}
	var viewers sync.WaitGroup
	for n := range 8 {
		r := rand.New(rand.NewPCG(4, uint64(n)))
		viewers.Go(func() {
			for range 25 {
				c, err := net.Dial("tcp", e.addr)
				if err != nil {
					t.Error(err)
					return
				}
				(&babbler{t: t, c: c, r: r, mark: fmt.Sprintf("viewer%d", n), ids: ids, url: "rtsp://" + e.addr + "/cam"}).view()
			}
		})
	}
	viewers.Wait()
	e.drain()
	e.stop()
	if len(ids.all) == 0 {
		t.Error("nobody got as far as a session")
	}
}

// gossip is the sessions over TCP that viewers have heard of.
type gossip struct {
	mu  sync.Mutex
	all []string
}

func (g *gossip) tell(id string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.all = append(g.all, id)
}

func (g *gossip) any(r *rand.Rand) string {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.all) == 0 {
		return "nobody"
	}
	return g.all[r.IntN(len(g.all))]
}

// A babbler is one end of a connection.
type babbler struct {
	t    *testing.T
	c    net.Conn
	r    *rand.Rand
	mark string // who it is for: in all that is said

	ids *gossip
	url string

	mu      sync.Mutex
	session string
	own     []string // sessions, this one and those before
	foreign []string // CSeqs of requests in a session that is not ours
}

func (b *babbler) one(of ...string) string { return of[b.r.IntN(len(of))] }

func (b *babbler) say(text string) bool {
	b.c.SetWriteDeadline(time.Now().Add(time.Second)) //nolint:errcheck // the write says it
	for len(text) > 0 {
		n := 1 + b.r.IntN(len(text))
		if _, err := b.c.Write([]byte(text[:n])); err != nil {
			return false
		}
		text = text[n:]
	}
	return true
}

func (b *babbler) frame() string {
	return string(frameOf(byte(b.r.IntN(4)), []byte(b.mark+strings.Repeat("x", b.r.IntN(3000)))))
}

// view is a viewer's life.
func (b *babbler) view() {
	heard := make(chan struct{})
	b.c.SetReadDeadline(time.Now().Add(2 * time.Second)) //nolint:errcheck // the read says it
	go b.listen(heard)
	defer func() {
		b.c.Close()
		<-heard
	}()
	b.say("DESCRIBE " + b.url + " RTSP/1.0\r\nCSeq: 0\r\nX-Mark: " + b.mark + "\r\n\r\n")
	for n := range 12 {
		if !b.say(b.request(n + 1)) {
			return
		}
		<-time.After(time.Duration(b.r.IntN(4)) * time.Millisecond) // some pipelined, some not
	}
}

// request is what a viewer says next.
func (b *babbler) request(n int) string {
	b.mu.Lock()
	id := b.session
	b.mu.Unlock()
	cseq := fmt.Sprint(n)
	switch b.r.IntN(24) {
	case 0:
		return b.one("\r\n", "$", "RTSP/1.0 200 OK\r\n\r\n", "PLAY\r\n\r\n", "X y RTSP/2.0\r\n\r\n", "\x00\xff\r\n")
	case 1, 2, 3:
		return b.frame()
	case 4:
		return b.steal(cseq)
	case 5:
		return b.one("RTSP/1.0 200 OK\r\nCSeq: 1\r\nX-Mark: "+b.mark+"\r\n\r\n", "RTSP/1.0 404\r\n\r\n")
	}
	method := b.one("SETUP", "SETUP", "SETUP", "PLAY", "PLAY", "PAUSE", "GET_PARAMETER", "OPTIONS", "DESCRIBE", "TEARDOWN", "RECORD", "BABBLE")
	url := b.url + b.one("", "", "/", "/trackID=0", "/../x")
	out := method + " " + url + " RTSP/1.0\r\nCSeq: " + cseq + "\r\nX-Mark: " + b.mark + "\r\n"
	if id != "" && b.r.IntN(8) > 0 {
		out += "Session: " + id + "\r\n"
	}
	if method == "SETUP" {
		out += "Transport: " + b.one(overTCP, "RTP/AVP/TCP;unicast", "RTP/AVP/TCP;unicast;interleaved=2-3", "RTP/AVP;unicast;client_port=5000-5001", "x") + "\r\n"
	}
	switch b.r.IntN(12) {
	case 0:
		out += "Content-Length: 4\r\n\r\nbody"
	case 1:
		out += b.one("Content-Length: 1\r\nContent-Length: 2\r\n", "Proxy-Require: x\r\n", "X-Fold:\r\n folded\r\n") + "\r\n"
	default:
		out += "\r\n"
	}
	return out
}

// steal names a session that may be another viewer's.
func (b *babbler) steal(cseq string) string {
	id := b.ids.any(b.r)
	b.mu.Lock()
	defer b.mu.Unlock()
	if !slices.Contains(b.own, id) {
		b.foreign = append(b.foreign, cseq)
	}
	return b.one("PLAY", "TEARDOWN", "PAUSE") + " " + b.url + " RTSP/1.0\r\nCSeq: " + cseq + "\r\nX-Mark: " + b.mark + "\r\nSession: " + id + "\r\n\r\n"
}

// listen hears what the edge says, and checks whom it is for.
func (b *babbler) listen(heard chan<- struct{}) {
	defer close(heard)
	in := wire.NewReader(bufio.NewReader(b.c))
	for {
		m, err := in.Next()
		if err != nil {
			return
		}
		switch m := m.(type) {
		case *wire.Frame:
			if !strings.HasPrefix(string(m.Payload), b.mark) {
				b.t.Errorf("%s is sent %.20q", b.mark, m.Payload)
			}
		case *wire.Request:
			b.forUs(m.Header)
		case *wire.Response:
			b.forUs(m.Header)
			b.note(m)
		}
	}
}

func (b *babbler) forUs(h wire.Header) {
	if got := h.Get("X-Mark"); got != "" && got != b.mark {
		b.t.Errorf("%s is told what is for %s", b.mark, got)
	}
}

func (b *babbler) note(res *wire.Response) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if res.Code == 200 && slices.Contains(b.foreign, res.Header.Get("CSeq")) {
		b.t.Errorf("%s uses another's session", b.mark)
	}
	id, _, _ := parseSession(res.Header.Get("Session"))
	if id == "" || res.Code != 200 {
		return
	}
	if id != b.session && strings.Contains(res.Header.Get("Transport"), "/TCP") {
		defer b.ids.tell(id)
	}
	b.session, b.own = id, append(b.own, id)
}

// originate is an origin's life on one connection.
func (b *babbler) originate() {
	defer b.c.Close()
	b.c.SetReadDeadline(time.Now().Add(soon)) //nolint:errcheck // the read says it
	in := wire.NewReader(bufio.NewReader(b.c))
	for {
		m, err := in.Next()
		if err != nil {
			return
		}
		if f, ok := m.(*wire.Frame); ok && !strings.HasPrefix(string(f.Payload), b.mark) {
			b.t.Errorf("%s's origin hears %.20q", b.mark, f.Payload)
		}
		req, ok := m.(*wire.Request)
		if !ok {
			continue
		}
		if got := req.Header.Get("X-Mark"); got != "" {
			if b.mark != "" && got != b.mark {
				b.t.Errorf("the connection for %s brings what %s says", b.mark, got)
			}
			b.mark = got
		}
		if !b.reply(req) {
			return
		}
	}
}

// reply answers a request, most of the time.
func (b *babbler) reply(req *wire.Request) bool {
	head := "\r\nX-Mark: " + b.mark + "\r\nCSeq: " + req.Header.Get("CSeq") + "\r\n"
	switch b.r.IntN(40) {
	case 0:
		return false
	case 1:
		b.c.(*net.TCPConn).SetLinger(0) //nolint:errcheck // it only makes the end ruder
		return false
	case 2:
		return b.say("RTSP/1.0 100 Continue\r\n\r\nRTSP/1.0 200 OK\r\nCSeq: 777\r\n\r\nRTSP/1.0 200 OK\r\n\r\n")
	case 3:
		return b.say(b.one("nonsense\r\n", "HTTP/1.0 200 OK\r\n\r\n"))
	case 4:
		return true // silence
	case 5:
		return b.say("RTSP/1.0 " + b.one("404 No", "454 Gone", "401 Who", "302 There\r\nLocation: rtsp://127.0.0.1:1/x", "500") + head + "\r\n")
	case 6:
		b.say("GET_PARAMETER * RTSP/1.0\r\nX-Mark: " + b.mark + "\r\nCSeq: 5\r\nSession: 1\r\n\r\n")
	}
	for range b.r.IntN(4) {
		b.say(b.frame())
	}
	switch req.Method {
	case "DESCRIBE":
		body := description(2)
		head += "Content-Type: application/sdp\r\nContent-Length: " + fmt.Sprint(len(body)) + "\r\n\r\n" + body
		return b.say("RTSP/1.0 200 OK" + head)
	case "SETUP":
		head += "Session: " + b.one("1", "1", "1", "2") + "\r\nTransport: " + req.Header.Get("Transport") + "\r\n"
	}
	return b.say("RTSP/1.0 200 OK" + head + "\r\n")
}
