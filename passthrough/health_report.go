package passthrough

import (
	"context"
	"errors"
	"time"

	"go.uber.org/zap"
)

// dialed takes note of a viewer's dial. decisive is false where a failure may not
// be the origin's: it is then looked at, but not taken down.
func (b *Balancer) dialed(o *origin, err error, decisive bool) {
	b.met.dials.Inc()
	b.observe(o, err, func(now time.Time) {
		o.dials++
		o.lastDial = now
		switch {
		case err == nil:
			o.health.dialWorked(now)
		case decisive:
			o.health.dialFailed(now, b.probing && o.probed())
		}
		if err != nil {
			o.failures++
		}
	})
	if err != nil {
		b.met.dialFailures.Inc()
		o.askForProbe()
	}
}

// failed takes note that an origin that could be dialed let a viewer down: it
// reset, went silent, answered 5xx. Dials that failed are noted by connect, and a
// viewer who left is no failure.
func (b *Balancer) failed(o *origin, err error) {
	var dial *dialError
	if err == nil || errors.As(err, &dial) || errors.Is(err, context.Canceled) {
		return
	}
	ejected := false
	text := b.observe(o, err, func(now time.Time) {
		ejected = o.health.failed(now, o.sessions-int(o.awaited.Load()), b.mayEject(o, now))
		if ejected {
			o.ejects++
		}
	})
	b.log.Debug("origin failed", zap.String("origin", o.name), zap.String("error", text))
	if ejected {
		b.met.ejections.Inc()
	}
	o.askForProbe()
}

// worked takes note that an origin did what was asked of it.
func (b *Balancer) worked(o *origin) {
	b.observe(o, nil, func(time.Time) { o.health.worked() })
}

// probed takes note of a probe, and of whether it could dial.
func (b *Balancer) probed(o *origin, err error, dialed bool, took time.Duration) {
	b.met.probes.Inc()
	if err != nil {
		b.met.probeFailures.Inc()
	}
	b.observe(o, err, func(now time.Time) {
		o.probes++
		o.probedAt, o.probeTook = now, took
		if err != nil {
			o.probeFails++
		}
		o.health.probed(err == nil, dialed, now, b.opts.Rise, b.opts.Fall)
	})
}

// observe lets change change what is known of o, with the lock held, and tells
// the log if o's state is another then. It returns err's text without secrets.
func (b *Balancer) observe(o *origin, err error, change func(now time.Time)) (text string) {
	if err != nil {
		text = o.redact(err.Error())
	}
	now := time.Now()
	b.mu.Lock()
	o.health.settle(now)
	before := o.health.state()
	change(now)
	if err != nil {
		o.remember(text, now)
	}
	after := o.health.state()
	switch {
	case o.health.usable():
		o.why = ""
	case after != before:
		o.why = text
	}
	news := o.told != after && (err == nil || after != stateUp) // a failure that is not believed yet is no news
	if news {
		o.told = after
	}
	b.mu.Unlock()
	if news {
		b.log.Info("origin "+after, zap.String("origin", o.name), reason(text))
	}
	return text
}

func reason(text string) zap.Field {
	if text == "" {
		return zap.Skip()
	}
	return zap.String("reason", text)
}

// mayEject asks all pools of o; the lock is held.
func (b *Balancer) mayEject(o *origin, now time.Time) bool {
	for _, p := range b.pools {
		if p.has(o) && !p.mayEject(now) {
			return false
		}
	}
	return o.source == "" || b.sources[o.source].mayEject(now)
}

func (p *pool) has(o *origin) bool {
	for _, other := range p.origins {
		if other.state == o.state {
			return true
		}
	}
	return false
}
