package main

import (
	"context"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/schollz/progressbar/v3"
)

const (
	loadAgent = "weir load"
	// loadShow is how often progress is shown.
	loadShow = 200 * time.Millisecond
	// loadSilence is for how long nothing may come over RTSP until a viewer counts
	// as gone, though his session stands.
	loadSilence = 2 * time.Second
)

// A loadSeat is one viewer of a load. What it has seen any goroutine may ask.
type loadSeat interface {
	// watch views until ctx is done, and then returns nil; else, why it ended.
	watch(ctx context.Context) error
	// progress is what can be asked often: whether media can come, and how many
	// bytes did.
	progress() (opened bool, bytes uint64)
	seen() loadSeen
}

// Moments of a viewer, as loadSeen has them: over RTSP the answer to PLAY, the
// first packet and the first key frame; over HTTP the first playlist, and the
// first byte of the first segment (or file) and its last.
const (
	loadAnswered = iota
	loadFirst
	loadWhole
	loadMoments
)

// loadSeen is what a viewer has seen so far.
type loadSeen struct {
	stalled bool                       // on purpose
	after   [loadMoments]time.Duration // since it came; 0 for not yet, and for what it has not

	packets, lost, reordered uint64 // RTSP

	requests, segments, missed uint64 // HTTP
	late                       int    // segments
	waited                     time.Duration
	took                       []time.Duration // the latest requests, in no order
	errors                     reasons         // of requests
}

// A loadRun is one run of a load.
type loadRun struct {
	*load
	seats  []loadSeat
	began  time.Time
	marked time.Time // when half is from; zero before
	half   []uint64  // bytes of each seat then

	mu    sync.Mutex
	ended map[int]error // why seats ended before the end
}

func newLoadRun(l *load) *loadRun {
	r := &loadRun{load: l, half: make([]uint64, l.viewers), ended: map[int]error{}}
	for i := range l.viewers {
		r.seats = append(r.seats, l.seat(i))
	}
	return r
}

// run returns what was seen until the time was over, ctx was done, or no viewer was
// left; the viewers have then gone.
func (r *loadRun) run(ctx context.Context, bar *progressbar.ProgressBar) *loadReport {
	r.began = time.Now()
	over := make(chan struct{})
	// They do not end with ctx: what they have seen by then is to be told before.
	leave := spawn(context.WithoutCancel(ctx), func(ctx context.Context) {
		defer close(over)
		r.arrive(ctx)
	})
	defer leave()
	r.wait(ctx, over, bar)
	bar.Clear() //nolint:errcheck // it is for show
	return r.report()
}

// arrive lets viewers in, one after another, and returns when all have gone.
func (r *loadRun) arrive(ctx context.Context) {
	var wg sync.WaitGroup
	defer wg.Wait()
	for i := range r.seats {
		if !sleep(ctx, time.Until(r.began.Add(time.Duration(i)*r.every))) {
			return
		}
		wg.Go(func() { r.watch(ctx, i) })
	}
}

func (r *loadRun) watch(ctx context.Context, i int) {
	err := r.seats[i].watch(ctx)
	if ctx.Err() != nil {
		return // it saw the end
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ended[i] = err
}

func (r *loadRun) wait(ctx context.Context, over <-chan struct{}, bar *progressbar.ProgressBar) {
	tick := time.NewTicker(loadShow)
	defer tick.Stop()
	half, end := time.NewTimer(r.length/2), time.NewTimer(r.length)
	defer half.Stop()
	defer end.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-over:
			return
		case <-end.C:
			return
		case <-half.C:
			r.mark()
		case <-tick.C:
			r.show(bar)
		}
	}
}

// mark notes where the second half begins. Over HTTP halves say nothing: players
// fetch by the segment, and ahead.
func (r *loadRun) mark() {
	if !r.rtsp() {
		return
	}
	for i, s := range r.seats {
		_, r.half[i] = s.progress()
	}
	r.marked = time.Now()
}

// show moves the bar, which is never full before the end: it would not move any
// more.
func (r *loadRun) show(bar *progressbar.ProgressBar) {
	var opened int
	var bytes uint64
	for _, s := range r.seats {
		ok, n := s.progress()
		bytes += n
		if ok {
			opened++
		}
	}
	r.mu.Lock()
	ended := len(r.ended)
	r.mu.Unlock()
	took := time.Since(r.began)
	bar.Describe(fmt.Sprintf("%d of %d viewers opened, %d ended, %.1f Mbit/s", opened, r.viewers, ended, megabits(bytes, took)))
	bar.Set64(min(took.Milliseconds(), r.length.Milliseconds()-1)) //nolint:errcheck // it is for show
}

// newLoadBar shows on terminals only; nothing is written elsewhere.
func newLoadBar(stderr io.Writer, length time.Duration) *progressbar.ProgressBar {
	return progressbar.NewOptions64(max(length.Milliseconds(), 1), progressbar.OptionSetWriter(stderr),
		progressbar.OptionSetVisibility(terminal(stderr)), progressbar.OptionThrottle(loadShow/2), progressbar.OptionSetWidth(30))
}

func megabits(bytes uint64, in time.Duration) float64 {
	if in <= 0 {
		return 0
	}
	return float64(bytes) * 8 / 1e6 / in.Seconds()
}

// sleep returns false if ctx ended first.
func sleep(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
