package passthrough

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"weir/proxy"
	"weir/proxy/proxytest"
)

// rtspAt is what is found of an RTSP origin.
func rtspAt(addr string) Found { return Found{Node: "agent " + addr, URL: "rtsp://" + addr, Weight: 1} }

func reporting(f Found, sessions int, load float64) Found {
	f.Report = &Report{Sessions: sessions, Load: load, Well: 1}
	return f
}

// chosen dials n times, keeps the links, and counts them by origin.
func chosen(t *testing.T, b *Balancer, n int) map[string]int {
	t.Helper()
	got := map[string]int{}
	for range n {
		got[dial(t, b, proxy.Want{Path: "/cam"}).Origin]++
	}
	return got
}

func TestDiscoveredJoinStatic(t *testing.T) {
	static, _ := listen(t, "127.0.0.1")
	found, _ := listen(t, "127.0.0.1")
	b := balancer(t, "-origin=rtsp://"+static)
	b.Discover([]Found{rtspAt(found), rtspAt(static)})
	if all := status(b); len(all) != 2 || all[0].Agent != "agent "+static || all[0].Discovered || !all[1].Discovered || all[1].Word != "ready" {
		t.Fatalf("origins = %+v", all)
	}
	if got := chosen(t, b, 40); got[static] < 10 || got[found] < 10 {
		t.Errorf("chosen: %v", got)
	}
	b.Discover(nil)
	if all := status(b); len(all) != 1 || all[0].Agent != "" {
		t.Errorf("origins = %+v", all)
	}
	if got := chosen(t, b, 5); got[static] != 5 {
		t.Errorf("chosen: %v", got)
	}
}

// Without any -origin what is discovered is all there is, path by path.
func TestDiscoveredAlone(t *testing.T) {
	live, _ := listen(t, "127.0.0.1")
	vod, _ := listen(t, "127.0.0.1")
	b := balancer(t)
	if err := b.Usable(); err == nil {
		t.Error("usable without any origin")
	}
	onlyVOD := rtspAt(vod)
	onlyVOD.Paths = []string{"/vod/"}
	b.Discover([]Found{rtspAt(live), onlyVOD, {Node: "mad", URL: "rtsp://name:554"}, {Node: "mad", URL: "ftp://10.0.0.1"}, {Node: "mad", URL: "::"}})
	if err := b.Usable(); err != nil {
		t.Error(err)
	}
	f := func(path, want string) {
		t.Helper()
		if got := dial(t, b, proxy.Want{Path: path}).Origin; got != want {
			t.Errorf("%s went to %s, want %s", path, got, want)
		}
	}
	f("/cam", live)
	f("/vod/a", vod)
	b.Discover([]Found{rtspAt(live)})
	f("/vod/a", live)
	b.Discover(nil)
	_, err := b.DialRTSP(t.Context(), proxy.Want{Path: "/cam"})
	wantRefusal(t, err, proxy.NoOrigin, 0)
}

func TestDrainIsHonoured(t *testing.T) {
	a, _ := listen(t, "127.0.0.1")
	z, _ := listen(t, "127.0.0.1")
	for _, b := range []*Balancer{balancer(t), balancer(t, "-origin=rtsp://"+a, "-origin=rtsp://"+z)} {
		draining := rtspAt(a)
		draining.Draining = true
		b.Discover([]Found{draining, rtspAt(z)})
		if got := chosen(t, b, 20); got[z] != 20 {
			t.Errorf("chosen: %v", got)
		}
		b.Discover([]Found{draining})
		if len(status(b)) == 1 { // the other one has no agent, and is not configured
			_, err := b.DialRTSP(t.Context(), proxy.Want{Path: "/cam"})
			wantRefusal(t, err, proxy.OriginDown, retryAfter)
			if err := b.Usable(); err == nil || !strings.Contains(err.Error(), "draining") {
				t.Errorf("Usable = %v", err)
			}
		}
		b.Discover([]Found{rtspAt(a), rtspAt(z)})
		if h := b.all()[0].health; h.recovered.IsZero() {
			t.Error("an origin that is back in rotation gets all of its share at once")
		}
	}
}

func TestUnwellIsLastResort(t *testing.T) {
	a, _ := listen(t, "127.0.0.1")
	z, _ := listen(t, "127.0.0.1")
	b := balancer(t)
	unwell := rtspAt(a)
	unwell.Unwell = true
	b.Discover([]Found{unwell, rtspAt(z)})
	if got := chosen(t, b, 10); got[z] != 10 {
		t.Errorf("chosen: %v", got)
	}
	b.Discover([]Found{unwell})
	if got := chosen(t, b, 1); got[a] != 1 {
		t.Errorf("chosen: %v", got)
	}
}

// Whom gossip does not reach is well as far as we know, but others come first; so do
// they before one whose machine has enough to do.
func TestSilentAndBusyComeLast(t *testing.T) {
	a, _ := listen(t, "127.0.0.1")
	z, _ := listen(t, "127.0.0.1")
	silent := rtspAt(a)
	silent.Silent = true
	for _, last := range []Found{silent, reporting(rtspAt(a), 0, 0.97)} {
		b := balancer(t)
		b.Discover([]Found{last, reporting(rtspAt(z), 300, 0.5)})
		if got := chosen(t, b, 10); got[z] != 10 {
			t.Errorf("chosen: %v", got)
		}
		b.Discover([]Found{last})
		if got := chosen(t, b, 2); got[a] != 2 {
			t.Errorf("alone it is chosen: %v", got)
		}
	}
}

// What an agent counts is the load, with what this edge has opened since.
func TestReportedLoad(t *testing.T) {
	a, _ := listen(t, "127.0.0.1")
	z, _ := listen(t, "127.0.0.1")
	b := balancer(t, "-origin.balance=leastconn")
	b.Discover([]Found{reporting(rtspAt(a), 100, 0), reporting(rtspAt(z), 110, 0)})
	if got := chosen(t, b, 20); got[a] < 14 || got[a] > 16 {
		t.Errorf("100 and 110 sessions, and 20 more went to %v, want 15 to the first", got)
	}
	b.Discover([]Found{reporting(rtspAt(a), 300, 0), reporting(rtspAt(z), 110, 0)})
	if got := chosen(t, b, 10); got[z] != 10 {
		t.Errorf("chosen: %v", got)
	}
}

// An origin of which nothing is heard any more is not idle.
func TestStaleReportIsUnknown(t *testing.T) {
	a, _ := listen(t, "127.0.0.1")
	z, _ := listen(t, "127.0.0.1")
	b := balancer(t, "-origin.balance=leastconn")
	heavy := rtspAt(z)
	heavy.Weight = 2
	b.Discover([]Found{rtspAt(a), reporting(heavy, 200, 0)})
	got := chosen(t, b, 30)
	if got[a] == 0 || got[a] > 20 {
		t.Errorf("of two, one unheard and one with 200 sessions and twice the weight, 30 more went to %v", got)
	}
}

func TestCapacity(t *testing.T) {
	a, _ := listen(t, "127.0.0.1")
	b := balancer(t)
	full := reporting(rtspAt(a), 8, 0)
	full.Capacity = 10
	b.Discover([]Found{full})
	if got := chosen(t, b, 2); got[a] != 2 {
		t.Errorf("chosen: %v", got)
	}
	_, err := b.DialRTSP(t.Context(), proxy.Want{Path: "/cam"})
	wantRefusal(t, err, proxy.Full, retryAfter)
}

// A report that says the same as the one before may be the same one: what was opened
// since counts until it must be another.
func TestOpenedSinceTheReport(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var w word
		f := reporting(rtspAt("10.0.0.1:554"), 5, 0)
		load := func(want int) {
			t.Helper()
			if n, ok := w.load(); !ok || n != want {
				t.Errorf("load %d, %v, want %d", n, ok, want)
			}
		}
		w.told(f, time.Now())
		w.opened = 3
		load(8)
		time.Sleep(time.Second)
		w.told(f, time.Now())
		load(8)
		time.Sleep(reportEvery)
		w.told(f, time.Now())
		load(5)
		f.Report = nil
		w.told(f, time.Now())
		if _, ok := w.load(); ok {
			t.Error("a load is known that nobody tells")
		}
	})
}

// A session goes on when its origin is not found any more, and probes of it end.
func TestDiscoveredGoesAway(t *testing.T) {
	a, _ := listen(t, "127.0.0.1")
	b := balancer(t, "-origin.check=10ms", "-origin.timeout=50ms", "-origin.fall=1000")
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- b.Run(ctx) }()
	b.Discover([]Found{rtspAt(a)})
	proxytest.Eventually(t, 5*time.Second, "probes", func() bool { all := status(b); return len(all) == 1 && all[0].Probes > 2 })
	l := dial(t, b, proxy.Want{Path: "/cam"})
	b.Discover(nil)
	if len(status(b)) != 0 {
		t.Error("it is still there")
	}
	if _, err := l.Write([]byte("x")); err != nil {
		t.Errorf("the session was cut: %v", err)
	}
	l.Close()
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// Weights and paths that change keep what is known of the origin.
func TestDiscoveredChanges(t *testing.T) {
	a, _ := listen(t, "127.0.0.1")
	b := balancer(t)
	b.Discover([]Found{rtspAt(a)})
	chosen(t, b, 3)
	other := rtspAt(a)
	other.Weight, other.Paths = 7, []string{"/vod"}
	b.Discover([]Found{other})
	if all := status(b); len(all) != 1 || all[0].Weight != 7 || all[0].Sessions != 3 || all[0].Pools[0] != "/vod" {
		t.Errorf("origins = %+v", all)
	}
}

// Discover may be called while everybody asks; run with -race.
func TestDiscoverWhileAsking(t *testing.T) {
	a, _ := listen(t, "127.0.0.1")
	web := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer web.Close()
	b := balancer(t, "-origin.check=20ms")
	ctx, cancel := context.WithCancel(t.Context())
	var all sync.WaitGroup
	all.Go(func() { b.Run(ctx) }) //nolint:errcheck // returns nil
	for range 4 {
		all.Go(func() {
			for ctx.Err() == nil {
				if l, err := b.DialRTSP(ctx, proxy.Want{Path: "/cam"}); err == nil {
					l.Close()
				}
				req, _ := http.NewRequestWithContext(ctx, http.MethodGet, "/x", nil)
				if res, err := b.RoundTrip(req); err == nil {
					res.Body.Close()
				}
				b.Status()
				b.Ready()  //nolint:errcheck // to be called
				b.Usable() //nolint:errcheck // to be called
				b.Others("/cam", "x")
			}
		})
	}
	for i := range 200 {
		found := []Found{reporting(rtspAt(a), i, float64(i%10)/10)}
		found[0].Weight = 1 + i%2
		found[0].Draining = i%5 == 0
		if i%3 == 0 {
			found = append(found, Found{Node: "web", URL: web.URL, Weight: 1})
		}
		b.Discover(found)
	}
	cancel()
	all.Wait()
}

// BenchmarkCandidates is what a choice costs beside 20 origins, configured or
// discovered.
func BenchmarkCandidates(b *testing.B) {
	f := func(name string, bal *Balancer) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for range b.N {
				if _, err := bal.candidates(query{path: "/cam", look: true}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	var args []string
	var found []Found
	for i := range 20 {
		addr := "10.0.0." + string(rune('0'+i/10)) + ":55" + string(rune('0'+i%10)) + "0"
		args = append(args, "-origin=rtsp://"+addr)
		found = append(found, reporting(rtspAt(addr), i, 0.2))
	}
	f("configured", balancer(b, args...))
	bal := balancer(b)
	bal.Discover(found)
	f("discovered", bal)
}

// Whose agent has said goodbye is out of rotation if that is all that is known of it,
// and as before if it is configured.
func TestAgentSaysGoodbye(t *testing.T) {
	a, _ := listen(t, "127.0.0.1")
	gone := rtspAt(a)
	gone.Gone = true
	b := balancer(t)
	b.Discover([]Found{gone})
	_, err := b.DialRTSP(t.Context(), proxy.Want{Path: "/cam"})
	wantRefusal(t, err, proxy.OriginDown, retryAfter)
	b = balancer(t, "-origin=rtsp://"+a)
	b.Discover([]Found{gone})
	chosen(t, b, 1)
}

// Of two agents beside one origin the one that is there has the word.
func TestLiveAgentHasTheWord(t *testing.T) {
	a, _ := listen(t, "127.0.0.1")
	b := balancer(t)
	gone, here := rtspAt(a), rtspAt(a)
	gone.Node, gone.Gone = "a", true
	here.Node = "b"
	b.Discover([]Found{gone, here})
	chosen(t, b, 1)
	if all := status(b); len(all) != 1 || all[0].Agent != "b" {
		t.Errorf("origins = %+v", all)
	}
}

// Who has a stream from the only origin there is has nowhere else to go.
func TestOthers(t *testing.T) {
	a, _ := listen(t, "127.0.0.1")
	z, _ := listen(t, "127.0.0.1")
	one, two := balancer(t, "-origin=rtsp://"+a), balancer(t, "-origin=rtsp://"+a, "-origin=rtsp://"+z)
	f := func(b *Balancer, than string, want bool) {
		t.Helper()
		if got := b.Others("/cam", than); got != want {
			t.Errorf("of %d origins there is another than %s: %v", len(status(b)), than, got)
		}
	}
	f(one, a, false)
	f(one, "edge b", false)
	f(two, a, true)
	f(two, "edge b", true)
	for range strikesOut {
		two.failed(two.all()[1], errors.New("reset"))
	}
	if s := status(two)[1].State; s != stateEjected {
		t.Errorf("the other one is %s", s)
	}
	f(two, a, true) // it has answered badly, and a does not answer
	two.setProbing(true)
	two.dialed(two.all()[1], errors.New("no route"), true)
	f(two, a, false)
	f(balancer(t, "-origin.failover=vod", "-origin=rtsp://"+a, "-origin=rtsp://"+z), a, false)
}

// What is silent is left sooner if it is believed to be dead besides.
func TestGone(t *testing.T) {
	a, _ := listen(t, "127.0.0.1")
	b := balancer(t, "-origin=rtsp://"+a)
	l := &leg{r: &Relay{env: proxy.Env{Upstream: b}}, link: &proxy.Link{Origin: a}}
	now := time.Now()
	f := func(what string, gone bool, usual, limit time.Duration) {
		t.Helper()
		if b.Gone(a) != gone || b.Gone("nobody") {
			t.Errorf("%s: gone %v, a stranger %v", what, b.Gone(a), b.Gone("nobody"))
		}
		l.heard.Store(now.UnixNano())
		l.usual.Store(int64(usual))
		if l.silent(now.Add(limit-time.Millisecond)) || !l.silent(now.Add(limit+time.Millisecond)) {
			t.Errorf("%s: is not taken for silent after %v", what, limit)
		}
	}
	f("well", false, 40*time.Millisecond, quietLimit)
	f("well and slow", false, time.Second, quietShare*time.Second)
	f("well, and has said nothing yet", false, 0, quietFirst)
	b.setProbing(true)
	b.dialed(b.all()[0], errors.New("no route"), true)
	f("down", true, 40*time.Millisecond, goneLimit)
	f("down and slow", true, time.Second, goneShare*time.Second)
	f("down before it has said anything", true, 0, quietLimit)
	b.dialed(b.all()[0], nil, true)
	f("back", false, 40*time.Millisecond, quietLimit)
	silent := rtspAt(a)
	silent.Silent = true
	b.Discover([]Found{silent})
	f("its agent is not heard of", true, 40*time.Millisecond, goneLimit)
}

// The sessions of an origin that drains are told to leave one after the other, once
// there is somewhere to go.
func TestHandover(t *testing.T) {
	a, _ := listen(t, "127.0.0.1")
	z, _ := listen(t, "127.0.0.1")
	b := balancer(t, "-origin.handover=10s")
	b.Discover([]Found{rtspAt(a)})
	var links []*proxy.Link
	for range 40 {
		links = append(links, dial(t, b, proxy.Want{Path: "/cam"}))
	}
	links[0].Close()
	told := func() (n int) {
		for _, l := range links {
			select {
			case <-l.Leave:
				n++
			default:
			}
		}
		return n
	}
	draining := rtspAt(a)
	draining.Draining = true
	b.Discover([]Found{draining})
	now := time.Now()
	b.handOver(now.Add(time.Minute))
	if n := told(); n != 0 {
		t.Errorf("%d were told to leave, and there is nowhere to go", n)
	}
	b.Discover([]Found{rtspAt(a), rtspAt(z)})
	b.handOver(now.Add(time.Minute))
	b.Discover([]Found{draining, rtspAt(z)})
	b.handOver(now)
	b.handOver(now.Add(5 * time.Second))
	if n := told(); n < 5 || n > 35 {
		t.Errorf("%d of 39 were told to leave in half of the time", n)
	}
	b.handOver(now.Add(11 * time.Second))
	if n := told(); n != 39 {
		t.Errorf("%d were told to leave, want 39", n)
	}
}
