package passthrough

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"net/url"
	"slices"
	"time"
)

// quickest is the least time between two probes of an origin that fails, unless
// -origin.check is less.
const quickest = 200 * time.Millisecond

// watchers are the goroutines that probe the origins of one site, one each.
type watchers struct {
	b       *Balancer
	running map[*origin]*watcher
}

type watcher struct {
	stop context.CancelFunc
	done chan struct{}
}

// set starts and stops watchers so that exactly these origins have one. It waits
// for those that end: an origin that has only changed its name is not to be
// probed twice at once.
func (w *watchers) set(ctx context.Context, origins []*origin) {
	if w.b.opts.Check <= 0 {
		return
	}
	for _, o := range slices.Collect(maps.Keys(w.running)) {
		if !slices.Contains(origins, o) {
			w.running[o].stop()
			<-w.running[o].done
			delete(w.running, o)
		}
	}
	for _, o := range origins {
		if w.running[o] == nil && o.probed() {
			ctx, stop := context.WithCancel(ctx)
			w.running[o] = &watcher{stop, make(chan struct{})}
			go w.b.watch(ctx, o, w.running[o].done)
		}
	}
}

// watch probes an origin until ctx is done.
func (b *Balancer) watch(ctx context.Context, o *origin, done chan<- struct{}) {
	defer close(done)
	for {
		began := time.Now()
		b.probe(ctx, o)
		if !o.await(ctx, b.pause(o)) || !sleepUntil(ctx, began.Add(min(quickest, b.opts.Check))) {
			return
		}
	}
}

// await waits for d or until a probe is asked for; it reports whether ctx still
// goes on.
func (o *origin) await(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-o.wake:
	case <-t.C:
	}
	return true
}

func sleepUntil(ctx context.Context, t time.Time) bool {
	if d := time.Until(t); d > 0 {
		return sleep(ctx, d)
	}
	return ctx.Err() == nil
}

// pause is the time to the next probe, within 10 % so that edges and origins do
// not fall into step.
func (b *Balancer) pause(o *origin) time.Duration {
	b.mu.Lock()
	anxious := o.health.anxious()
	b.mu.Unlock()
	d := b.opts.Check
	if anxious {
		d = min(d, max(d/5, quickest))
	}
	return time.Duration(float64(d) * (0.9 + 0.2*rand.Float64()))
}

// probe asks the origin once how it is.
func (b *Balancer) probe(ctx context.Context, o *origin) {
	dctx, cancel := context.WithTimeout(ctx, b.timeout)
	defer cancel()
	began, dialed := time.Now(), false
	dial := func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := b.dial(ctx, network, addr)
		dialed = err == nil
		return c, err
	}
	err := o.checker.Do(dctx, Target{URL: o.probeURL(), Addr: o.addr, TLS: o.tlsConfig(), Header: o.header, Dial: dial})
	if ctx.Err() != nil || ours(err) {
		return // which says nothing of the origin
	}
	if errors.Is(err, context.DeadlineExceeded) {
		err = fmt.Errorf("no answer to the %s probe within %v", o.checker.Kind, b.timeout)
	}
	b.probed(o, err, dialed, time.Since(began))
}

// probeURL is the base of the probe's path. A source's own URL is replaced by the
// path, if there is one.
func (o *origin) probeURL() *url.URL {
	u := *o.url
	if o.source != "" && o.site.probe.Path != "" {
		u.Path, u.RawPath, u.RawQuery = "", "", ""
	}
	return &u
}
