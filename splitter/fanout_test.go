package splitter

import (
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// A news is a receiver that remembers the newest of what was published.
type news struct {
	published *atomic.Int64
	seen      atomic.Int64
	flushes   atomic.Int64
	busy      atomic.Bool
	overlap   atomic.Bool // two workers at once
	told      chan struct{}
	leaves    atomic.Int64 // how many flushes more shall leave something
}

func newNews(published *atomic.Int64) *news {
	return &news{published: published, told: make(chan struct{}, 1)}
}

func (n *news) flush(*batch) (left bool) {
	if n.busy.Swap(true) {
		n.overlap.Store(true)
	}
	n.flushes.Add(1)
	n.seen.Store(n.published.Load())
	n.busy.Store(false)
	select {
	case n.told <- struct{}{}:
	default:
	}
	return n.leaves.Add(-1) >= 0
}

// wait returns when a publication has been seen.
func (n *news) wait(t *testing.T, want int64) {
	late := time.After(5 * time.Second)
	for n.seen.Load() < want {
		select {
		case <-n.told:
		case <-late:
			t.Errorf("publication %d was not seen", want)
			return
		}
	}
}

// runWorkers runs some workers until the test ends.
func runWorkers(t *testing.T, n int) []*worker {
	ws := newWorkers(n)
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	for _, w := range ws {
		wg.Go(func() { w.run(ctx, newBatch(nil)) })
	}
	t.Cleanup(func() { cancel(); wg.Wait() })
	return ws
}

// Every publication reaches every viewer at least once after it, while others
// come and go.
func TestEveryPublicationReachesEverybody(t *testing.T) {
	f := newFanout(runWorkers(t, 3))
	var published atomic.Int64
	stay := make([]*news, 20)
	for i := range stay {
		stay[i] = newNews(&published)
		f.add(stay[i])
	}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			for ctx.Err() == nil {
				remove := f.add(newNews(&published))
				if rand.IntN(2) == 0 {
					f.publish()
				}
				remove()
				remove() // once more changes nothing
			}
		})
	}
	for n := range int64(2000) {
		published.Store(n)
		f.publish()
		if n%10 > 0 {
			continue // many in a row, to be seen together
		}
		for _, r := range stay {
			r.wait(t, n)
		}
	}
	cancel()
	wg.Wait()
	for _, r := range stay {
		if r.overlap.Load() {
			t.Error("two workers served one viewer at once")
		}
	}
}

// What a flush has left goes out without another publication, and nobody is served
// once more when nothing is left.
func TestLeftoversAreServed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ws := newWorkers(1)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go ws[0].run(ctx, newBatch(nil))
		f := newFanout(ws)
		r := newNews(new(atomic.Int64))
		r.leaves.Store(5)
		f.add(newNews(new(atomic.Int64)))
		f.add(r)
		f.publish()
		synctest.Wait()
		if n := r.flushes.Load(); n != 6 {
			t.Errorf("served %d times, want 5 times with leftovers and once without", n)
		}
	})
}

// Feeds that share workers do not wait for each other's publications.
func TestManyFeeds(t *testing.T) {
	ws := runWorkers(t, 2)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			f := newFanout(ws)
			var published atomic.Int64
			r := newNews(&published)
			f.add(r)
			for n := range int64(200) {
				published.Store(n + 1)
				f.publish()
				r.wait(t, n+1)
			}
		})
	}
	wg.Wait()
}

// Publications that nobody has taken yet queue a share once.
func TestQueuedOnce(t *testing.T) {
	ws := newWorkers(1) // not run
	f := newFanout(ws)
	f.publish()
	if n := len(ws[0].take()); n != 0 {
		t.Errorf("%d shares without a viewer are queued", n)
	}
	remove := f.add(newNews(new(atomic.Int64)))
	for range 10 {
		f.publish()
	}
	if n := len(ws[0].take()); n != 1 {
		t.Errorf("a share is queued %d times", n)
	}
	remove()
	f.shares[0].queued.Store(false)
	f.publish()
	if n := len(ws[0].take()); n != 0 {
		t.Errorf("%d shares are queued after the last viewer has left", n)
	}
}

// Viewers are shared out evenly, whoever leaves.
func TestSharesAreEven(t *testing.T) {
	f := newFanout(newWorkers(4))
	sizes := func() (smallest, largest, sum int) {
		smallest = 1 << 30
		for _, s := range f.shares {
			n := len(s.all())
			smallest, largest, sum = min(smallest, n), max(largest, n), sum+n
		}
		return smallest, largest, sum
	}
	var removes []func()
	for range 1002 {
		removes = append(removes, f.add(&news{}))
	}
	if a, b, sum := sizes(); b-a > 1 || sum != 1002 {
		t.Errorf("shares of %d to %d, %d in all", a, b, sum)
	}
	rand.Shuffle(len(removes), func(i, j int) { removes[i], removes[j] = removes[j], removes[i] })
	for _, remove := range removes[:502] {
		remove()
	}
	if a, b, sum := sizes(); b-a > 80 || sum != 500 {
		t.Errorf("after half have left: shares of %d to %d, %d in all", a, b, sum)
	}
}

// Who reads a share sees all of its viewers or all of the next state, never a
// list that changes.
func TestShareIsReplaced(t *testing.T) {
	f := newFanout(newWorkers(1))
	a, b := &news{}, &news{}
	removeA := f.add(a)
	f.add(b)
	before := f.shares[0].all()
	removeA()
	f.add(&news{})
	if len(before) != 2 || before[0] != receiver(a) || before[1] != receiver(b) {
		t.Error("a list that was handed out has changed")
	}
}
