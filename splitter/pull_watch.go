package splitter

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/bluenviron/gortsplib/v4/pkg/base"
)

// strangers is how many packets within a second may come that belong to no track:
// a changed SSRC makes gortsplib drop all that follows, for ever.
const strangers = 20

// errGoodbye is what a source says that ends (RFC 3550 §6.6). It may be back.
var errGoodbye = errors.New("origin said goodbye")

// watch returns when the source is lost, with the reason, or when ctx is done.
func (pl *pull) watch(ctx context.Context) error {
	ended := make(chan error, 1)
	go pl.wait(ended)
	tick := time.NewTicker(min(quietEvery, pl.silence/4))
	defer tick.Stop()
	start := time.Now()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err := <-ended:
			select {
			case why := <-pl.lost: // what it knew before it ended
				return streamLost{why}
			default:
				return err
			}
		case err := <-pl.lost:
			return streamLost{err}
		case <-*pl.leave.Load():
			return errLeaves
		case now := <-tick.C:
			if err := cmp.Or(pl.silent(start, now), pl.quiet(start, now)); err != nil {
				return streamLost{err}
			}
		}
	}
}

// A streamLost is the end of a stream whose server is there: on another edge it says
// nothing of that one's other streams.
type streamLost struct{ error }

func (e streamLost) Unwrap() error { return e.error }

// wait ends with the client, which close ends.
func (pl *pull) wait(ended chan<- error) { ended <- pl.client.Wait() }

// delivers reports whether media has come for at least d since start.
func (pl *pull) delivers(start time.Time, d time.Duration) bool {
	for i := range pl.delivered {
		if ns := pl.delivered[i].Load(); ns != 0 && time.Unix(0, ns).Sub(start) >= d {
			return true
		}
	}
	return false
}

// silent looks for a source that delivers nothing on any track, or for twice as
// long nothing on one that has delivered. gortsplib's own watchdog is fed by
// packets that it then drops.
func (pl *pull) silent(start, now time.Time) error {
	last := start
	for i := range pl.delivered {
		ns := pl.delivered[i].Load()
		if ns == 0 {
			continue // some tracks are silent by nature: metadata, back channels
		}
		at := time.Unix(0, ns)
		if at.After(last) {
			last = at
		}
		m := pl.sdp.Media[i]
		if now.Sub(at) > 2*pl.silence && (m.Type == "video" || m.Type == "audio") {
			return fmt.Errorf("track %d for %v: %w", i, now.Sub(at).Round(time.Second), errSilent)
		}
	}
	if now.Sub(last) > pl.silence {
		return fmt.Errorf("for %v: %w", now.Sub(last).Round(time.Second), errSilent)
	}
	return nil
}

// response sees what gortsplib ignores: answers to keep-alives.
func (pl *pull) response(res *base.Response) {
	switch res.StatusCode {
	case base.StatusServiceUnavailable:
		if pl.playing.Load() && pl.another() {
			pl.giveUp(fmt.Errorf("keep-alive answered 503: %w", errLeaves))
		}
	case base.StatusUnauthorized, base.StatusSessionNotFound:
		if pl.playing.Load() {
			pl.giveUp(fmt.Errorf("keep-alive answered %d", res.StatusCode))
		}
	}
}

// told sees what an origin asks of its own accord. Where it wants to send us is its
// affair (RFC 2326 §10.10): we know who else has the stream.
func (pl *pull) told(req *base.Request) {
	if req.Method == "REDIRECT" && pl.playing.Load() && pl.another() {
		pl.giveUp(fmt.Errorf("REDIRECT: %w", errLeaves))
	}
}

// undecodable counts packets that gortsplib drops; many at once mean that the
// source has changed under us. Others are no sign of it: payload types that the
// description does not name (error correction comes that way), packets of 0 bytes,
// reports that are none. gortsplib has no type for the one that is
// (pkg/rtcpreceiver/rtcpreceiver.go:251).
func (pl *pull) undecodable(err error) {
	if !strings.Contains(err.Error(), "wrong SSRC") {
		return
	}
	now := time.Now().UnixNano()
	if now-pl.strange.Load() > int64(time.Second) {
		pl.strange.Store(now)
		pl.unusable.Store(0)
	}
	if pl.unusable.Add(1) == strangers {
		pl.giveUp(fmt.Errorf("source changed: %w", err))
	}
}

func (pl *pull) giveUp(err error) {
	select {
	case pl.lost <- err:
	default:
	}
}
