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
	end   int64 // bytes of the ring before the live edge
	track int   // of the pictures
	last  uint32
}

// squash is how much closer together the time stamps of a burst are: a group of 2 s at
// 90 kHz is over in 8 ms, and at 200 pictures a second they are still apart.
const squash = 256

// stamp is the time stamp that a picture of the burst gets.
func (b *burst) stamp(ts uint32) uint32 {
	return b.last - uint32(int32(b.last-ts)/squash)
}

// has reports whether a packet of a channel is sent in the burst.
func (b *burst) has(channel uint8) bool { return int(channel) == 2*b.track }

// rewrite gives a packet of the burst its time stamp.
func (b *burst) rewrite(pkt []byte) {
	binary.BigEndian.PutUint32(pkt[4:], b.stamp(rtp.Timestamp(pkt)))
}

// squeezed is the burst of a viewer who starts at a place in the ring; nil where
// there are no pictures between it and the live edge. mu is held.
func (in *ingest) squeezed(from cursor) *burst {
	if in.lead < 0 || from.s == nil || in.codec == rtp.MP2T { // its clock is inside the payload
		return nil
	}
	b := &burst{end: in.ring.here().offset(), track: in.lead}
	found := false
	in.ring.walk(from, func(ch uint8, pkt []byte) {
		if !b.has(ch) || !rtp.Valid(pkt) {
			return
		}
		if ts := rtp.Timestamp(pkt); !found || int32(ts-b.last) > 0 {
			found, b.last = true, ts
		}
	})
	if !found {
		return nil
	}
	return b
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
		if s.burst != nil && s.at.offset() >= s.burst.end {
			s.burst = nil
		}
		s.at, s.jumped = after, false
		if s.channels[ch/2] < 0 || s.burst != nil && !s.burst.has(ch) {
			continue
		}
		return pkt, ch, s.burst != nil
	}
}

// starting puts the session where it begins to play. The data plane's lock is held.
func (s *session) starting(o *opening) {
	s.at, s.waits, s.after, s.burst = o.at, o.waits, o.after, o.burst
}
