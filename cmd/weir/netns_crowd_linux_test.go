package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"weir/proxy/origintest"
	"weir/proxy/proxytest"
	"weir/proxy/rtp"
	"weir/proxy/viewer"
)

// A watcher is a viewer of one stream who notes what a person would notice.
type watcher struct {
	h      *host
	url    string
	mu     sync.Mutex
	err    error
	ended  bool
	last   time.Time // when a packet came last
	gap    time.Duration
	gapAt  time.Time
	back   int // time stamps that went back
	stamps [8]uint32
	begun  [8]bool
	stats  func() viewer.Stats
}

// watch lets n viewers on a host watch until the test ends, and waits until they see
// something.
func (h *host) watch(url string, n int) (all []*watcher) {
	t := h.lan.t
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	t.Cleanup(func() { cancel(); wg.Wait() })
	for range n {
		w := &watcher{h: h, url: url}
		all = append(all, w)
		wg.Go(func() { w.run(ctx) })
	}
	for _, w := range all {
		proxytest.Eventually(t, 20*time.Second, h.name+" sees pictures of "+url, func() bool { return w.seen() || w.failed() != nil })
		if err := w.failed(); err != nil {
			t.Fatalf("%s on %s: %v", url, h.name, err)
		}
	}
	return all
}

func (w *watcher) run(ctx context.Context) {
	v, err := viewer.Open(ctx, viewer.Options{URL: w.url, Dial: w.h.dial, OnPacket: w.packet})
	if err == nil {
		w.mu.Lock()
		w.stats = v.Stats
		w.mu.Unlock()
		err = v.Run(ctx)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if ctx.Err() == nil {
		w.ended = true
		w.err = fmt.Errorf("ended: %w", err)
	}
}

func (w *watcher) packet(track int, pkt []byte) {
	now := time.Now()
	w.mu.Lock()
	defer w.mu.Unlock()
	if d := now.Sub(w.last); !w.last.IsZero() && d > w.gap {
		w.gap, w.gapAt = d, now
	}
	w.last = now
	ts := rtp.Timestamp(pkt)
	if w.begun[track] && int32(ts-w.stamps[track]) < 0 {
		w.back++
	}
	w.begun[track], w.stamps[track] = true, ts
}

// lately reports whether packets come.
func (w *watcher) lately() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.ended || time.Since(w.last) < 300*time.Millisecond
}

func (w *watcher) seen() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return !w.last.IsZero()
}

func (w *watcher) failed() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.err
}

// forget begins to look for gaps anew.
func (w *watcher) forget() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.gap = 0
}

// content reports what viewers noticed since forget: the longest gap of all. It fails
// the test for those who were let go or saw time go back.
func content(t *testing.T, all []*watcher) (longest time.Duration) {
	t.Helper()
	for _, w := range all {
		w.mu.Lock()
		if w.ended || w.back > 0 {
			t.Errorf("viewer on %s of %s: %v; time went back %d times", w.h.name, w.url, w.err, w.back)
		}
		longest = max(longest, w.gap, time.Since(w.last))
		w.mu.Unlock()
	}
	return longest
}

// origin is an origin in this process, on a host's sockets: it counts.
func (h *host) origin() *origintest.Origin {
	t := h.lan.t
	t.Helper()
	var o *origintest.Origin
	var err error
	h.in(func() { o, err = origintest.New(origintest.Options{Addr: h.addr + ":554"}) })
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- o.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return o
}

// A files is an origin of one file of 128 KiB, which it sends over half a second.
type files struct {
	asked atomic.Int64
	body  string
}

// files serves on a host's port 80.
func (h *host) files() *files {
	t := h.lan.t
	t.Helper()
	f := &files{body: strings.Repeat("0123456789abcdef", 1<<13)}
	var l net.Listener
	var err error
	h.in(func() { l, err = net.Listen("tcp", h.addr+":80") })
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: f}
	go srv.Serve(l) //nolint:errcheck // ends with Close
	t.Cleanup(func() { srv.Close() })
	return f
}

func (f *files) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	f.asked.Add(1)
	w.Header().Set("Cache-Control", "max-age=600")
	w.Header().Set("Content-Length", fmt.Sprint(len(f.body)))
	w.Header().Set("Content-Type", "video/mp2t")
	for i := range 8 {
		n := len(f.body) / 8
		io.WriteString(w, f.body[i*n:(i+1)*n]) //nolint:errcheck // whoever has gone has gone
		w.(http.Flusher).Flush()
		<-time.After(60 * time.Millisecond)
	}
}
