package passthrough

import (
	"math"
	"testing"
	"time"
)

// epoch is when the tests of health begin.
var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func at(d time.Duration) time.Time { return epoch.Add(d) }

func wantState(t *testing.T, what string, h *health, now time.Time, want string) {
	t.Helper()
	h.settle(now)
	if got := h.state(); got != want {
		t.Errorf("%s: %s, want %s", what, got, want)
	}
}

func TestHealthOfDials(t *testing.T) {
	var h health
	wantState(t, "at first", &h, epoch, stateIdle)
	h.dialWorked(epoch)
	wantState(t, "after a dial", &h, epoch, stateUp)
	h.dialFailed(epoch, true)
	wantState(t, "after one that failed", &h, at(time.Hour), stateDown)
	h.probed(true, true, epoch, 2, 3)
	wantState(t, "after one good probe", &h, epoch, stateDown)
	h.probed(false, false, epoch, 2, 3)
	h.probed(true, true, epoch, 2, 3)
	wantState(t, "after good, bad, good", &h, epoch, stateDown)
	h.probed(true, true, at(time.Second), 2, 3)
	wantState(t, "after two good ones", &h, epoch, stateUp)
	h.dialFailed(epoch, true)
	h.dialWorked(epoch)
	wantState(t, "when the last resort worked", &h, epoch, stateUp)
}

func TestHealthOfProbes(t *testing.T) {
	var h health
	h.probed(true, true, epoch, 2, 3)
	wantState(t, "one good probe", &h, epoch, stateUp)
	if h.anxious() {
		t.Error("anxious though all is well")
	}
	h.probed(false, false, epoch, 2, 3)
	h.probed(false, false, epoch, 2, 3)
	wantState(t, "two bad probes", &h, epoch, stateUp)
	if !h.anxious() {
		t.Error("not anxious after a bad probe")
	}
	h.probed(true, true, epoch, 2, 3)
	h.probed(false, false, epoch, 2, 3)
	h.probed(false, false, epoch, 2, 3)
	wantState(t, "a good one between", &h, epoch, stateUp)
	h.probed(false, false, epoch, 2, 3)
	wantState(t, "three bad ones", &h, epoch, stateDown)
	h.dialWorked(epoch)
	wantState(t, "a dial where probes could not dial", &h, epoch, stateUp)
	for range 3 {
		h.probed(false, true, epoch, 2, 3)
	}
	h.dialWorked(epoch)
	wantState(t, "a dial where probes could dial, too", &h, epoch, stateDown)
	h = health{down: true}
	if h.share(at(time.Hour), time.Minute) != 1 {
		t.Error("slow start before it has come back once")
	}
}

// Without probes only time brings back what could not be dialed, or a viewer.
// TestAnotherLife: an origin that died under its sessions, and was restarted, is not held
// for bad, nor worse each time.
func TestAnotherLife(t *testing.T) {
	var h health
	now := epoch
	for range 20 {
		for range strikesOut {
			h.failed(now, 0, true)
		}
		wantState(t, "after its sessions have ended", &h, now, stateEjected)
		h.dialFailed(now, true)
		wantState(t, "when nobody is there", &h, now, stateDown)
		now = now.Add(time.Second)
		h.probed(true, true, now, 1, 3)
		wantState(t, "when it is back", &h, now, stateUp)
	}
	if h.ejections > 0 {
		t.Errorf("%d ejections are not forgiven", h.ejections)
	}
}

func TestHealthWithoutProbes(t *testing.T) {
	var h health
	h.dialFailed(epoch, false)
	wantState(t, "after the dial", &h, at(4*time.Second), stateEjected)
	h.dialFailed(at(4*time.Second), false) // a last resort does not prolong it
	wantState(t, "after 5 s", &h, at(5*time.Second), stateUp)
	h.dialFailed(at(5*time.Second), false)
	wantState(t, "again", &h, at(14*time.Second), stateEjected)
	h.dialWorked(at(14 * time.Second))
	wantState(t, "after a dial that worked", &h, at(14*time.Second), stateUp)
}

// strikes lets an origin fail until it is out, and returns for how long it is.
func strikes(t *testing.T, h *health, now time.Time) time.Duration {
	t.Helper()
	h.settle(now)
	for i := range strikesOut {
		if ejected := h.failed(now, 0, true); ejected != (i == strikesOut-1) {
			t.Fatalf("failure %d: ejected = %v", i+1, ejected)
		}
	}
	return h.until.Sub(now)
}

func TestEjectionGrowsAndIsForgiven(t *testing.T) {
	var h health
	now := epoch
	f := func(want time.Duration) {
		t.Helper()
		if got := strikes(t, &h, now); got != want {
			t.Errorf("ejected for %v, want %v", got, want)
		}
		now = h.until
	}
	f(5 * time.Second)
	f(10 * time.Second)
	f(20 * time.Second)
	f(40 * time.Second)
	f(80 * time.Second)
	f(160 * time.Second)
	f(5 * time.Minute)
	f(5 * time.Minute)
	now = now.Add(4 * time.Minute) // four of eight are forgiven
	f(80 * time.Second)
	now = now.Add(time.Hour)
	f(5 * time.Second)
}

func TestStrikes(t *testing.T) {
	var h health
	h.failed(epoch, 0, true)
	h.failed(epoch, 0, true)
	h.worked()
	h.failed(epoch, 0, true)
	h.failed(epoch, 0, true)
	wantState(t, "a success between four failures", &h, epoch, stateUp)
	h.failed(at(time.Minute), 0, true)
	wantState(t, "failures of long ago", &h, at(time.Minute), stateUp)
	h.failed(at(time.Minute), 0, true)
	if h.failed(at(time.Minute), 0, false) {
		t.Error("ejected though the pool cannot do without it")
	}
	if !h.failed(at(time.Minute), 0, true) {
		t.Error("not ejected once the pool can")
	}
	wantState(t, "in the end", &h, at(time.Minute), stateEjected)
	h.dialWorked(at(time.Minute))
	wantState(t, "a dial that worked says nothing of answers", &h, at(time.Minute), stateEjected)
	if h.failed(at(time.Minute), 0, true) {
		t.Error("ejected twice at once")
	}
	h = health{}
	for i := range 20 {
		if ejected := h.failed(epoch, 200, true); ejected != (i == 19) {
			t.Errorf("failure %d beside 200 sessions that go on: ejected = %v, want it at the twentieth", i+1, ejected)
		}
	}
}

func TestSlowStart(t *testing.T) {
	var h health
	f := func(after time.Duration, want float64) {
		t.Helper()
		if got := h.share(at(after), 30*time.Second); math.Abs(got-want) > 1e-9 {
			t.Errorf("share %v after its return = %v, want %v", after, got, want)
		}
	}
	h.probed(true, true, epoch, 1, 1)
	f(0, 1) // not at the start
	h.dialFailed(epoch, true)
	h.probed(true, true, epoch, 1, 1)
	f(0, 0.1)
	f(10*time.Second, 0.4)
	f(15*time.Second, 0.55)
	f(30*time.Second, 1)
	f(time.Hour, 1)
	if got := h.share(epoch, 0); got != 1 {
		t.Errorf("share without slow start = %v", got)
	}
	h = health{}
	until := epoch.Add(strikes(t, &h, epoch))
	h.settle(until.Add(3 * time.Second))
	f(8*time.Second, 0.19)
}
