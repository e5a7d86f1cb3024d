package splitter

import (
	"sync"
	"sync/atomic"
	"time"

	pion "github.com/pion/rtp"

	"weir/proxy/rtp"
	"weir/proxy/sdp"
	"weir/proxy/udp"
)

// What ends a burst, besides the marker of the leading video track. Every burst
// is one write for each viewer, and only the number of writes matters.
const (
	maxBurst   = 64 << 10                // bytes
	maxHold    = 100 * time.Millisecond  // a packet waits at most
	audioHold  = 40 * time.Millisecond   // with no video to ride along with
	firstHold  = 50 * time.Millisecond   // before the frame interval is known
	gateLimit  = 10 * time.Second        // without a key frame for that long, anything goes
	reportTime = 4500 * time.Millisecond // between two sender reports, if media comes to ride along with
	reportMax  = 5 * time.Second         // at most
)

// An ingest takes the packets of a source, of all its lives one after another,
// numbers them, finds key frames, and publishes bursts.
type ingest struct {
	ring    *ring
	large   atomic.Bool // a packet has come that no viewer over UDP can be sent
	cname   string
	publish func() // called after each publication, with mu held: must not block

	mu     sync.Mutex
	media  []sdp.Media // as viewers were told
	tracks []*track
	clock  mediaClock
	videos int       // tracks
	lead   int       // the first of them, whose key frames and markers count; -1 for none
	codec  rtp.Codec // of lead
	open   bool      // a key frame has come in this life
	since  time.Time // when the present life began to be gated

	told     [][]byte // parameter sets of lead that viewers know from the description
	sets     [][]byte // what the present source says of them
	differs  bool     // or has ever said another thing
	setsTS   uint32   // of the access unit that was looked at, as it came
	setsDone bool     // it has them, or got them

	pictureTS uint32 // of the access unit being received
	picture   cursor // where it begins
	keyed     bool   // it has been marked as a key frame
	newest    uint32 // time stamp of the picture that is shown last

	marker   time.Time     // the last end of a picture
	interval time.Duration // between pictures, smoothed
	timer    *time.Timer   // publishes what no marker has; nil until first used
	armed    bool
	reported time.Time
	reporter *time.Timer // reports what no burst has; nil until the first burst
	over     bool        // nothing comes any more
	bytes    uint64      // of RTP taken in
	lost     uint64      // packets dropped here: too long for a frame, or malformed
}

// newIngest prepares for the tracks of a description, back channels included
// (they stay silent).
func newIngest(s *sdp.Session, cname string, publish func()) *ingest {
	in := &ingest{ring: newRing(), cname: cname, publish: publish, media: s.Media, lead: -1}
	for i, m := range s.Media {
		t := newTrack(m.ClockRate)
		t.data = data(m)
		in.tracks = append(in.tracks, t)
		if m.Type == "video" && !m.BackChannel {
			if in.videos++; in.videos == 1 {
				in.lead, in.codec = i, rtp.CodecOf(m.Encoding)
			} else {
				t.codec = rtp.CodecOf(m.Encoding)
			}
		}
	}
	in.clock.tracks = leadersFirst(s.Media, in.tracks)
	if in.lead >= 0 {
		in.told = rtp.Sets(s.Media[in.lead].Fmtp)
		in.sets = in.told
	}
	in.ring.keyed.Store(in.codec != rtp.Other)
	return in
}

// data reports whether a medium is neither pictures nor sound.
func data(m sdp.Media) bool { return m.Type != "video" && m.Type != "audio" }

// leadersFirst are the tracks that come from the source, pictures before sound before data.
func leadersFirst(media []sdp.Media, tracks []*track) (sorted []*track) {
	for _, kind := range []string{"video", "audio", ""} {
		for i, m := range media {
			if !m.BackChannel && (m.Type == kind || kind == "" && data(m)) {
				sorted = append(sorted, tracks[i])
			}
		}
	}
	return sorted
}

// source tells that the next packets come from another life of the source.
// Viewers wait for its first key frame; the old picture is no place to start.
func (in *ingest) source(now time.Time) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.flush(now)
	in.clock.source()
	in.open = false
	in.since = now
	in.keyed, in.setsDone = false, false
	in.picture = cursor{}
	in.ring.forget()
}

// away tells that the source is gone: nobody shall start at a picture that has
// ended.
func (in *ingest) away() {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.ring.forget()
}

// packet takes one RTP packet of a track. pkt is not kept.
func (in *ingest) packet(i int, pkt *pion.Packet, now time.Time) {
	size := pkt.MarshalSize()
	in.mu.Lock()
	defer in.mu.Unlock()
	padless := pkt.Padding && size == pkt.Header.MarshalSize()+len(pkt.Payload) // says it is padded, by nothing
	if size > 0xffff || i >= len(in.tracks) || pkt.Version != 2 || padless {
		in.lost++
		return
	}
	if t := in.tracks[i].types; t != nil {
		kind, ok := t.Of(pkt.PayloadType)
		if !ok {
			return // viewers were told of no such thing
		}
		pkt.PayloadType = kind
	}
	if size > udp.MaxPayload {
		in.large.Store(true)
	}
	key := i == in.lead && in.codec.IsKey(pkt.Payload)
	if !in.passes(i, pkt.Payload, key, now) {
		return
	}
	if i == in.lead {
		in.prepend(pkt, now)
	}
	in.store(i, pkt, key, now)
	in.maybeFlush(i, pkt.Marker, now)
}

// store numbers a packet and puts it into the ring.
func (in *ingest) store(i int, pkt *pion.Packet, key bool, now time.Time) {
	size := pkt.MarshalSize()
	at := in.ring.here()
	b := in.ring.append(uint8(2*i), size)
	if _, err := pkt.MarshalTo(b); err != nil {
		in.lost++ // cannot be: the size was asked for; the room holds zeros then
	}
	t := in.tracks[i]
	if !t.begun {
		in.clock.begin(t, b, now)
	} else if now.Sub(t.arrived) > long {
		t.breaks(rtp.Timestamp(b), in.clock.now(now))
	}
	t.num.Apply(b)
	t.pace.Note(rtp.Timestamp(b))
	t.late.note(now.Sub(t.media(rtp.Timestamp(b))), now)
	t.arrived = now
	t.packets++
	t.octets += uint32(len(pkt.Payload))
	in.bytes += uint64(size)
	if i == in.lead {
		in.frame(b, pkt.Payload, at, key, now)
	}
}

// passes is the gate of a new life: it opens with the first key frame, that of a
// transport stream with its first tables: many never say where decoding may begin,
// and some have no pictures. Sound of its own track goes on before it, for those who
// have heard some already.
func (in *ingest) passes(i int, payload []byte, key bool, now time.Time) bool {
	if !in.open && (in.codec == rtp.Other || key || i == in.lead && in.codec.IsPrelude(payload) || now.Sub(in.since) > gateLimit) {
		in.open = true
		in.ring.keyed.Store(key) // else viewers would wait for what does not come
	}
	if t := in.tracks[i]; t.codec != rtp.Other && !t.open { // other pictures wait for their own
		t.open = t.codec.IsKey(payload) || now.Sub(in.since) > gateLimit
		if !t.open {
			return false
		}
	}
	return in.open || i != in.lead && in.tracks[in.lead].num.Started()
}

// frame follows the access units of the leading track: a run of packets with one
// time stamp. The parameter sets of a key frame stand before it in the same unit.
func (in *ingest) frame(pkt, payload []byte, at cursor, key bool, now time.Time) {
	ts := rtp.Timestamp(pkt)
	begins, tables := ts != in.pictureTS, in.codec.IsPrelude(payload)
	if in.codec == rtp.MP2T { // time stamps say when a packet was sent: it begins at the tables
		begins = tables || key && in.keyed
	}
	if d := int32(ts - in.newest); in.picture.s == nil || d > 0 || d < -maxReorder {
		in.newest = ts
	}
	// A unit that does not end would keep all that follows it alive.
	if begins || in.picture.s == nil || at.offset()-in.picture.offset() > maxGroup {
		in.pictureTS, in.picture, in.keyed = ts, at, false
	}
	if key && !in.keyed {
		in.keyed = true
		in.ring.mark(in.picture, now)
	} else if tables && !in.ring.keyed.Load() {
		in.ring.begin(at, now)
	}
}

// maybeFlush publishes at the end of a picture and when enough has gathered;
// else a timer will. Audio waits for the video's burst.
func (in *ingest) maybeFlush(i int, marker bool, now time.Time) {
	if i == in.lead && marker {
		in.pace(now)
		in.flush(now)
		return
	}
	if in.ring.burst >= maxBurst {
		in.flush(now)
		return
	}
	if in.armed {
		return
	}
	in.armed = true
	if in.timer == nil {
		in.timer = time.AfterFunc(in.hold(), in.expire)
	} else {
		in.timer.Reset(in.hold())
	}
}

// pace learns the interval between pictures.
func (in *ingest) pace(now time.Time) {
	if d := now.Sub(in.marker); !in.marker.IsZero() && d < time.Second {
		if in.interval == 0 {
			in.interval = d
		}
		in.interval += (d - in.interval) / 8
	}
	in.marker = now
}

func (in *ingest) hold() time.Duration {
	switch {
	case in.lead < 0:
		return audioHold
	case in.interval == 0:
		return firstHold
	}
	return min(max(in.interval*5/4, 5*time.Millisecond), maxHold)
}

func (in *ingest) expire() {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.armed {
		in.flush(time.Now())
	}
}

func (in *ingest) flush(now time.Time) {
	in.armed = false
	if in.timer != nil {
		in.timer.Stop()
	}
	if in.ring.burst == 0 {
		return
	}
	in.maybeReport(now)
	in.ring.publish(now)
	in.publish()
}

// senderReport notes what the origin says of a track's clock.
func (in *ingest) senderReport(i int, ntp uint64, rtpTime uint32) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if t := in.tracks[i]; ntp != 0 {
		t.srTime, t.srRTP, t.srNew = rtp.FromNTP(ntp), rtpTime, true
	}
}

// stop ends the timers; no packets may come any more.
func (in *ingest) stop() {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.over = true
	in.ring.forget()
	for _, t := range []*time.Timer{in.timer, in.reporter} {
		if t != nil {
			t.Stop()
		}
	}
	in.armed = false
}
