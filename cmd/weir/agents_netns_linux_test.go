package main

import (
	"fmt"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"weir/proxy/proxytest"
)

// TestOriginsComeAndGo: origins that agents tell of appear, drain, die and return, and
// edges that know of none but these follow.
func TestOriginsComeAndGo(t *testing.T) {
	t.Parallel() // it mostly waits
	l := newLAN(t, "origin1", "origin2", "edge1", "edge2", "viewers")
	o1, o2, viewers := l.hosts["origin1"], l.hosts["origin2"], l.hosts["viewers"]
	edges := []*host{l.hosts["edge1"], l.hosts["edge2"]}
	for _, e := range edges {
		e.edge(edges[0], "-origin.handover", "1s")
	}
	for _, e := range edges {
		e.sees("edge1:alive edge2:alive")
	}
	// know waits until all edges see that, and fails if it takes longer than it may.
	know := func(what, want string, within time.Duration, since time.Time) {
		t.Helper()
		for _, e := range edges {
			proxytest.Eventually(t, 30*time.Second, e.name+" knows that "+what, func() bool { return e.origins() == want })
		}
		took := time.Since(since)
		t.Logf("%s: known after %v", what, took.Round(10*time.Millisecond))
		if took > within {
			t.Errorf("%s: known after %v, want %v", what, took, within)
		}
	}
	up := func(h *host) string { return h.addr + ":554 up ready" }
	both := up(o1) + ", " + up(o2)
	server := func(h *host) *process {
		p := h.start("origin", "-addr", h.addr+":554")
		proxytest.Eventually(t, 10*time.Second, h.name+" serves", func() bool {
			c, err := viewers.dial(t.Context(), "tcp", h.addr+":554")
			if err == nil {
				c.Close()
			}
			return err == nil
		})
		return p
	}
	// slow is what the machine may be slower than it should be.
	const slow = 3 * time.Second

	first, second := server(o1), server(o2)
	_ = second
	a1 := o1.agent(edges[0])
	began := time.Now()
	know("the first is there", up(o1), 2*time.Second+slow, began)
	o2.agent(edges[0])
	began = time.Now()
	know("the second is there", both, 2*time.Second+slow, began)

	var all []*watcher
	for _, e := range edges {
		all = append(all, viewers.watch("rtsp://"+e.addr+":8554/live/clock", 5)...)
	}

	order := func(flag string) {
		t.Helper()
		if out, err := exec.Command("ip", "netns", "exec", o1.space, "weir", "agent", flag).CombinedOutput(); err != nil {
			t.Fatalf("agent %s: %s", flag, out)
		}
	}
	began = time.Now()
	order("-drain")
	know("the first drains", o1.addr+":554 up draining, "+up(o2), 2*time.Second+slow, began)
	proxytest.Eventually(t, 20*time.Second, "the pull has moved to the second", func() bool {
		return pulledFrom(edges) == o2.addr+":554"
	})
	began = time.Now()
	order("-ready")
	know("the first is back in rotation", both, 2*time.Second+slow, began)

	// The one that has the pull is killed, and the data path says so before anybody.
	dying, other, running := o2, o1, second
	for _, w := range all {
		w.forget()
	}
	running.kill()
	proxytest.Eventually(t, 20*time.Second, "the pull has moved", func() bool { return pulledFrom(edges) == other.addr+":554" })
	if gap := content(t, all); gap > 500*time.Millisecond+time.Second+slow {
		t.Errorf("a gap of %v", gap)
	} else {
		t.Logf("killed: longest gap of %d viewers %v", len(all), gap)
	}
	proxytest.Eventually(t, 20*time.Second, "its death is known", func() bool {
		return !strings.Contains(edges[0].origins(), up(dying)) && !strings.Contains(edges[1].origins(), up(dying))
	})
	server(dying)
	began = time.Now()
	know("it is back", both, 5*time.Second+slow, began)

	a1.signal(syscall.SIGTERM)
	<-a1.done
	began = time.Now()
	know("the first has gone with its agent", o1.addr+":554 up draining, "+up(o2), 2*time.Second+slow, began)
	if gap := content(t, all); gap > 20*time.Second {
		t.Errorf("a gap of %v", gap)
	}
	_ = first
}

// pulledFrom is where the edges' only pull comes from.
func pulledFrom(edges []*host) string {
	var from []string
	for _, e := range edges {
		for _, f := range e.view().Splitter.Feeds {
			if f.State == "up" && !strings.HasPrefix(f.Origin, "edge ") {
				from = append(from, f.Origin)
			}
		}
	}
	if len(from) != 1 {
		return fmt.Sprint(from)
	}
	return from[0]
}
