package passthrough

import (
	"context"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestFailoverTLSMute: an origin that takes the connection and says nothing of its
// certificate is passed over, as one is that says nothing later.
func TestFailoverTLSMute(t *testing.T) {
	t.Parallel() // it mostly waits
	one, mute, three := newFake(t), newFake(t), newFake(t)
	e := newEdge(t, quick, one.url(), strings.Replace(mute.url(), "rtsp:", "rtsps:", 1), three.url())
	p, l := watching(e, one, overTCP)
	l.write(frameOf(0, rtpOf(1, 2, 3, key)))
	p.wantPacket(1, 2)
	began := time.Now()
	l.reset()
	mute.accept()
	l3, _ := three.takesOver(true)
	l3.write(frameOf(0, rtpOf(7, 8, 9, key)))
	p.wantPacket(1, 3)
	t.Logf("packets again after %v", time.Since(began))
}

// TestFailoverHole: so is one whose dials do not come about, though that takes all the
// time that one dial may take.
func TestFailoverHole(t *testing.T) {
	f := func(what string, most time.Duration, harm func(st *stage)) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			st := newStage(often, "one", "two", "three")
			seated(t, st, func(s *seat) {
				s.takes(5 * time.Second)
				harm(st)
				s.takes(15 * time.Second)
				t.Logf("%s: packets again after %v", what, s.gap)
				if s.gap > most {
					t.Errorf("%s: packets again after %v, want at most %v", what, s.gap, most)
				}
			})
		})
	}
	f("the first has fallen silent", 2*time.Second, func(st *stage) { st.origins[0].falls(hole) })
	f("the first dies, the second is not to be reached", dialLimit+farewell+often, func(st *stage) {
		st.origins[1].falls(hole)
		st.origins[0].falls(dead)
	})
}

// TestFailoverHoleDial: the same with the balancer's own dials, which give up sooner.
func TestFailoverHoleDial(t *testing.T) {
	one, two, three := newFake(t), newFake(t), newFake(t)
	b := balancer(t, inTurn, "-origin.timeout", "100ms", "-origin", one.url(), "-origin", two.url(), "-origin", three.url())
	dial := b.dial
	b.dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
		if addr == two.addr {
			<-ctx.Done()
			return nil, ctx.Err()
		}
		return dial(ctx, network, addr)
	}
	e := edgeOver(t, quick, "127.0.0.1:0", b)
	p, l := watching(e, one, overTCP)
	l.write(frameOf(0, rtpOf(1, 2, 3, key)))
	p.wantPacket(1, 2)
	l.reset()
	l3, _ := three.takesOver(true)
	l3.write(frameOf(0, rtpOf(7, 8, 9, key)))
	p.wantPacket(1, 3)
	two.nobody()
}
