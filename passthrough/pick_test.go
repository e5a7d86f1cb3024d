package passthrough

import (
	"fmt"
	"math"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"weir/proxy"
)

// spread opens n sessions for different paths and returns how many each origin
// has of them, in the order of the flags.
func spread(t *testing.T, b *Balancer, n int) (counts []int) {
	t.Helper()
	for i := range n {
		all, err := b.candidates(query{path: fmt.Sprintf("/live/%d", i)})
		if err != nil {
			t.Fatal(err)
		}
		all[0].enter()
	}
	for _, s := range status(b) {
		counts = append(counts, s.Sessions)
	}
	return counts
}

func near(got int, want float64) bool { return math.Abs(float64(got)-want) <= want/10 }

// 300 sessions over weights of 2 and 1 are 200 and 100, within a tenth.
func TestWeightsAreHeld(t *testing.T) {
	for _, strategy := range []string{"p2c", "leastconn", "roundrobin", "hash"} {
		b := balancer(t, "-origin.balance", strategy, "-origin", "rtsp://10.0.0.1#weight=2", "-origin", "rtsp://10.0.0.2")
		if got := spread(t, b, 300); !near(got[0], 200) || !near(got[1], 100) {
			t.Errorf("%s: %d and %d sessions, want 200 and 100 within 10 %%", strategy, got[0], got[1])
		}
	}
}

// Hashing draws lots, so that two given origins may be further apart; on average
// over many pairs they are not.
func TestHashHoldsWeightsOnAverage(t *testing.T) {
	heavy := 0
	for i := range 100 {
		b := balancer(t, "-origin.balance", "hash", "-origin", fmt.Sprintf("rtsp://10.0.%d.1#weight=2", i), "-origin", fmt.Sprintf("rtsp://10.0.%d.2", i))
		heavy += spread(t, b, 300)[0]
	}
	if !near(heavy, 100*200) {
		t.Errorf("%d of 30000 sessions at the heavy ones, want 20000", heavy)
	}
}

// Many who choose at once must not all see the same load.
func TestManyAtOnce(t *testing.T) {
	for _, strategy := range []string{"p2c", "leastconn", "roundrobin"} {
		first, _ := listen(t, "127.0.0.1")
		second, _ := listen(t, "127.0.0.1")
		b := balancer(t, "-origin.balance", strategy, "-origin", "rtsp://"+first+"#weight=2", "-origin", "rtsp://"+second)
		var wg sync.WaitGroup
		for range 300 {
			wg.Go(func() {
				l, err := b.DialRTSP(t.Context(), proxy.Want{Path: "/live"})
				if err != nil {
					t.Error(err)
					return
				}
				t.Cleanup(func() { l.Close() })
			})
		}
		wg.Wait()
		if s := status(b); !near(s[0].Sessions, 200) || !near(s[1].Sessions, 100) {
			t.Errorf("%s: %d and %d sessions, want 200 and 100", strategy, s[0].Sessions, s[1].Sessions)
		}
	}
}

// Not even when all have chosen before the first enters.
func TestPromisesCount(t *testing.T) {
	for _, strategy := range []string{"p2c", "leastconn"} {
		b := balancer(t, "-origin.balance", strategy, "-origin", "rtsp://a#weight=2", "-origin", "rtsp://b")
		var chosen []*origin
		for range 300 {
			all, err := b.candidates(query{path: "/"})
			if err != nil {
				t.Fatal(err)
			}
			chosen = append(chosen, all[0])
		}
		for _, o := range chosen {
			o.enter()
		}
		if s := status(b); !near(s[0].Sessions, 200) || !near(s[1].Sessions, 100) || b.all()[0].promised != 0 {
			t.Errorf("%s: %d and %d sessions, %d still promised, want 200, 100 and 0", strategy, s[0].Sessions, s[1].Sessions, b.all()[0].promised)
		}
	}
}

// Requests that come one by one find everybody idle, and are shared all the same.
func TestOneByOne(t *testing.T) {
	for _, strategy := range []string{"p2c", "leastconn", "roundrobin"} {
		b := balancer(t, "-origin.balance", strategy, "-origin", "http://a#weight=2", "-origin", "http://b")
		picks := map[string]int{}
		for range 3000 {
			all, err := b.candidates(query{web: true, path: "/"})
			if err != nil {
				t.Fatal(err)
			}
			all[0].enter()()
			picks[all[0].name]++
		}
		if !near(picks["a:80"], 2000) || !near(picks["b:80"], 1000) {
			t.Errorf("%s: %v, want 2000 and 1000", strategy, picks)
		}
	}
}

func TestRoundRobinIsSmooth(t *testing.T) {
	b := balancer(t, inTurn, "-origin", "http://a#weight=2", "-origin", "http://b")
	got := ""
	for range 6 {
		all, err := b.candidates(query{web: true, path: "/"})
		if err != nil {
			t.Fatal(err)
		}
		got += all[0].name[:1]
	}
	if got != "abaaba" {
		t.Errorf("turns = %s, want abaaba", got)
	}
}

func choices(loads ...int) []choice {
	var cs []choice
	for i, load := range loads {
		cs = append(cs, choice{origin: &origin{name: fmt.Sprintf("10.0.0.%d:554", i+1)}, weight: 1, load: load})
	}
	return cs
}

func names(cs []choice) (all []string) {
	for _, c := range cs {
		all = append(all, c.name)
	}
	return all
}

func TestLeastBusyOfAll(t *testing.T) {
	cs := choices(5, 3, 9, 4)
	leastBusy(cs)
	if got := names(cs); !slices.Equal(got, []string{"10.0.0.2:554", "10.0.0.4:554", "10.0.0.1:554", "10.0.0.3:554"}) {
		t.Errorf("order = %v", got)
	}
}

// The busiest of three is never chosen, the least busy most often but not always:
// that is what keeps edges from all running to the same origin.
func TestPowerOfTwo(t *testing.T) {
	picks := map[string]int{}
	for range 3000 {
		cs := choices(5, 3, 9)
		powerOfTwo(cs)
		picks[cs[0].name]++
	}
	if picks["10.0.0.3:554"] != 0 || !near(picks["10.0.0.2:554"], 2000) || !near(picks["10.0.0.1:554"], 1000) {
		t.Errorf("picks = %v, want 1000, 2000 and none", picks)
	}
}

func TestHashIsStable(t *testing.T) {
	pick := func(cs []choice, key string) string {
		rendezvous(cs, key)
		return cs[0].name
	}
	moved, lost := 0, 0
	for i := range 3000 {
		key := fmt.Sprintf("/live/%d", i)
		before := pick(choices(0, 0, 0), key)
		if again := pick(choices(0, 0, 0), key); again != before {
			t.Fatalf("%s goes to %s and to %s", key, before, again)
		}
		without := pick(choices(0, 0, 0)[:2], key)
		if before == "10.0.0.3:554" {
			lost++
		} else if without != before {
			moved++
		}
	}
	if moved != 0 || !near(lost, 1000) {
		t.Errorf("without the third of three, %d keys of the others moved and %d of its own, want 0 and 1000", moved, lost)
	}
	if got := hash("10.0.0.1:554", "/live/1"); math.Abs(got-0.4412) > 0.0001 {
		t.Errorf("hash = %.4f: edges of different versions would not agree", got)
	}
}

// One famous stream fills its origin up to the bound, and then the next one.
func TestHashBound(t *testing.T) {
	b := balancer(t, "-origin", "http://a", "-origin", "http://b", "-origin", "http://c")
	q := query{web: true, path: "/", stick: "/famous"}
	all, err := b.candidates(q)
	if err != nil {
		t.Fatal(err)
	}
	home := all[0]
	home.enter()
	for range 7 {
		if all, err = b.candidates(q); err != nil || all[0] != home {
			t.Fatalf("%s before there is any load, want %s", all[0].name, home.name)
		}
		all[0].enter()
	}
	for range 292 {
		if all, err = b.candidates(q); err != nil {
			t.Fatal(err)
		}
		all[0].enter()
	}
	if got := home.sessions; got < 100 || got > 126 {
		t.Errorf("%d of 300 sessions at the stream's own origin, want at most 1.25 times its share of 100", got)
	}
}

// A stick key hashes whatever the flag says, and without one the flag's hash goes
// by the path.
func TestStick(t *testing.T) {
	first := func(b *Balancer, q query) string {
		all, err := b.candidates(q)
		if err != nil {
			t.Fatal(err)
		}
		return all[0].name
	}
	b := balancer(t, "-origin", "rtsp://a", "-origin", "rtsp://b")
	h := balancer(t, "-origin.balance", "hash", "-origin", "rtsp://a", "-origin", "rtsp://b")
	seen := map[string]bool{}
	for i := range 20 {
		key := fmt.Sprintf("/%d", i)
		want := first(h, query{path: key})
		seen[want] = true
		if got := first(b, query{path: "/", stick: key}); got != want {
			t.Errorf("stick %s = %s, want %s", key, got, want)
		}
	}
	if len(seen) != 2 {
		t.Errorf("all keys go to %v", seen)
	}
}

func TestPromisesAreForgotten(t *testing.T) {
	b := balancer(t, "-origin", "rtsp://a#max=1")
	if _, err := b.candidates(query{path: "/"}); err != nil {
		t.Fatal(err)
	}
	_, err := b.candidates(query{path: "/"})
	wantRefusal(t, err, proxy.Full, 5*time.Second)
	b.all()[0].chosen = time.Now().Add(-2 * promiseAge)
	if _, err := b.candidates(query{path: "/"}); err != nil {
		t.Errorf("one who has chosen and never came keeps the place: %v", err)
	}
}

// A pick is made for each request, under a lock.
func BenchmarkPick(b *testing.B) {
	for _, strategy := range strategies {
		for _, n := range []int{2, 20} {
			b.Run(fmt.Sprintf("%s/origins=%d", strategy, n), func(b *testing.B) {
				args := []string{"-origin.balance", strategy}
				for i := range n {
					args = append(args, "-origin", "http://"+netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}).String())
				}
				bal := balancer(b, args...)
				b.ReportAllocs()
				for b.Loop() {
					all, err := bal.candidates(query{web: true, path: "/live/stream/segment1.ts"})
					if err != nil {
						b.Fatal(err)
					}
					all[0].enter()()
				}
			})
		}
	}
}
