package admission

import (
	"cmp"

	"weir/proxy"
)

// downloadShare is the part of the limit that a download counts at most.
const downloadShare = 4

// aside is what is set aside for a viewer over HTTP with an open request. It needs
// mu. Of downloads, what others were seen to need says nothing.
func (l *ledger) aside(id *identity) proxy.BitRate {
	if !id.download {
		return l.guess(id.stream, id.rate)
	}
	rate := cmp.Or(l.o.Pace, id.rate, l.o.Assume)
	if limit := l.limitOf(id.class); limit > 0 {
		rate = min(rate, limit/downloadShare)
	}
	return rate
}

// sampleDownload measures what was sent for files, to find out who needs less than
// was set aside. It needs mu.
func (l *ledger) sampleDownload(p *place, bytes int64) {
	if p.open > 0 && p.meter.add(bytes, true) {
		l.set(p, min(p.meter.rate(), l.aside(&p.identity)))
	}
}

// watch makes a viewer who is in for files only one of a stream, if that is what he
// asks for now and there is the bandwidth. It needs mu.
func (l *ledger) watch(p *place, id *identity) error {
	if !p.download || id.download {
		return nil
	}
	rate := l.aside(id)
	if err := l.bandwidth(p.class, p.need, rate); err != nil {
		return err
	}
	p.download, p.rate, p.meter = false, id.rate, meter{}
	p.sent.Store(0) // what was sent before were files
	l.set(p, rate)
	p.vague = id.rate == 0
	l.changed()
	return nil
}
