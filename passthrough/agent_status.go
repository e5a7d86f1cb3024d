package passthrough

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"weir/proxy"
)

// AgentStatus is what the status page shows of an agent.
type AgentStatus struct {
	Draining bool            `json:"draining"`
	Services []ServiceStatus `json:"services"`

	Sessions *int          `json:"sessions"` // connections to the services; null if they cannot be counted
	Capacity int           `json:"capacity,omitempty"`
	Rate     proxy.BitRate `json:"sent_bits_per_second"`
	CPU      float64       `json:"cpu"`      // share that is busy
	Pressure float64       `json:"pressure"` // share of time in which something waited for the CPU
	Load     float64       `json:"load"`     // the highest share of anything
	Trouble  string        `json:"measuring_error,omitempty"`

	Told   *Report   `json:"told"` // last; null before
	ToldAt time.Time `json:"told_at,omitzero"`
	Check  string    `json:"agent_check,omitempty"` // what other balancers are told
}

// ServiceStatus is what the status page shows of a service.
type ServiceStatus struct {
	Proto       string    `json:"proto"`
	Addr        string    `json:"addr"`
	State       string    `json:"state"` // idle (not probed yet), up or down
	Since       time.Time `json:"since,omitzero"`
	Sessions    int       `json:"sessions"`
	LastError   string    `json:"last_error,omitempty"`
	LastErrorAt time.Time `json:"last_error_at,omitzero"`
	Probe       string    `json:"probe"` // its kind
	Probes      uint64    `json:"probes"`
	Failures    uint64    `json:"probe_failures"`
	Took        float64   `json:"last_probe_s"`
}

// Status implements proxy.Part.
func (a *Agent) Status() any {
	s := AgentStatus{Services: []ServiceStatus{}, Capacity: a.opts.Capacity}
	if a.check != nil {
		s.Check = a.checkLine()
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	s.Draining, s.Trouble, s.ToldAt = a.draining, a.trouble, a.toldAt
	m := a.machine
	s.Rate, s.CPU, s.Pressure, s.Load = m.rate, m.cpu, m.pressure, a.load()
	if m.counted {
		s.Sessions = &m.sessions
	}
	if !a.toldAt.IsZero() {
		told := a.told
		s.Told = &told
	}
	for _, w := range a.services {
		s.Services = append(s.Services, w.status())
	}
	return s
}

// status is called with the Agent's lock held.
func (w *watched) status() ServiceStatus {
	s := ServiceStatus{
		Proto: w.Proto, Addr: w.Addr, State: stateIdle, Since: w.since, Sessions: w.connections,
		LastError: w.lastErr, LastErrorAt: w.lastErrAt, Probe: w.kind, Probes: w.probes, Failures: w.failures, Took: w.took.Seconds(),
	}
	if w.health.known {
		s.State = w.health.state()
	}
	return s
}

// register declares the agent's metrics.
func (a *Agent) register(reg prometheus.Registerer) {
	gauge := func(name, help string, labels prometheus.Labels, value func() float64) {
		reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "weir_passthrough_agent_" + name, Help: help, ConstLabels: labels}, func() float64 {
			a.mu.Lock()
			defer a.mu.Unlock()
			return value()
		}))
	}
	gauge("sessions", "Connections to the origin's services.", nil, func() float64 { return float64(a.machine.sessions) })
	gauge("sent_bytes_per_second", "What the origin's machine sends.", nil, func() float64 { return float64(a.machine.rate) / 8 })
	gauge("load_ratio", "Load of the origin's machine; 1 is full.", nil, func() float64 { return a.load() })
	gauge("draining", "1 while the origin is out of rotation.", nil, func() float64 { return oneIf(a.draining) })
	for _, w := range a.services {
		gauge("service_up", "1 while the probe of a service works.", prometheus.Labels{"proto": w.Proto}, func() float64 { return oneIf(w.well()) })
	}
}

func oneIf(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
