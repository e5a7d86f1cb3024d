package passthrough

import (
	"context"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"weir/proxy"
	"weir/proxy/origintest"
	"weir/proxy/proxytest"
)

// agentPatience is how long tests wait for what an agent should do in a second or two;
// it only matters when it does not.
const agentPatience = 30 * time.Second

// earPeers is a cluster that remembers what was told last, and how often.
type earPeers struct {
	proxy.Peers
	mu   sync.Mutex
	last Report
	ttl  time.Duration
	n    int
}

func newEar() *earPeers { return &earPeers{Peers: proxy.Alone} }

func (e *earPeers) Tell(topic string, b []byte, ttl time.Duration) {
	r, err := ParseReport(b)
	if topic != ReportTopic || err != nil {
		panic(fmt.Sprintf("told %q %x: %v", topic, b, err))
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.last, e.ttl, e.n = r, ttl, e.n+1
}

func (e *earPeers) told() (Report, time.Duration, int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.last, e.ttl, e.n
}

func (e *earPeers) await(t *testing.T, what string, is func(Report) bool) {
	t.Helper()
	proxytest.Eventually(t, agentPatience, what, func() bool { r, _, n := e.told(); return n > 0 && is(r) })
}

// quickAgent are options that find out soon.
func quickAgent() AgentOptions {
	return AgentOptions{Check: 20 * time.Millisecond, Rise: 2, Fall: 3, Timeout: 10 * time.Second, Weight: 1}
}

func newTestAgent(t *testing.T, o AgentOptions, peers proxy.Peers) *Agent {
	t.Helper()
	a, err := NewAgent(o, peers, prometheus.NewRegistry(), proxytest.Logger(t))
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// runAgent runs an agent until the test has ended.
func runAgent(t *testing.T, o AgentOptions, peers proxy.Peers) *Agent {
	t.Helper()
	a := newTestAgent(t, o, peers)
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return a
}

// runOrigin runs a real origin until the test has ended.
func runOrigin(t *testing.T) *origintest.Origin {
	t.Helper()
	o, err := origintest.New(origintest.Options{Addr: "127.0.0.1:0", HTTP: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- o.Run(ctx) }()
	t.Cleanup(func() { stop(); <-done })
	return o
}

func hostOf(url string) string { return url[strings.Index(url, "://")+3:] }

// newMum runs a server that accepts and says nothing.
func newMum(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			defer c.Close()
		}
	}()
	t.Cleanup(func() { l.Close(); <-done })
	return l
}
