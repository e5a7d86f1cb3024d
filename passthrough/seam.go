package passthrough

import (
	"encoding/binary"
	"slices"
	"sync/atomic"
	"time"

	"weir/proxy/rtp"
)

const (
	// gateLimit is how long another origin's pictures wait for one that can be
	// decoded. After that anything goes.
	gateLimit = 10 * time.Second
	// plausible bounds how far apart an origin's own word may put two tracks that
	// arrive together; some have a broken clock.
	plausible = 5 * time.Second
	// clockError is how far apart two origins' clocks may be and count as the same.
	clockError = 500 * time.Millisecond
	// slewStep is by how much one sender report may go back or forth against the one
	// before.
	slewStep = 2500 * time.Microsecond
	// maxPush is by how much the gap may grow for the sake of one track that had come
	// further than the others.
	maxPush = time.Second
)

// A seam joins what an origin sends of a track to what the viewer has had of the
// one before: one SSRC, numbers that go on, time stamps that go on by as much as
// time has passed. It belongs to the goroutine of the leg, but for back.
type seam struct {
	all   *seams
	rate  int // ticks per second
	kind  int // its payload type
	codec rtp.Codec
	lead  bool // waits for a picture that can be decoded
	num   rtp.Numbering
	pace  *rtp.Pace // of what the viewer has
	in    uint32    // the origin's SSRC

	begun bool // in the life of the present origin
	heard bool // in is its SSRC
	open  bool // the gate
	lone  bool // it begins while the others go on
	since time.Time

	arrived  time.Time // the last packet
	anchor   time.Time // when the time stamp anchored was, by the clock of all tracks
	anchored uint32
	info     ref // by the answer to PLAY, the origin's time stamps
	report   ref // by its last sender report, likewise
	line     ref // by the last report that the viewer has, as he numbers

	sets     [][]byte // what the origin's description says of pictures, once one has said what the viewer does not know
	setsTS   uint32   // of the picture that was looked at, as it came
	setsDone bool     // it has them, or got them

	shift atomic.Pointer[rtp.Shift] // for back; nil before the first packet
}

// reset has the track wait for the first packet of another source.
func (j *seam) reset(now time.Time) {
	j.begun, j.heard, j.open, j.lone, j.since, j.setsDone = false, false, !j.lead, false, now, false
}

// described tells what the next origin says of the pictures. Once one has said
// another thing than the viewer was told, he is told in band for good.
func (j *seam) described(told, fmtp string) {
	sets := rtp.Sets(fmtp)
	if j.sets != nil || !slices.EqualFunc(sets, rtp.Sets(told), slices.Equal[[]byte]) {
		j.sets = sets
	}
}

// settle anchors the track's clock where its origin has left it.
func (j *seam) settle() {
	_, last := j.num.Last()
	if j.begun || j.anchor.IsZero() { // else nothing has come since
		j.anchor, j.anchored = j.arrived, last
	}
}

// time is a difference of time stamps, within 2^31 either way.
func (j *seam) time(n uint32) time.Duration {
	return time.Duration(int64(int32(n)) * int64(time.Second) / int64(j.rate))
}

// stamp is the outgoing time stamp of a moment near the anchor.
func (j *seam) stamp(at time.Time) uint32 {
	d := at.Sub(j.anchor)
	sec, rest := int64(d/time.Second), int64(d%time.Second)
	return j.anchored + uint32(sec*int64(j.rate)+rest*int64(j.rate)/int64(time.Second))
}

// pass takes a packet of the origin's, and numbers it in place. What is to go
// ahead of it is returned; ok is false if it is not to go.
func (j *seam) pass(pkt []byte, now time.Time) (ahead [][]byte, ok bool) {
	if !rtp.Valid(pkt) {
		return nil, false
	}
	if j.begun && j.heard && rtp.SSRC(pkt) != j.in { // its encoder was replaced
		if int(pkt[1]&0x7f) != j.kind { // it only repairs what may be missing
			return nil, false
		}
		j.settle()
		j.reset(now)
		j.lone, j.info, j.report = true, ref{}, ref{}
	}
	key := j.lead && j.codec.IsKey(rtp.Payload(pkt))
	if !j.open && !key && now.Sub(j.since) < gateLimit {
		return nil, false
	}
	j.open = true
	if !j.begun {
		j.begin(rtp.Seq(pkt), rtp.Timestamp(pkt), now)
	}
	if !j.heard {
		j.heard, j.in = true, rtp.SSRC(pkt)
		if j.num.SSRC == 0 { // the viewer knows of none yet
			j.num.SSRC = j.in
		}
		j.tell()
	}
	if key {
		ahead = j.prepend(pkt)
	}
	j.num.Apply(pkt)
	j.arrived = now
	return ahead, true
}

// begin numbers the first packet of an origin so that all tracks go on after the
// same gap: as long as it was, but no track begins before its last packet is over.
func (j *seam) begin(seq uint16, inTS uint32, now time.Time) {
	push := &j.all.push
	if j.lone {
		push = new(time.Duration)
	}
	at := now.Add(*push)
	if said, ok := j.said(inTS); ok && said.Sub(now).Abs() < plausible {
		at = said
	}
	ts := j.stamp(at)
	if d := int32(j.next() - ts); d > 0 {
		*push = min(*push+j.time(uint32(d)), maxPush)
		ts += uint32(d)
	}
	j.num.Begin(seq, inTS, ts)
	j.begun = true
}

// next is the least time stamp that may follow what the viewer has. Text and other data
// have steps that are no lengths.
func (j *seam) next() uint32 {
	_, last := j.num.Last()
	return last + min(j.pace.Step(), uint32(j.rate/2))
}

// said is when a time stamp of the origin's is, by what that has said of this
// track and of one that has begun: one that starts with the past of a track and
// the present of another relates them by that only.
func (j *seam) said(ts uint32) (time.Time, bool) {
	for _, o := range j.all.list {
		if o == j || !o.begun {
			continue
		}
		for _, pair := range [][2]ref{{j.report, o.report}, {j.info, o.info}} {
			if mine, theirs := pair[0], pair[1]; mine.known && theirs.known {
				at := o.anchor.Add(o.time(o.num.Out(theirs.ts) - o.anchored))
				return at.Add(mine.at.Sub(theirs.at)).Add(j.time(ts - mine.ts)), true
			}
		}
	}
	return time.Time{}, false
}

// tell makes known to back how the origin numbers.
func (j *seam) tell() {
	s := j.num.Shift(j.in)
	s.Wall = j.all.wall
	j.shift.Store(&s)
}

// prepend returns the parameter sets that go ahead of a picture that can be
// decoded but comes without. They take numbers of their own, so what follows moves
// on by as many (RFC 6184 §8.4, RFC 7798 §7.1).
func (j *seam) prepend(pkt []byte) (ahead [][]byte) {
	ts, p := rtp.Timestamp(pkt), rtp.Payload(pkt)
	if !j.setsDone || ts != j.setsTS {
		j.setsTS, j.setsDone = ts, j.codec.HasSets(p)
	}
	if j.setsDone || len(j.sets) == 0 {
		return nil
	}
	j.setsDone = true
	n := uint16(len(j.sets))
	j.num.Insert(n)
	j.tell()
	for i, set := range j.sets {
		b := make([]byte, rtp.HeaderLen, rtp.HeaderLen+len(set))
		b[0], b[1] = 0x80, pkt[1]&0x7f
		binary.BigEndian.PutUint16(b[2:], rtp.Seq(pkt)-n+uint16(i))
		binary.BigEndian.PutUint32(b[4:], ts)
		j.num.Apply(b)
		ahead = append(ahead, append(b, set...))
	}
	return ahead
}

// reports takes a compound RTCP packet of the origin's and changes it in place; ok
// is false if it is not to go: before the first packet nobody knows what it means.
func (j *seam) reports(pkt []byte) (ok bool) {
	ssrc, ntp, ts, is := rtp.Report(pkt)
	if is && (!j.heard || ssrc == j.in) {
		j.report = ref{true, rtp.FromNTP(ntp), ts}
	}
	if !j.heard {
		return false
	}
	if is && ssrc == j.in {
		j.tie(rtp.FromNTP(ntp), j.num.Out(ts))
	}
	j.shift.Load().Forth(pkt)
	return true
}

// back changes what the viewer says of a track as its origin is to hear it. Any
// goroutine may call it.
func (j *seam) back(kind byte, pkt []byte) {
	if j == nil || kind != 1 {
		return
	}
	if s := j.shift.Load(); s != nil {
		s.Back(pkt)
	}
}
