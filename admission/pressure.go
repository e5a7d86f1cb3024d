package admission

import (
	"context"
	"fmt"
	"math"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"weir/proxy"
)

const (
	shedStep   = 5                // percentage points below its limit at which shedding ends
	unreadyFor = 10 * time.Second // of shedding, before balancers are told: they must not flap
	unknown    = -1.0             // of a load: it cannot be measured here, or not yet
)

// A load is what this process uses of what it may, in percent.
type load struct{ cpu, memory, files float64 }

// pressure sheds new viewers while this node is short of something. Those who
// are in stay.
type pressure struct {
	limits  []*watermark
	measure func(now time.Time) load // called each second
	log     *zap.Logger

	last atomic.Pointer[load]
	shed atomic.Pointer[shedding] // nil while nobody is
}

// A shedding is why and since when new viewers are refused.
type shedding struct {
	since time.Time
	why   string
}

// A watermark is crossed upwards at its limit and downwards some points below,
// or viewers would be let in and refused in turns. It is run's alone.
type watermark struct {
	of    string
	limit float64 // percent; 0 for none
	load  func(load) float64
	over  bool
}

// newPressure sheds nobody before run.
func newPressure(o *Options, log *zap.Logger) *pressure {
	return &pressure{
		limits: []*watermark{
			{of: "cpu", limit: float64(o.ShedCPU), load: func(l load) float64 { return l.cpu }},
			{of: "memory", limit: float64(o.ShedMemory), load: func(l load) float64 { return l.memory }},
			{of: "files", limit: float64(o.ShedFiles), load: func(l load) float64 { return l.files }},
		},
		measure: newSampler(),
		log:     log,
	}
}

// run measures each second until ctx is done.
func (p *pressure) run(ctx context.Context) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		p.look(time.Now())
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (p *pressure) look(now time.Time) {
	l := p.measure(now)
	p.last.Store(&l)
	why := ""
	for _, w := range p.limits {
		percent := w.load(l)
		if w.cross(percent) {
			p.tell(w, percent)
		}
		if w.over && why == "" {
			why = fmt.Sprintf("%s at %.0f %% of at most %.0f", w.of, percent, w.limit)
		}
	}
	p.set(why, now)
}

// cross reports whether w is crossed, one way or the other.
func (w *watermark) cross(percent float64) bool {
	was := w.over
	switch {
	case w.limit == 0:
	case percent >= w.limit:
		w.over = true
	case percent <= w.limit-min(shedStep, w.limit/2):
		w.over = false
	}
	return w.over != was
}

func (p *pressure) tell(w *watermark, percent float64) {
	what := []zap.Field{zap.String("of", w.of), zap.Float64("percent", math.Round(percent)), zap.Float64("limit", w.limit)}
	if w.over {
		p.log.Warn("overloaded, new viewers are refused", what...)
	} else {
		p.log.Info("no longer overloaded", what...)
	}
}

func (p *pressure) set(why string, now time.Time) {
	if why == "" {
		p.shed.Store(nil)
		return
	}
	since := now
	if s := p.shed.Load(); s != nil {
		since = s.since
	}
	p.shed.Store(&shedding{since, why})
}

// check is nil while new viewers may come.
func (p *pressure) check() error {
	s := p.shed.Load()
	if s == nil {
		return nil
	}
	return later(proxy.Overloaded, s.why, 5*time.Second, 10*time.Second)
}

// ready is why not, once new viewers have been refused for over ten seconds.
func (p *pressure) ready() error {
	if s := p.shed.Load(); s != nil && time.Since(s.since) > unreadyFor {
		return fmt.Errorf("overloaded: %s", s.why)
	}
	return nil
}

// pressureStatus is pressure in the status page. What is not known is left out.
type pressureStatus struct {
	CPU      *float64 `json:"cpu_percent,omitempty"`    // of GOMAXPROCS, over five seconds
	Memory   *float64 `json:"memory_percent,omitempty"` // of the control group's, or else of the machine's
	Files    *float64 `json:"files_percent,omitempty"`  // of RLIMIT_NOFILE
	Shedding bool     `json:"shedding"`
	Why      string   `json:"why,omitempty"`
}

func (p *pressure) status() pressureStatus {
	var st pressureStatus
	if l := p.last.Load(); l != nil {
		st.CPU, st.Memory, st.Files = known(l.cpu), known(l.memory), known(l.files)
	}
	if s := p.shed.Load(); s != nil {
		st.Shedding, st.Why = true, s.why
	}
	return st
}

// known is a percentage to one decimal place, nil for unknown.
func known(percent float64) *float64 {
	if percent < 0 {
		return nil
	}
	percent = math.Round(percent*10) / 10
	return &percent
}
