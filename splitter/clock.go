package splitter

import (
	"crypto/rand"
	"encoding/binary"
	"time"

	"weir/proxy/rtp"
	"weir/proxy/sdp"
)

// settleTime is how long a feed waits for the origin's sender reports before it
// makes its own from the times of arrival. A feed never changes over later. The
// first viewer is to have reports within a second of PLAY.
const settleTime = 900 * time.Millisecond

// plausible bounds how far apart the origin's reports may put two tracks that
// arrive together; cameras with a broken clock put them hours apart.
const plausible = 5 * time.Second

// A track is one track's numbering, and its relation to the media clock of the
// feed. It belongs to the feed's ingest and is guarded by its lock.
type track struct {
	num   rtp.Numbering
	pace  rtp.Pace
	rate  int        // ticks per second
	data  bool       // neither pictures nor sound
	codec rtp.Codec  // of pictures beside the leading ones
	open  bool       // one that can be decoded has come of these, in the present life
	types *sdp.Types // of the present source, for viewers; nil: as they are

	at time.Time // media time of time stamp ts
	ts uint32

	arrived         time.Time // when the last packet came
	packets, octets uint32    // that went into the ring, as reports count
	begun           bool      // in the present life of the source

	srTime time.Time // the origin's last report in this life; zero for none
	srRTP  uint32    // as the origin numbers
	srNew  bool      // not looked at since it came
	late   lateness
}

func newTrack(rate int) *track {
	if rate <= 0 {
		rate = 90000 // only differences are off where the description does not say
	}
	var b [4]byte
	rand.Read(b[:]) //nolint:errcheck // never fails
	return &track{rate: rate, num: rtp.Numbering{SSRC: binary.BigEndian.Uint32(b[:])}}
}

// media is the media time of an outgoing time stamp near the anchor.
func (t *track) media(ts uint32) time.Time { return t.at.Add(t.ticks(ts - t.ts)) }

// ticks is a difference of time stamps, within 2^31 either way.
func (t *track) ticks(n uint32) time.Duration {
	return time.Duration(int64(int32(n)) * int64(time.Second) / int64(t.rate))
}

// stamp is the inverse of media.
func (t *track) stamp(at time.Time) uint32 {
	d := at.Sub(t.at)
	sec, rest := int64(d/time.Second), int64(d%time.Second)
	return t.ts + uint32(sec*int64(t.rate)+rest*int64(t.rate)/int64(time.Second))
}

// anchor moves the anchor to the last time stamp: differences must stay below
// 2^31 ticks, six hours of video.
func (t *track) anchor() {
	_, last := t.num.Last()
	t.at, t.ts = t.media(last), last
}

// next is the least time stamp that may follow what has gone out. Steps of text and other
// data are no lengths.
func (t *track) next() uint32 {
	_, last := t.num.Last()
	return last + min(t.pace.Step(), uint32(t.rate/2))
}

// long is a silence after which time stamps may have gone round.
const long = time.Hour

// breaks tells that a packet comes after a long silence: its time is the clock's.
func (t *track) breaks(inTS uint32, at time.Time) {
	t.at, t.ts = at, t.num.Out(inTS)
	t.num.Late(t.ts)
}

// A mediaClock is the one clock of all tracks of a feed, over all lives of its
// source. Media time runs with the wall clock of arrival, or with the origin's
// clock if its reports came in time.
type mediaClock struct {
	tracks  []*track  // those that lead first: pictures, then sound
	arrival time.Time // of the present life's first packet; zero before it
	media   time.Time // its media time
	settled bool      // reports may go out
	theirs  bool      // media time is the origin's
	lives   int

	shift   time.Duration // media time minus the origin's clock, in the present life
	shifted int           // the life that shift is of
	ties    [8]tie        // newest first
}

// source tells that another life of the source begins.
func (c *mediaClock) source() {
	c.arrival = time.Time{}
	for _, t := range c.tracks {
		t.begun, t.open = false, false
		t.srTime, t.srNew = time.Time{}, false
		t.late = lateness{}
	}
}

// maxPush is by how much a gap may grow for the sake of one track that had come further
// than the others.
const maxPush = time.Second

// begin numbers the first packet of a track in this life so that all tracks go
// on after the same gap, and none before its last packet is over.
func (c *mediaClock) begin(t *track, pkt []byte, now time.Time) {
	if c.arrival.IsZero() {
		c.arrival, c.media = now, c.now(now)
		c.lives++
	}
	at := c.media.Add(now.Sub(c.arrival))
	if c.leads() && now.Sub(c.arrival) > aged {
		at = c.now(now)
	}
	if said, ok := c.said(t, rtp.Timestamp(pkt)); ok && said.Sub(at).Abs() < plausible {
		at = said
	}
	ts := rtp.Timestamp(pkt)
	if t.num.Started() {
		ts = t.stamp(at)
		if d := int32(t.next() - ts); d > 0 && !(t.data && now.Sub(t.arrived) > long) {
			c.media = c.media.Add(min(t.ticks(uint32(d)), maxPush))
			ts += uint32(d)
		}
	} else {
		t.at, t.ts = at, ts
	}
	t.num.Begin(rtp.Seq(pkt), rtp.Timestamp(pkt), ts)
	t.begun = true
}

// said is the media time of a track's time stamp by what the origin has reported
// of it and of one that has begun: a source that starts with the past of one track
// and the present of another relates them by its reports only.
func (c *mediaClock) said(t *track, inTS uint32) (time.Time, bool) {
	for _, o := range c.tracks {
		if o == t || !o.begun || o.srTime.IsZero() || t.srTime.IsZero() {
			continue
		}
		ntp := t.srTime.Add(t.ticks(inTS - t.srRTP))
		return o.media(o.num.Out(o.srRTP)).Add(ntp.Sub(o.srTime)), true
	}
	return time.Time{}, false
}

// aged is how old a life is whose media time may have drifted away from the wall clock's:
// what begins then begins where the others are by now.
const aged = time.Minute

// leads reports whether the track that media time is taken from has begun in this life.
func (c *mediaClock) leads() bool {
	t := c.leader()
	return t != nil && t.begun
}

// leader is the track that media time is taken from, nil before the first packet.
func (c *mediaClock) leader() *track {
	for _, t := range c.tracks {
		if t.num.Started() {
			return t
		}
	}
	return nil
}

// begun is how many tracks there have been packets of in the present life.
func (c *mediaClock) begun() (n int) {
	for _, t := range c.tracks {
		if t.begun {
			n++
		}
	}
	return n
}

// now is the media time: that of the leading track's last packet, and the time since then
// by the wall clock. Before the first packet it is the wall clock itself.
func (c *mediaClock) now(now time.Time) time.Time {
	t := c.leader()
	if t == nil {
		return now
	}
	_, last := t.num.Last()
	return t.media(last).Add(now.Sub(t.arrived))
}

// settle decides once whether the origin's reports relate the tracks, or their
// arrival does. It reports whether reports may go out.
func (c *mediaClock) settle(now time.Time) bool {
	if c.settled || c.arrival.IsZero() {
		return c.settled
	}
	late := c.lives > 1 || now.Sub(c.arrival) >= settleTime
	if c.lives == 1 && c.reported(late) {
		c.adopt()
		c.settled, c.theirs, c.shifted = true, true, 1
	}
	c.settled = c.settled || late
	return c.settled
}

// reported reports whether the origin has related all tracks, plausibly. When it
// is late, those that are silent so far (metadata may be so for ever) do not count.
func (c *mediaClock) reported(late bool) bool {
	var first time.Duration
	related := 0
	for _, t := range c.tracks {
		if late && !t.begun {
			continue
		}
		if t.srTime.IsZero() || !t.begun {
			return false
		}
		off := t.srTime.Sub(t.media(t.num.Out(t.srRTP)))
		if related++; related == 1 {
			first = off
		}
		if d := off - first; d > plausible || d < -plausible {
			return false
		}
	}
	return related > 0
}

// adopt moves all anchors, and media time with them, to the origin's reports.
func (c *mediaClock) adopt() {
	for _, t := range c.tracks {
		if !t.begun {
			continue
		}
		ref := t.num.Out(t.srRTP)
		shift := t.srTime.Sub(t.media(ref))
		t.at, t.ts = t.srTime, ref
		if !c.settled {
			c.media, c.settled = c.media.Add(shift), true
		}
	}
}

// A tie is media time minus the wall clock's, as reports have it from a moment on.
type tie struct {
	since time.Time // zero for none
	off   time.Duration
}

// tie relates media time to the wall clock for the reports until the next tie. It
// may move: what a report relates are media time and time stamps.
func (c *mediaClock) tie(now time.Time) {
	copy(c.ties[1:], c.ties[:])
	c.ties[0] = tie{now, c.now(now).Sub(now)}
}

// reportAt is the media time that a report made now is of.
func (c *mediaClock) reportAt(now time.Time) time.Time {
	if c.ties[0].since.IsZero() {
		return c.now(now)
	}
	return now.Add(c.ties[0].off)
}

// sent is when the report went out that a receiver names by last, false if that
// was none of the latest.
func (c *mediaClock) sent(last uint32, now time.Time) (time.Time, bool) {
	until := now
	for _, t := range c.ties {
		if t.since.IsZero() {
			break
		}
		at := now.Add(-rtp.Since(last, now.Add(t.off)))
		if !at.Before(t.since.Add(-time.Millisecond)) && !at.After(until.Add(time.Millisecond)) {
			return at, true
		}
		until = t.since
	}
	return time.Time{}, false
}

// report makes a sender report of a track as of now.
func (c *mediaClock) report(t *track, now time.Time) rtp.SenderReport {
	t.anchor()
	at := c.reportAt(now)
	return rtp.SenderReport{SSRC: t.num.SSRC, Time: at, RTP: t.stamp(at), Packets: t.packets, Octets: t.octets}
}
