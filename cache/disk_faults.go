package cache

import (
	"sync"
	"time"

	"go.uber.org/zap"
)

const (
	faultWait    = time.Second // first pause after a failure; each further one doubles it
	faultWaitMax = time.Minute
	faultLog     = time.Minute // between two lines of the log
)

// diskFaults counts what goes wrong on a disk, and keeps it from being tried too
// often. Its methods may be called by any goroutine.
type diskFaults struct {
	log *zap.Logger

	mu     sync.Mutex
	n      uint64
	wait   time.Duration // of the last pause
	until  time.Time     // the end of the pause
	logged time.Time
}

// count counts a failure that says nothing about the next attempt.
func (f *diskFaults) count(err error) {
	f.mu.Lock()
	f.n++
	n := f.n
	due := f.logged.IsZero() || time.Since(f.logged) >= faultLog
	if due {
		f.logged = time.Now()
	}
	f.mu.Unlock()
	if due {
		f.log.Warn("disk of the cache fails", zap.Error(err), zap.Uint64("failures", n))
	}
}

// pause counts a failure after which nothing had better be written for a while. It returns for how long.
func (f *diskFaults) pause(err error) time.Duration {
	f.count(err)
	f.mu.Lock()
	defer f.mu.Unlock()
	if left := time.Until(f.until); left > 0 {
		return left // what failed had begun before the pause
	}
	f.wait = min(max(2*f.wait, faultWait), faultWaitMax)
	f.until = time.Now().Add(f.wait)
	return f.wait
}

// worked says that something was written: the next pause is a short one.
func (f *diskFaults) worked() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.wait = 0
}

// paused is whether nothing is to be written now.
func (f *diskFaults) paused() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return !f.until.IsZero() && time.Until(f.until) > 0
}

// failures is how many there were.
func (f *diskFaults) failures() uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.n
}
