package admission

import (
	"context"
	"fmt"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"weir/proxy"
)

// edges runs f with n edges of a cluster in which gossip takes a while. They do not all
// look at the same time.
func edges(t *testing.T, n int, gossip time.Duration, flags []string, f func([]edge)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		g := newGossip(gossip)
		var all []edge
		for i := range n {
			e := edge{gateOf(t, append(flags, "-admission.cluster=sum")...), peer{g, fmt.Sprint("edge", i)}, t}
			e.Gate.peers = e.peer
			go e.Run(ctx) //nolint:errcheck // ends with ctx
			all = append(all, e)
			pass(370 * time.Millisecond)
		}
		f(all)
		stop()
		synctest.Wait()
	})
}

// An edge is one of them.
type edge struct {
	*Gate
	peer
	t *testing.T
}

// comes is a viewer of a stream; nil if he is refused.
func (e edge) comes(stream string, n int) proxy.Ticket {
	ticket, err := e.Admit(e.t.Context(), viewer("rtsp", stream, n))
	if err != nil {
		return nil
	}
	return ticket
}

// tells fails unless the edge has told from least to most times since began.
func (e edge) tells(what string, began time.Time, least, most int) {
	e.t.Helper()
	if n := len(e.said(topic, began)); n < least || n > most {
		e.t.Errorf("%s: told %d times in %v, want %d to %d", what, n, time.Since(began), least, most)
	}
}

// next waits until the edge tells again, and says when that was.
func (e edge) next() time.Time {
	began := time.Now()
	for len(e.said(topic, began)) == 0 {
		pass(listenEvery)
	}
	return e.said(topic, began)[0].at
}

// TestQuietEdgesTellLess: once in two and a half seconds, though viewers come and go one by one;
// each second when it matters, and never more often.
func TestQuietEdgesTellLess(t *testing.T) {
	edges(t, 1, 0, []string{"-admission.viewers=10000"}, func(all []edge) {
		e, began := all[0], time.Now()
		pass(30 * time.Second)
		e.tells("nobody", began, 12, 13)

		var in []proxy.Ticket
		arrive := func(n int) {
			for range n {
				in = append(in, e.comes("/a", len(in)))
			}
		}
		arrive(1000)
		pass(time.Second)
		began = time.Now()
		for range 30 {
			arrive(5)
			in[0].Close()
			in = in[1:]
			pass(time.Second)
		}
		e.tells("4 more of 1000 each second", began, 12, 13)

		began = time.Now()
		for range 100 {
			arrive(20)
			pass(time.Second / 10)
		}
		e.tells("200 more each second", began, 8, 11)
	})
}

// TestNewsIsToldSoon: at once what the first who comes after a quiet second makes, in
// a second and a quarter what those behind him do; what matters little only as often as
// anything is told.
func TestNewsIsToldSoon(t *testing.T) {
	f := func(flag string, was, more int, least, most time.Duration) {
		t.Helper()
		edges(t, 1, 0, []string{flag}, func(all []edge) {
			e := all[0]
			for n := range was {
				e.comes("/a", n)
			}
			pass(10 * time.Second)
			time.Sleep(time.Until(e.next().Add(1100 * time.Millisecond)))
			began := time.Now()
			for n := range more {
				e.comes("/a", n)
			}
			pass(10 * time.Second)
			if got := e.said(topic, began)[0].at.Sub(began); got < least || got > most {
				t.Errorf("%s: %d more than %d are told after %v, want %v to %v", flag, more, was, got, least, most)
			}
		})
	}
	soon := func(flag string, was, more int) { t.Helper(); f(flag, was, more, 0, tellEvery+listenEvery) }
	late := func(flag string, was, more int) {
		t.Helper()
		f(flag, was, more, tellAgain-1100*time.Millisecond, tellAgain-1100*time.Millisecond)
	}
	f("-admission.viewers=10", 0, 1, 0, 0) // of which each one counts
	soon("-admission.viewers=1000", 0, 2)
	late("-admission.viewers=1000", 0, 1)
	late("-admission.viewers=1000", 100, 5)
	soon("-admission.viewers=1000", 100, 6)
	late("-admission.viewers=100", 90, 4)
	soon("-admission.viewers=100", 90, 5)
	late("-admission.viewers=40", 30, 1)
	soon("-admission.viewers=40", 30, 2)
	late("-admission.per-stream=1000", 100, 5)
	soon("-admission.per-stream=1000", 100, 6)
	late("-admission.per-client=1000", 100, 50) // no other edge minds
}

// TestGaugesGoDown: of those who leave others hear as soon.
func TestGaugesGoDown(t *testing.T) {
	f := func(flag string) {
		t.Helper()
		edges(t, 2, 0, []string{flag}, func(all []edge) {
			var in []proxy.Ticket
			for n := range 50 {
				in = append(in, all[0].comes("/a", n))
			}
			pass(2 * time.Second)
			if all[1].comes("/a", 99) != nil {
				t.Errorf("%s: one more than there is room for", flag)
			}
			all[0].next()
			for _, one := range in[:10] {
				one.Close()
			}
			pass(staleness)
			for n := range 20 {
				if got := all[1].comes("/a", 100+n) != nil; got != (n < 10) {
					t.Errorf("%s: number %d after ten have left: in %v", flag, n, got)
				}
			}
		})
	}
	f("-admission.viewers=50")
	f("-admission.per-stream=50")
}

// TestOverAdmission: at a limit of all edges together, too many get in by no more than
// begin on the others within staleness and what gossip takes; then nobody does.
func TestOverAdmission(t *testing.T) {
	const gossip = time.Second
	f := func(n, limit int, rate float64, stale time.Duration) {
		t.Helper()
		edges(t, n, gossip, []string{fmt.Sprintf("-admission.viewers=%d", limit)}, func(all []edge) {
			in, last, began := 0, time.Time{}, time.Now()
			for i := 0; time.Since(began) < 2*time.Minute && (last.IsZero() || in < limit || time.Since(last) < 20*time.Second); i++ {
				for k, e := range all {
					if e.comes("/a", i*n+k) != nil {
						in, last = in+1, time.Now()
					}
				}
				pass(time.Duration(float64(time.Second) / rate))
			}
			most := limit + int(math.Ceil(rate*float64(n-1)*stale.Seconds())) + n
			if in < limit || in > most {
				t.Errorf("%d edges with %v/s each: %d are in, want %d to %d", n, rate, in, limit, most)
			}
			for _, e := range all {
				if s := e.Status().(status); s.Viewers+s.Others.Viewers != in || s.Others.Edges != n-1 {
					t.Errorf("%d edges with %v/s each: %d are in, one knows of %d and %+v", n, rate, in, s.Viewers, s.Others)
				}
			}
			t.Logf("%d edges with %v/s each: %d over %d, bound %d", n, rate, in-limit, limit, most-limit)
		})
	}
	f(3, 90, 30, staleness+gossip)
	f(3, 900, 30, staleness+gossip)
	f(20, 2000, 10, staleness+gossip)
	f(3, 90, 1, tellAgain+2*listenEvery+gossip) // a trickle
	f(20, 400, 0.5, tellAgain+2*listenEvery+gossip)
}

// TestGaugesOfMany: the more edges there are, the fewer counts each of them tells.
func TestGaugesOfMany(t *testing.T) {
	f := func(edges, counts int) {
		t.Helper()
		if got := countsAmong(edges); got != counts {
			t.Errorf("among %d edges %d counts each, want %d", edges, got, counts)
		}
	}
	f(1, 75)
	f(4, 75)
	f(5, 59)
	f(20, 13)
	f(32, 8)
	f(1000, 8)

	edges(t, 20, 0, []string{"-admission.per-stream=50"}, func(all []edge) {
		for n := range 200 {
			for k := range n/10 + 1 {
				all[0].comes(fmt.Sprint("/", n), n*100+k)
			}
		}
		pass(4 * time.Second)
		said := all[0].said(topic, time.Now().Add(-time.Second*3))
		if b := said[len(said)-1].b; len(b) != gaugeHead+13*gaugeCount {
			t.Errorf("a gauge of %d bytes among 20 edges", len(b))
		}
		others := all[1].ledger.abroad
		for n, want := range map[int]int{199: 20, 190: 20, 10: 0} {
			if got := others.count(ofStream, fmt.Sprint("/", n)); got != want {
				t.Errorf("another edge knows of %d viewers of stream %d, want %d", got, n, want)
			}
		}
	})
}

// TestGaugeStaysTheSame while nothing changes, however many streams have as many
// viewers.
func TestGaugeStaysTheSame(t *testing.T) {
	g := gateOf(t, "-admission.per-stream=1000")
	for n := range 600 {
		g.Admit(t.Context(), viewer("rtsp", fmt.Sprint("/", n/2), n)) //nolint:errcheck // no limit is reached
	}
	first := g.ledger.gauge(8)
	for range 50 {
		again := g.ledger.gauge(8)
		if string(again.encode(1)) != string(first.encode(1)) {
			t.Fatalf("%v, and then %v", first.counts, again.counts)
		}
		if g.ledger.far(first, again) {
			t.Fatal("nothing has changed, and is to be told")
		}
	}
	for n := range 2 { // as many as the least of those that are told: it comes in their place
		g.Admit(t.Context(), viewer("rtsp", "/!", n)) //nolint:errcheck // no limit is reached
	}
	if other := g.ledger.gauge(8); other.counts[0].name != "/!" || g.ledger.far(first, other) {
		t.Errorf("another that is as large is to be told: %v", other.counts)
	}
	if fewer := g.ledger.gauge(4); g.ledger.far(first, fewer) {
		t.Error("there is less room, and that is to be told")
	}
}

// TestSubjectsAreTold where any are limited: by the flag, or by what credentials say.
func TestSubjectsAreTold(t *testing.T) {
	f := func(max, want int, flags ...string) {
		t.Helper()
		g := gateOf(t, flags...)
		for n := range 3 {
			v := viewer("rtsp", "/a", n)
			v.Subject, v.Grant = "ann", &grant{max: max}
			g.Admit(t.Context(), v) //nolint:errcheck // no limit is reached
		}
		if got := len(g.ledger.gauge(8).counts); got != want {
			t.Errorf("%v, max %d: %d counts are told, want %d", flags, max, got, want)
		}
	}
	f(0, 0)
	f(7, 1)
	f(0, 1, "-admission.per-subject=7")
}

// TestLastWord: who ends has no viewers any more, and others need not wait until it is
// forgotten.
func TestLastWord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, others := gateOf(t, "-admission.cluster=sum"), peer{newGossip(0), "a"}
		g.peers = others
		ctx, stop := context.WithCancel(t.Context())
		go g.Run(ctx) //nolint:errcheck // ends with ctx
		g.Admit(ctx, viewer("rtsp", "/a", 1))
		pass(5 * time.Second)
		a := &abroad{}
		sum := func() int {
			*a = abroad{}
			for _, b := range others.Told(topic) {
				a.add(b, 0)
			}
			return a.viewers
		}
		if n := sum(); n != 1 {
			t.Errorf("%d viewers, want 1", n)
		}
		stop()
		synctest.Wait()
		if n := sum(); n != 0 {
			t.Errorf("%d viewers of an edge that has ended", n)
		}
	})
}
