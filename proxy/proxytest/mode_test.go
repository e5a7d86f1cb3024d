package proxytest

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"

	"weir/proxy"
)

func TestTinyPasses(t *testing.T) { TestMode(t, buildTiny(faults{})) }

// A mode that leaves everything is a mode, too.
func TestLeavingPasses(t *testing.T) {
	TestMode(t, func(env proxy.Env) (proxy.Mode, error) { return &leaver{env.Next}, nil })
}

type leaver struct{ proxy.Handler }

func (*leaver) Run(ctx context.Context) error { <-ctx.Done(); return nil }
func (*leaver) Status() any                   { return nil }
func (*leaver) Ready() error                  { return nil }

// says answers a DESCRIBE that cannot be served.
func says(text string) func(*proxy.RTSPConn) {
	return func(c *proxy.RTSPConn) { _, _ = io.WriteString(c, text) }
}

const notFound = "RTSP/1.0 404 Not Found\r\nCSeq: 7\r\n\r\n"

// TestBadModesFail: each fault is found, by the promise that it breaks.
func TestBadModesFail(t *testing.T) {
	over := make(chan struct{})
	defer close(over)
	f := func(name, want string, bad faults) {
		t.Helper()
		judge(t, name, buildTiny(bad)).wantFailure(want)
	}
	f("new starts nothing", "New has started goroutines", faults{onNew: func(*tiny) { go func() { <-over }() }})
	f("run ends with its context", "before its context is done", faults{onRun: func(context.Context) error { return nil }})
	f("run ends with its context", "Run = context canceled", faults{onRun: func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }})
	f("status and ready at all times", "does not marshal", faults{onStatus: func() any { return func() {} }})
	f("metrics are well named", "must begin with weir_", faults{metric: "tiny_viewers"})
	f("metrics are well named", "register metric", faults{onNew: func(m *tiny) { m.env.Metrics.MustRegister(m.served) }})

	f("http is answered", "panics: oops", faults{onHTTP: func(http.ResponseWriter, *http.Request) { panic("oops") }})
	f("http is answered", "answered by nobody", faults{onHTTP: func(http.ResponseWriter, *http.Request) {}})

	const describe = "describe without an origin is answered"
	f(describe, "request 7 is not answered", faults{onReject: func(*proxy.RTSPConn) {}})
	f(describe, "want 400 or more", faults{onReject: says("RTSP/1.0 200 OK\r\nCSeq: 7\r\n\r\n")})
	f(describe, `CSeq "8", want "7"`, faults{onReject: says("RTSP/1.0 404 Not Found\r\nCSeq: 8\r\n\r\n")})
	f(describe, "ServeRTSP panics: oops", faults{onReject: func(c *proxy.RTSPConn) { says(notFound)(c); panic("oops") }})
	f("garbage ends a connection", "garbage is answered with", faults{onReject: says(notFound + "RTSP/1.0 200 OK\r\n\r\n")})
	f("a connection ends with its viewer", "but the connection is open", faults{keepConn: true})

	const play = "a viewer who plays has a ticket"
	f(play, "but the connection is open", faults{keepConn: true})
	f(play, "without having been admitted", faults{noTicket: true})
	f("a viewer who is not admitted does not play", "is answered 200", faults{ignoreGate: true})
}

// TestStuckModesFail: these faults show only when patience has ended, so all are
// looked at at once.
func TestStuckModesFail(t *testing.T) {
	over := make(chan struct{})
	defer close(over)
	var wg sync.WaitGroup
	defer wg.Wait()
	f := func(name, want string, bad faults) {
		wg.Go(func() { judge(t, name, buildTiny(bad)).wantFailure(want) })
	}
	f("run ends with its context", "Run goes on", faults{onRun: func(context.Context) error { <-over; return nil }})
	f("http gives back its tickets", "every ticket is closed", faults{keepTicket: true})
	f("a viewer who plays has a ticket", "every ticket is closed", faults{keepTicket: true})
	f("a connection ends with its context", "ServeRTSP goes on", faults{onReject: func(c *proxy.RTSPConn) { says(notFound)(c); <-over }})
	f("http is answered", "goroutines are left", faults{onHTTP: func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusNotFound)
		go func() { <-over }()
	}})
}

// A verdict is what a promise says of a mode.
type verdict struct {
	testing.TB // the real test; what would fail it is replaced
	t          *testing.T

	mu       sync.Mutex
	failures []string
	cleanups []func()
}

// judge holds a mode to one promise, without failing t.
func judge(t *testing.T, name string, build build) *verdict {
	t.Helper()
	v := &verdict{TB: t, t: t}
	for _, p := range promises() {
		if p.name == name {
			done := make(chan struct{})
			go v.hear(p, build, done)
			<-done
			return v
		}
	}
	panic(fmt.Sprintf("there is no promise %q", name))
}

// hear ends early if the promise calls Fatalf.
func (v *verdict) hear(p promise, build build, done chan<- struct{}) {
	defer close(done)
	defer func() {
		for len(v.cleanups) > 0 {
			last := v.cleanups[len(v.cleanups)-1]
			v.cleanups = v.cleanups[:len(v.cleanups)-1]
			last()
		}
	}()
	p.check(v, build)
}

func (v *verdict) wantFailure(want string) {
	v.t.Helper()
	if text := strings.Join(v.failures, "\n"); !strings.Contains(text, want) {
		v.t.Errorf("the suite says %q, want %q", text, want)
	}
}

func (v *verdict) Helper() {}

func (v *verdict) Cleanup(f func()) { v.cleanups = append(v.cleanups, f) }

func (v *verdict) Failed() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return len(v.failures) > 0
}

func (v *verdict) Errorf(format string, args ...any) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.failures = append(v.failures, fmt.Sprintf(format, args...))
}

func (v *verdict) Error(args ...any) { v.Errorf("%s", fmt.Sprint(args...)) }

func (v *verdict) Fatalf(format string, args ...any) {
	v.Errorf(format, args...)
	runtime.Goexit()
}

func (v *verdict) Fatal(args ...any) { v.Fatalf("%s", fmt.Sprint(args...)) }
