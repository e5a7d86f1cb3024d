package cluster

import (
	"fmt"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"weir/proxy"
	"weir/proxy/proxytest"
)

func TestFiveNodesSeeEachOther(t *testing.T) {
	all := several(t, 5)
	for _, p := range all {
		for _, other := range all {
			n := p.node(other.self.Name)
			if n.Self != (p == other) || n.Gossip != other.transport.advertise || n.Epoch != other.self.Epoch || n.Role != Edge {
				t.Errorf("%s sees %+v of %s", p.self.Name, n, other.self.Name)
			}
			if addr, ok := n.Addr("rtsp"); !ok || addr != "127.0.0.1:8554" {
				t.Errorf("rtsp of %s is at %q, %v", n.Name, addr, ok)
			}
		}
		if err := p.Ready(); err != nil {
			t.Errorf("%s is not ready: %v", p.self.Name, err)
		}
	}
}

func TestTellReachesAll(t *testing.T) {
	all := several(t, 5)
	long := strings.Repeat("x", maxBody)
	all[2].Tell("gauge", []byte("1"), time.Minute)
	all[4].Tell("gauge", []byte("9"), time.Minute)
	all[0].Tell("long", []byte(long), time.Minute)
	for _, p := range all {
		var want []string
		for name, body := range map[string]string{"edge3": "1", "edge5": "9"} {
			if p.self.Name != name { // nobody hears himself
				want = append(want, name+"="+body)
			}
		}
		slices.Sort(want)
		hears(t, p, "gauge", strings.Join(want, " "))
		if p != all[0] {
			hears(t, p, "long", "edge1="+long)
		}
		if got := p.told("other"); got != "" {
			t.Errorf("told under another topic: %q", got)
		}
	}
}

func TestNewestWins(t *testing.T) {
	all := several(t, 3)
	for i := range 200 {
		all[0].Tell("n", []byte(strings.Repeat("i", i)), time.Minute)
	}
	for _, p := range all[1:] {
		hears(t, p, "n", "edge1="+strings.Repeat("i", 199))
	}
}

func TestToldIsForgotten(t *testing.T) {
	all := several(t, 2)
	all[0].Tell("short", []byte("x"), 500*time.Millisecond)
	hears(t, all[1], "short", "edge1=x")
	hears(t, all[1], "short", "")
}

// What cannot be told is not, and harms nothing.
func TestTellTooMuch(t *testing.T) {
	all := several(t, 2)
	f := func(topic string, bytes int, ttl time.Duration) {
		t.Helper()
		before := all[0].counts[oversize].Load()
		all[0].Tell(topic, make([]byte, bytes), ttl)
		if all[0].counts[oversize].Load() == before {
			t.Errorf("Tell(%q, %d bytes, %v) was not refused", topic, bytes, ttl)
		}
	}
	f("long", maxBody+1, time.Minute)
	f("", 1, time.Minute)
	f("has blank", 1, time.Minute)
	f(strings.Repeat("t", maxTopic+1), 1, time.Minute)
	f("over", 1, 0)
	all[0].Tell("good", []byte("x"), time.Minute)
	hears(t, all[1], "good", "edge1=x")
	proxytest.Eventually(t, patient, "the queue is empty", func() bool { return all[0].queued() == 0 })
}

// Whoever comes later hears at once what was told before, even if the one who told
// it has gone.
func TestLateNodeHears(t *testing.T) {
	all := several(t, 2)
	all[0].Tell("purge", []byte("/a"), time.Minute)
	hears(t, all[1], "purge", "edge1=/a")
	all[0].end()
	proxytest.Eventually(t, patient, "the first has left", func() bool { return slices.Equal(all[1].alive(), []string{"edge2"}) })
	late := start(t, "late", all[1])
	want := newID("edge1").String() + "=/a"
	proxytest.Eventually(t, patient, "heard", func() bool { got := late.told("purge"); return got == want || got == "edge1=/a" })
}

func TestSeedComesUpLater(t *testing.T) {
	seed := setup{name: "seed"}.make(t) // bound, but nobody answers
	early := start(t, "early", seed)
	if err := early.Ready(); err == nil {
		t.Error("ready before the seed has answered")
	}
	seed.run()
	meet(t, seed, early)
	if err := early.Ready(); err != nil {
		t.Errorf("not ready with the seed there: %v", err)
	}
}

func TestReadyWithoutSeeds(t *testing.T) {
	quick := fast()
	quick.patience = 10 * time.Millisecond
	p := setup{name: "alone", options: Options{Join: Nodes{proxytest.ClosedAddr(t)}}, tuning: quick}.make(t).run()
	proxytest.Eventually(t, patient, "ready nevertheless", func() bool {
		_, degraded := p.Ready().(proxy.Degraded)
		return degraded
	})
}

// A node says that it drains; it is still there and is told things.
func TestDrain(t *testing.T) {
	all := several(t, 3)
	all[1].Drain()
	for _, p := range all {
		proxytest.Eventually(t, patient, "draining seen", func() bool { return slices.Equal(p.in(Draining), []string{"edge2"}) })
		if !slices.Equal(p.alive(), []string{"edge1", "edge3"}) {
			t.Errorf("%s sees %v alive", p.self.Name, p.alive())
		}
	}
	late := start(t, "late", all[0])
	proxytest.Eventually(t, patient, "draining seen by one who came later", func() bool { return slices.Equal(late.in(Draining), []string{"edge2"}) })
	all[0].Tell("x", []byte("1"), time.Minute)
	hears(t, all[1], "x", "edge1=1")
}

// Who leaves is known to have left long before it would be found dead, and nobody
// looks for it.
func TestLeave(t *testing.T) {
	slow := fast()
	slow.probe = time.Hour // nobody finds anybody dead
	var all []*peer
	for i, name := range []string{"edge1", "edge2", "edge3"} {
		all = append(all, setup{name: name, join: all[:min(i, 1)], tuning: slow}.make(t).run())
	}
	meet(t, all...)
	var words []string
	for i := range 20 { // more than goes out while the leave does
		words = append(words, fmt.Sprint("last.words.", i))
		all[2].Tell(words[i], make([]byte, 900), time.Minute)
	}
	all[2].end()
	for _, p := range all[:2] {
		proxytest.Eventually(t, patient, "left", func() bool { return slices.Equal(p.in(Left), []string{"edge3"}) })
		for _, topic := range words {
			proxytest.Eventually(t, patient, topic+" heard", func() bool { return p.told(topic) != "" })
		}
		proxytest.Eventually(t, patient, "nobody is looked for", func() bool {
			for range 2 * lazyRound {
				if len(p.missing(nil)) > 0 {
					return false
				}
			}
			return true
		})
	}
}

func TestOnChange(t *testing.T) {
	var changes atomic.Int64
	p := setup{name: "a"}.make(t)
	p.OnChange(func() { changes.Add(1) })
	p.run()
	other := start(t, "b", p)
	meet(t, p, other)
	proxytest.Eventually(t, patient, "told of one who joined", func() bool { return changes.Load() > 0 })
	before := changes.Load()
	other.Drain()
	proxytest.Eventually(t, patient, "told of one who drains", func() bool { return changes.Load() > before && len(p.in(Draining)) == 1 })
}

// All may be asked before Run and after it.
func TestBeforeAndAfterRun(t *testing.T) {
	p := setup{name: "a"}.make(t)
	ask := func() {
		p.Tell("t", []byte("x"), time.Minute)
		p.Status()
		if name, self := p.Owner("cache:/x"); name != "a" || !self {
			t.Errorf("Owner = %q, %v", name, self)
		}
		if n := p.Nodes(); len(n) != 1 || !n[0].Self {
			t.Errorf("Nodes = %+v", n)
		}
		p.Drain()
	}
	ask()
	p.run().end()
	ask()
}

// A seed may be a name, and one without an address is asked for on; a cluster may speak
// IPv6.
func TestSeedsByName(t *testing.T) {
	first := start(t, "edge1")
	byName := setup{name: "edge2", options: Options{Join: []string{
		"nobody.invalid:7946", fmt.Sprintf("localhost:%d", first.transport.advertise.Port())}}}.make(t).run()
	meet(t, first, byName)
}

func TestIPv6(t *testing.T) {
	if c, err := net.Listen("tcp", "[::1]:0"); err != nil {
		t.Skip("no IPv6 here:", err)
	} else {
		c.Close()
	}
	six := setup{name: "edge1", options: Options{Listen: "[::1]:0"}}
	first := six.make(t).run()
	six.name, six.join = "edge2", []*peer{first}
	second := six.make(t).run()
	meet(t, first, second)
	if a := second.node("edge1").Gossip; a != first.transport.advertise || !a.Addr().Is6() {
		t.Errorf("edge1 is at %v, want %v", a, first.transport.advertise)
	}
	first.Tell("gauge", []byte("1"), time.Minute)
	hears(t, second, "gauge", "edge1=1")
}
