package splitter

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/bluenviron/gortsplib/v4/pkg/description"
	"go.uber.org/zap"

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
	limit := 2 * f.opt.Timeout
	if f.pull.hurries() && pl.another() {
		limit = min(limit, quickly)
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
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
	stood := pl.delivers(began, stable)
	if stood {
		f.outage = outage{}
	}
	f.outage.origin, f.outage.came = pl.link.Origin, pl.delivers(began, 0)
	if f.pull.avoid = ""; !stood || errors.Is(err, errQuiet) || errors.Is(err, errSilent) || errors.Is(err, errLeaves) {
		f.pull.avoid = pl.link.Origin
	}
	f.in.away()
	f.setState("away", "")
	return err
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

// is reports whether the feed is in a state.
func (f *feed) is(state string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.state == state
}
