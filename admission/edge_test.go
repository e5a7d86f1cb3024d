package admission

import (
	"flag"
	"net/http/httptest"
	"net/netip"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"weir/proxy"
	"weir/proxy/proxytest"
)

// edgeGate is a Gate in a cluster whose other nodes are at addresses that begin with
// 192.0.2 or 2001:db8:.
func edgeGate(t *testing.T, flags ...string) *Gate {
	t.Helper()
	fs := flag.NewFlagSet("gate", flag.ContinueOnError)
	o := Flags(fs)
	if err := fs.Parse(flags); err != nil {
		t.Fatal(err)
	}
	edges := []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("2001:db8::/32")}
	edge := func(a netip.Addr) bool {
		if a.Is4In6() || a.Zone() != "" {
			t.Errorf("asked about %v", a)
		}
		return edges[0].Contains(a) || edges[1].Contains(a)
	}
	g, err := New(Config{Options: *o, Edge: edge, Peers: proxy.Alone, Metrics: prometheus.NewRegistry(), Log: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// TestEdgeConnections: an edge may have any number of connections, up to what all may
// have together.
func TestEdgeConnections(t *testing.T) {
	f := func(address string, want int, reason proxy.Reason) {
		t.Helper()
		g := edgeGate(t, "-admission.client-connections=2", "-admission.connections=300")
		n := 0
		for ; n < 1000; n++ {
			if _, err := g.Accept(netip.MustParseAddr(address)); err != nil {
				wantReason(t, address, err, reason)
				break
			}
		}
		if n != want {
			t.Errorf("%d connections of %s, want %d", n, address, want)
		}
	}
	f("10.0.0.1", 2, proxy.TooMany)
	f("2001:db9::1", 2, proxy.TooMany)
	f("192.0.2.1", 300, proxy.Full)
	f("::ffff:192.0.2.1", 300, proxy.Full)
	f("2001:db8::1%eth0", 300, proxy.Full)
}

// TestEdgeComesAndGoes: what was counted is uncounted, though the address has become an
// edge's meanwhile, or is none any more.
func TestEdgeComesAndGoes(t *testing.T) {
	is := false
	c := newConnections(0, 1, spare(nil, func(netip.Addr) bool { return is }))
	enter := func(want proxy.Reason) func() {
		t.Helper()
		leave, err := c.enter(addr4(1))
		wantReason(t, "enter", err, want)
		return leave
	}
	first := enter("")
	is = true
	second := enter("")
	first()
	is = false
	third := enter("")
	enter(proxy.TooMany)
	second()
	enter(proxy.TooMany)
	third()
	if open, clients := c.len(); open != 0 || clients != 0 {
		t.Errorf("%d open of %d clients after all have left", open, clients)
	}
}

// TestEdgeIsNeverBanned, not even if it was before it became one.
func TestEdgeIsNeverBanned(t *testing.T) {
	f := func(address string, want proxy.Reason) {
		t.Helper()
		g, a := edgeGate(t, "-admission.ban=1"), netip.MustParseAddr(address)
		for range 3 {
			g.Offend(a, proxy.BadRequest)
			g.Offend(a, proxy.Unauthorized)
		}
		_, err := g.Accept(a)
		wantReason(t, address, err, want)
		err = g.Check(t.Context(), &proxy.Viewer{Addr: netip.AddrPortFrom(a, 1), Protocol: "http", Path: "/a", Method: "GET"})
		wantReason(t, address, err, want)
	}
	f("10.0.0.1", proxy.Banned)
	f("192.0.2.1", "")
	f("2001:db8::1", "")

	is := false
	b := newBans(1, spare(nil, func(netip.Addr) bool { return is }), zap.NewNop())
	b.offend(addr4(1), proxy.BadRequest, noon)
	wantReason(t, "no edge yet", b.check(addr4(1), noon), proxy.Banned)
	is = true
	wantReason(t, "an edge", b.check(addr4(1), noon), "")
}

// TestPeersAreNoViewers: a request of another edge passes whatever is limited, and is
// counted nowhere. The same of a viewer does not.
func TestPeersAreNoViewers(t *testing.T) {
	f := func(want proxy.Reason, flags ...string) {
		t.Helper()
		for _, protocol := range []string{"rtsp", "http"} {
			g := gateOf(t, flags...)
			for n := range 50 {
				v := viewer(protocol, "/a/"+string(rune('a'+n%26)), 1)
				v.Peer = true
				ticket, err := g.admit(v)
				if err == nil {
					err = ticket.Declare(100 * mbit)
				}
				if err != nil {
					t.Fatalf("%v: %s: the %dth request of a peer: %v", flags, protocol, n, err)
				}
				ticket.Sent(1000)
				if n%2 == 0 {
					ticket.Close()
				}
			}
			if s := g.Status().(status); s.Viewers+s.Clients+s.Streams+int(s.Needed)+g.rates.len() > 0 || len(s.Refused) > 0 {
				t.Errorf("%v: %s: peers are counted: %+v", flags, protocol, s)
			}
			var err error
			for range 2 { // the first may find room
				if err = refusedOrDeclared(g.admit(viewer(protocol, "/v/"+protocol+".mp4", 2))); err != nil {
					break
				}
				err = refusedOrDeclared(g.admit(viewer(protocol, "/w/"+protocol+".mp4", 2)))
			}
			wantReason(t, flags[0]+" "+protocol, err, want)
		}
	}
	f(proxy.Full, "-admission.viewers=1")
	f(proxy.TooMany, "-admission.per-client=1")
	f(proxy.NoBandwidth, "-admission.bandwidth=15Mbit/s")
	f(proxy.TooFast, "-admission.rate=1")
	f(proxy.TooFast, "-admission.client-rate=1")
	f(proxy.Forbidden, "-admission.deny=10.0.0.0/8")
	f(proxy.Forbidden, "-admission.allow=11.0.0.0/8")
	f(proxy.Unauthorized, "-admission.keys="+fileOfKeys(t, keysText))
}

func refusedOrDeclared(ticket proxy.Ticket, err error) error {
	if err == nil {
		err = ticket.Declare(10 * mbit)
	}
	return err
}

// TestPeersAreNotPaced, nor given what keeps a viewer's token.
func TestPeersAreNotPaced(t *testing.T) {
	f := func(peer, paced bool) {
		t.Helper()
		g := gateOf(t, "-admission.pace=1Mbit/s", "-admission.burst=1KiB")
		w := newWrap(&proxytest.Next{}, &g.o, g.streams).(*wrapper)
		v := viewer("http", "/film.mp4", 1)
		v.Peer = peer
		r := httptest.NewRequest("GET", "/film.mp4", nil)
		a := w.answer(httptest.NewRecorder(), r.WithContext(proxy.WithViewer(r.Context(), v)))
		if got := a != nil && a.paces; got != paced {
			t.Errorf("peer %v: paced %v, want %v", peer, got, paced)
		}
	}
	f(false, true)
	f(true, false)
}
