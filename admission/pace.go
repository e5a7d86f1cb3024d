package admission

import (
	"context"
	"net/http"
	"strconv"
	"strings"
	"time"

	"golang.org/x/time/rate"

	"weir/proxy"
)

const (
	// minPiece and maxPiece bound what a paced download is sent at once, in bytes.
	// Between them it is what the rate brings in paceBeat.
	minPiece, maxPiece = 4 << 10, 64 << 10
	// paceBeat is how much may be made up for when a timer was late or the viewer
	// slow: more would be another burst, less would not reach the rate.
	paceBeat = time.Second / 20
)

// pacerFor returns nil for what is not a download of more than burst bytes. What
// is live has no length, and what is a segment another extension.
func pacerFor(k kind, code int, h http.Header, r proxy.BitRate, burst proxy.Bytes) *pacer {
	length, err := strconv.ParseInt(h.Get("Content-Length"), 10, 64)
	switch {
	case code != http.StatusOK && code != http.StatusPartialContent:
	case err != nil || length <= int64(burst):
	case k == download || k == unnamed && isMedia(h.Get("Content-Type")):
		return newPacer(r, burst, length)
	}
	return nil
}

// isMedia also takes the type of what has none.
func isMedia(contentType string) bool {
	t, _, _ := strings.Cut(contentType, ";")
	t = strings.ToLower(strings.TrimSpace(t))
	return strings.HasPrefix(t, "video/") || strings.HasPrefix(t, "audio/") || t == "application/octet-stream"
}

// A pacer holds one download to a rate once a burst has gone. It is used by one
// goroutine at a time.
type pacer struct {
	burst, length int64 // what is left of them, in bytes
	piece         int64
	after         *rate.Limiter // in bytes
}

func newPacer(r proxy.BitRate, burst proxy.Bytes, length int64) *pacer {
	perSecond := float64(r) / 8
	beat := int64(perSecond * paceBeat.Seconds())
	piece := min(max(beat, minPiece), maxPiece)
	return &pacer{int64(burst), length, piece, rate.NewLimiter(rate.Limit(perSecond), int(max(beat, piece)))}
}

// take returns how many of n bytes may be sent, and in how long. What is too
// much for the length is net/http's to refuse, at once.
func (p *pacer) take(n int64) (int64, time.Duration) {
	if p.length == 0 {
		return n, 0
	}
	n = min(n, p.length)
	if p.burst > 0 {
		n = min(n, p.burst)
		p.burst -= n
		p.length -= n
		return n, 0
	}
	n = min(n, p.piece)
	p.length -= n
	return n, p.after.ReserveN(time.Now(), int(n)).Delay()
}

// next waits until some of n bytes may be sent and returns how many; it fails
// when the viewer has gone. The write deadline stands still meanwhile: it is the
// viewer's time, and this is ours. (Over HTTP/2 it would end the stream even
// while nothing is written.)
func (a *answer) next(n int64) (int64, error) {
	n, wait := a.pace.take(n)
	if wait <= 0 {
		return n, nil
	}
	began := time.Now()
	a.setDeadline(time.Time{})
	err := sleep(a.req.Context(), wait)
	if !a.deadline.IsZero() {
		a.deadline = a.deadline.Add(time.Since(began))
	}
	a.setDeadline(a.deadline)
	return n, err
}

func (a *answer) setDeadline(t time.Time) {
	if !a.deadline.IsZero() {
		// Not supported in process, where no viewer is slow.
		_ = a.rc.SetWriteDeadline(t)
	}
}

// sleep returns early, with an error, when ctx is done.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
