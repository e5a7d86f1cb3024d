package splitter

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"go.uber.org/zap"

	"weir/proxy/sdp"
)

// An outage is how long a source has been away, and how often it was tried. It
// lasts until media has come for a while: an origin that takes a pull and drops
// it is not back.
type outage struct {
	since  time.Time // zero for none
	origin string    // that was lost
	came   bool      // something came from it
	tries  int
}

// stable is for how long media must come before an outage is over: long enough that an
// origin that drops each pull is not asked without pause, and short enough that one that
// dies now, after another has died a moment ago, is left at once.
const stable = time.Second

// reopen tries until the source is back, nil if it stays away, comes back as
// something else, or nobody waits for it.
func (f *feed) reopen(ctx context.Context) *pull {
	if f.outage.since.IsZero() {
		f.outage.since = time.Now()
	}
	lost := f.outage.since
	deadline := lost.Add(f.opt.Wait)
	if soon := time.Now().Add(min(f.opt.Wait, f.opt.Timeout)); f.outage.came && soon.After(deadline) {
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
		f.pull.lost, f.pull.tries = f.outage.origin, f.outage.tries
		pl, err := f.redial(ctx)
		switch {
		case err == nil:
			f.log.Info("feed back", zap.String("origin", pl.link.Origin), zap.Duration("after", time.Since(lost).Round(time.Millisecond)))
			return pl
		case errors.Is(err, errOther):
			f.log.Warn("feed not back", zap.Error(err))
			return nil
		}
		f.log.Debug("redial", zap.Error(err))
	}
}

// errOther is why a source that is there cannot take up a feed.
var errOther = errors.New("it is another stream now")

// otherFor is how long a source that has another stream is not asked for this one.
const otherFor = time.Minute

// redial tries once for a pull that goes on with the feed. Sources that have another
// stream are passed over; if there is nobody else, the feed is over.
func (f *feed) redial(ctx context.Context) (*pull, error) {
	p := &f.pull
	if time.Since(p.known) > otherFor {
		p.others = nil
	}
	pl, err := p.describe(ctx)
	for err == nil && (pl.sdp.Stored() || !sdp.Same(f.sdp, pl.sdp, f.opt.Strict)) {
		pl.close()
		err = fmt.Errorf("%s: %w", pl.link.Origin, errOther)
		if slices.Contains(p.others, pl.link.Origin) {
			return nil, err
		}
		p.others, p.known = append(p.others, pl.link.Origin), time.Now()
		pl, err = p.describe(ctx)
	}
	if err != nil && ctx.Err() == nil && len(p.others) > 0 && !p.another(p.others...) {
		return nil, fmt.Errorf("%q: %w", p.others, errOther)
	}
	if err != nil {
		return nil, err
	}
	if err := f.start(ctx, pl); err != nil {
		f.pull.avoid = pl.link.Origin
		return nil, err
	}
	return pl, nil
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
