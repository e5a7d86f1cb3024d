package main

import (
	"context"
	"errors"
	"net/url"
	"time"
)

// hlsAhead is how far a player fetches ahead of what it plays.
const hlsAhead = 30 * time.Second

// An hlsPlayer loads a stream as RFC 8216 §6.3 asks of players, of several variants
// the one with most bits a second, and at the end begins anew. It decodes nothing
// and plays by the clock: what is there too late stops it until it is there. It
// fetches no renditions of their own, no keys and no partial segments.
type hlsPlayer struct {
	*httpSeat
	list  *url.URL // of segments
	init  wanted   // fetched last
	begun bool     // next is known
	next  uint64   // number of the segment to fetch
	end   uint64   // that behind the last one in the list before
}

// play returns nil when ctx is done.
func (p *hlsPlayer) play(ctx context.Context, first got) error {
	list, err := p.choose(ctx, first)
	if err != nil {
		return err
	}
	p.moment(loadAnswered)
	for asked := p.began; ; asked = time.Now() {
		changed, err := p.fetch(ctx, list)
		if err != nil {
			return err
		}
		again := asked.Add(list.reload(changed))
		if list.ended {
			again = p.finish()
		}
		if !sleep(ctx, time.Until(again)) {
			return nil
		}
		if list, err = p.reload(ctx); err != nil {
			return err
		}
	}
}

// choose returns the list of segments that the first playlist is or leads to.
func (p *hlsPlayer) choose(ctx context.Context, first got) (*hlsList, error) {
	list, variant, err := readHLS(first)
	if err != nil {
		return nil, p.failed(err)
	}
	if p.list = p.url; variant == nil {
		return list, nil
	}
	p.list = variant
	return p.reload(ctx)
}

// reload gets the list of segments, and tries again where that fails.
func (p *hlsPlayer) reload(ctx context.Context) (*hlsList, error) {
	var t tries
	for {
		g, err := p.get(ctx, wanted{url: p.list, playlist: true, what: "playlist"})
		if err == nil {
			var list *hlsList
			if list, _, err = readHLS(g); err == nil && list != nil {
				return list, nil
			}
			if err == nil {
				err = errors.New("a multivariant playlist lists another")
			}
			err = p.failed(err)
		}
		if err := t.after(ctx, err); err != nil || ctx.Err() != nil {
			return nil, errors.Join(err, ctx.Err())
		}
	}
}

// failed counts what is wrong with an answer.
func (p *hlsPlayer) failed(err error) error {
	p.note(func(saw *loadSeen) { saw.errors = saw.errors.with(reasonOf(err, p.url), 1) })
	return err
}

// fetch gets the segments that are new, not too far ahead. changed says whether
// there were any in the list.
func (p *hlsPlayer) fetch(ctx context.Context, list *hlsList) (changed bool, err error) {
	if !p.begun {
		p.begun, p.next = true, list.start()
	}
	if p.next < list.first {
		p.note(func(saw *loadSeen) { saw.missed += list.first - p.next })
		p.next = list.first
	}
	end := list.first + uint64(len(list.segments))
	changed, p.end = end != p.end, end
	for ; p.next < end; p.next++ {
		s := &list.segments[p.next-list.first]
		if s.gap {
			continue
		}
		if !p.room(ctx) {
			return changed, nil
		}
		if err := p.segment(ctx, s); err != nil {
			return changed, err
		}
		p.arrived(s.length)
	}
	return changed, nil
}

// room waits until more is to be fetched; false if ctx ended first.
func (p *hlsPlayer) room(ctx context.Context) bool {
	p.mu.Lock()
	due := p.due
	p.mu.Unlock()
	return due.IsZero() || sleep(ctx, time.Until(due)-hlsAhead)
}

// segment gets a segment, and before it, where it has changed, what it is
// initialised with.
func (p *hlsPlayer) segment(ctx context.Context, s *hlsSegment) error {
	if s.init.url != nil && !s.init.same(&p.init) {
		if err := p.insist(ctx, s.init); err != nil {
			return err
		}
		p.init = s.init
	}
	if err := p.insist(ctx, s.wanted); err != nil {
		return err
	}
	p.moment(loadWhole)
	return nil
}

// insist tries again where it fails.
func (p *hlsPlayer) insist(ctx context.Context, w wanted) error {
	var t tries
	for {
		_, err := p.get(ctx, w)
		if err == nil || ctx.Err() != nil {
			return err
		}
		if err := t.after(ctx, err); err != nil {
			return err
		}
	}
}

// arrived plays a segment, once those before it are over.
func (p *hlsPlayer) arrived(length time.Duration) {
	now := time.Now()
	p.note(func(saw *loadSeen) {
		saw.segments++
		if p.due.IsZero() { // nothing was played before
			p.due = now
		}
		if late := now.Sub(p.due); late > 0 {
			saw.late++
			saw.waited += late
			p.due = now
		}
		p.due = p.due.Add(length)
	})
}

// finish returns when all is played, and lets the player begin anew then.
func (p *hlsPlayer) finish() (over time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	over, p.due = p.due, time.Time{}
	p.begun, p.init = false, wanted{}
	return over
}
