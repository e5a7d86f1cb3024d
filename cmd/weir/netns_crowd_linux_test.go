package main

import (
	"context"
	"encoding/binary"
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
	by     string // the transport, "" for TCP
	mu     sync.Mutex
	err    error
	ended  bool
	any    pause // of packets
	film   pause // of packets of the first track
	broken int   // times that the first track went on with something other than a key frame
	back   int   // time stamps that went back
	told   [8]senderReport
	step   time.Duration // the most by which a report's time differed from what the one before made of it
	stamps [8]uint32
	begun  [8]bool
	stats  func() viewer.Stats
}

// lull is how long a stream of pictures is not silent.
const lull = 300 * time.Millisecond

// A pause is the longest time in which something did not come.
type pause struct {
	last time.Time
	gap  time.Duration
}

func (p *pause) note(now time.Time) {
	if d := now.Sub(p.last); !p.last.IsZero() {
		p.gap = max(p.gap, d)
	}
	p.last = now
}

// longest counts the pause that has not ended.
func (p *pause) longest() time.Duration { return max(p.gap, time.Since(p.last)) }

// watch lets n viewers on a host watch over TCP until the test ends, and waits until
// they see something.
func (h *host) watch(url string, n int) (all []*watcher) { return h.watchBy("tcp", url, n) }

// watchBy does so over "tcp" or "udp".
func (h *host) watchBy(transport, url string, n int) (all []*watcher) {
	t := h.lan.t
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	t.Cleanup(func() { cancel(); wg.Wait() })
	for range n {
		w := &watcher{h: h, url: url, by: transport}
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
	v, err := w.h.open(ctx, viewer.Options{URL: w.url, Transport: w.by, OnPacket: w.packet, OnRTCP: w.report})
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

// open is viewer.Open on a host.
func (h *host) open(ctx context.Context, opt viewer.Options) (v *viewer.Viewer, err error) {
	opt.Dial = (&net.Dialer{}).DialContext
	h.in(func() { v, err = viewer.Open(ctx, opt) }) // its sockets are made while it opens
	return v, err
}

func (w *watcher) packet(track int, pkt []byte) {
	now := time.Now()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.any.note(now)
	if track == 0 {
		if !w.film.last.IsZero() && now.Sub(w.film.last) > lull && !rtp.H264.IsKey(rtp.Payload(pkt)) {
			w.broken++
		}
		w.film.note(now)
	}
	ts := rtp.Timestamp(pkt)
	if w.begun[track] && int32(ts-w.stamps[track]) < 0 {
		w.back++
	}
	w.begun[track], w.stamps[track] = true, ts
}

// A senderReport relates a track's time stamps to the time of day (RFC 3550 §6.4.1).
type senderReport struct {
	ntp   time.Duration // since the begin of its era
	stamp uint32
}

func (w *watcher) report(track int, pkt []byte) {
	if len(pkt) < 20 || pkt[1] != 200 {
		return
	}
	now := senderReport{stamp: binary.BigEndian.Uint32(pkt[16:])}
	now.ntp = time.Duration(binary.BigEndian.Uint32(pkt[8:]))*time.Second + time.Duration(uint64(binary.BigEndian.Uint32(pkt[12:]))*uint64(time.Second)>>32)
	w.mu.Lock()
	defer w.mu.Unlock()
	if before := w.told[track]; before.ntp != 0 {
		clock := []time.Duration{90000, 48000}[track] // the clip's
		d := now.ntp - before.ntp - time.Duration(int32(now.stamp-before.stamp))*time.Second/clock
		w.step = max(w.step, d.Abs())
	}
	w.told[track] = now
}

func (w *watcher) seen() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return !w.any.last.IsZero()
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
	w.any.gap, w.film.gap = 0, 0
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
		longest = max(longest, w.any.longest())
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
