package passthrough

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/url"
	"time"

	"go.uber.org/zap"
)

// A watched is a service and what is known of it; that belongs to the Agent's lock.
type watched struct {
	AgentService
	bit    uint32 // of Report.Well
	kind   string
	probe  Probe // used by the one that watches
	target Target

	health           health
	since            time.Time // it is well or unwell
	lastErr          string
	lastErrAt        time.Time
	probes, failures uint64
	took             time.Duration
	connections      int
}

// newWatched returns a service that is unwell until the first probe works, or as many in
// a row as it takes later.
func newWatched(s AgentService, place int, p Probe, rise int) *watched {
	w := &watched{AgentService: s, bit: 1 << place, kind: p.Kind, probe: p}
	w.target = Target{URL: &url.URL{Scheme: s.Proto, Host: s.Addr}, Addr: s.Addr}
	if s.Proto == "rtsps" || s.Proto == "https" {
		// The certificate is for the name that viewers know, which is hardly the one by
		// which it is reached here. Nothing secret is sent, and edges check it.
		w.target.TLS = &tls.Config{ServerName: w.target.URL.Hostname(), InsecureSkipVerify: true}
	}
	w.health = health{down: true, good: rise - 1}
	return w
}

func (w *watched) well() bool { return !w.health.down }

// trouble is why a service is not well; empty if it is.
func (w *watched) trouble() string {
	switch {
	case w.well():
		return ""
	case !w.health.known:
		return "has not been probed yet"
	}
	return "is unwell: " + w.lastErr
}

// watch probes a service until ctx is done.
func (a *Agent) watch(ctx context.Context, w *watched) {
	w.target.Dial = a.own.dial
	for {
		a.probe(ctx, w)
		if !sleep(ctx, a.pause(w)) {
			return
		}
	}
}

// pause is the time to the next probe.
func (a *Agent) pause(w *watched) time.Duration {
	a.mu.Lock()
	anxious := w.health.anxious()
	a.mu.Unlock()
	d := a.opts.Check
	if anxious {
		d = min(d, max(d/5, quickest))
	}
	return time.Duration(float64(d) * (0.9 + 0.2*rand.Float64()))
}

// probe asks a service once.
func (a *Agent) probe(ctx context.Context, w *watched) {
	pctx, cancel := context.WithTimeout(ctx, a.opts.Timeout)
	defer cancel()
	began := time.Now()
	err := w.probe.Do(pctx, w.target)
	if ctx.Err() != nil || ours(err) {
		return // which says nothing of the origin
	}
	if errors.Is(err, context.DeadlineExceeded) {
		err = fmt.Errorf("no answer to the %s probe within %v", w.kind, a.opts.Timeout)
	}
	a.probed(w, err, time.Since(began))
}

// probed takes note of a probe.
func (a *Agent) probed(w *watched, err error, took time.Duration) {
	flipped := a.note(w, err, took, time.Now())
	switch {
	case !flipped:
		return
	case err == nil:
		a.log.Info("service well", zap.String("proto", w.Proto), zap.String("addr", w.Addr))
	default:
		a.log.Warn("service unwell", zap.String("proto", w.Proto), zap.String("addr", w.Addr), zap.Error(err))
	}
	a.hasNews()
}

// note reports whether the service is well now and was not, or the other way round, or
// whether it was found unwell to begin with.
func (a *Agent) note(w *watched, err error, took time.Duration, now time.Time) (flipped bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	first, before := !w.health.known, w.well()
	w.health.probed(err == nil, true, now, a.opts.Rise, a.opts.Fall)
	w.probes++
	w.took = took
	if err != nil {
		w.failures++
		w.lastErr, w.lastErrAt = err.Error(), now
	}
	if first {
		if a.unknown--; a.unknown == 0 {
			close(a.known)
		}
	}
	flipped = first || before != w.well()
	if flipped {
		w.since = now
	}
	return flipped
}
