package rtp

// maxStep is the longest step between two time stamps that is one, in ticks: 11 s of
// video. More is another source, or another beginning.
const maxStep = 1 << 20

// A Pace knows how far a track's time stamps have come, and by how much they go on: what
// another source continues from. Pictures come in the order of decoding, so the last time
// stamp need not be the furthest (RFC 6184 §5.1), and one packet of sound may hold more
// than one frame (RFC 3640 §3.2.1), so what follows stands a whole packet later.
// The zero value is ready. It is for one goroutine.
type Pace struct {
	last, high uint32
	steps      [4]uint32 // the latest distances between two that came one after another
	n          uint8     // of steps
	known      bool
}

// Note takes the time stamp of a packet.
func (p *Pace) Note(ts uint32) {
	if ts != p.last || !p.known {
		p.note(ts)
	}
}

func (p *Pace) note(ts uint32) {
	step := int32(ts - p.last)
	if step < 0 {
		step = -step
	}
	p.last = ts
	if !p.known || step > maxStep || step < 0 {
		p.known, p.high = true, ts
		return
	}
	p.steps[p.n%uint8(len(p.steps))] = uint32(step)
	p.n++
	if int32(ts-p.high) > 0 {
		p.high = ts
	}
}

// High returns the furthest time stamp; ok is false before the first.
func (p *Pace) High() (ts uint32, ok bool) { return p.high, p.known }

// Step returns the shortest of the latest distances between two time stamps, at least one
// tick: that of neighbours in the order of playing.
func (p *Pace) Step() uint32 {
	least := uint32(0)
	for _, s := range p.steps {
		if s > 0 && (least == 0 || s < least) {
			least = s
		}
	}
	return max(least, 1)
}
