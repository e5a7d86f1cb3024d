package front

import (
	"context"
	"maps"
	"net/http"
	"slices"
	"time"

	"go.uber.org/zap"
)

// leave returns when the last viewer has gone or been told to go.
func (f *Front) leave(srv *http.Server) {
	timeout := time.Duration(f.drainTimeout.Load())
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	done := make(chan struct{})
	go f.shutdownHTTP(ctx, srv, done)
	f.leaveViewers(ctx, timeout/10)
	<-done
	f.leaveViewers(ctx, timeout/10) // whose quick answers net/http takes for idleness: see quickConn.Close
}

func (f *Front) shutdownHTTP(ctx context.Context, srv *http.Server, done chan<- struct{}) {
	defer close(done)
	if err := srv.Shutdown(ctx); err != nil {
		srv.Close() //nolint:errcheck // those who are left have had their time
	}
}

func (f *Front) add(viewer any, cancel context.CancelFunc) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.viewers[viewer] = cancel
}

func (f *Front) remove(viewer any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.viewers, viewer)
	if f.empty != nil && len(f.viewers) == 0 {
		close(f.empty)
		f.empty = nil
	}
}

// gone returns a channel that is closed once nobody is being served. It is for
// one goroutine at a time.
func (f *Front) gone() <-chan struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	empty := make(chan struct{})
	if f.empty = empty; len(f.viewers) == 0 {
		close(empty)
		f.empty = nil
	}
	return empty
}

// leaveViewers waits for the viewers to go by themselves until ctx is nearly
// over, and spends the time that is left, the given span, telling the rest to
// go one by one: all at once they would come back as one herd.
func (f *Front) leaveViewers(ctx context.Context, span time.Duration) {
	empty := f.gone()
	end, _ := ctx.Deadline()
	if !wait(time.Until(end)-span, empty) {
		return
	}
	f.mu.Lock()
	left := slices.Collect(maps.Values(f.viewers))
	f.mu.Unlock()
	if len(left) == 0 {
		return
	}
	f.log.Info("closing the last viewers", zap.Int("connections", len(left)), zap.Duration("within", span))
	for _, cancel := range left {
		cancel()
		if !wait(span/time.Duration(len(left)), empty) {
			return
		}
	}
}

// wait reports whether d passed before done was closed.
func wait(d time.Duration, done <-chan struct{}) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-done:
		return false
	}
}
