package main

import (
	"flag"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"weir/proxy/proxytest"
)

// originKills is 20 where the bar is measured, with as many viewers as it speaks of.
var originKills = flag.Int("originkills", 2, "TestOriginsAreKilled: how `often` an origin is killed")

// partition is 60s where the bar is measured.
var partition = flag.Duration("partition", 12*time.Second, "TestPartition: for `how long` gossip does not pass")

// edges starts an origin and n edges of it that see each other.
func newEdges(t *testing.T, n int, flags ...string) (l *lan, edges []*host, run []*process) {
	t.Helper()
	names := []string{"origin", "viewers"}
	for i := range n {
		names = append(names, fmt.Sprintf("edge%d", i+1))
	}
	l = newLAN(t, names...)
	var want []string
	flags = append([]string{"-origin", "rtsp://" + l.hosts["origin"].addr, "-origin", "http://" + l.hosts["origin"].addr}, flags...)
	for i, name := range names[2:] {
		h := l.hosts[name]
		edges = append(edges, h)
		run = append(run, h.edge(edges[0], flags...))
		want = append(want, fmt.Sprintf("edge%d:alive", i+1))
	}
	for _, h := range edges {
		h.sees(strings.Join(want, " "))
	}
	return l, edges, run
}

// TestOneForAll: many viewers of four edges are one pull and one fill for the origin.
func TestOneForAll(t *testing.T) {
	l, edges, _ := newEdges(t, 4)
	origin, web := l.hosts["origin"].origin(), l.hosts["origin"].files()
	var all []*watcher
	var mu sync.Mutex
	var opening sync.WaitGroup
	for _, e := range edges {
		opening.Go(func() {
			some := l.hosts["viewers"].watch("rtsp://"+e.addr+":8554/live/clock", 10)
			mu.Lock()
			defer mu.Unlock()
			all = append(all, some...)
		})
	}
	opening.Wait()
	if n := origin.Counts().Pulls; n != 1 || len(all) != 40 {
		t.Errorf("%d viewers of one path are %d pulls", len(all), n)
	}
	var asking sync.WaitGroup
	for i := range 400 {
		e := edges[i%len(edges)]
		asking.Go(func() {
			code, body, err := l.hosts["viewers"].ask("http://" + e.addr + ":8080/film.ts")
			if err != nil || code != 200 || string(body) != web.body {
				t.Errorf("%d, %d bytes, %v", code, len(body), err)
			}
		})
	}
	asking.Wait()
	if n := web.asked.Load(); n != 1 {
		t.Errorf("400 requests are %d fills", n)
	}
	content(t, all)
}

// owner is the edge that has the pull, and the others.
func owner(t *testing.T, edges []*host) (has *host, others []*host) {
	t.Helper()
	for _, e := range edges {
		for _, f := range e.view().Splitter.Feeds {
			if f.State == "up" && !strings.HasPrefix(f.Origin, "edge ") {
				if has != nil {
					t.Errorf("both %s and %s pull from the origin", has.name, e.name)
				}
				has = e
			}
		}
	}
	if has == nil {
		t.Fatal("no edge pulls from the origin")
	}
	return has, slices.DeleteFunc(slices.Clone(edges), func(e *host) bool { return e == has })
}

// TestOwnerDies: the edge that pulls for all is killed; the viewers of the others go on,
// and one of these pulls for all then.
func TestOwnerDies(t *testing.T) {
	l, edges, run := newEdges(t, 4)
	origin := l.hosts["origin"].origin()
	var all []*watcher
	for _, e := range edges {
		all = append(all, l.hosts["viewers"].watch("rtsp://"+e.addr+":8554/live/clock", 3)...)
	}
	dying, others := owner(t, edges)
	left := slices.DeleteFunc(all, func(w *watcher) bool { return strings.Contains(w.url, dying.addr+":") })
	for _, w := range left {
		w.forget()
	}
	run[slices.Index(edges, dying)].kill()
	proxytest.Eventually(t, 20*time.Second, "all others are up again", func() bool {
		return !slices.ContainsFunc(others, func(e *host) bool {
			feeds := e.view().Splitter.Feeds
			return len(feeds) != 1 || feeds[0].State != "up" || feeds[0].Origin == "edge "+dying.name
		})
	})
	owner(t, others)
	if n := origin.Counts().Pulls; n != 2 {
		t.Errorf("the origin was pulled from %d times, want once before and once after", n)
	}
	const bar = 500*time.Millisecond + time.Second // and one group of pictures, of 1 s
	if gap := content(t, left); gap > bar {
		t.Errorf("a gap of %v, want at most %v", gap, bar)
	} else {
		t.Logf("longest gap of %d viewers: %v", len(left), gap)
	}
}

// TestPartition: gossip between two edges does not pass for a while, and media does.
func TestPartition(t *testing.T) {
	t.Parallel() // it mostly waits
	l, edges, _ := newEdges(t, 4)
	l.hosts["origin"].origin()
	var all []*watcher
	for _, e := range edges {
		all = append(all, l.hosts["viewers"].watch("rtsp://"+e.addr+":8554/live/clock", 2)...)
	}
	for _, w := range all {
		w.forget()
	}
	for _, e := range edges[2:] {
		e.hears("apart")
	}
	began := time.Now()
	if *partition >= 30*time.Second {
		edges[0].sees("edge1:alive edge2:alive edge3:left edge4:left")
		edges[3].sees("edge1:left edge2:left edge3:alive edge4:alive")
		t.Logf("apart after %v", time.Since(began).Round(time.Second))
	}
	<-time.After(time.Until(began.Add(*partition)))
	for _, e := range edges[2:] {
		e.hears("gossip")
	}
	began = time.Now()
	for _, e := range edges {
		e.sees("edge1:alive edge2:alive edge3:alive edge4:alive")
	}
	t.Logf("together again after %v", time.Since(began).Round(100*time.Millisecond))
	if d := time.Since(began); d > 30*time.Second {
		t.Errorf("all saw all only after %v", d)
	}
	if gap := content(t, all); gap > 2*time.Second { // other tests run beside
		t.Errorf("viewers saw a gap of %v", gap)
	}
}
