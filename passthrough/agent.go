package passthrough

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"weir/proxy"
)

// An Agent is the part of a process that stands beside an origin which knows nothing
// of it. It asks the origin's services how they are, measures what the machine has to
// do, and tells edges (Report) and balancers of other kinds (agent_check.go). An
// operator can take the origin out of rotation with it; nothing it does touches the
// origin or anybody who is connected to it.
//
// What is measured is the whole machine's and, of connections, everybody's: it is the
// same whatever edges know of one another. Measuring is for Linux; elsewhere
// connections and load are not known.
//
// All methods may be called by any goroutine, Run once.
type Agent struct {
	opts     AgentOptions
	peers    proxy.Peers
	log      *zap.Logger
	services []*watched
	own      ownConns
	check    net.Listener  // nil: no agent checks
	news     chan struct{} // of one: there is something to tell at once
	known    chan struct{} // closed when all services have been probed

	mu       sync.Mutex
	draining bool
	unknown  int // services that have not been probed yet
	meter    meter
	machine  measures
	trouble  string // with measuring
	told     Report
	toldAt   time.Time
}

var (
	_ proxy.Part    = (*Agent)(nil)
	_ proxy.Drainer = (*Agent)(nil)
	_ proxy.Adminer = (*Agent)(nil)
)

// NewAgent checks the options and binds the door for agent checks. It starts nothing.
func NewAgent(o AgentOptions, peers proxy.Peers, reg prometheus.Registerer, log *zap.Logger) (*Agent, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	probes, _ := o.probes() // Validate has looked
	a := &Agent{opts: o, peers: peers, log: log.Named("agent"), news: make(chan struct{}, 1), known: make(chan struct{})}
	for i, s := range o.Services() {
		a.services = append(a.services, newWatched(s, i, probes[s.Proto], o.Rise))
	}
	a.unknown = len(a.services)
	if o.AgentCheck != "" {
		l, err := net.Listen("tcp", o.AgentCheck)
		if err != nil {
			return nil, fmt.Errorf("-agent-check %s: %w", o.AgentCheck, err)
		}
		a.check = l
	}
	a.register(reg)
	return a, nil
}

// CheckAddr is where agent checks are answered; nil if they are not.
func (a *Agent) CheckAddr() net.Addr {
	if a.check == nil {
		return nil
	}
	return a.check.Addr()
}

// Run probes, measures and tells until ctx is done.
func (a *Agent) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	for _, s := range a.services {
		wg.Go(func() { a.watch(ctx, s) })
	}
	if a.check != nil {
		wg.Go(func() { a.answerChecks(ctx) })
	}
	a.work(ctx)
	wg.Wait()
	return nil
}

// measureEvery is how often the machine is measured, tellEvery how often edges are
// told when nothing has happened: reports count for ReportTTL, and some get lost.
const (
	measureEvery = time.Second
	tellEvery    = 2 * time.Second
)

// work measures and tells. The first report is told when there is something to say of
// the services, or a second later.
func (a *Agent) work(ctx context.Context) {
	tick := time.NewTicker(measureEvery)
	defer tick.Stop()
	a.measure(time.Now())
	for {
		select {
		case <-ctx.Done():
			return
		case <-a.news:
		case <-tick.C:
			a.measure(time.Now())
			if !a.due(time.Now()) {
				continue
			}
		}
		a.tell(time.Now())
	}
}

// Drain implements proxy.Drainer: edges are told to bring nobody new.
func (a *Agent) Drain() { a.setDraining(true) }

// Resume takes Drain back.
func (a *Agent) Resume() { a.setDraining(false) }

func (a *Agent) setDraining(on bool) {
	a.mu.Lock()
	changed := a.draining != on
	a.draining = on
	a.mu.Unlock()
	if !changed {
		return
	}
	a.log.Info(map[bool]string{true: "origin taken out of rotation", false: "origin back in rotation"}[on])
	a.hasNews()
}

func (a *Agent) hasNews() {
	select {
	case a.news <- struct{}{}:
	default: // it will be told with what is waiting
	}
}

// Admin implements proxy.Adminer: POST /drain and POST /ready.
func (a *Agent) Admin() http.Handler {
	mux := http.NewServeMux()
	set := func(on bool) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			a.setDraining(on)
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprintf(w, "{\"draining\":%t}\n", on)
		}
	}
	mux.HandleFunc("POST /drain", set(true))
	mux.HandleFunc("POST /ready", set(false))
	return mux
}

var errDraining = errors.New("draining")

// Ready implements proxy.Part. An agent whose origin is unwell does what it is there
// for.
func (a *Agent) Ready() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.draining {
		return errDraining
	}
	var bad []string
	for _, s := range a.services {
		if text := s.trouble(); text != "" {
			bad = append(bad, s.Proto+" "+text)
		}
	}
	if len(bad) > 0 {
		return proxy.Degraded(strings.Join(bad, "; "))
	}
	return nil
}
