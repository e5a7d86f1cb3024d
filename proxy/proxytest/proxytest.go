// Package proxytest is what tests of Weir's parts share: fakes of everything a
// mode is given, a connection as the front hands it over, and TestMode, the
// suite that every mode must pass.
//
// It imports testing and is never part of the binary. It needs nothing but
// 127.0.0.1; nothing in it waits longer than 5 s.
package proxytest

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// patience is how long goroutines may take to end once they have been told to.
const patience = 2 * time.Second

// Main runs a package's tests and then fails if goroutines are left.
func Main(m *testing.M) {
	code := m.Run()
	if code == 0 {
		http.DefaultClient.CloseIdleConnections()
		if err := leaked(); err != nil {
			fmt.Fprintf(os.Stderr, "goroutines left after the tests: %v\n", err)
			code = 1
		}
	}
	os.Exit(code)
}

// leaked says which goroutines are left, after giving them time to end.
func leaked(opts ...goleak.Option) error {
	for deadline := time.Now().Add(patience); ; {
		err := goleak.Find(opts...) // waits for up to half a second by itself
		if err == nil || time.Now().After(deadline) {
			return err
		}
	}
}

// Eventually fails the test at once unless cond becomes true within d. what
// completes the sentence "… did not happen".
func Eventually(t testing.TB, d time.Duration, what string, cond func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(d); !cond(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within %v", what, d)
		}
	}
}

// closed are the addresses that ClosedAddr has returned.
var closed sync.Map

// ClosedAddr returns an address of 127.0.0.1 that was free a moment ago and on
// which nobody listens; never the same one twice.
func ClosedAddr(t testing.TB) string {
	t.Helper()
	for {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		addr := l.Addr().String()
		l.Close() //nolint:errcheck // nobody was there
		if _, twice := closed.LoadOrStore(addr, true); !twice {
			return addr
		}
	}
}

// Logger writes to the test's log, down to debug. What comes after the test has
// ended is dropped: parts may be slow to go.
func Logger(t testing.TB) *zap.Logger {
	w := &testWriter{t: t}
	t.Cleanup(w.end)
	cfg := zap.NewDevelopmentEncoderConfig()
	cfg.TimeKey = ""
	return zap.New(zapcore.NewCore(zapcore.NewConsoleEncoder(cfg), w, zap.DebugLevel))
}

// A testWriter is a zapcore.WriteSyncer.
type testWriter struct {
	mu sync.Mutex // held while writing: testing panics if the test ends meanwhile
	t  testing.TB // nil once the test has ended
}

func (w *testWriter) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.t != nil {
		w.t.Logf("%s", b)
	}
	return len(b), nil
}

func (w *testWriter) Sync() error { return nil }

func (w *testWriter) end() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.t = nil
}
