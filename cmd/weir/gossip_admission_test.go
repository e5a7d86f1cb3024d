package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"weir/admission"
	"weir/proxy"
	"weir/proxy/proxytest"
)

// A clusterGate is the gate of one edge of several.
type clusterGate struct {
	*admission.Gate
	t  *testing.T
	in []proxy.Ticket
}

// clusterGates run until the test ends.
func clusterGates(t *testing.T, peers []*gossiper, flags ...string) (all []*clusterGate) {
	t.Helper()
	for _, p := range peers {
		fs := flag.NewFlagSet("gate", flag.ContinueOnError)
		o := admission.Flags(fs)
		must(t, fs.Parse(append(flags, "-admission.cluster=sum")))
		g, err := admission.New(admission.Config{Options: *o, Peers: p, Metrics: prometheus.NewRegistry(), Log: zap.NewNop()})
		must(t, err)
		ctx, stop := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- g.Run(ctx) }()
		t.Cleanup(func() {
			stop()
			must(t, <-done)
		})
		all = append(all, &clusterGate{Gate: g, t: t})
	}
	return all
}

// comes reports whether a viewer is let in.
func (g *clusterGate) comes(n int) bool {
	v := &proxy.Viewer{Addr: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, byte(n >> 8), byte(n)}), 5000), Protocol: "rtsp", Path: "/cam", Method: "SETUP"}
	ticket, err := g.Admit(g.t.Context(), v)
	if err != nil {
		if r := proxy.Refused(err).Reason; r != proxy.Full {
			g.t.Errorf("refused for %s", r)
		}
		return false
	}
	g.in = append(g.in, ticket)
	return true
}

// leave lets the first n viewers go.
func (g *clusterGate) leave(n int) {
	for _, ticket := range g.in[:n] {
		ticket.Close()
	}
	g.in = g.in[n:]
}

// counts are how many viewers an edge has, and knows of on others, and how many of
// those there are.
func (g *clusterGate) counts() (own, others, edges int) {
	b, err := json.Marshal(g.Status())
	must(g.t, err)
	var s struct {
		Viewers int
		Others  struct{ Viewers, Edges int } `json:"other_edges"`
	}
	must(g.t, json.Unmarshal(b, &s))
	return s.Viewers, s.Others.Viewers, s.Others.Edges
}

// agree waits until all edges know of exactly as many viewers as there are.
func agree(t *testing.T, gates []*clusterGate) (in int) {
	t.Helper()
	for _, g := range gates {
		in += len(g.in)
	}
	for i, g := range gates {
		proxytest.Eventually(t, gossipPatience, fmt.Sprintf("edge %d knows of %d viewers", i+1, in), func() bool {
			own, others, edges := g.counts()
			return own == len(g.in) && own+others == in && edges == len(gates)-1
		})
	}
	return in
}

// TestClusterCapOverGossip has three edges with 90 places together, to each of which
// viewers come, 30 in a second. By no more than begin on the two others in two seconds
// it may be exceeded, and is not any more once it has settled.
func TestClusterCapOverGossip(t *testing.T) {
	t.Parallel()
	const limit, rate, arrivals = 90, 30, 120
	gates := clusterGates(t, gossipers(t, 3), fmt.Sprintf("-admission.viewers=%d", limit))
	for _, g := range gates {
		proxytest.Eventually(t, gossipPatience, "the gates know each other", func() bool { _, _, edges := g.counts(); return edges == 2 })
	}
	var all sync.WaitGroup
	for _, g := range gates {
		all.Go(func() {
			tick := time.NewTicker(time.Second / rate)
			defer tick.Stop()
			for n := range arrivals {
				g.comes(n)
				<-tick.C
			}
		})
	}
	all.Wait()
	in := agree(t, gates)
	t.Logf("%d over %d", in-limit, limit)
	if in < limit || in > limit+2*2*rate {
		t.Errorf("%d are in, want %d to %d", in, limit, limit+2*2*rate)
	}
	refuse(t, gates, "it has settled")

	gates[0].leave(len(gates[0].in)) // and what is free then is what is below the limit
	gates[1].leave(len(gates[1].in))
	agree(t, gates)
	free := limit - len(gates[2].in)
	for n := range free {
		if !gates[2].comes(n) {
			t.Fatalf("number %d of %d is refused, after others have left", n+1, free)
		}
	}
	if in := agree(t, gates); in != limit {
		t.Errorf("%d are in, want %d", in, limit)
	}
	refuse(t, gates, "all places are taken again")
	gates[2].leave(len(gates[2].in))
	agree(t, gates)
}

// refuse fails unless nobody comes in anywhere.
func refuse(t *testing.T, gates []*clusterGate, when string) {
	t.Helper()
	for i, g := range gates {
		for n := range 100 {
			if g.comes(n) {
				t.Errorf("when %s edge %d lets in one more", when, i+1)
			}
		}
	}
}

// TestBansOverGossip: what one edge has banned the others ban after half as much.
func TestBansOverGossip(t *testing.T) {
	t.Parallel()
	gates := clusterGates(t, gossipers(t, 3), "-admission.ban=10")
	bad := netip.MustParseAddr("192.0.2.1")
	offend := func(g *clusterGate, n int) {
		for range n {
			g.Offend(bad, proxy.BadRequest)
		}
	}
	banned := func(g *clusterGate) bool {
		leave, err := g.Accept(bad)
		if err == nil {
			leave()
		}
		return err != nil
	}
	offend(gates[0], 10)
	heard := func(g *clusterGate) int {
		b, err := json.Marshal(g.Status())
		must(t, err)
		var s struct {
			Tables map[string]struct{ Entries int }
		}
		must(t, json.Unmarshal(b, &s))
		return s.Tables["banned elsewhere"].Entries
	}
	for i, g := range gates[1:] {
		proxytest.Eventually(t, gossipPatience, fmt.Sprintf("edge %d hears of the ban", i+2), func() bool { return heard(g) == 1 })
		if offend(g, 4); banned(g) {
			t.Errorf("edge %d bans after 4 of 10", i+2)
		}
		if offend(g, 1); !banned(g) {
			t.Errorf("edge %d does not ban after 5 of 10", i+2)
		}
	}
}
