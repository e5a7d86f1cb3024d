package passthrough

import (
	"math"
	"time"

	"weir/proxy"
)

// drainTTL is how long it counts that the origin is draining: longer than a report,
// lest an agent that is ended without ado brings its origin back into rotation.
const drainTTL = 10 * time.Minute

// notable is how much load, or connections, must change to be told at once.
const notable = 0.1

// report is what is to be told now. The caller locks.
func (a *Agent) report() Report {
	r := Report{
		Sessions: a.machine.sessions, Rate: a.machine.rate, Load: a.load(),
		Draining: a.draining, Uncounted: !a.machine.counted,
	}
	for _, s := range a.services {
		if s.well() {
			r.Well |= s.bit
		}
	}
	return r
}

// load is the share of what is nearest to its limit, 0 to 1. The caller locks.
func (a *Agent) load() float64 {
	load := max(a.machine.cpu, a.machine.pressure/2) // something waits soon, where there are few CPUs
	if a.opts.Capacity > 0 {
		load = max(load, float64(a.machine.sessions)/float64(a.opts.Capacity))
	}
	if a.opts.Bandwidth > 0 {
		load = max(load, float64(a.machine.rate)/float64(a.opts.Bandwidth))
	}
	return min(load, 1)
}

// due reports whether there is something to tell after a measurement: much has
// changed, or it was long ago.
func (a *Agent) due(now time.Time) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if now.Sub(a.toldAt) >= tellEvery-measureEvery/2 {
		return true
	}
	r := a.report()
	sessions := math.Abs(float64(r.Sessions - a.told.Sessions))
	return math.Abs(r.Load-a.told.Load) >= notable || sessions >= notable*float64(max(a.told.Sessions, 1))
}

// tell tells the edges.
func (a *Agent) tell(now time.Time) {
	a.mu.Lock()
	r := a.report()
	a.told, a.toldAt = r, now
	a.mu.Unlock()
	ttl := ReportTTL
	if r.Draining {
		ttl = drainTTL
	}
	a.peers.Tell(ReportTopic, r.Append(nil), ttl)
}

// A measures is what was measured of the machine last.
type measures struct {
	sessions int // connections to the services
	counted  bool
	rate     proxy.BitRate
	cpu      float64 // share that is busy
	pressure float64 // share of time in which something waited for the CPU
}
