package main

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"weir/proxy/proxytest"
)

// A crowding says how many viewers of each kind there are.
type crowding struct {
	splitTCP, splitUDP, relayTCP, relayUDP int
	stored, downloads, players             int
	from                                   float64 // s, where the first stored stream begins
	size                                   int64   // of a download, bytes
}

// A rig is two origins, an edge that has the whole ladder, an edge that only passes
// through, and viewers of all kinds.
type rig struct {
	*lan
	crowding
	origins []*host
	running []*process
	split   *host // the whole ladder
	relay   *host // passes through
	viewers *host
	web     *http.Client
	clip    *clipIndex

	live    map[string][]*watcher // by kind
	playing map[string][]*hlsWatcher
	rounds  int
}

// newRig returns when all that watch live see something.
func newRig(t *testing.T, c crowding, flags ...string) *rig {
	t.Helper()
	r := &rig{lan: newLAN(t, "origin1", "origin2", "split", "relay", "viewers"), crowding: c, clip: learnClip(t),
		live: map[string][]*watcher{}, playing: map[string][]*hlsWatcher{}}
	r.split, r.relay, r.viewers = r.hosts["split"], r.hosts["relay"], r.hosts["viewers"]
	r.origins = []*host{r.hosts["origin1"], r.hosts["origin2"]}
	r.running = []*process{r.serve(0), r.serve(1)}
	r.web = r.viewers.browse()
	for _, o := range r.origins {
		flags = append(flags, "-origin", "rtsp://"+o.addr, "-origin", "http://"+o.addr)
	}
	r.split.edge(nil, slices.Concat([]string{"-splitter.udp", r.split.addr + ":8000", "-passthrough.udp", "20000-20999"}, flags)...)
	r.relay.edge(nil, slices.Concat([]string{"-mode", "passthrough", "-passthrough.udp", "20000-20999"}, flags)...)
	for _, h := range []*host{r.split, r.relay} {
		proxytest.Eventually(t, 20*time.Second, h.name+" is ready", func() bool {
			code, _, err := h.ask("http://127.0.0.1:9090/readyz")
			return err == nil && code == 200
		})
	}
	r.fill()
	r.watched() // what came before does not count
	return r
}

// fill lets the viewers come who watch live.
func (r *rig) fill() {
	var wg sync.WaitGroup
	var mu sync.Mutex
	watch := func(h *host, transport string, n int) {
		wg.Go(func() {
			all := r.viewers.watchBy(transport, "rtsp://"+h.addr+":8554/live/clock", n)
			mu.Lock()
			defer mu.Unlock()
			r.live[h.name+" "+transport] = all
		})
	}
	watch(r.split, "tcp", r.splitTCP)
	watch(r.split, "udp", r.splitUDP)
	watch(r.relay, "tcp", r.relayTCP)
	watch(r.relay, "udp", r.relayUDP)
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	r.t.Cleanup(func() { cancel(); running.Wait() })
	for i := range r.players {
		h := r.door(i)
		p := &hlsWatcher{client: r.web, url: "http://" + h.addr + ":8080/live/index.m3u8"}
		r.playing[h.name+" hls"] = append(r.playing[h.name+" hls"], p)
		running.Go(func() { p.run(ctx) })
	}
	wg.Wait()
}

// door is one of the edges.
func (r *rig) door(i int) *host { return []*host{r.split, r.relay}[i%2] }

// serve starts an origin; the second one is behind the first with its live stream.
func (r *rig) serve(i int) *process {
	h := r.origins[i]
	p := h.start("origin", "-addr", h.addr+":554", "-replica", h.addr+":80", "-lag", fmt.Sprint(time.Duration(i)*time.Second))
	for _, port := range []string{":554", ":80"} {
		proxytest.Eventually(r.t, 10*time.Second, h.name+" serves", func() bool {
			c, err := r.viewers.dial(r.t.Context(), "tcp", h.addr+port)
			if err == nil {
				c.Close()
			}
			return err == nil
		})
	}
	return p
}

// healed waits until both edges know that both origins are there again. For what
// viewers met there one may still be left alone.
func (r *rig) healed() {
	for _, h := range []*host{r.split, r.relay} {
		proxytest.Eventually(r.t, 90*time.Second, h.name+" sees both origins: "+h.origins(), func() bool {
			s := h.origins()
			return strings.Contains(s, " up") && !strings.Contains(s, " down")
		})
	}
}

// A fault is what happens to an origin, and is then undone.
type fault struct {
	name    string
	silence time.Duration // that viewers may see
	begin   func(r *rig, i int)
	end     func(r *rig, i int)
}

var (
	killed  = fault{"kill -9", 500 * time.Millisecond, func(r *rig, i int) { r.running[i].kill() }, func(r *rig, i int) { r.running[i] = r.serve(i) }}
	stopped = fault{"SIGSTOP", 2 * time.Second, func(r *rig, i int) { r.running[i].signal(syscall.SIGSTOP) }, func(r *rig, i int) { r.running[i].signal(syscall.SIGCONT) }}
	parted  = fault{"link down", 2 * time.Second, func(r *rig, i int) { r.link(i, "down") }, func(r *rig, i int) { r.link(i, "up") }}
)

func (r *rig) link(i int, state string) {
	r.ip("-n", r.origins[i].space, "link", "set", "media", state)
}

// suffer has an origin fail while viewers of all kinds watch, and come back, and tells
// what they noticed of it, by kind.
func (r *rig) suffer(f fault, i int) map[string]*figure {
	r.t.Helper()
	r.rounds++
	ctx, cancel := context.WithTimeout(r.t.Context(), time.Minute)
	defer cancel()
	after := make(chan struct{})
	stored, downloads, passing := r.pass(ctx, after)
	f.begin(r, i)
	<-time.After(f.silence + 500*time.Millisecond)
	close(after)
	<-time.After(time.Second) // until it shows
	f.end(r, i)
	passing.Wait()
	r.healed()
	figures := r.watched()
	r.passed(figures, stored, downloads)
	return figures
}

// pass lets those come who do not stay, and waits until they are served.
func (r *rig) pass(ctx context.Context, after <-chan struct{}) (stored map[string][]*storedViewer, downloads map[string][]*download, all *sync.WaitGroup) {
	stored, downloads, all = map[string][]*storedViewer{}, map[string][]*download{}, new(sync.WaitGroup)
	for i := range r.stored {
		transport := []string{"tcp", "udp"}[i%2]
		s := &storedViewer{index: r.clip, from: r.from + (4.5-r.from)*float64(i)/float64(r.stored)}
		if i < r.stored/3 {
			s.pauses = after
		}
		stored["stored "+transport] = append(stored["stored "+transport], s)
		all.Go(func() { s.watch(ctx, r.viewers, transport, "rtsp://"+r.door(i/2).addr+":8554/vod/clip") })
	}
	for i := range r.downloads {
		h := r.door(i)
		d := &download{client: r.web, url: "http://" + h.addr + ":8080", size: r.size,
			path: fmt.Sprintf("/files/%d/%d-%d", r.size, r.rounds, i)}
		downloads[h.name+" file"] = append(downloads[h.name+" file"], d)
		all.Go(func() { d.run(ctx) })
	}
	for _, some := range stored {
		for _, s := range some {
			proxytest.Eventually(r.t, 20*time.Second, "a stored stream plays", s.steady)
		}
	}
	return stored, downloads, all
}
