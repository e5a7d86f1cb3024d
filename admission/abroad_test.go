package admission

import (
	"bytes"
	"context"
	"iter"
	"maps"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"weir/proxy"
)

// A gossip is all that the edges of a cluster have told; each hears of it after delay.
type gossip struct {
	delay time.Duration
	mu    sync.Mutex
	told  map[[2]string][]said // by node and topic, the last one last
}

type said struct {
	b               []byte
	at, from, until time.Time
}

func newGossip(delay time.Duration) *gossip {
	return &gossip{delay: delay, told: map[[2]string][]said{}}
}

// A peer is how one of them sees it.
type peer struct {
	*gossip
	name string
}

func (peer) Owner(string) (string, bool) { return "", true }

func (p peer) Tell(topic string, b []byte, ttl time.Duration) {
	if len(b) > maxGauge {
		panic("BUG: told too much at once")
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	key, now := [2]string{p.name, topic}, time.Now()
	p.told[key] = append(p.told[key], said{bytes.Clone(b), now, now.Add(p.delay), now.Add(p.delay + ttl)})
}

func (p peer) Told(topic string) iter.Seq2[string, []byte] {
	p.mu.Lock()
	defer p.mu.Unlock()
	now, heard := time.Now(), map[string][]byte{}
	for key, all := range p.told {
		if key[1] != topic {
			continue
		}
		for _, s := range slices.Backward(all) {
			if !now.Before(s.from) {
				if now.Before(s.until) {
					heard[key[0]] = s.b
				}
				break
			}
		}
	}
	return maps.All(heard)
}

// said are the messages of this peer since a time.
func (p peer) said(topic string, since time.Time) []said {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := p.told[[2]string{p.name, topic}]
	i := slices.IndexFunc(all, func(s said) bool { return !s.at.Before(since) })
	if i < 0 {
		return nil
	}
	return slices.Clone(all[i:])
}

// TestClusterCounts has two edges with one limit of each kind. What one lets in
// the other knows two seconds later, and forgets when it hears no more.
func TestClusterCounts(t *testing.T) {
	f := func(flag string, one func(n int) *proxy.Viewer, want proxy.Reason) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			ctx, stop := context.WithCancel(t.Context())
			others := newGossip(0)
			edge := func(name string) (*Gate, context.CancelFunc) {
				g := gateOf(t, flag, "-admission.cluster=sum")
				g.peers = peer{others, name}
				ctx, stop := context.WithCancel(ctx)
				go g.Run(ctx) //nolint:errcheck // ends with ctx
				return g, stop
			}
			a, stopA := edge("a")
			b, _ := edge("b")
			synctest.Wait()
			for n := range 5 {
				ticket, err := a.Admit(ctx, one(n))
				if err != nil {
					t.Fatalf("%s: the %dth: %v", flag, n, err)
				}
				if err := ticket.Declare(10 * mbit); err != nil {
					t.Fatalf("%s: the %dth: %v", flag, n, err)
				}
			}
			time.Sleep(2 * time.Second)
			synctest.Wait()
			if _, err := b.Admit(ctx, one(9)); reason(err) != want {
				t.Errorf("%s: on the other edge: %v, want %s", flag, err, want)
			}
			if s := b.Status().(status).Others; s == nil || s.Edges != 1 || s.Viewers != 5 || s.Needed != 55*mbit {
				t.Errorf("%s: the other edge knows %+v", flag, s)
			}
			stopA()
			time.Sleep(gaugeTTL + 2*time.Second)
			synctest.Wait()
			if _, err := b.Admit(ctx, one(9)); err != nil {
				t.Errorf("%s: after the first has died: %v", flag, err)
			}
			stop()
			synctest.Wait()
		})
	}
	plain := func(n int) *proxy.Viewer { return viewer("rtsp", "/a", n) }
	f("-admission.viewers=5", plain, proxy.Full)
	f("-admission.per-stream=5", plain, proxy.Full)
	f("-admission.bandwidth=55Mbit/s", plain, proxy.NoBandwidth)
	f("-admission.per-subject=5", func(n int) *proxy.Viewer {
		v := viewer("rtsp", "/a", n)
		v.Subject = "ann"
		return v
	}, proxy.TooMany)
}

func TestGaugeFits(t *testing.T) {
	g := gateOf(t, "-admission.per-stream=9")
	for n := range 300 {
		g.Admit(t.Context(), viewer("rtsp", string(rune('a'+n%26))+string(rune('a'+n/26)), n)) //nolint:errcheck // no limit is reached
	}
	if n := len(g.ledger.gauge(countsAmong(4)).encode(1)); n > maxGauge || n < maxGauge-gaugeCount {
		t.Errorf("%d bytes", n)
	}
}

// FuzzGauge gives an edge what others might tell it.
func FuzzGauge(f *testing.F) {
	g := gateOf(f, "-admission.per-stream=9")
	g.Admit(f.Context(), viewer("rtsp", "/a", 1)) //nolint:errcheck // no limit is reached
	f.Add(g.ledger.gauge(9).encode(1))
	f.Fuzz(func(t *testing.T, b []byte) {
		a := &abroad{}
		a.add(b, 2)
		if a.viewers < 0 || a.need < 0 || a.viewers > 1<<24 {
			t.Errorf("%+v", a)
		}
	})
}
