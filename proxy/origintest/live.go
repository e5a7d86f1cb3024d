package origintest

import (
	"context"
	"sync"
	"time"
)

// reportEvery is how often sender reports go out, the first one at once.
const reportEvery = 2 * time.Second

// live sends the clip round and round, to all live streams at once.
type live struct {
	clip   *clip
	faults *faults
	ssrcs  *ssrcs

	mu      sync.Mutex
	streams []*stream
	nums    [tracks]numbering
	count   int // packets so far, for Lose
}

func (l *live) add(s *stream) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.streams = append(l.streams, s)
	for i, m := range s.medias {
		if m != nil {
			l.ssrcs.live = append(l.ssrcs.live, s.ssrcs[i])
		}
	}
}

// pace sends each sample when it is due, until ctx is done.
func (l *live) pace(ctx context.Context) {
	begin := time.Now()
	report := time.Duration(0)
	for n := 0; ; n++ {
		s, due, stamp := l.clip.endless(n)
		if !sleepUntil(ctx, begin.Add(due)) {
			return
		}
		if l.faults.stalled.Load() {
			continue
		}
		l.send(s, stamp)
		if due >= report {
			l.report(begin)
			report = due + reportEvery
		}
	}
}

func (l *live) send(s *sample, stamp uint32) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, p := range l.nums[s.track].wrap(s, stamp) {
		l.count++
		if n := int(l.faults.lose.Load()); n > 0 && l.count%n == 0 {
			continue
		}
		for _, st := range l.streams {
			if m := st.medias[s.track]; m != nil {
				st.WritePacketRTP(m, p) //nolint:errcheck // a closed stream is on its way out
			}
		}
	}
}

func (l *live) report(begin time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	for _, st := range l.streams {
		for i, m := range st.medias {
			if m != nil {
				st.WritePacketRTCP(m, l.nums[i].report(st.ssrcs[i], now, now.Sub(begin))) //nolint:errcheck // as above
			}
		}
	}
}

// replace goes on under other names and numbers.
func (l *live) replace() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ssrcs.change()
	l.nums = number(l.clip)
}

// sleepUntil returns false if ctx ended first.
func sleepUntil(ctx context.Context, t time.Time) bool {
	timer := time.NewTimer(time.Until(t))
	defer timer.Stop()
	select {
	case <-timer.C:
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	}
}
