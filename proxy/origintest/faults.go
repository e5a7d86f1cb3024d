package origintest

import (
	"errors"
	"sync/atomic"
)

// faults are those that last until they are switched off, over Die and Revive.
type faults struct {
	stalled, muted atomic.Bool
	lose           atomic.Int64
}

// Stall keeps connections and answers requests, but sends no packets, live or
// stored. Live time goes on meanwhile, without using up sequence numbers; stored
// streams go on from where they were.
func (o *Origin) Stall(on bool) { o.faults.stalled.Store(on) }

// Mute reads requests, over RTSP and HTTP, and throws them away. Connections are
// accepted, and packets go on where they are sent already.
func (o *Origin) Mute(on bool) { o.faults.muted.Store(on) }

// Lose does not send every n-th packet of live RTP; 0 loses none, 1 all.
func (o *Origin) Lose(every int) { o.faults.lose.Store(int64(every)) }

// Die is what kill -9 is to a process: when it returns, nothing listens and all
// connections have been reset. Dying twice is dying once.
func (o *Origin) Die() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.life == nil {
		return
	}
	o.life.kill()
	o.life = nil
	o.opt.Log.Info("origin died")
}

// Revive listens again, on the same ports (UDP's aside), as a process that was
// started anew: other SSRCs, sequence numbers and time stamps. It fails where
// the origin is alive, Run has returned, or another process took the port.
func (o *Origin) Revive() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.life != nil || o.ended {
		return errors.New("only a dead origin revives, while it runs")
	}
	return o.bear()
}

// ChangeSSRC goes on with live streams in the same sessions under other SSRCs,
// from other sequence numbers and time stamps, as if an encoder behind the
// origin was replaced. Over UDP the SSRCs stay.
func (o *Origin) ChangeSSRC() {
	if l := o.alive(); l != nil {
		l.live.replace()
	}
}
