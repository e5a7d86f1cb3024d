package passthrough

import (
	"bufio"
	"cmp"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"weir/proxy"
	"weir/proxy/proxytest"
	"weir/proxy/wire"
)

// A seat is a player in memory, of a relay in front of a stage.
type seat struct {
	*player
	*follower
	logged *observer.ObservedLogs
	gate   *proxytest.Gate
	relay  *Relay
}

// seated has a player play; all is ended when the test has done what it is given, and
// then each place was given back once.
func seated(t *testing.T, st *stage, do func(s *seat)) {
	t.Helper()
	core, logged := observer.New(zap.InfoLevel)
	env := proxytest.Env(t)
	gate := &proxytest.Gate{}
	env.Gate, env.Upstream, env.Log = gate, st, zap.New(core)
	r, err := New(Options{Timeout: 10 * time.Second, Lag: 10 * time.Second}, env)
	if err != nil {
		t.Fatal(err)
	}
	stop := running(t, r)
	near, far := net.Pipe()
	rc := proxy.NewRTSPConn(far, nil, &proxy.Viewer{Addr: netip.MustParseAddrPort("127.0.0.1:1"), Protocol: "rtsp", Path: "/cam"}, nil, nil)
	var work sync.WaitGroup
	work.Go(func() { r.ServeRTSP(t.Context(), rc) })
	p := &player{t: t, c: near, in: wire.NewReader(bufio.NewReader(near)), url: "rtsp://edge/cam"}
	defer func() {
		near.Close()
		work.Wait()
		stop()
		for _, a := range st.origins {
			a.falls(dead)
		}
		st.work.Wait()
		for _, ticket := range gate.Tickets() {
			if n := ticket.Closes(); n != 1 {
				t.Errorf("a place was given back %d times", n)
			}
		}
	}()
	p.plays(cmp.Or(st.offer, overTCP), st.header...)
	do(&seat{p, &follower{t: t, what: "video"}, logged, gate, r})
}

// plays is watch with a Transport and more in the header.
func (p *player) plays(offer string, header ...string) {
	p.t.Helper()
	p.ask(200, "DESCRIBE", "", header...)
	p.setUp(p.ask(200, "SETUP", "/trackID=0", append([]string{"Transport", offer}, header...)...))
	p.ask(200, "PLAY", "", header...)
}

// takes takes packets for a time.
func (s *seat) takes(d time.Duration) {
	s.player.t.Helper()
	for end := time.Now().Add(d); time.Now().Before(end); {
		_, pkt := s.frame()
		s.packet(pkt)
	}
	if s.lost > 0 {
		s.player.t.Errorf("%d numbers are missing", s.lost)
	}
}

// ends waits for the end of the connection, and returns how long that took. One line
// of the log has to say why, in words that begin so.
func (s *seat) ends(why string) time.Duration {
	s.player.t.Helper()
	began := time.Now()
	s.c.SetReadDeadline(began.Add(time.Minute))
	s.wantEnd()
	d := time.Since(began)
	synctest.Wait()
	lines := s.logged.FilterMessage("sessions end with their origin").All()
	if len(lines) != 1 || !strings.HasPrefix(fmt.Sprint(lines[0].ContextMap()["why"]), why) {
		s.player.t.Errorf("the log tells of the end in %d lines %v, want one because of %q", len(lines), lines, why)
	}
	return d
}

// TestFailoverFrozen: an origin that was stopped in the middle is left for another
// when it has been silent for a second, or for five of the gaps that are usual; sooner
// if it is believed to be dead besides.
func TestFailoverFrozen(t *testing.T) {
	f := func(what string, gap time.Duration, gone bool, least, most time.Duration) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			st := newStage(gap, "one", "two")
			st.gone = gone
			seated(t, st, func(s *seat) {
				s.takes(5 * time.Second)
				st.origins[0].falls(frozen)
				s.takes(15 * time.Second)
				t.Logf("%s: packets again after %v", what, s.gap)
				if s.gap < least || s.gap > most {
					t.Errorf("%s: packets again after %v, want %v to %v", what, s.gap, least, most)
				}
			})
			if _, n := st.origins[0].counts(); n == 0 {
				t.Errorf("%s: the origin is not blamed", what)
			}
			if n, _ := st.origins[1].counts(); n != 1 {
				t.Errorf("%s: the other one was dialled %d times", what, n)
			}
		})
	}
	f("25 a second", 40*time.Millisecond, false, quietLimit, 2*time.Second)
	f("5 a second", 200*time.Millisecond, false, quietLimit, 2*time.Second)
	f("2 a second", 500*time.Millisecond, false, 5*500*time.Millisecond, 4*time.Second)
	f("25 a second, and believed to be dead", 40*time.Millisecond, true, goneLimit, 500*time.Millisecond)
}
