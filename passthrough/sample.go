package passthrough

import (
	"time"

	"weir/proxy/rtp"
	"weir/proxy/sdp"
)

// A joint is what is known of a track's media, for the case that another origin
// goes on with it. It belongs to the goroutine of the leg.
type joint struct {
	index    int       // in the description; -1: not known
	medium   sdp.Media // that it is of, as the viewer knows it
	tail     int       // in the buffer in hand: where its last packet begins; 0 for none
	last     sample
	pace     rtp.Pace // of the time stamps that the viewer has
	ssrc     uint32   // that he was told; 0: none
	promise  promise  // what he was told of packets that have not come
	base     ref      // which of the origin's time stamps the position is counted from
	fresh    bool     // nothing has come of what the last PLAY asked for
	due      due      // what comes of it first
	reported ref      // the origin's last sender report, before there is a seam
	seam     *seam    // nil: never moved
}

// A promise is what a viewer was told of a track's first packet by the answer to PLAY.
type promise struct {
	at  time.Time // when; zero: nothing
	seq uint16
	ts  uint32
}

// A due is the number of the first packet of what a PLAY has asked for, as the origin
// numbers.
type due struct {
	known bool
	seq   uint16
}

// reached reports whether the last packet is of what the last PLAY has asked for. An
// origin that plays already may seek at once, or play to the end first (RFC 2326 §10.5):
// what it says of the first packet tells.
func (t *track) reached() bool {
	if t.due.known {
		seq := t.last.seq
		if t.seam != nil {
			seq -= t.seam.num.Shift(0).Seq
		}
		return int16(seq-t.due.seq) >= 0
	}
	n := t.since(t.last.ts)
	return n > 0 && n < int64(t.medium.ClockRate)
}

// note takes a packet on its way to the viewer, as he will have it.
func (t *track) note(pkt []byte) {
	if len(pkt) >= rtp.HeaderLen && t.main(pkt) {
		t.pace.Note(rtp.Timestamp(pkt))
	}
}

// A sample is a look at a track's media as the viewer has it: once for each buffer
// that is read, so that a packet costs nothing.
type sample struct {
	at    time.Time // zero: none yet
	ssrc  uint32
	seq   uint16
	ts    uint32
	ticks int64 // since the position that is known; ts goes round
}

// look takes a sample of the last packet in a buffer.
func (t *track) look(buf []byte, now time.Time) {
	pkt := buf[t.tail:]
	size := int(buf[t.tail-2])<<8 | int(buf[t.tail-1])
	t.tail = 0
	if size > len(pkt) || !rtp.Valid(pkt[:size]) {
		return
	}
	had := t.last
	if !had.at.IsZero() && had.ssrc != rtp.SSRC(pkt) && !t.main(pkt) {
		return
	}
	t.last = sample{at: now, ssrc: rtp.SSRC(pkt), seq: rtp.Seq(pkt), ts: rtp.Timestamp(pkt), ticks: had.ticks}
	step := int32(t.last.ts - had.ts)
	switch {
	case t.fresh && (!t.s.tape.queued || t.reached()):
		t.fresh, t.last.ticks = false, t.since(t.last.ts)
		t.s.tape.queued = false
	case had.at.IsZero() || had.ssrc != t.last.ssrc:
	case step < 0 && step > -1<<20: // pictures come in the order of decoding
		t.last.ts = had.ts
	default:
		t.last.ticks += int64(step)
	}
}

// main reports whether a packet is of the track's own kind, and not what repairs
// it (RFC 4588), which may be sent beside it.
func (t *track) main(pkt []byte) bool { return t.index < 0 || int(pkt[1]&0x7f) == t.medium.PayloadType }

// since is how far a time stamp is behind the one that the origin has said to
// belong to the position. What it says wrong counts as nothing.
func (t *track) since(ts uint32) int64 {
	if t.seam != nil {
		ts -= t.seam.num.Shift(0).TS
	}
	n := int64(int32(ts - t.base.ts))
	if !t.base.known || n < 0 || n > 60*int64(t.medium.ClockRate) {
		return 0
	}
	return n
}
