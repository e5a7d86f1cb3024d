package cache

import (
	"context"
	"io"
	"time"

	"weir/proxy"
)

// A watch bounds how long an origin may be silent: before its header, and
// between bytes, as far as somebody is waiting for them.
type watch struct {
	timer *time.Timer
	limit time.Duration
}

// newWatch returns a context that ends when the origin has been silent for limit. The
// watch must be stopped.
func newWatch(ctx context.Context, limit time.Duration) (context.Context, *watch) {
	ctx, cancel := context.WithCancelCause(ctx)
	silent := &proxy.Refusal{Reason: proxy.OriginSlow, RetryAfter: time.Second}
	return ctx, &watch{time.AfterFunc(limit, func() { cancel(silent) }), limit}
}

func (w *watch) stop() { w.timer.Stop() }

// body returns the answer's body under the watch.
func (w *watch) body(r io.Reader) io.Reader {
	w.timer.Stop()
	return watched{w, r}
}

type watched struct {
	*watch
	r io.Reader
}

func (w watched) Read(b []byte) (int, error) {
	w.timer.Reset(w.limit)
	defer w.timer.Stop()
	return w.r.Read(b)
}

// why is err, or that the origin was silent if that is why.
func why(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil && err != nil {
		return cause
	}
	return err
}
