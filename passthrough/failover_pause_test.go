package passthrough

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"weir/proxy"
	"weir/proxy/proxytest"
	"weir/proxy/wire"
)

// TestFailoverPaused: who is paused when his origin dies goes on whenever he wants to.
func TestFailoverPaused(t *testing.T) {
	for _, pause := range []time.Duration{time.Second, turnLimit - time.Second, turnLimit + time.Second, 10 * time.Minute} {
		for range 5 { // there may be luck in it
			synctest.Test(t, func(t *testing.T) {
				st := newStage(often, "one", "two")
				seated(t, st, func(s *seat) {
					s.takes(time.Second)
					s.ask(200, "PAUSE", "")
					st.origins[0].falls(dead)
					time.Sleep(pause)
					s.c.SetDeadline(time.Now().Add(time.Minute))
					s.ask(200, "PLAY", "")
					s.frame()
				})
			})
		}
	}
}

// TestFailoverPausedMeanwhile: who pauses while another origin is looked for holds no place
// in the queue of those who move.
func TestFailoverPausedMeanwhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := newStage(often, "one", "two")
		st.origins[0].edit = func(req *wire.Request, res *wire.Response) {
			if req.Method == "GET_PARAMETER" {
				res.Code = 503
			}
		}
		st.origins[1].edit = func(req *wire.Request, _ *wire.Response) {
			if req.Method == "SETUP" {
				time.Sleep(500 * time.Millisecond)
			}
		}
		seated(t, st, func(s *seat) {
			s.takes(5 * time.Second)
			s.send("GET_PARAMETER", "") // has somebody look
			s.takes(200 * time.Millisecond)
			s.send("PAUSE", "")
			s.answer()
			s.answer()
			time.Sleep(time.Minute)
			s.relay.queue.mu.Lock()
			for name, l := range s.relay.queue.lanes {
				t.Errorf("%s: %d places are taken after a minute", name, len(l.tokens))
			}
			s.relay.queue.mu.Unlock()
			s.c.SetDeadline(time.Now().Add(time.Minute))
			s.ask(200, "PLAY", "")
			s.frame()
		})
	})
}

// TestMoveEndsInTime: a move that had a turn and finds the queue full waits for no more
// than its time, and does not ask for a turn over and over.
func TestMoveEndsInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &Relay{queue: queue{lanes: map[string]*lane{}}}
		for range maxMoves {
			if _, err := r.queue.enter(t.Context(), "from x"); err != nil {
				t.Fatal(err)
			}
		}
		m := (&leg{r: r, link: &proxy.Link{Origin: "x"}, log: proxytest.Env(t).Log}).newMove()
		m.began, m.until = m.began.Add(-turnLimit), m.began.Add(time.Second)
		start := time.Now()
		if err := m.find(t.Context(), t.Context()); err == nil || time.Since(start) != time.Second {
			t.Errorf("%v after %v", err, time.Since(start))
		}
	})
}

// TestRelayTooLong: a SETUP that says more than is kept is passed on as any other.
func TestRelayTooLong(t *testing.T) {
	f := newFake(t)
	e := newEdge(t, quick, f.url())
	p := e.dial("/cam")
	p.send("DESCRIBE", "")
	l := f.accept()
	l.describe(1)
	p.want(200)
	long := []string{"Transport", overTCP}
	for range 10 {
		long = append(long, "X-Long", strings.Repeat("x", maxKept/10))
	}
	p.send("SETUP", "/trackID=0", long...)
	l.setup("77")
	p.setUp(p.want(200))
	p.send("PLAY", "")
	l.playAs("npt=0-", 1, 2)
	if got := p.want(200).Header.Get("RTP-Info"); got == "" {
		t.Error("no RTP-Info")
	}
	l.write(frameOf(0, rtpOf(1, 1, 2, key)))
	p.wantPacket(1, 1)
	l.reset()
	p.wantEnd()
}
