package admission

import (
	"slices"
	"time"

	"weir/proxy"
)

const (
	sampleEvery = time.Second
	// webSamples is how many of these make one over HTTP, where segments come in
	// bursts: a mean over less than a segment says nothing.
	webSamples = 10
	// settled is after how much media what was measured counts, and how often it is
	// looked at.
	settled = 10 * time.Second
)

// A meter finds out what a viewer needs: the 95th percentile of what was sent to
// it. Time in which nothing was, in a pause, does not count.
type meter struct {
	rates [30]proxy.BitRate // the last ones, in a ring
	n     int               // ever
	part  int64             // bytes of a sample that is not complete
	ticks int               // of that
}

// add takes what was sent in the last sampleEvery. It reports whether there is
// something new to be had from rate.
func (m *meter) add(bytes int64, web bool) bool {
	span := 1
	if web {
		span = webSamples
	}
	m.part += bytes
	if m.part == 0 {
		return false
	}
	if m.ticks++; m.ticks < span {
		return false
	}
	m.rates[m.n%len(m.rates)] = proxy.BitRate(m.part * 8 / int64(span))
	m.n++
	m.part, m.ticks = 0, 0
	every := int(settled/sampleEvery) / span
	return m.n%max(every, 1) == 0
}

// rate is the 95th percentile of the samples there are, of which there is one.
func (m *meter) rate() proxy.BitRate {
	n := min(m.n, len(m.rates))
	last := m.rates
	slices.Sort(last[:n])
	return last[(n*95+99)/100-1]
}
