package passthrough

import (
	"time"
)

// What is believed of an origin.
const (
	stateIdle    = "idle"    // nothing is known yet: as good as up
	stateUp      = "up"      //
	stateDown    = "down"    // a dial or enough probes failed
	stateEjected = "ejected" // it answers, but badly: no viewers for a while
)

const (
	// strikesOut is how many failures in a row eject an origin. One is not
	// enough, silence included: a single stream that went silent is its
	// publisher's fault more often than its server's. A failure asks for a probe
	// instead, which sees in no time whether the server is gone.
	strikesOut = 3
	// strikeAge is how long a failure counts.
	strikeAge = 30 * time.Second
	// strikeShare is how many sessions that go on outweigh a failure: else one
	// bad stream among hundreds of good ones that last for hours would eject
	// their origin again and again.
	strikeShare = 10

	ejectFirst = 5 * time.Second // doubled each time
	ejectMost  = 5 * time.Minute
	forgive    = time.Minute // of good time for each ejection
)

// health is what is known of one origin, a state machine that its callers tell
// the time. The zero value knows nothing.
type health struct {
	known     bool // it has been tried
	down      bool
	good, bad int       // probes in a row
	strikes   int       // failures in a row
	struck    time.Time // the last of them
	until     time.Time // ejected until then; zero if not
	undialed  bool      // down or ejected, and no dial has worked since
	ejections int       // not forgiven yet
	calm      time.Time // when good time began
	recovered time.Time // when it last came back; zero if never
}

func (h *health) state() string {
	switch {
	case h.down:
		return stateDown
	case !h.until.IsZero():
		return stateEjected
	case h.known:
		return stateUp
	}
	return stateIdle
}

func (h *health) usable() bool { return !h.down && h.until.IsZero() }

// settle ends an ejection whose time is over.
func (h *health) settle(now time.Time) {
	if !h.until.IsZero() && !now.Before(h.until) {
		h.recovered, h.until, h.undialed = h.until, time.Time{}, false
	}
}

// dialFailed takes the origin down until probes bring it up again; without probes
// only time can.
func (h *health) dialFailed(now time.Time, probed bool) {
	h.known, h.good = true, 0
	switch {
	case probed:
		h.down, h.undialed = true, true
	case h.until.IsZero():
		h.eject(now)
		h.undialed = true
	}
}

// dialWorked is told of connections made for viewers. What could not be dialed
// and now is, as a last resort, has come back; what accepts connections but fails
// probes or viewers has not.
func (h *health) dialWorked(now time.Time) {
	h.known = true
	switch {
	case !h.undialed:
	case h.down:
		h.rise(now)
	default:
		h.until, h.undialed, h.recovered = time.Time{}, false, now
	}
}

// rise begins another life. What died took its sessions along, and these its good name:
// that is no more than one failure.
func (h *health) rise(now time.Time) {
	h.down, h.undialed, h.good, h.bad, h.strikes, h.recovered = false, false, 0, 0, 0, now
	if !h.until.IsZero() {
		h.until, h.ejections, h.calm = time.Time{}, max(0, h.ejections-1), now
	}
}

// probed is told of a probe, and whether that could dial.
func (h *health) probed(ok, dialed bool, now time.Time, rise, fall int) {
	h.known = true
	if !ok {
		h.good = 0
		h.bad++
		if h.down = h.down || h.bad >= fall; h.down {
			h.undialed = !dialed
		}
		return
	}
	h.bad = 0
	h.good++
	if h.down && h.good >= rise {
		h.rise(now)
	}
}

// anxious reports whether the next probe is to come soon.
func (h *health) anxious() bool { return h.down || h.bad > 0 }

// failed counts a failure of a viewer's session or request, and reports whether
// it is one too many beside those that go on; mayEject says whether the pool can
// do without the origin.
func (h *health) failed(now time.Time, sessions int, mayEject bool) (ejected bool) {
	h.known = true
	if now.Sub(h.struck) > strikeAge {
		h.strikes = 0
	}
	h.strikes++
	h.struck = now
	h.forgive(now)
	if h.strikes < max(strikesOut, sessions/strikeShare) || !mayEject || !h.usable() {
		return false
	}
	h.eject(now)
	return true
}

// worked ends a row of failures.
func (h *health) worked() { h.known, h.strikes = true, 0 }

func (h *health) eject(now time.Time) {
	h.forgive(now)
	d := ejectMost
	if h.ejections < 6 { // 5 s doubled six times is more than 5 min
		d = ejectFirst << h.ejections
	}
	h.ejections++
	h.strikes = 0
	h.until = now.Add(d)
	h.calm = h.until
}

// forgive takes one ejection off for each minute without a failure.
func (h *health) forgive(now time.Time) {
	good := now.Sub(h.calm)
	if good < 0 {
		return // still ejected
	}
	h.ejections = max(0, h.ejections-int(good/forgive))
	h.calm = now
}

// share is the part of its weight that an origin gets: from a tenth to all of it
// after it has come back, all of it from the start.
func (h *health) share(now time.Time, slowStart time.Duration) float64 {
	since := now.Sub(h.recovered)
	if h.recovered.IsZero() || since >= slowStart {
		return 1
	}
	return 0.1 + 0.9*float64(since)/float64(slowStart)
}
