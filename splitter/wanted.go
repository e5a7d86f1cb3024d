package splitter

import (
	"context"
	"time"
)

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
