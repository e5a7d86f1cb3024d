package admission

import (
	"time"

	"weir/proxy"
)

// egressFade is by how much the measured rate of all viewers moves towards the
// last sample: HLS viewers load in bursts, and three seconds even them out.
const egressFade = 3

// sample measures what was sent since it was last called, sampleEvery ago, and
// forgets who has left.
func (l *ledger) sample(now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.forget(now)
	var bytes int64
	for _, p := range l.places {
		n := p.sent.Swap(0)
		if p.download {
			l.sampleDownload(p, n)
			continue
		}
		bytes += n
		if p.meter.add(n, p.key != (webKey{})) {
			l.measured(p, p.meter.rate())
		}
	}
	l.egress += (proxy.BitRate(bytes*8*int64(time.Second)/int64(sampleEvery)) - l.egress) / egressFade
}

// measured replaces what was declared by what was seen. It needs mu.
func (l *ledger) measured(p *place, rate proxy.BitRate) {
	l.set(p, rate)
	s := l.streams[p.stream]
	if s.rate == 0 {
		s.rate = rate
	}
	s.rate += (rate - s.rate) / 4
}
