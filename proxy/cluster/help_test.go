package cluster

import (
	"context"
	"encoding/hex"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"weir/proxy/proxytest"
)

// patient is how long tests wait for what gossip should do in a second or two; it
// only matters when it does not.
const patient = 30 * time.Second

// fast makes things happen soon, but leaves slow machines time to answer probes.
func fast() tuning {
	t := usual
	t.probe, t.probeTimeout, t.gossip, t.pushPull = 250*time.Millisecond, 200*time.Millisecond, 20*time.Millisecond, 500*time.Millisecond
	t.suspicion, t.dead, t.rejoin, t.tick = 3, time.Second, 300*time.Millisecond, 50*time.Millisecond
	t.propagate = 10 * time.Millisecond
	return t
}

// A peer is a cluster's node in a test.
type peer struct {
	*Cluster
	t    testing.TB
	stop context.CancelFunc
	done chan struct{}
}

// A setup is what is special about a peer.
type setup struct {
	name     string
	join     []*peer
	options  Options
	identity Identity
	tuning   tuning
	registry prometheus.Registerer
	quiet    bool
}

func options(name string, join ...*peer) Options {
	o := Options{Listen: "127.0.0.1:0", Name: name, Label: "test"}
	for _, j := range join {
		o.Join = append(o.Join, j.transport.advertise.String())
	}
	return o
}

// make makes a peer that does not run yet.
func (s setup) make(t testing.TB) *peer {
	t.Helper()
	o := options(s.name, s.join...)
	if s.options.Listen != "" {
		o.Listen = s.options.Listen
	}
	o.Join = append(o.Join, s.options.Join...)
	o.KeyFile = s.options.KeyFile
	if s.identity.Role == "" {
		s.identity = Identity{Role: Edge, Modes: []string{"splitter", "cache"}, Services: []Service{{Proto: "rtsp", Port: 8554}, {Proto: "http", Port: 8080}}}
	}
	if s.tuning.tick == 0 {
		s.tuning = fast()
	}
	if s.registry == nil {
		s.registry = prometheus.NewRegistry()
	}
	log := zap.NewNop()
	if !s.quiet {
		log = proxytest.Logger(t).Named(s.name)
	}
	c, err := newCluster(Config{Options: o, Identity: s.identity, Metrics: s.registry, Log: log}, s.tuning)
	if err != nil {
		t.Fatal(err)
	}
	return &peer{Cluster: c, t: t, done: make(chan struct{})}
}

// run begins, and ends with the test.
func (p *peer) run() *peer {
	ctx, cancel := context.WithCancel(context.Background())
	p.stop = cancel
	go func() {
		defer close(p.done)
		if err := p.Run(ctx); err != nil {
			p.t.Error(err)
		}
	}()
	p.t.Cleanup(p.end)
	return p
}

// end leaves and waits.
func (p *peer) end() {
	p.stop()
	<-p.done
}

// kill ends all talk of a peer without a word, as kill -9 does.
func (p *peer) kill() { p.transport.Shutdown() } //nolint:errcheck // returns none

func start(t testing.TB, name string, join ...*peer) *peer {
	t.Helper()
	return setup{name: name, join: join}.make(t).run()
}

// several starts peers that know the first one.
func several(t testing.TB, n int) (all []*peer) {
	t.Helper()
	for i := range n {
		all = append(all, start(t, fmt.Sprintf("edge%d", i+1), all[:min(i, 1)]...))
	}
	meet(t, all...)
	return all
}

// alive are the names of the nodes that a peer takes for alive, itself included.
func (p *peer) alive() (names []string) { return p.in(Alive) }

func (p *peer) in(s State) (names []string) {
	for _, n := range p.Nodes() {
		if n.State == s {
			names = append(names, n.Name)
		}
	}
	return names
}

// node is how a peer sees another one.
func (p *peer) node(name string) Node {
	all := p.Nodes()
	if i := slices.IndexFunc(all, func(n Node) bool { return n.Name == name }); i >= 0 {
		return all[i]
	}
	return Node{}
}

// meet waits until all see exactly all.
func meet(t testing.TB, all ...*peer) {
	t.Helper()
	var want []string
	for _, p := range all {
		want = append(want, p.self.Name)
	}
	slices.Sort(want)
	for _, p := range all {
		proxytest.Eventually(t, patient, fmt.Sprintf("%s sees %v", p.self.Name, want), func() bool { return slices.Equal(p.alive(), want) })
	}
}

// told is what a peer has heard under a topic, as "a=x b=y".
func (p *peer) told(topic string) string {
	got := map[string][]byte{}
	maps.Insert(got, p.Told(topic))
	var s []string
	for _, name := range slices.Sorted(maps.Keys(got)) {
		s = append(s, name+"="+string(got[name]))
	}
	return strings.Join(s, " ")
}

func hears(t testing.TB, p *peer, topic, want string) {
	t.Helper()
	proxytest.Eventually(t, patient, fmt.Sprintf("%s hears %q", p.self.Name, want), func() bool { return p.told(topic) == want })
}

// keyFile writes keys, each of 32 times the same byte.
func keyFile(t testing.TB, keys ...byte) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "keys")
	writeKeys(t, name, keys...)
	return name
}

func writeKeys(t testing.TB, name string, keys ...byte) {
	t.Helper()
	var text strings.Builder
	for _, k := range keys {
		text.WriteString(hex.EncodeToString([]byte(strings.Repeat(string(rune(k)), 32))) + "\n")
	}
	if err := os.WriteFile(name, []byte(text.String()), 0o600); err != nil {
		t.Fatal(err)
	}
}
