package splitter

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/bluenviron/gortsplib/v4/pkg/description"
	"go.uber.org/zap"

	"weir/proxy"
	"weir/proxy/sdp"
)

// A feed is a live stream pulled from upstream, at most one per path. It begins
// with the first viewer who asks, outlives its source by the wait and its last
// viewer by the linger. Its run has the splitter's context, not a viewer's: the
// one who began it may leave.
type feed struct {
	path string
	log  *zap.Logger
	opt  *Options
	pull puller
	out  *fanout
	met  *metrics
	herd *herd
	past *budget

	shared sharedStream

	opened chan struct{} // closed when the first pull plays, or err is set
	err    error         // why it never played; nil else; set before opened is closed
	desc   *description.Session
	sdp    *sdp.Session
	body   []byte // the description for viewers
	in     *ingest

	outage outage // run's

	mu       sync.Mutex
	state    string // "opening", "up", "away", "ended"
	since    time.Time
	origin   string
	edge     bool          // the source is another edge
	news     chan struct{} // closed when the state changes
	pulls    int
	sessions map[*session]struct{}
	keep     time.Time     // wanted until then, after its last session
	asked    time.Time     // wanted until then, for those who come back with SETUP
	changed  chan struct{} // a session left, or keep moved: capacity 1
}

func newFeed(path string, s *Splitter) *feed {
	f := &feed{
		path: path, log: s.log.With(zap.String("path", path)), opt: &s.opt, met: s.met, herd: s.herd, past: s.past,
		pull:     puller{path: path, upstream: s.env.Upstream, transport: s.opt.Transport, timeout: s.opt.Timeout},
		opened:   make(chan struct{}),
		state:    "opening",
		since:    time.Now(),
		news:     make(chan struct{}),
		sessions: map[*session]struct{}{},
		changed:  make(chan struct{}, 1),
	}
	f.out = newFanout(s.workers)
	return f
}

// An outage is how long a source has been away, and how often it was tried. It
// lasts until media has come for a while: an origin that takes a pull and drops
// it is not back.
type outage struct {
	since  time.Time // zero for none
	origin string    // that was lost
	tries  int
}

// stable is for how long media must come before an outage is over.
const stable = 5 * time.Second

// run is the life of a feed. It returns when nobody wants it any more, when its
// source stays away too long or comes back as something else, or when ctx ends.
func (f *feed) run(ctx context.Context) {
	pl, err := f.open(ctx)
	if err != nil {
		f.err = err
		f.setState("ended", "")
		close(f.opened)
		return
	}
	f.touch() // they may have waited for longer than the grace
	close(f.opened)
	f.log.Info("feed up", zap.String("origin", pl.link.Origin), zap.Int("tracks", len(f.sdp.Media)))
	for pl != nil {
		err = f.play(ctx, pl)
		if ctx.Err() != nil || err == nil {
			break
		}
		f.log.Warn("feed away", zap.String("origin", pl.link.Origin), zap.Error(err))
		pl = f.reopen(ctx)
	}
	f.end(ctx, pl == nil)
}

// open makes the first pull, which tells what the feed is.
func (f *feed) open(ctx context.Context) (*pull, error) {
	pl, err := f.pull.describe(ctx)
	if err != nil {
		return nil, err
	}
	if pl.sdp.Stored() {
		pl.close()
		return nil, errStored
	}
	f.desc, f.sdp, f.body = pl.desc, pl.sdp, pl.sdp.Edge()
	f.in = newIngest(pl.sdp, newCNAME(), f.out.publish)
	f.in.ring.budget, f.in.ring.watched = f.past, f.out.watched
	if err := f.start(ctx, pl); err != nil {
		f.in.stop()
		return nil, err
	}
	return pl, nil
}

// start lets a pull play into the ring; it is closed if it cannot.
func (f *feed) start(ctx context.Context, pl *pull) error {
	ctx, cancel := context.WithTimeout(ctx, 2*f.opt.Timeout)
	defer cancel()
	f.in.source(time.Now())
	f.in.described(pl.sdp)
	if err := pl.play(ctx, f.in); err != nil {
		pl.close()
		return err
	}
	f.met.pulls.Inc()
	f.mu.Lock()
	f.pulls++
	f.edge = pl.fromEdge()
	f.mu.Unlock()
	f.pull.again = true
	f.setState("up", pl.link.Origin)
	return nil
}

// play follows a pull until it is lost (the error says why) or nobody wants the
// feed any more (nil). The pull is closed then.
func (f *feed) play(ctx context.Context, pl *pull) error {
	defer pl.close()
	began := time.Now()
	ctx, cancel := context.WithCancel(ctx)
	unwanted := make(chan struct{})
	go f.waitUnwanted(ctx, cancel, unwanted)
	err := pl.watch(ctx)
	cancel()
	<-unwanted
	if errors.Is(err, context.Canceled) {
		return nil
	}
	if of := (streamLost{}); !errors.Is(err, errLeaves) && !(pl.fromEdge() && errors.As(err, &of)) {
		pl.link.Fail(err)
	}
	if pl.delivers(began, stable) {
		f.outage = outage{}
	}
	f.outage.origin = pl.link.Origin
	if f.pull.avoid = ""; errors.Is(err, errQuiet) || errors.Is(err, errLeaves) {
		f.pull.avoid = pl.link.Origin
	}
	f.in.away()
	f.setState("away", "")
	return err
}

// waitUnwanted calls stop when the feed has had no session for the linger.
func (f *feed) waitUnwanted(ctx context.Context, stop func(), done chan<- struct{}) {
	defer close(done)
	for {
		d := f.wanted()
		if d <= 0 {
			stop()
			return
		}
		t := time.NewTimer(d)
		select {
		case <-ctx.Done():
		case <-t.C:
		case <-f.changed:
		}
		t.Stop()
		if ctx.Err() != nil {
			return
		}
	}
}

// wanted returns for how long at least the feed is wanted; 0 or less: it is not,
// and has ended from here on, for whoever comes next shall begin another.
func (f *feed) wanted() time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.sessions) > 0 {
		return time.Hour
	}
	until := f.keep
	if f.asked.After(until) {
		until = f.asked
	}
	d := time.Until(until)
	if d <= 0 {
		f.state = "ended"
	}
	return d
}

// reopen tries until the source is back, nil if it stays away, comes back as
// something else, or nobody waits for it.
func (f *feed) reopen(ctx context.Context) *pull {
	if f.outage.since.IsZero() {
		f.outage.since = time.Now()
	}
	lost := f.outage.since
	deadline := lost.Add(f.opt.Wait)
	if soon := time.Now().Add(min(f.opt.Wait, f.opt.Timeout)); soon.After(deadline) {
		deadline = soon // it was back, if not for long: it is worth another look
	}
	ctx, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	unwanted := make(chan struct{})
	go f.waitUnwanted(ctx, cancel, unwanted)
	defer func() { cancel(); <-unwanted }()
	before, found := f.herd.join(f.outage.origin)
	defer found()
	for {
		herd := f.herd.size(f.outage.origin)
		if f.outage.tries == 0 {
			herd = before
		}
		if !pause(ctx, backoff(f.outage.tries, herd, time.Since(lost), max(f.opt.Wait/2, redialMax))) {
			return nil
		}
		f.outage.tries++
		pl, err := f.pull.describe(ctx)
		if err != nil {
			f.log.Debug("redial", zap.Error(err))
			continue
		}
		if pl.sdp.Stored() || !sdp.Same(f.sdp, pl.sdp) {
			pl.close()
			f.log.Warn("feed came back as another stream", zap.String("origin", pl.link.Origin))
			return nil
		}
		if err := f.start(ctx, pl); err != nil {
			f.log.Debug("redial", zap.Error(err))
			f.pull.avoid = pl.link.Origin
			continue
		}
		f.log.Info("feed back", zap.String("origin", pl.link.Origin), zap.Duration("after", time.Since(lost).Round(time.Millisecond)))
		return pl
	}
}

// How often a lost source is tried again.
const (
	redialEvery = 250 * time.Millisecond
	redialFast  = 10 * time.Second // for so long
	redialMax   = 8 * time.Second
)

// backoff is the pause before a try: none before the first, then short jittered
// ones, and after a while ever longer ones. Of a herd that has lost the same origin
// each waits for its turn, for about most at most: before the first try behind those
// who lost it before.
func backoff(try, herd int, away, most time.Duration) time.Duration {
	d := redialEvery
	switch {
	case try == 0:
		d = 0
	case away > redialFast:
		// As much again as it has been slow: doubling, without another counter.
		d = min(max(away-redialFast, 2*redialEvery), redialMax)
	}
	turn := min(time.Duration(herd)*redialShare, most)
	if turn == most && try == 0 {
		turn = rand.N(most) // among the others: all at the end would be a herd again
	}
	d = max(d, turn)
	return d*4/5 + rand.N(d*2/5+1) // ± 20 %: feeds of one origin do not come in step
}

// pause reports false if ctx ended first.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return ctx.Err() == nil
	}
}

// end lets all viewers go. gave up says that they had been waiting.
func (f *feed) end(ctx context.Context, gaveUp bool) {
	f.setState("ended", "")
	f.in.bye(time.Now())
	f.in.stop()
	f.mu.Lock()
	left := make([]*session, 0, len(f.sessions))
	for s := range f.sessions {
		left = append(left, s)
	}
	f.mu.Unlock()
	if ctx.Err() == nil { // else the workers have ended too
		byeWait(ctx, left, (*session).served)
	}
	for _, s := range left {
		s.close()
	}
	f.log.Info("feed down", zap.Bool("gave_up", gaveUp), zap.Int("viewers", len(left)))
}

// For how long the goodbye waits for viewers who are behind, and how often it looks.
const (
	byeTime  = time.Second
	byeEvery = 5 * time.Millisecond
)

// byeWait returns when viewers have got all that there is, as done says, as far as
// they take it.
func byeWait(ctx context.Context, left []*session, done func(*session) bool) {
	ctx, cancel := context.WithTimeout(ctx, byeTime)
	defer cancel()
	for _, s := range left {
		for !done(s) && pause(ctx, byeEvery) {
		}
	}
}

// letGo says goodbye to viewers whose session is about to end though their feed goes
// on, and returns when they have been told, as far as they take it, a second later at
// most.
func letGo(views []*session) {
	now := time.Now()
	for _, s := range views {
		s.goodbye(now)
	}
	byeWait(context.Background(), views, (*session).told)
}

// grace is how long a feed without viewers waits for SETUP after DESCRIBE.
const grace = 2 * time.Second

// touch keeps the feed for a viewer who is about to join; false if it has ended.
func (f *feed) touch() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked = time.Now().Add(grace)
	return f.state != "ended"
}

// refused is why the feed never played; nil if it did, or may yet.
func (f *feed) refused() error {
	select {
	case <-f.opened:
		return f.err
	default:
		return nil
	}
}

// join counts a session as a viewer; false if the feed has ended.
func (f *feed) join(s *session) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.state == "ended" {
		return false
	}
	f.sessions[s] = struct{}{}
	return true
}

// leave is the opposite of join. After the last one the linger begins.
func (f *feed) leave(s *session) {
	f.mu.Lock()
	delete(f.sessions, s)
	if len(f.sessions) == 0 {
		f.keep = time.Now().Add(f.opt.Linger)
	}
	f.mu.Unlock()
	select {
	case f.changed <- struct{}{}:
	default:
	}
}

func (f *feed) setState(state, origin string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.state != "ended" {
		f.state, f.origin, f.since = state, origin, time.Now()
		close(f.news)
		f.news = make(chan struct{})
	}
}

// waitsForEdge reports whether the feed has not opened, and may be asking another edge,
// who may be the one that asks.
func (f *feed) waitsForEdge(peers proxy.Peers) bool {
	select {
	case <-f.opened:
		return false
	default:
	}
	_, self := peers.Owner("splitter:" + f.path)
	return !self && !f.pull.direct.Load()
}

// edgeWait is how long another edge waits for a source that is away.
const edgeWait = time.Second

// forEdge reports whether another edge may pull from this feed, which has opened: not
// if the feed itself is pulled from an edge, or two could come to wait for each other.
// A feed whose source is away asks origins only from here on.
func (f *feed) forEdge(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, edgeWait)
	defer cancel()
	for {
		f.mu.Lock()
		state, edge, news := f.state, f.edge, f.news
		f.mu.Unlock()
		if state == "up" && edge {
			return false
		}
		f.pull.direct.Store(true)
		if state != "away" {
			return state == "up"
		}
		select {
		case <-news:
		case <-ctx.Done():
			return false
		}
	}
}

// is reports whether the feed is in a state.
func (f *feed) is(state string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.state == state
}
