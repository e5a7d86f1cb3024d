package admission

import (
	"fmt"
	"sync"
	"time"

	"go.uber.org/zap"
)

const (
	// hookFailures in a row stop all questions for hookPause; then one is asked.
	hookFailures = 5
	hookPause    = 2 * time.Second
	// hookUnready is how long after the last failure the hook counts as failing.
	// Without viewers nobody finds out that it is back: who sends them here only
	// when this node is ready must send some at last.
	hookUnready = 10 * time.Second
	// hookTold is the least time between two lines about failures.
	hookTold = time.Minute
)

// hookHealth keeps questions from a hook that fails, and logs when that begins
// and ends.
type hookHealth struct {
	log *zap.Logger
	url string // for the log

	mu       sync.Mutex
	row      int       // failures in a row
	since    time.Time // the first of them
	last     time.Time // the last of them
	next     time.Time // nobody asks before, once there are hookFailures
	told     time.Time // the last line about a failure
	announce bool      // that it is back
}

// mayAsk reports whether to ask now, which is then to be done: when the pause is
// over, only the first is told so.
func (h *hookHealth) mayAsk(now time.Time) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.row < hookFailures {
		return true
	}
	if now.Before(h.next) {
		return false
	}
	h.next = now.Add(hookPause)
	return true
}

// was tells how asking went.
func (h *hookHealth) was(err error, now time.Time) {
	var begins, ends bool
	h.mu.Lock()
	since := h.since
	if err == nil {
		ends, h.row, h.announce = h.announce, 0, false
	} else {
		begins = h.fails(now)
	}
	h.mu.Unlock()
	switch {
	case begins:
		h.log.Warn("the hook fails", zap.String("url", h.url), zap.Error(err))
	case ends:
		h.log.Info("the hook answers again", zap.String("url", h.url), zap.Duration("after", now.Sub(since)))
	}
}

// fails counts a failure, and reports whether it is to be logged. The caller has
// the lock.
func (h *hookHealth) fails(now time.Time) bool {
	if h.row++; h.row == 1 {
		h.since = now
	}
	h.last, h.next = now, now.Add(hookPause)
	if h.announce || !h.told.IsZero() && now.Sub(h.told) < hookTold {
		return false
	}
	h.told, h.announce = now, true
	return true
}

// failing is nil, or says since when.
func (h *hookHealth) failing(now time.Time) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.row < hookFailures || now.Sub(h.last) >= hookUnready {
		return nil
	}
	return fmt.Errorf("the hook fails since %s", h.since.Format(time.RFC3339))
}
