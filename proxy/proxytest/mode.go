package proxytest

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"weir/proxy"
)

// answerIn is how long a viewer waits for an answer.
const answerIn = 5 * time.Second

type build = func(proxy.Env) (proxy.Mode, error)

// A promise is what package proxy says of every mode.
type promise struct {
	name  string
	holds func(testing.TB, build)
}

// promises is in an order in which the first failure says most.
func promises() []promise {
	return []promise{
		{"new starts nothing", newStartsNothing},
		{"run ends with its context", runEnds},
		{"status and ready at all times", statusAtAllTimes},
		{"metrics are well named", metricsWellNamed},
		{"two live side by side", twoSideBySide},
		{"http is answered", httpIsAnswered},
		{"http gives back its tickets", httpTickets},
		{"describe without an origin is answered", describeWithoutOrigin},
		{"a connection ends with its context", connEndsWithContext},
		{"a connection ends while the upstream hangs", connEndsWhileHanging},
		{"a connection ends with its viewer", connEndsWithViewer},
		{"garbage ends a connection", garbageEndsConn},
		{"a viewer who plays has a ticket", playingHasTicket},
		{"a viewer who is not admitted does not play", notAdmitted},
	}
}

// TestMode is the suite that every mode must pass. build makes the mode as
// cmd/weir would, except that it binds ports nobody else has, and is called many
// times. What a mode does not want it may leave to Env.Next.
//
// Goroutines are watched, so nothing may run in parallel with it.
func TestMode(t *testing.T, build func(proxy.Env) (proxy.Mode, error)) {
	for _, p := range promises() {
		t.Run(p.name, func(t *testing.T) { p.check(t, build) })
	}
}

// check also holds every promise to leave nothing behind.
func (p promise) check(t testing.TB, build build) {
	before := goleak.IgnoreCurrent()
	p.holds(t, build)
	if t.Failed() {
		return // what failed may well be still there
	}
	if err := leaked(before); err != nil {
		t.Errorf("goroutines are left: %v", err)
	}
}

// A rig is a mode that runs among fakes.
type rig struct {
	t        testing.TB
	mode     proxy.Mode
	next     *Next
	upstream *Upstream
	gate     *Gate
	cancel   context.CancelFunc
	done     chan error // of Run
}

// start builds a mode and runs it. Without upstream no origin answers, without
// gate everybody is admitted.
func start(t testing.TB, build build, upstream *Upstream, gate *Gate) *rig {
	t.Helper()
	env := Env(t)
	if upstream != nil {
		env.Upstream = upstream
	}
	if gate != nil {
		env.Gate = gate
	}
	r := prepare(t, build, env)
	r.start()
	return r
}

// prepare builds a mode and does not run it.
func prepare(t testing.TB, build build, env proxy.Env) *rig {
	t.Helper()
	mode, err := build(env)
	if err != nil {
		t.Fatalf("build: %v", err)
	}
	return &rig{
		t: t, mode: mode, done: make(chan error, 1),
		next: env.Next.(*Next), upstream: env.Upstream.(*Upstream), gate: env.Gate.(*Gate),
	}
}

func (r *rig) start() {
	ctx, cancel := context.WithCancel(context.Background())
	r.cancel = cancel
	r.t.Cleanup(cancel) // of use only if the test fails before stop
	go r.run(ctx)
}

func (r *rig) run(ctx context.Context) { r.done <- r.mode.Run(ctx) }

// stop ends Run, and returns when it has.
func (r *rig) stop() {
	r.t.Helper()
	r.cancel()
	select {
	case err := <-r.done:
		if err != nil {
			r.t.Errorf("Run = %v, want nil: to be asked to stop is not an error", err)
		}
	case <-time.After(patience):
		r.t.Fatalf("Run goes on %v after its context is done", patience)
	}
}

func newStartsNothing(t testing.TB, build build) {
	env := Env(t)
	before := goleak.IgnoreCurrent()
	r := prepare(t, build, env)
	if err := goleak.Find(before); err != nil {
		t.Errorf("New has started goroutines: %v", err)
	}
	r.start() // only Run frees what New has bound
	r.stop()
}

func runEnds(t testing.TB, build build) {
	r := start(t, build, nil, nil)
	select {
	case err := <-r.done:
		t.Fatalf("Run = %v before its context is done", err)
	case <-time.After(50 * time.Millisecond): // long enough to see one that does not block
	}
	r.stop()
}

func statusAtAllTimes(t testing.TB, build build) {
	r := prepare(t, build, Env(t))
	askStatus(t, r.mode)
	r.start()
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 25 {
				askStatus(t, r.mode)
			}
		})
	}
	r.getHTTP("GET", "/nobody-knows") // so that there is something to tell
	wg.Wait()
	r.stop()
	askStatus(t, r.mode)
}

func askStatus(t testing.TB, m proxy.Mode) {
	if _, err := json.Marshal(m.Status()); err != nil {
		t.Errorf("Status does not marshal: %v", err)
	}
	// Whether it is ready is the mode's business; that it says so is ours.
	var degraded proxy.Degraded
	if err := m.Ready(); err != nil && !errors.As(err, &degraded) && err.Error() == "" {
		t.Error("Ready is an error without words")
	}
}

func metricsWellNamed(t testing.TB, build build) {
	env := Env(t)
	reg := prometheus.NewRegistry()
	env.Metrics = &watchedRegisterer{Registerer: reg, t: t}
	r := prepare(t, build, env)
	r.start()
	r.getHTTP("GET", "/nobody-knows")
	r.stop()
	families, err := reg.Gather()
	if err != nil {
		t.Errorf("gather: %v", err)
	}
	for _, f := range families {
		if !strings.HasPrefix(f.GetName(), "weir_") {
			t.Errorf("metric %s: its name must begin with weir_", f.GetName())
		}
		if f.GetHelp() == "" {
			t.Errorf("metric %s: no help", f.GetName())
		}
	}
}

// A watchedRegisterer fails the test when something is registered twice.
type watchedRegisterer struct {
	prometheus.Registerer
	t testing.TB
}

func (w *watchedRegisterer) Register(c prometheus.Collector) error {
	err := w.Registerer.Register(c)
	if err != nil {
		w.t.Errorf("register metric: %v", err)
	}
	return err
}

func (w *watchedRegisterer) MustRegister(cs ...prometheus.Collector) {
	for _, c := range cs {
		w.Register(c) //nolint:errcheck // it has failed the test
	}
}

func twoSideBySide(t testing.TB, build build) {
	first, second := start(t, build, nil, nil), start(t, build, nil, nil)
	first.getHTTP("GET", "/nobody-knows")
	second.getHTTP("GET", "/nobody-knows")
	first.stop()
	second.getHTTP("GET", "/nobody-knows-either")
	askStatus(t, second.mode)
	second.stop()
}
