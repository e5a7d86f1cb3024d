package main

import (
	"slices"
	"syscall"
	"testing"
	"time"

	"weir/proxy/proxytest"
)

// TestOriginsAreKilled: of two origins the one in use is killed, or stops, over and over;
// viewers of a splitter and of a relay go on.
func TestOriginsAreKilled(t *testing.T) {
	t.Parallel() // it mostly waits
	l := newLAN(t, "origin1", "origin2", "splitter", "relay", "viewers")
	origins := []*host{l.hosts["origin1"], l.hosts["origin2"]}
	serve := func(h *host) *process {
		p := h.start("origin", "-addr", h.addr+":554")
		proxytest.Eventually(t, 10*time.Second, h.name+" serves", func() bool {
			c, err := l.hosts["viewers"].dial(t.Context(), "tcp", h.addr+":554")
			if err == nil {
				c.Close()
			}
			return err == nil
		})
		return p
	}
	running := []*process{serve(origins[0]), serve(origins[1])}
	flags := []string{"-origin", "rtsp://" + origins[0].addr, "-origin", "rtsp://" + origins[1].addr, "-origin.check", "500ms", "-origin.rise", "1", "-origin.fall", "1"}
	var all []*watcher
	for name, mode := range map[string]string{"splitter": "splitter", "relay": "passthrough"} {
		h := l.hosts[name]
		h.edge(nil, slices.Concat([]string{"-mode", mode}, flags)...)
		proxytest.Eventually(t, 20*time.Second, name+" is ready", func() bool {
			code, _, err := h.ask("http://127.0.0.1:9090/readyz")
			return err == nil && code == 200
		})
		all = append(all, l.hosts["viewers"].watch("rtsp://"+h.addr+":8554/live/clock", 10)...)
	}
	// gap is the longest that viewers saw nothing since forget.
	gap := func(what string, most time.Duration) {
		t.Helper()
		for _, w := range all {
			proxytest.Eventually(t, 20*time.Second, "packets again", func() bool { return w.lately() })
		}
		if d := content(t, all); d > most {
			t.Errorf("%s: nothing for %v, want at most %v", what, d, most)
		} else {
			t.Logf("%s: nothing for %v", what, d.Round(time.Millisecond))
		}
	}
	const slow = 3 * time.Second // what the machine may be slower than it should be
	for i := range *originKills {
		for _, w := range all {
			w.forget()
		}
		n := i % 2
		running[n].kill()
		<-time.After(time.Second) // until it shows
		gap("killed", 500*time.Millisecond+slow)
		running[n] = serve(origins[n])
		<-time.After(time.Second) // until it is believed to be back
	}
	for _, w := range all {
		w.forget()
	}
	running[0].signal(syscall.SIGSTOP)
	<-time.After(3 * time.Second)
	gap("stopped", 2*time.Second+slow)
	running[0].signal(syscall.SIGCONT)
}
