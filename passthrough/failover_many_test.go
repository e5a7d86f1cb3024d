package passthrough

import (
	"bufio"
	"flag"
	"fmt"
	"math"
	"net"
	"sync"
	"testing"
	"time"

	"weir/proxy/proxytest"
	"weir/proxy/wire"
)

// A crowd is an origin that answers whoever asks, sends one packet to who plays,
// and counts how many are between DESCRIBE and PLAY. Until so many are, it lets
// none on.
type crowd struct {
	addr string
	wait int // how many are to be there at once, while there are so many left
	work sync.WaitGroup

	mu         sync.Mutex
	more       *sync.Cond
	conns      []net.Conn
	open, busy int
	mostOpen   int // before PLAY
	mostBusy   int
	played     int
	expected   int
}

func newCrowd(t *testing.T) *crowd {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &crowd{addr: l.Addr().String()}
	c.more = sync.NewCond(&c.mu)
	c.work.Go(func() {
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			c.mu.Lock()
			c.conns = append(c.conns, nc)
			c.open++
			c.mostOpen = max(c.mostOpen, c.open)
			c.mu.Unlock()
			c.work.Go(func() { c.serve(nc) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		c.die()
		c.work.Wait()
	})
	return c
}

func (c *crowd) die() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.wait = 0
	c.more.Broadcast()
	for _, nc := range c.conns {
		nc.(*net.TCPConn).SetLinger(0) //nolint:errcheck // it has gone already, then
		nc.Close()
	}
}

func (c *crowd) serve(nc net.Conn) {
	in := wire.NewReader(bufio.NewReader(nc))
	for {
		m, err := in.Next()
		if err != nil {
			return
		}
		req, ok := m.(*wire.Request)
		if !ok {
			continue
		}
		res := wire.Response{Code: 200, Phrase: "OK"}
		res.Header.Add("CSeq", req.Header.Get("CSeq"))
		res.Header.Add("Session", "1")
		switch req.Method {
		case "DESCRIBE":
			c.enter()
			res.Header.Add("Content-Type", "application/sdp")
			res.Body = []byte(description(1))
		case "SETUP":
			res.Header.Add("Transport", req.Header.Get("Transport"))
		case "PLAY":
			c.leave()
		}
		out := res.Append(nil)
		if req.Method == "PLAY" {
			out = append(out, frameOf(0, rtpOf(1, 2, 3, key))...)
		}
		nc.Write(out) //nolint:errcheck // the read says it
	}
}

func (c *crowd) enter() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.busy++
	c.mostBusy = max(c.mostBusy, c.busy)
	c.more.Broadcast()
	for c.busy < min(c.wait, c.expected-c.played) && c.mostBusy < c.wait {
		c.more.Wait()
	}
}

func (c *crowd) leave() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.busy--
	c.open--
	c.played++
}

// at is how many sessions are at an origin.
func (e *edge) at(origin string) (n int) {
	for _, s := range e.relay.Status().(RelayStatus).Sessions {
		if s.Origin == origin {
			n++
		}
	}
	return n
}

// bear has nobody leave an origin because it is silent.
func (e *edge) bear() {
	e.relay.mu.Lock()
	defer e.relay.mu.Unlock()
	for c := range e.relay.conns {
		if l := c.leg.Load(); l != nil {
			l.patient.Store(math.MaxInt64)
		}
	}
}

// sessions is how many move at once in TestFailoverMany. A thousand need some 8000 files.
var sessions = flag.Int("sessions", 200, "how many sessions move at once")

// TestFailoverMany: many sessions move at once, and the origin that is left is
// asked by a few at a time.
func TestFailoverMany(t *testing.T) {
	viewers := *sessions
	one, two := newCrowd(t), newCrowd(t)
	o := quick
	o.Timeout = soon
	e := newEdge(t, o, "rtsp://"+one.addr+"#weight=1000", "rtsp://"+two.addr) // one has all but a few at first
	var all []*player
	for n := range viewers {
		all = append(all, e.dial(fmt.Sprintf("/cam%d", n)).watch())
		e.bear()
	}
	two.mu.Lock()
	two.wait, two.expected, two.mostBusy, two.mostOpen = maxMoves, viewers, 0, 0
	two.mu.Unlock()
	stays := map[string]bool{} // those that are at the other one from the start
	for _, s := range e.relay.Status().(RelayStatus).Sessions {
		stays[s.Path] = s.Origin == two.addr
	}
	first, began := e.at(two.addr), time.Now()
	one.die()
	proxytest.Eventually(t, 4*soon, "all have moved", func() bool {
		return e.at(two.addr) == viewers
	})
	t.Logf("%d sessions moved in %v", viewers-first, time.Since(began))
	for n, p := range all {
		if p.frame(); !stays[fmt.Sprintf("/cam%d", n)] {
			p.frame()
		}
	}
	two.mu.Lock()
	if two.mostBusy != maxMoves || two.mostOpen > maxMoves {
		t.Errorf("%d moves and %d connections at once, want %d", two.mostBusy, two.mostOpen, maxMoves)
	}
	two.mu.Unlock()
	if n := e.places(); n != viewers {
		t.Errorf("%d places, want %d", n, viewers)
	}
	for _, p := range all {
		p.c.Close()
	}
}
