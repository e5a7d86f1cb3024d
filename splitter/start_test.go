package splitter

import (
	"bytes"
	"encoding/binary"
	"testing"
	"time"

	"weir/proxy/rtp"
	"weir/proxy/wire"
)

// A group of pictures and the sound between them, about two seconds of it.
func (c *camera) group(pictures int) {
	now := time.Now()
	for i := range pictures {
		c.picture(i == 0, 4, now)
		c.hear(now)
		c.hear(now)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.flush(now)
}

// asked is a viewer's packet, of track and RTP only.
type asked struct {
	track int
	pkt   []byte
}

// isInstant fails unless packets are an instant start: the pictures of a group, all
// within a few milliseconds before the newest one, then everything as it stands in the
// ring, with nothing missing on any track.
func isInstant(t *testing.T, o *opening, cam *camera, got []asked, pictures, live int) {
	t.Helper()
	newest := cam.ts[0] - 3600*uint32(live) // of the last picture before PLAY
	var burst []asked
	for len(burst) < len(got) && len(burst) < 4*pictures {
		burst = append(burst, got[len(burst)])
	}
	var last uint32
	for i, p := range burst {
		ts := rtp.Timestamp(p.pkt)
		switch before := int32(newest - ts); {
		case p.track != 0:
			t.Fatalf("packet %d of the burst is of track %d", i, p.track)
		case before < 0 || before > 90*20:
			t.Fatalf("packet %d of the burst is %d ticks before the edge", i, before)
		case i > 0 && i%4 != 0 && ts != last:
			t.Fatalf("packet %d of a picture has another time stamp", i)
		case i > 0 && i%4 == 0 && int32(ts-last) <= 0:
			t.Fatalf("picture %d is not behind the one before", i/4)
		}
		last = rtp.Timestamp(p.pkt)
	}
	if last != newest {
		t.Errorf("the burst ends at %d, the newest picture is at %d", last, newest)
	}
	if want := o.tracks[0]; !want.known || want.seq != rtp.Seq(got[0].pkt) || want.ts != rtp.Timestamp(got[0].pkt) {
		t.Errorf("RTP-Info says seq %d, time %d; the first picture has %d and %d", want.seq, want.ts, rtp.Seq(got[0].pkt), rtp.Timestamp(got[0].pkt))
	}
	next := map[int]uint16{0: o.tracks[0].seq, 1: o.tracks[1].seq}
	for i, p := range got {
		if rtp.Seq(p.pkt) != next[p.track] {
			t.Fatalf("packet %d is number %d of track %d, want %d", i, rtp.Seq(p.pkt), p.track, next[p.track])
		}
		next[p.track]++
	}
	for track, seq := range cam.seq[:2] {
		if int(next[track]) != int(seq) {
			t.Errorf("the last of track %d is %d, want %d", track, next[track], seq)
		}
	}
	if last := got[len(got)-1]; rtp.Timestamp(last.pkt) != cam.ts[last.track] {
		t.Errorf("time stamps at the edge are not the origin's")
	}
}

// An instant start over TCP, on the channels of the ring and on others.
func TestInstantStart(t *testing.T) {
	f := func(channels ...int) {
		t.Helper()
		r := newRig(t, line{lag: 5 * time.Second, channels: channels})
		r.conn.s.opt.Start = startInstant
		r.cam.group(50)
		r.play()
		r.cam.group(3)
		const want = 53*4 + 3*2
		var got []asked
		for len(got) < want {
			m, ok := r.next().(*wire.Frame)
			if !ok || m.Channel%2 == 1 {
				continue
			}
			for track, ch := range r.view.channels {
				if ch == int(m.Channel) {
					got = append(got, asked{track, bytes.Clone(m.Payload)})
				}
			}
		}
		isInstant(t, r.open, r.cam, got, 50, 3)
	}
	f(0, 2)
	f(2, 0)
	f(8, 16)
}

// The same over UDP.
func TestInstantStartUDP(t *testing.T) {
	r := newUDPRig(t, "127.0.0.1:0")
	r.s.opt.Start = startInstant
	r.cam.group(50)
	r.play()
	r.cam.group(3)
	var got []asked
	for range 53 * 4 {
		got = append(got, asked{0, get(r.rtp[0], 5*time.Second)})
	}
	for range 3 * 2 {
		got = append(got, asked{1, get(r.rtp[1], 5*time.Second)})
	}
	isInstant(t, r.open, r.cam, got, 50, 3)
}

// A viewer who only has the sound set up starts with it.
func TestInstantStartOfSound(t *testing.T) {
	r := newRig(t, line{lag: 5 * time.Second, channels: []int{-1, 0}})
	r.conn.s.opt.Start = startInstant
	r.cam.group(50)
	r.play()
	r.cam.group(1)
	f, ok := r.next().(*wire.Frame)
	for ok && f.Channel%2 == 1 {
		f, ok = r.next().(*wire.Frame)
	}
	if !ok || f.Channel != 0 || rtp.Seq(f.Payload) != r.open.tracks[1].seq {
		t.Errorf("the first packet is %+v, RTP-Info says %d", f, r.open.tracks[1].seq)
	}
}

// Pictures that are shown in another order than decoded stay in theirs.
func TestSquash(t *testing.T) {
	b := burst{last: 5000} // wraps
	order := []uint32{b.last - 180000, b.last - 172800, b.last - 176400, b.last - 165600, b.last - 169200, b.last - 3600, b.last}
	for _, x := range order {
		for _, y := range order {
			before, after := int32(x-y), int32(b.stamp(x)-b.stamp(y))
			if (before < 0) != (after < 0) || (before == 0) != (after == 0) {
				t.Errorf("pictures %d apart are %d apart in the burst", before, after)
			}
		}
	}
}

// A viewer who starts amid pictures that are shown in another order than decoded gets
// them in theirs: those behind the live edge, too, and no picture has two time stamps.
func TestInstantStartAmidReorderedPictures(t *testing.T) {
	c := newCamera(t, avSDP)
	now := time.Now()
	c.source(now)
	const base = 1000000
	picture := func(shown uint32, kind byte, end bool) {
		c.ts[0] = base + 3600*shown
		c.send(0, now, end, kind, 1, 2, 3)
	}
	picture(0, 0x65, true)
	picture(3, 0x41, true)
	picture(1, 0x01, true)
	picture(2, 0x01, false) // the first half
	o := c.opens(startInstant, now)
	s := &session{feed: &feed{in: c.ingest}, channels: []int{0, 2}}
	s.starting(o)
	c.hear(now)
	picture(2, 0x01, true)
	c.hear(now)
	picture(6, 0x41, true)
	picture(4, 0x01, true)
	c.flushNow(now)
	var shown []uint32
	sound := 0
	for pkt, ch, squeezed := s.next(); pkt != nil; pkt, ch, squeezed = s.next() {
		if ch != 0 {
			sound++
			continue
		}
		ts := rtp.Timestamp(pkt)
		if squeezed {
			ts = s.burst.stamp(ts)
		}
		shown = append(shown, ts)
	}
	if len(shown) != 7 || sound != 2 {
		t.Fatalf("%d packets of pictures and %d of sound came, want 7 and 2", len(shown), sound)
	}
	first, third, ahead, again := shown[2], shown[3], shown[1], shown[4]
	if third != again || int32(third-first) <= 0 || int32(ahead-third) <= 0 {
		t.Errorf("the pictures that are decoded as 2nd, 3rd, 4th and 4th are shown at %d", shown[1:5])
	}
	if shown[5] != base+6*3600 || shown[6] != base+4*3600 {
		t.Errorf("behind the burst pictures are shown at %d", shown[5:])
	}
}

// A clock that is set back at the live edge does not make the burst go on.
func TestBurstEndsWithALeap(t *testing.T) {
	b := burst{end: 100, last: 1 << 31}
	f := func(offset int64, channel uint8, ts uint32, want bool) {
		t.Helper()
		pkt := make([]byte, rtp.HeaderLen)
		pkt[0] = 0x80
		binary.BigEndian.PutUint32(pkt[4:], ts)
		if got := b.over(offset, channel, pkt); got != want {
			t.Errorf("over at %d, channel %d, %d ticks behind: %v", offset, channel, int32(ts-b.last), got)
		}
	}
	f(99, 0, b.last+1, false)
	f(100, 0, b.last, false)
	f(100, 0, b.last-3600, false)
	f(100, 0, b.last+1, true)
	f(100, 1, b.last+1, false)
	f(100, 2, b.last+1, false)
	f(100, 0, b.last-maxReorder-1, true)
}

// Where there are two video tracks, the second begins at its key frame as well.
func TestInstantStartOfTwoVideos(t *testing.T) {
	c := newCamera(t, head+h264+"m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=control:trackID=1\r\n")
	now := time.Now()
	c.source(now)
	pictures := func(n int, key bool) {
		for i := range n {
			kind := byte(0x41)
			if key && i == 0 {
				kind = 0x65
			}
			c.picture(key && i == 0, 1, now)
			c.ts[1] += 3600
			c.send(1, now, true, kind, 1, 2)
		}
	}
	pictures(50, true)
	o := c.opens(startInstant, now)
	s := &session{feed: &feed{in: c.ingest}, channels: []int{0, 2}}
	s.starting(o)
	pictures(10, false)
	c.flushNow(now)
	var n [2]int
	for pkt, ch, squeezed := s.next(); pkt != nil; pkt, ch, squeezed = s.next() {
		if ch%2 == 1 {
			continue
		}
		if track := ch / 2; n[track] == 0 && (rtp.Payload(pkt)[0] != 0x65 || squeezed) {
			t.Errorf("track %d begins with % x, squeezed: %v", track, rtp.Payload(pkt)[:2], squeezed)
		}
		n[ch/2]++
	}
	if n != [2]int{60, 60} {
		t.Errorf("%d packets came, want 60 of each", n)
	}
}

// A start with the next key frame: nothing before it, and from there on everything.
func TestKeyframeStart(t *testing.T) {
	r := newRig(t, line{lag: 5 * time.Second})
	r.conn.s.opt.Start = startKeyframe
	r.cam.group(20)
	r.play()
	first := r.cam.seq[0]
	r.cam.picture(false, 4, time.Now())
	r.cam.group(3)
	for {
		f, ok := r.next().(*wire.Frame)
		if !ok || f.Channel%2 == 1 {
			continue
		}
		if f.Channel != 0 || rtp.Seq(f.Payload) != first+4 {
			t.Errorf("the first packet is number %d on channel %d, want %d on 0", rtp.Seq(f.Payload), f.Channel, first+4)
		}
		break
	}
	if o := r.open.tracks; o[0].known || o[1].known {
		t.Errorf("RTP-Info says what is not known yet: %+v", o)
	}
}

// Where key frames do not come there is nothing to wait for.
func TestKeyframeStartWithoutKeyframes(t *testing.T) {
	r := newRig(t, line{lag: 5 * time.Second})
	r.conn.s.opt.Start = startKeyframe
	late := time.Now().Add(gateLimit + time.Second)
	r.cam.picture(false, 4, late)
	r.play()
	first := r.cam.seq[0]
	r.cam.picture(false, 4, late)
	for {
		f, ok := r.next().(*wire.Frame)
		if ok && f.Channel == 0 {
			if rtp.Seq(f.Payload) != first {
				t.Errorf("the first packet is number %d, want %d", rtp.Seq(f.Payload), first)
			}
			return
		}
	}
}
