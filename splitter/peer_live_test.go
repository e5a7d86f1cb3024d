package splitter_test

import (
	"context"
	"io"
	"net"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"weir/proxy"
	"weir/proxy/front"
	"weir/proxy/origintest"
	"weir/proxy/proxytest"
	"weir/splitter"
)

// via is an upstream that asks another edge, until that one has failed.
type via struct {
	proxy.Upstream
	to     string // host:port
	failed atomic.Int64
}

func (v *via) DialRTSP(ctx context.Context, w proxy.Want) (*proxy.Link, error) {
	if w.Direct || w.Origin != "" || v.failed.Load() > 0 {
		return v.Upstream.DialRTSP(ctx, w)
	}
	c, err := (&net.Dialer{}).DialContext(ctx, "tcp", v.to)
	if err != nil {
		return nil, err
	}
	return &proxy.Link{Conn: c, URL: &url.URL{Scheme: "rtsp", Host: v.to, Path: w.Path}, Origin: "edge a", Mark: "good",
		Fail: func(error) { v.failed.Add(1) }}, nil
}

// elsewhere is a cluster in which another edge owns everything.
type elsewhere struct{ proxy.Peers }

func (elsewhere) Owner(string) (string, bool) { return "a", false }

// newPeer runs an edge that others may ask.
func newPeer(t *testing.T, o splitter.Options, up proxy.Upstream, peers proxy.Peers) *edge {
	t.Helper()
	e := &edge{next: &left{}, reg: prometheus.NewRegistry()}
	log := proxytest.Logger(t)
	var err error
	if e.Splitter, err = splitter.New(o, proxy.Env{Next: e.next, Upstream: up, Gate: proxy.Open, Peers: peers, Log: log, Metrics: e.reg}); err != nil {
		t.Fatal(err)
	}
	if e.front, err = front.New(front.Config{Options: front.Options{RTSP: "127.0.0.1:0", FirstByte: 5 * time.Second, Idle: time.Minute},
		Handler: e.Splitter, Gate: proxy.Open, Metrics: e.reg, Log: log, Peer: func(mark, _ string) bool { return mark == "good" }}); err != nil {
		t.Fatal(err)
	}
	e.url = "rtsp://" + e.front.RTSPAddr().String()
	background(t, e.Splitter.Run)
	background(t, e.front.Run)
	return e
}

// A camera that dies behind another edge says nothing of that edge, which goes on to be
// asked for others.
func TestDeadCameraBehindAnEdge(t *testing.T) {
	or := newOrigin(t, origintest.Options{})
	o := edgeOptions()
	o.Wait = time.Second
	a := newPeer(t, o, balancer(t, or.URL()), proxy.Alone)
	v := &via{Upstream: balancer(t, or.URL()), to: a.front.RTSPAddr().String()}
	b := newPeer(t, o, v, elsewhere{proxy.Alone})
	w := watch(t, b.url+"/live/clock", "tcp")
	w.more(t, 0, 20)
	or.Die()
	proxytest.Eventually(t, 20*time.Second, "the viewer's end", func() bool { return w.over() != nil })
	if n := v.failed.Load(); n != 0 {
		t.Errorf("the edge was said to have failed %d times", n)
	}
}

// Two edges lose the one that both pull from, and one of them knows it first: it does not
// go to the origin by itself because the other one was not free yet.
func TestPeerThatIsAboutToLoseItsSource(t *testing.T) {
	dies, or := newOrigin(t, origintest.Options{}), newOrigin(t, origintest.Options{}) // the first plays an edge
	u, err := url.Parse(dies.URL())
	if err != nil {
		t.Fatal(err)
	}
	b := newPeer(t, edgeOptions(), &via{Upstream: balancer(t, or.URL()), to: u.Host}, elsewhere{proxy.Alone})
	watch(t, b.url+"/live/clock", "tcp").more(t, 0, 20)
	say := func(request string) net.Conn {
		c, err := net.Dial("tcp", b.front.RTSPAddr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		c.SetDeadline(time.Now().Add(15 * time.Second)) //nolint:errcheck // a read says it
		c.Write([]byte(request))                        //nolint:errcheck // likewise
		return c
	}
	got := make([]byte, 16)
	asks := say("DESCRIBE " + b.url + "/live/clock RTSP/1.0\r\nCSeq: 1\r\nWeir-Peer: good\r\n\r\n")
	if _, err := io.ReadFull(say("OPTIONS * RTSP/1.0\r\nCSeq: 1\r\n\r\n"), got); err != nil { // it has read the first one, most likely
		t.Fatal(err)
	}
	dies.Die()
	if _, err := io.ReadFull(asks, got); err != nil || string(got) != "RTSP/1.0 200 OK\r" {
		t.Errorf("%q, %v", got, err)
	}
	if n := or.Counts().Pulls; n != 1 {
		t.Errorf("%d pulls, want 1", n)
	}
}

// An edge that itself waits for another says so at once: that one may be the one that asks.
func TestPeerThatWaitsIsNotWaitedFor(t *testing.T) {
	mute, err := net.Listen("tcp", "127.0.0.1:0") // takes connections and never answers
	if err != nil {
		t.Fatal(err)
	}
	defer mute.Close()
	or := newOrigin(t, origintest.Options{})
	o := edgeOptions()
	o.Timeout = 30 * time.Second
	b := newPeer(t, o, &via{Upstream: balancer(t, or.URL()), to: mute.Addr().String()}, elsewhere{proxy.Alone})
	waiting := make(chan error, 1)
	go func() {
		w, err := open(b.url+"/live/clock", "tcp")
		if err == nil {
			w.leave()
		}
		waiting <- err
	}()
	c, err := mute.Accept() // b waits for a now
	if err != nil {
		t.Fatal(err)
	}
	asks, err := net.Dial("tcp", b.front.RTSPAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer asks.Close()
	asks.SetDeadline(time.Now().Add(15 * time.Second))                                                     //nolint:errcheck // a read says it
	asks.Write([]byte("DESCRIBE " + b.url + "/live/clock RTSP/1.0\r\nCSeq: 1\r\nWeir-Peer: good\r\n\r\n")) //nolint:errcheck
	got := make([]byte, 100)
	n, err := asks.Read(got)
	if !strings.HasPrefix(string(got[:n]), "RTSP/1.0 503 Second Hand\r\n") {
		t.Errorf("%q, %v", got[:n], err)
	}
	c.Close() // then b asks the origin
	if err := <-waiting; err != nil {
		t.Error(err)
	}
}
