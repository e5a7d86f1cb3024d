package admission

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"

	"weir/proxy"
)

const (
	// hookFailures in a row, without an answer or to hookClients different clients, stop
	// all questions for hookPause; then one is asked.
	hookFailures = 5
	hookClients  = 3
	hookPause    = 2 * time.Second
	// hookUnready is how long after the last failure the hook counts as failing.
	// Without viewers nobody finds out that it is back: who sends them here only
	// when this node is ready must send some at last.
	hookUnready = 10 * time.Second
	// hookTold is the least time between two lines about failures.
	hookTold = time.Minute
)

// hookHealth keeps questions from a hook that fails, and logs when that begins
// and ends. One viewer may know a question that makes a hook stumble: errors
// count only when several clients get them, and else only what no question is to
// blame for.
type hookHealth struct {
	log *zap.Logger
	url string // for the log

	mu         sync.Mutex
	row        int          // failures in a row
	unanswered int          // how many of them were errUnanswered
	clients    []netip.Addr // who had them, up to hookClients of them
	since      time.Time    // the first of them
	last       time.Time    // the last of them
	next       time.Time    // nobody asks before, while the hook is down
	told       time.Time    // the last line about a failure
	announce   bool         // that it is back
}

// mayAsk reports whether to ask now, which is then to be done: when the pause is
// over, only the first is told so.
func (h *hookHealth) mayAsk(now time.Time) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.down() {
		return true
	}
	if now.Before(h.next) {
		return false
	}
	h.next = now.Add(hookPause)
	return true
}

// down needs mu.
func (h *hookHealth) down() bool {
	return h.unanswered >= hookFailures || h.row >= hookFailures && len(h.clients) == hookClients
}

// was tells how asking went on behalf of an address, and reports whether the hook
// is down.
func (h *hookHealth) was(err error, from netip.Addr, now time.Time) (down bool) {
	var begins, ends bool
	h.mu.Lock()
	since := h.since
	if err == nil {
		ends, h.announce = h.announce, false
		h.row, h.unanswered, h.clients = 0, 0, h.clients[:0]
	} else {
		begins = h.fails(err, client(from), now)
	}
	down = h.down()
	h.mu.Unlock()
	switch {
	case begins:
		h.log.Warn("the hook fails", zap.String("url", h.url), zap.Error(err))
	case ends:
		h.log.Info("the hook answers again", zap.String("url", h.url), zap.Duration("after", now.Sub(since)))
	}
	return down
}

// fails counts a failure, and reports whether it is to be logged. It needs mu.
func (h *hookHealth) fails(err error, c netip.Addr, now time.Time) bool {
	if h.row++; h.row == 1 {
		h.since = now
	}
	if isUnanswered(err) {
		h.unanswered++
	}
	if len(h.clients) < hookClients && !slices.Contains(h.clients, c) {
		h.clients = append(h.clients, c)
	}
	h.last, h.next = now, now.Add(hookPause)
	if h.announce || !h.told.IsZero() && now.Sub(h.told) < hookTold {
		return false
	}
	h.told, h.announce = now, true
	return true
}

// failing is nil while the hook is not down, or says since when.
func (h *hookHealth) failing(now time.Time) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.down() || now.Sub(h.last) >= hookUnready {
		return nil
	}
	return errors.New(h.fact())
}

// failed is Degraded from a failure to the next answer, and says since when.
func (h *hookHealth) failed() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.row == 0 {
		return nil
	}
	return proxy.Degraded(h.fact())
}

// fact needs mu.
func (h *hookHealth) fact() string {
	return fmt.Sprintf("-admission.hook %s fails since %s", h.url, h.since.Format(time.RFC3339))
}
