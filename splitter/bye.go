package splitter

import (
	"context"
	"time"

	"go.uber.org/zap"
)

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
