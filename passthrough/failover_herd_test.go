package passthrough

import (
	"bufio"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"fmt"
	"net"
	"sync"
	"testing"
	"time"

	"weir/proxy/proxytest"
	"weir/proxy/rtp"
	"weir/proxy/wire"
)

// A herd is an origin behind TLS that has a small packet for each session every
// 200 ms, and counts who is between the dial and PLAY.
type herd struct {
	url  string
	mark byte // that its packets end with
	sdp  string
	ln   net.Listener
	work sync.WaitGroup

	mu     sync.Mutex
	conns  map[net.Conn]stand
	coming int // accepted, and not playing yet
	most   int // of those at once
	asked  int // DESCRIBEs answered, and not playing yet
	busy   int // the most of those
	tick   *time.Ticker
	done   chan struct{}
}

// A stand is how far a connection has come.
type stand int

const (
	coming stand = iota
	plays
	paused
)

func newHerd(t *testing.T, mark byte) *herd {
	t.Helper()
	cert := serverCert(t)
	ln, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{cert}})
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(cert.Certificate[0])
	h := &herd{url: "rtsps://" + ln.Addr().String() + "#fingerprint=" + hex.EncodeToString(sum[:]), mark: mark, ln: ln, sdp: description(1),
		conns: map[net.Conn]stand{}, tick: time.NewTicker(200 * time.Millisecond), done: make(chan struct{})}
	h.work.Go(h.accept)
	h.work.Go(h.play)
	t.Cleanup(func() {
		h.die()
		h.work.Wait()
	})
	return h
}

// die ends the origin as a kill does.
func (h *herd) die() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.tick == nil {
		return
	}
	h.tick.Stop()
	h.tick = nil
	close(h.done)
	h.ln.Close()
	h.drop()
}

// restart is a kill and what comes at once after it.
func (h *herd) restart() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.drop()
}

// drop resets all connections; mu is held.
func (h *herd) drop() {
	for c := range h.conns {
		raw := c.(*tls.Conn).NetConn().(*net.TCPConn)
		raw.SetLinger(0) //nolint:errcheck // it has gone already, then
		raw.Close()
	}
}

func (h *herd) accept() {
	for {
		c, err := h.ln.Accept()
		if err != nil {
			return
		}
		h.mu.Lock()
		if h.tick == nil {
			c.Close()
		}
		h.conns[c] = coming
		h.coming++
		h.most = max(h.most, h.coming)
		h.mu.Unlock()
		h.work.Go(func() { h.serve(c) })
	}
}

func (h *herd) serve(c net.Conn) {
	defer h.gone(c)
	in := wire.NewReader(bufio.NewReader(c))
	for {
		m, err := in.Next()
		if err != nil {
			return
		}
		req, ok := m.(*wire.Request)
		if !ok {
			continue
		}
		if req.Method == "DESCRIBE" {
			h.asks()
		}
		h.answers(c, req)
	}
}

func (h *herd) says(req *wire.Request) []byte {
	res := wire.Response{Code: 200, Phrase: "OK"}
	res.Header.Add("CSeq", req.Header.Get("CSeq"))
	res.Header.Add("Session", "1")
	switch req.Method {
	case "DESCRIBE":
		res.Header.Add("Content-Type", "application/sdp")
		res.Body = []byte(h.sdp)
	case "SETUP":
		res.Header.Add("Transport", req.Header.Get("Transport"))
	case "PLAY":
		if from := req.Header.Get("Range"); from != "" {
			res.Header.Add("Range", from)
		}
	}
	return res.Append(nil)
}

// answers answers a request; who has the answer to PLAY may make room for the next,
// and gets no packet before.
func (h *herd) answers(c net.Conn, req *wire.Request) {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch req.Method {
	case "PLAY":
		h.settles(c, plays)
	case "PAUSE", "TEARDOWN":
		h.settles(c, paused)
	}
	c.Write(h.says(req)) //nolint:errcheck // the read says it
}

// settles notes how far a connection has come; mu is held.
func (h *herd) settles(c net.Conn, at stand) {
	if h.conns[c] == coming {
		h.coming--
		h.asked--
	}
	h.conns[c] = at
}

// asks notes a DESCRIBE.
func (h *herd) asks() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.asked++
	h.busy = max(h.busy, h.asked)
}

func (h *herd) gone(c net.Conn) {
	c.Close()
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.conns[c] == coming {
		h.coming--
	}
	delete(h.conns, c)
}

// play has all who play get the next packet.
func (h *herd) play() {
	h.mu.Lock()
	tick := h.tick
	h.mu.Unlock()
	for n := uint16(0); ; n++ {
		select {
		case <-h.done:
			return
		case <-tick.C:
		}
		pkt := frameOf(0, append(rtpOf(uint32(h.mark), n, uint32(n)*18000, key), h.mark))
		h.mu.Lock()
		for c, at := range h.conns {
			if at == plays {
				c.Write(pkt) //nolint:errcheck // the read says it
			}
		}
		h.mu.Unlock()
	}
}

// counts are the most that were coming and asking at once so far, and who plays now.
func (h *herd) counts() (most, busy, playing int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, at := range h.conns {
		if at == plays {
			playing++
		}
	}
	return h.most, h.busy, playing
}

// follow reads until a packet of another origin has come, and fails the test unless
// the numbers follow one another to there.
func (p *player) follow(mark byte) {
	p.t.Helper()
	_, last := p.frame()
	for last[len(last)-1] != mark {
		_, next := p.frame()
		if rtp.SSRC(next) != rtp.SSRC(last) || rtp.Seq(next) != rtp.Seq(last)+1 {
			p.t.Fatalf("%x after %x", next, last)
		}
		last = next
	}
}

// TestFailoverHerd: two of three origins behind TLS die at once under many sessions.
// All go on, and the third is asked by a few at a time: shaking hands is what costs
// it most.
func TestFailoverHerd(t *testing.T) {
	viewers := *sessions
	one, two, three := newHerd(t, 1), newHerd(t, 2), newHerd(t, 3)
	o := quick
	o.Timeout = soon
	e := newEdge(t, o, one.url, two.url, three.url)
	var all []*player
	for n := range viewers {
		p := e.dial(fmt.Sprintf("/cam%d", n)).watch()
		p.c.SetDeadline(time.Now().Add(time.Minute + 4*soon))
		all = append(all, p)
	}
	three.mu.Lock()
	three.most, three.busy = 0, 0
	three.mu.Unlock()
	_, _, before := three.counts()
	began := time.Now()
	one.die()
	two.die()
	proxytest.Eventually(t, moveLimit+soon, "all have moved", func() bool {
		_, _, n := three.counts()
		return n == viewers
	})
	most, busy, _ := three.counts()
	t.Logf("%d sessions moved in %v; at once %d were coming and %d asking", viewers-before, time.Since(began), most, busy)
	if busy > maxMoves || most > 2*maxMoves {
		t.Errorf("%d were coming and %d asking at once, want %d for each that died, and %d", most, busy, maxMoves, maxMoves)
	}
	for _, p := range all {
		p.follow(3)
	}
	if n := e.places(); n != viewers {
		t.Errorf("%d places, want %d", n, viewers)
	}
	for _, p := range all {
		p.c.Close()
	}
}
