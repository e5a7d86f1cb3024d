package splitter

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
)

// A receiver is a playing viewer as a worker sees it.
type receiver interface {
	// flush writes what the ring has, without waiting for the viewer, and reports
	// whether it has left some for the next round. b is the worker's scratch.
	flush(b *batch) (left bool)
}

// A worker wakes when feeds publish and writes to its share of their viewers.
// It never waits for any of them.
type worker struct {
	wake chan struct{} // capacity 1

	mu    sync.Mutex
	queue []*share
}

// A share is the part of a feed's viewers that one worker serves.
type share struct {
	w      *worker
	queued atomic.Bool

	mu        sync.Mutex
	receivers []receiver // replaced, never changed: workers read it without the lock
}

func newWorkers(n int) []*worker {
	ws := make([]*worker, n)
	for i := range ws {
		ws[i] = &worker{wake: make(chan struct{}, 1)}
	}
	return ws
}

// run serves until ctx is done.
func (w *worker) run(ctx context.Context, b *batch) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-w.wake:
		}
		for _, s := range w.take() {
			s.queued.Store(false) // before looking: what is published from here on queues it again
			left := false
			for _, r := range s.all() {
				left = r.flush(b) || left
			}
			b.send()
			if left {
				s.enqueue() // behind the others
			}
		}
	}
}

func (w *worker) take() []*share {
	w.mu.Lock()
	defer w.mu.Unlock()
	q := w.queue
	w.queue = nil
	return q
}

func (w *worker) push(s *share) {
	w.mu.Lock()
	w.queue = append(w.queue, s)
	w.mu.Unlock()
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// enqueue has the worker serve the share, unless it is about to.
func (s *share) enqueue() {
	if !s.queued.Swap(true) {
		s.w.push(s)
	}
}

func (s *share) all() []receiver {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.receivers
}

// A fanout is a feed's viewers, shared out among the workers.
type fanout struct {
	shares []*share
	next   atomic.Uint32
}

func newFanout(workers []*worker) *fanout {
	f := &fanout{}
	for _, w := range workers {
		f.shares = append(f.shares, &share{w: w})
	}
	return f
}

// publish wakes the workers that have viewers of the feed. It does not block.
func (f *fanout) publish() {
	for _, s := range f.shares {
		if len(s.all()) > 0 {
			s.enqueue()
		}
	}
}

// watched reports whether there are viewers.
func (f *fanout) watched() bool {
	return slices.ContainsFunc(f.shares, func(s *share) bool { return len(s.all()) > 0 })
}

// add gives a viewer to the next worker and returns how to take it away again.
func (f *fanout) add(r receiver) (remove func()) {
	s := f.shares[int(f.next.Add(1))%len(f.shares)]
	s.mu.Lock()
	defer s.mu.Unlock()
	s.receivers = append(slices.Clone(s.receivers), r)
	return func() { s.remove(r) }
}

func (s *share) remove(r receiver) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if i := slices.Index(s.receivers, r); i >= 0 {
		s.receivers = slices.Delete(slices.Clone(s.receivers), i, i+1)
	}
}
