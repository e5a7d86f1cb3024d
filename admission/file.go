package admission

import (
	"context"
	"fmt"
	"os"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"weir/proxy"
)

// lookEvery is how often files are looked at.
const lookEvery = time.Second

// patientLooks is how many of them may find it missing before that is said.
const patientLooks = 5

// A file is something read from a file that is read again when that changes.
// Whatever happens to the file, the last good reading goes on.
type file[T any] struct {
	flag, name string
	parse      func([]byte) (T, error)
	changed    func() // called after a new reading, unless nil
	log        *zap.Logger

	now     atomic.Pointer[T]
	wrong   atomic.Pointer[error] // with the last reading; nil if it was good
	missing atomic.Bool

	seen os.FileInfo // as it was read last, nil if missing; this and gone are for the goroutine of watch
	gone int         // how often in a row it was missing
}

// readFile reads a file for the first time; its errors name the flag.
func readFile[T any](flag, name string, parse func([]byte) (T, error), log *zap.Logger) (*file[T], error) {
	f := &file[T]{flag: flag, name: name, parse: parse, log: log}
	f.seen, _ = os.Stat(name)
	if err := f.read(); err != nil {
		return nil, err
	}
	return f, nil
}

// get is the last good reading.
func (f *file[T]) get() T { return *f.now.Load() }

func (f *file[T]) read() error {
	text, err := os.ReadFile(f.name)
	if err != nil {
		return fmt.Errorf("-%s: %w", f.flag, err)
	}
	v, err := f.parse(text)
	if err != nil {
		return fmt.Errorf("-%s %s: %w", f.flag, f.name, err)
	}
	f.now.Store(&v)
	return nil
}

// watch reads the file again when it changes, until ctx is done. A nil file is
// one that is not configured.
func (f *file[T]) watch(ctx context.Context) {
	if f == nil {
		return
	}
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			f.look()
		}
	}
}

// ready is Degraded while what is in use is not what is in the file. A nil file is
// ready.
func (f *file[T]) ready() error {
	switch {
	case f == nil:
	case f.missing.Load():
		return proxy.Degraded(fmt.Sprintf("-%s %s is missing, what was read last goes on", f.flag, f.name))
	case f.wrong.Load() != nil:
		return proxy.Degraded(fmt.Sprintf("what was read last goes on: %v", *f.wrong.Load()))
	}
	return nil
}

func (f *file[T]) look() {
	now, err := os.Stat(f.name)
	if err != nil {
		if f.gone++; f.gone == patientLooks { // one that is being replaced may be missing for a moment
			f.missing.Store(true)
			f.log.Warn("file missing, what was read last goes on", zap.String("file", f.name))
		}
		return
	}
	f.gone = 0
	f.missing.Store(false)
	if same(now, f.seen) {
		return
	}
	f.seen = now
	if err := f.read(); err != nil {
		f.wrong.Store(&err)
		f.log.Warn("file not read, the last one goes on", zap.Error(err))
		return
	}
	f.wrong.Store(nil)
	f.log.Info("file read", zap.String("file", f.name))
	if f.changed != nil {
		f.changed()
	}
}

func same(a, b os.FileInfo) bool {
	return b != nil && a.Size() == b.Size() && a.ModTime().Equal(b.ModTime()) && os.SameFile(a, b)
}
