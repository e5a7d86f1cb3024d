package splitter

import (
	"encoding/binary"

	"weir/proxy/rtp"
)

// How a new viewer starts, as -splitter.start names it.
const (
	startInstant  = "instant"
	startBurst    = "burst"
	startKeyframe = "keyframe"
	startEdge     = "edge" // for edges only: at once, at the live edge, key frame or not
)

// A burst is the start of a viewer who gets the last group of pictures at once,
// but is to stand at the live edge when he has seen it: the pictures before that
// have time stamps so close together that all of them are over in a few
// milliseconds. All other tracks begin at the edge, so that nothing is out of step.
//
// The relation is affine, so pictures that are decoded in another order than shown
// stay in theirs. A player whose first picture is a second old and has true time
// stamps is a second late for good.
type burst struct {
	end   int64  // bytes of the ring before the live edge
	track int    // of the pictures
	last  uint32 // time stamp of the newest picture before the live edge
}

// squash is how much closer together the time stamps of a burst are: a group of 2 s at
// 90 kHz is over in 8 ms, and at 200 pictures a second they are still apart.
const squash = 256

// maxReorder is how long a picture may be shown before one that was decoded earlier, in
// ticks: ten seconds. More is a clock that was set back.
const maxReorder = 10 * 90000

// stamp is the time stamp that a picture of the burst gets.
func (b *burst) stamp(ts uint32) uint32 {
	return b.last - uint32(int32(b.last-ts)/squash)
}

// has reports whether a packet of a channel is sent in the burst.
func (b *burst) has(channel uint8) bool { return int(channel) == 2*b.track }

// over reports whether the burst is over with a packet that stands at an offset of the
// ring: that is the first of a picture that is shown behind all of the burst. Pictures
// behind the live edge that are shown before its newest one (B-frames) are squeezed like
// their neighbours, or they would be out of order.
func (b *burst) over(offset int64, channel uint8, pkt []byte) bool {
	if offset < b.end || !b.has(channel) || !rtp.Valid(pkt) {
		return false
	}
	d := int32(rtp.Timestamp(pkt) - b.last)
	return d > 0 || d < -maxReorder
}

// rewrite gives a packet of the burst its time stamp.
func (b *burst) rewrite(pkt []byte) {
	binary.BigEndian.PutUint32(pkt[4:], b.stamp(rtp.Timestamp(pkt)))
}

// squeezed is the burst of a viewer who starts at the last key frame; nil where there
// is none at hand, or squeezing does not do. mu is held.
func (in *ingest) squeezed() *burst {
	switch {
	case in.lead < 0 || in.ring.key.Load() == nil:
		return nil
	case in.codec == rtp.MP2T: // its clock is inside the payload
		return nil
	case in.videos > 1: // the others would begin amid their groups of pictures
		return nil
	}
	return &burst{end: in.ring.here().offset(), track: in.lead, last: in.newest}
}

// next returns the next packet for the session that is set up, the channel it goes
// out by, and whether it is one of the burst, whose time stamp is another; nil if
// there is none. The data plane's lock is held.
func (s *session) next() (pkt []byte, channel uint8, squeezed bool) {
	for {
		pkt, ch, after := s.at.packet()
		if pkt == nil {
			return nil, 0, false
		}
		s.maybeLive(pkt, ch)
		skip := s.burst != nil && !s.burst.has(ch) && s.at.offset() < s.burst.end
		s.at, s.jumped = after, false
		if skip || s.channels[ch/2] < 0 {
			continue
		}
		return pkt, ch, s.burst != nil && s.burst.has(ch)
	}
}

// maybeLive ends the session's burst if it is over with the packet that comes next.
func (s *session) maybeLive(next []byte, channel uint8) {
	if s.burst != nil && s.burst.over(s.at.offset(), channel, next) {
		s.burst = nil
	}
}

// starting puts the session where it begins to play. The data plane's lock is held.
func (s *session) starting(o *opening) {
	s.at, s.waits, s.after, s.burst = o.at, o.waits, o.after, o.burst
}
