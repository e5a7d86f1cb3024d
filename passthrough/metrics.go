package passthrough

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are of the way to the origins; origins are not told apart in them, that
// is what the status page is for.
type metrics struct {
	dials, dialFailures, probes, probeFailures, ejections prometheus.Counter
}

func newMetrics(reg prometheus.Registerer, b *Balancer) *metrics {
	counter := func(name, help string) prometheus.Counter {
		c := prometheus.NewCounter(prometheus.CounterOpts{Name: "weir_passthrough_origin_" + name + "_total", Help: help})
		reg.MustRegister(c)
		return c
	}
	m := &metrics{
		dials:         counter("dials", "Dials of origins for viewers."),
		dialFailures:  counter("dial_failures", "Dials of origins for viewers that failed."),
		probes:        counter("probes", "Probes of origins."),
		probeFailures: counter("probe_failures", "Probes of origins that failed."),
		ejections:     counter("ejections", "Times an origin got no viewers for a while because it had let some down."),
	}
	for _, state := range []string{stateIdle, stateUp, stateDown, stateEjected} {
		reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "weir_passthrough_origins", Help: "Origins by what is believed of them.",
			ConstLabels: prometheus.Labels{"state": state}}, func() float64 { return float64(b.count(state)) }))
	}
	reg.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Name: "weir_passthrough_resumed_total", Help: "HTTP bodies that went on with another origin, or the same anew."},
		func() float64 { return float64(b.resumed.Load()) }))
	reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "weir_passthrough_origin_sessions", Help: "Sessions and requests in progress at origins."},
		func() float64 { return float64(b.sessions()) }))
	return m
}

// count returns how many origins are in a state.
func (b *Balancer) count(state string) (n int) {
	all := b.all()
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	for _, o := range all {
		o.health.settle(now)
		if o.health.state() == state {
			n++
		}
	}
	return n
}

func (b *Balancer) sessions() (n int) {
	all := b.all()
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, o := range all {
		n += o.sessions
	}
	return n
}
