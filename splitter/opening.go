package splitter

import (
	"time"

	"weir/proxy/rtp"
)

// An opening is how a session begins to play: where, and what the viewer is told.
// It is dropped then: a cursor that is kept keeps all that follows alive.
type opening struct {
	of     *session
	at     cursor
	waits  bool           // for a key frame: at is nowhere
	after  int64          // bytes of the ring before the last key frame, if it will not do; else -1
	burst  *burst         // nil: as it stands in the ring
	tracks []trackOpening // by track
}

// A trackOpening is for RTP-Info, and the report that relates the track's clock.
type trackOpening struct {
	known  bool // a packet of the track is there
	seq    uint16
	ts     uint32
	report []byte // RTCP; nil while the clock has not settled
}

// reports are those that relate the tracks to each other: with them a player is in
// sync from the first picture on.
func (o *opening) reports() [][]byte {
	all := make([][]byte, len(o.tracks))
	for i, t := range o.tracks {
		all[i] = t.report
	}
	return all
}

// opens finds where a viewer starts, with the sequence number of each track's
// first packet, and the time stamps that belong to the moment at which the first
// packet of all is played.
func (in *ingest) opens(start string, now time.Time) *opening {
	in.mu.Lock()
	defer in.mu.Unlock()
	o := &opening{after: -1, tracks: make([]trackOpening, len(in.tracks))}
	o.at, o.waits = in.ring.start()
	switch {
	case start == startInstant:
		o.burst = in.squeezed()
	case start == startKeyframe && in.ring.key.Load() != nil:
		o.at, o.waits, o.after = cursor{}, true, o.at.offset()
	case start == startEdge && !o.waits:
		o.at = in.ring.here()
	}
	first, leader := in.firsts(o)
	if first.IsZero() {
		first = in.clock.now(now)
	}
	for i, t := range in.tracks {
		if !t.begun {
			continue
		}
		if !o.waits {
			o.tracks[i].fill(t, first, i == leader)
		}
		if in.clock.settled {
			o.tracks[i].report = in.clock.report(t, now).Append(nil, in.cname)
		}
	}
	return o
}

// firsts finds each track's first packet behind the start, and tells when the first of
// all is played (zero: there is none) and whose it is.
func (in *ingest) firsts(o *opening) (first time.Time, leader int) {
	missing := 1 // how many tracks are not found yet
	if o.burst == nil {
		missing = in.clock.begun()
	}
	leader = -1
	in.ring.walk(o.at, func(ch uint8, pkt []byte) (more bool) {
		to := &o.tracks[ch/2]
		if ch%2 == 1 || to.known || o.burst != nil && !o.burst.has(ch) {
			return true
		}
		to.known, to.seq = true, rtp.Seq(pkt)
		if to.ts = rtp.Timestamp(pkt); o.burst != nil {
			to.ts = o.burst.stamp(to.ts)
		}
		if first.IsZero() {
			first, leader = in.tracks[ch/2].media(to.ts), int(ch/2)
		}
		missing--
		return missing > 0
	})
	return first, leader
}

// fill completes a track. One that has nothing behind the start goes on with its
// next number. That of the first packet of all has its time already.
func (to *trackOpening) fill(t *track, first time.Time, leads bool) {
	if !to.known {
		seq, _ := t.num.Last()
		to.known, to.seq = true, seq+1
	}
	if !leads {
		to.ts = t.stamp(first)
	}
}
