package splitter_test

import (
	"context"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"weir/passthrough"
	"weir/proxy"
	"weir/proxy/front"
	"weir/proxy/origintest"
	"weir/proxy/proxytest"
	"weir/proxy/viewer"
	"weir/splitter"
)

// An edge is a splitter behind a real front, in front of real origins.
type edge struct {
	*splitter.Splitter
	front *front.Front
	next  *left
	url   string // rtsp://host:port
	reg   *prometheus.Registry

	stopSplitter, stopFront func() // at the end of the test, the front first, or before
}

// edgeOptions are what most tests want.
func edgeOptions() splitter.Options {
	return splitter.Options{UDP: "127.0.0.1:0", Linger: 200 * time.Millisecond, Wait: 20 * time.Second,
		Lag: 2 * time.Second, Timeout: time.Second, Transport: "tcp", Start: "instant"}
}

// newEdge runs an edge until the test ends.
func newEdge(t *testing.T, o splitter.Options, up proxy.Upstream) *edge {
	t.Helper()
	return newEdgeWith(t, o, up, proxy.Open)
}

func newEdgeWith(t *testing.T, o splitter.Options, up proxy.Upstream, gate proxy.Admitter) *edge {
	t.Helper()
	e := &edge{next: &left{}}
	reg := prometheus.NewRegistry()
	e.reg = reg
	log := proxytest.Logger(t)
	var err error
	e.Splitter, err = splitter.New(o, proxy.Env{Next: e.next, Upstream: up, Gate: gate, Peers: proxy.Alone, Log: log, Metrics: reg})
	if err != nil {
		t.Fatal(err)
	}
	e.front, err = front.New(front.Config{Options: front.Options{RTSP: "127.0.0.1:0", FirstByte: 5 * time.Second, Idle: time.Minute},
		Handler: e.Splitter, Gate: gate, Metrics: reg, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	e.url = "rtsp://" + e.front.RTSPAddr().String()
	e.stopSplitter = background(t, e.Splitter.Run)
	e.stopFront = background(t, e.front.Run)
	return e
}

// background runs a part until the test ends or stop is called, which waits for it, and
// fails the test by its error.
func background(t *testing.T, run func(context.Context) error) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	t.Cleanup(stop)
	return stop
}

func newOrigin(t *testing.T, o origintest.Options) *origintest.Origin {
	t.Helper()
	if o.Addr == "" {
		o.Addr = "127.0.0.1:0"
	}
	or, err := origintest.New(o)
	if err != nil {
		t.Fatal(err)
	}
	background(t, or.Run)
	return or
}

// balancer is the real upstream of these origins.
func balancer(t *testing.T, urls ...string) *passthrough.Balancer {
	t.Helper()
	fs := flag.NewFlagSet("", flag.PanicOnError)
	o := passthrough.OriginFlags(fs)
	for _, u := range urls {
		if err := fs.Set("origin", u); err != nil {
			t.Fatal(err)
		}
	}
	return passthrough.NewBalancer(*o, prometheus.NewRegistry(), proxytest.Logger(t))
}

// left is the next rung: it notes what it was left.
type left struct {
	mu   sync.Mutex
	rtsp []string // paths
}

func (l *left) ServeHTTP(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) }

func (l *left) ServeRTSP(_ context.Context, c *proxy.RTSPConn) {
	defer c.Close()
	l.mu.Lock()
	l.rtsp = append(l.rtsp, c.Viewer.Path)
	l.mu.Unlock()
	io.WriteString(c, "RTSP/1.0 299 Left\r\nCSeq: "+c.First.Header.Get("CSeq")+"\r\n\r\n") //nolint:errcheck
}

// A watcher is a viewer that runs, with what it has received.
type watcher struct {
	*viewer.Viewer
	stop context.CancelFunc
	done chan error // Run's result

	mu   sync.Mutex
	pkts [][]packet // by track
	rtcp [][]byte
}

type packet struct {
	seq    uint16
	ts     uint32
	ssrc   uint32
	marker bool
	at     time.Time
	head   []byte // first bytes of the payload
}

// watch opens a viewer that runs until the test ends or leave.
func watch(t *testing.T, url, transport string) *watcher {
	t.Helper()
	w, err := open(url, transport)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.leave)
	return w
}

func open(url, transport string) (*watcher, error) {
	w := &watcher{done: make(chan error, 1), pkts: make([][]packet, 8)}
	ctx, stop := context.WithCancel(context.Background())
	w.stop = stop
	var err error
	w.Viewer, err = viewer.Open(ctx, viewer.Options{URL: url, Transport: transport, OnPacket: w.packet, OnRTCP: w.report, Timeout: 15 * time.Second})
	if err != nil {
		stop()
		return nil, err
	}
	go func() { w.done <- w.Run(ctx) }()
	return w, nil
}

// leave ends the viewer and waits for it.
func (w *watcher) leave() {
	w.stop()
	w.done <- <-w.done
}

// over is how the viewer ended; nil while it runs.
func (w *watcher) over() error {
	select {
	case err := <-w.done:
		w.done <- err
		return err
	default:
		return nil
	}
}

func (w *watcher) packet(track int, p []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.pkts[track] = append(w.pkts[track], parse(p))
}

func (w *watcher) report(_ int, p []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.rtcp = append(w.rtcp, append([]byte(nil), p...))
}

// received is what has come on a track.
func (w *watcher) received(track int) []packet {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]packet(nil), w.pkts[track]...)
}

func (w *watcher) reports() [][]byte {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([][]byte(nil), w.rtcp...)
}

// more waits for n more packets on a track.
func (w *watcher) more(t *testing.T, track, n int) {
	t.Helper()
	more(t, []*watcher{w}, track, n)
}

// more waits until each of ws has received n more packets on a track.
func more(t *testing.T, ws []*watcher, track, n int) {
	t.Helper()
	want := make([]int, len(ws))
	for i, w := range ws {
		want[i] = len(w.received(track)) + n
	}
	for i, w := range ws {
		proxytest.Eventually(t, 10*time.Second, fmt.Sprintf("%d more packets on track %d", n, track),
			func() bool { return len(w.received(track)) >= want[i] })
	}
}

// ask sends raw requests on a connection of its own and returns the answers, in
// text, until the connection closes or n have come.
func ask(t *testing.T, e *edge, n int, requests ...string) []string {
	t.Helper()
	c, err := net.Dial("tcp", strings.TrimPrefix(e.url, "rtsp://"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(10 * time.Second)) //nolint:errcheck
	io.WriteString(c, strings.Join(requests, ""))   //nolint:errcheck
	return answers(c, n)
}

// feed is what the status says of a path; nil if there is none.
func (e *edge) feed(path string) *splitter.FeedStatus {
	for _, f := range e.Status().(splitter.Status).Feeds {
		if f.Path == path {
			return &f
		}
	}
	return nil
}
