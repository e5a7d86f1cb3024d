package main

import (
	"context"
	"sync"
	"time"

	"go.uber.org/zap"
)

// A pauses keeps the longest time that any viewer had no packet, each from his first one
// on. The zero value is ready.
type pauses struct {
	mu      sync.Mutex
	last    map[int]time.Time // when each viewer who is there had a packet last
	longest time.Duration
}

// saw tells of a packet of a viewer.
func (p *pauses) saw(viewer int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	if last, ok := p.last[viewer]; ok {
		p.longest = max(p.longest, now.Sub(last))
	} else if p.last == nil {
		p.last = map[int]time.Time{}
	}
	p.last[viewer] = now
}

// left tells that a viewer has gone.
func (p *pauses) left(viewer int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.last, viewer)
}

// take returns the longest pause since it was called last, those that go on among them,
// and how many viewers there are.
func (p *pauses) take() (longest time.Duration, viewers int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	longest = p.longest
	for _, last := range p.last {
		longest = max(longest, time.Since(last))
	}
	p.longest = 0
	return longest, len(p.last)
}

// killOrigins kills the origin in use every d.kill, as kill -9 does, has it come back
// half of that later, and says what the viewers saw.
func (d *demonstration) killOrigins(ctx context.Context, log *zap.Logger) {
	tick := time.NewTicker(d.kill)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		i := d.inUse()
		if i < 0 {
			continue
		}
		d.pauses.take()
		d.origins[i].Die()
		d.killed.Add(1)
		select {
		case <-ctx.Done():
		case <-time.After(d.kill / 2):
		}
		pause, left := d.pauses.take()
		d.mu.Lock()
		d.worst = max(d.worst, pause)
		d.mu.Unlock()
		d.say("Origin %d was killed: %d of %d viewers go on, the longest pause between two packets was %.0f ms.\n", i+1, left, d.viewers, milliseconds(pause))
		if err := d.origins[i].Revive(); err != nil && ctx.Err() == nil {
			log.Error("embedded origin does not come back", zap.Error(err))
		}
	}
}

// inUse is the origin from which a stream is pulled, -1 if there is none.
func (d *demonstration) inUse() int {
	for i, o := range d.origins {
		if o.Counts().Playing > 0 {
			return i
		}
	}
	return -1
}
