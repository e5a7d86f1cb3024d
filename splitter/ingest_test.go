package splitter

import (
	"encoding/binary"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	pion "github.com/pion/rtp"

	"weir/proxy/rtp"
	"weir/proxy/sdp"
)

// Descriptions of what origins have. Track 0 is video where there is any.
const (
	head      = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=live\r\nt=0 0\r\na=control:*\r\n"
	h264      = "m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=fmtp:96 packetization-mode=1\r\na=control:trackID=0\r\n"
	h261      = "m=video 0 RTP/AVP 31\r\na=rtpmap:31 H261/90000\r\na=control:trackID=0\r\n"
	opus      = "m=audio 0 RTP/AVP 97\r\na=rtpmap:97 opus/48000/2\r\na=control:trackID=1\r\n"
	metadata  = "m=application 0 RTP/AVP 107\r\na=rtpmap:107 vnd.onvif.metadata/90000\r\na=control:trackID=2\r\n"
	speaker   = "m=audio 0 RTP/AVP 8\r\na=sendonly\r\na=control:trackID=9\r\n"
	monitor   = "m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=sendonly\r\na=control:trackID=8\r\n"
	avSDP     = head + h264 + opus
	radioSDP  = head + opus
	h261SDP   = head + h261 + opus
	silentSDP = head + h264 + opus + metadata
)

func parseSDP(t testing.TB, text string) *sdp.Session {
	t.Helper()
	s, err := sdp.Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// A camera makes the packets of one life of a source.
type camera struct {
	*ingest
	bursts []time.Time // when something was published; guarded by mu

	ssrc  uint32
	seq   [3]uint16
	ts    [3]uint32
	sound int // the track of sound
}

func newCamera(t testing.TB, text string) *camera {
	t.Helper()
	c := &camera{ssrc: 42, sound: 1}
	c.ingest = newIngest(parseSDP(t, text), "weir", func() { c.bursts = append(c.bursts, time.Now()) })
	if c.lead < 0 {
		c.sound = 0
	}
	t.Cleanup(c.stop)
	return c
}

// again begins another life, with other numbers.
func (c *camera) again(now time.Time) {
	c.ingest.source(now)
	c.ssrc++
	for i := range c.seq {
		c.seq[i] += 12345
		c.ts[i] += 1 << 30
	}
}

// send delivers a packet of a track.
func (c *camera) send(track int, now time.Time, marker bool, payload ...byte) {
	c.packet(track, &pion.Packet{Header: pion.Header{Version: 2, PayloadType: 96, Marker: marker,
		SequenceNumber: c.seq[track], Timestamp: c.ts[track], SSRC: c.ssrc}, Payload: payload}, now)
	c.seq[track]++
}

// picture sends a picture of some packets, 40 ms behind the last one.
func (c *camera) picture(key bool, packets int, now time.Time) {
	c.ts[0] += 3600
	for n := range packets {
		p := make([]byte, 1000)
		p[0] = 0x41
		if key {
			p[0] = 0x65
		}
		c.send(0, now, n == packets-1, p...)
	}
}

// hear sends a packet of sound, 20 ms behind the last one.
func (c *camera) hear(now time.Time) {
	c.ts[c.sound] += 960
	c.send(c.sound, now, true, 1, 2, 3, 4)
}

// A packetSeen is what a reader of the ring finds.
type packetSeen struct {
	ch     uint8
	seq    uint16
	ts     uint32
	ssrc   uint32
	marker bool
	bytes  []byte
}

// seen reads on from at and returns the packets of some channels, all if none is
// named.
func seen(at *cursor, channels ...uint8) (got []packetSeen) {
	for {
		pkt, ch, after := at.packet()
		if pkt == nil {
			return got
		}
		*at = after
		if len(channels) == 0 || slices.Contains(channels, ch) {
			got = append(got, packetSeen{ch, rtp.Seq(pkt), rtp.Timestamp(pkt), rtp.SSRC(pkt), rtp.Marker(pkt), pkt})
		}
	}
}

// The gate of each life opens with its first key frame, or after gateLimit.
func TestGate(t *testing.T) {
	now := time.Now()
	f := func(what, text string, want int, play func(c *camera)) {
		t.Helper()
		c := newCamera(t, text)
		at := from(c.ring)
		c.source(now)
		play(c)
		c.flush(now)
		if got := seen(&at, 0, 2); len(got) != want {
			t.Errorf("%s: %d packets pass, want %d", what, len(got), want)
		}
	}
	f("sound before the key frame", avSDP, 0, func(c *camera) { c.hear(now); c.picture(false, 2, now); c.hear(now) })
	f("a key frame", avSDP, 4, func(c *camera) { c.hear(now); c.picture(true, 2, now); c.hear(now); c.picture(false, 1, now) })
	f("for not quite too long", avSDP, 0, func(c *camera) { c.hear(now.Add(gateLimit)); c.picture(false, 1, now.Add(gateLimit)) })
	f("for too long", avSDP, 2, func(c *camera) { c.hear(now.Add(gateLimit + 1)); c.picture(false, 1, now.Add(gateLimit+1)) })
	f("the next life, where sound goes on at once", avSDP, 4, func(c *camera) {
		c.picture(true, 1, now)
		c.again(now.Add(time.Second))
		c.hear(now.Add(time.Second))
		c.picture(false, 1, now.Add(2*time.Second))
		c.picture(true, 1, now.Add(3*time.Second))
		c.hear(now.Add(3 * time.Second))
	})
	f("no video", radioSDP, 1, func(c *camera) { c.hear(now) })
	f("unknown video", h261SDP, 2, func(c *camera) { c.hear(now); c.picture(false, 1, now) })
	f("a key frame of another track", avSDP, 0, func(c *camera) { c.send(1, now, true, 0x65, 0x88) })
}

// A new viewer starts with all of the last key frame: its parameter sets too.
func TestStartHasParameterSets(t *testing.T) {
	now := time.Now()
	c := newCamera(t, avSDP)
	c.source(now)
	c.picture(true, 3, now)
	c.picture(false, 3, now)
	c.hear(now)
	c.ts[0] += 3600
	first := c.seq[0]
	c.send(0, now, false, 0x09, 0x10) // access unit delimiter
	c.hear(now)
	c.send(0, now, false, 0x67, 0x42) // parameter sets
	c.send(0, now, false, 0x68, 0xce)
	c.send(0, now, true, 0x65, 0x88)
	c.picture(false, 1, now)
	at := c.opens(startBurst, now).at
	got := seen(&at)
	if len(got) != 6 || got[0].ch != 0 || got[0].seq != first {
		t.Errorf("a viewer starts with packet %d of track %d (%d packets), want %d of 0 (6)", got[0].seq, got[0].ch, len(got), first)
	}
}

// No viewer starts at a picture of a source that has gone.
func TestAwayForgetsTheStart(t *testing.T) {
	now := time.Now()
	c := newCamera(t, avSDP)
	c.source(now)
	c.picture(true, 1, now)
	c.picture(false, 1, now)
	c.away()
	if o := c.opens(startBurst, now); !o.waits || o.at != (cursor{}) {
		t.Error("a viewer starts at the old picture")
	}
	c.again(now)
	c.picture(true, 1, now)
	at := c.opens(startBurst, now).at
	if got := seen(&at, 0); len(got) != 1 || got[0].bytes[12] != 0x65 {
		t.Errorf("a viewer starts with %d packets, want the new key frame", len(got))
	}
}

func TestBurstEndsWith(t *testing.T) {
	f := func(what string, want int, play func(c *camera, now time.Time)) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			c := newCamera(t, avSDP)
			c.source(time.Now())
			c.picture(true, 1, time.Now())
			before := c.count()
			play(c, time.Now())
			if got := c.count() - before; got != want {
				t.Errorf("%s: %d bursts, want %d", what, got, want)
			}
		})
	}
	f("the end of a picture", 1, func(c *camera, now time.Time) { c.picture(false, 10, now) })
	f("each end of a picture", 3, func(c *camera, now time.Time) {
		for range 3 {
			c.picture(false, 10, now)
		}
	})
	f("no marker yet", 0, func(c *camera, now time.Time) { c.send(0, now, false, make([]byte, 1000)...) })
	f("the marker of sound", 0, func(c *camera, now time.Time) { c.hear(now); c.hear(now) })
	f("64 KiB", 3, func(c *camera, now time.Time) {
		for range 200 { // 200 KB of one picture
			c.send(0, now, false, make([]byte, 1000)...)
		}
	})
	f("64 KiB and the marker", 4, func(c *camera, now time.Time) { c.picture(true, 200, now) })
	f("the end of a source", 1, func(c *camera, now time.Time) {
		c.send(0, now, false, make([]byte, 1000)...)
		c.again(now)
	})
}

// count returns how often something was published.
func (c *camera) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.bursts)
}

// after returns how long it takes until something more is published.
func (c *camera) after(t *testing.T) time.Duration {
	t.Helper()
	start, n := time.Now(), c.count()
	<-time.After(200 * time.Millisecond)
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.bursts) == n {
		t.Error("nothing was published in 200 ms")
		return 0
	}
	return c.bursts[n].Sub(start)
}

// What no marker publishes, a timer does: after 1.25 times what lies between two
// pictures, or with no picture to wait for.
func TestHold(t *testing.T) {
	f := func(what, text string, between time.Duration, pictures int, want time.Duration) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			c := newCamera(t, text)
			c.source(time.Now())
			for range pictures {
				c.picture(true, 3, time.Now())
				<-time.After(between)
			}
			synctest.Wait()
			c.hear(time.Now())
			if got := c.after(t); (got - want).Abs() > want/50 {
				t.Errorf("%s: published after %v, want %v", what, got, want)
			}
			c.hear(time.Now())
			if got := c.after(t); (got - want).Abs() > want/50 {
				t.Errorf("%s, once more: published after %v, want %v", what, got, want)
			}
		})
	}
	f("the first picture", avSDP, 0, 1, firstHold)
	f("25 pictures a second", avSDP, 40*time.Millisecond, 2, 50*time.Millisecond)
	f("25 pictures a second for long", avSDP, 40*time.Millisecond, 250, 50*time.Millisecond)
	f("50 pictures a second", avSDP, 20*time.Millisecond, 10, 25*time.Millisecond)
	f("5 pictures a second", avSDP, 200*time.Millisecond, 10, maxHold)
	f("a picture every two seconds", avSDP, 2*time.Second, 10, firstHold)
	f("a radio", radioSDP, 0, 0, audioHold)
}

// Sound never costs a write of its own while pictures come.
func TestSoundRidesAlong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCamera(t, avSDP)
		c.source(time.Now())
		at := from(c.ring)
		const pictures = 250
		for n := range pictures {
			c.picture(n%50 == 0, 5, time.Now())
			for _, d := range []time.Duration{1, 20, 19} { // two packets of sound for each picture
				<-time.After(d * time.Millisecond)
				synctest.Wait()
				if d != 19 {
					c.hear(time.Now())
				}
			}
		}
		if n := c.count(); n != pictures {
			t.Errorf("%d pictures went out in %d bursts", pictures, n)
		}
		if n := len(seen(&at, 2)); n != 2*pictures-2 {
			t.Errorf("%d packets of sound are published, want all but the last two of %d", n, 2*pictures)
		}
	})
}

// After stop nothing is published any more, and no timer is left.
func TestStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCamera(t, radioSDP)
		c.hear(time.Now())
		c.stop()
		<-time.After(time.Second)
		synctest.Wait()
		if c.count() != 0 {
			t.Error("published after the end")
		}
	})
}

// Within one life loss upstream stays visible; over all lives the numbers go on,
// and the SSRC is the same.
func TestNumbersGoOn(t *testing.T) {
	now := time.Now()
	c := newCamera(t, avSDP)
	at := from(c.ring)
	c.source(now)
	var want []uint16
	for life := range 4 {
		c.picture(true, 1, now)
		c.seq[0] += 7 // lost on the way to us
		c.picture(false, 2, now)
		c.seq[0] += 60000
		c.picture(false, 1, now)
		if life == 0 {
			want = []uint16{0}
		} else {
			want = append(want, want[len(want)-1]+1)
		}
		n := want[len(want)-1]
		want = append(want, n+8, n+9, n+60010)
		now = now.Add(time.Second)
		c.again(now)
	}
	// A jump of 60000 is one of 5536 back: late, and not the furthest.
	want = want[:0]
	for life := range uint16(4) {
		n := life * 10
		want = append(want, n, n+8, n+9, n+60010)
	}
	ssrc := c.tracks[0].num.SSRC
	for i, p := range seen(&at, 0) {
		if p.seq != want[i] || p.ssrc != ssrc {
			t.Errorf("packet %d has number %d, SSRC %x, want %d, %x", i, p.seq, p.ssrc, want[i], ssrc)
		}
	}
}

// What cannot be passed on is counted, and changes nothing.
func TestUnusablePackets(t *testing.T) {
	now := time.Now()
	f := func(what string, track int, pkt *pion.Packet) {
		t.Helper()
		c := newCamera(t, avSDP)
		at := from(c.ring)
		c.source(now)
		c.picture(true, 1, now)
		c.packet(track, pkt, now)
		c.picture(false, 1, now)
		got := seen(&at)
		if len(got) != 2 || got[1].seq != got[0].seq+1 || got[1].ts-got[0].ts != 3600 || c.lost != 1 {
			t.Errorf("%s: %d packets pass, %d were dropped", what, len(got), c.lost)
		}
	}
	hdr := pion.Header{Version: 2, PayloadType: 96, SequenceNumber: 50000, Timestamp: 1 << 20}
	f("too long for a frame", 0, &pion.Packet{Header: hdr, Payload: make([]byte, 65536-12)})
	f("a track there is none of", 2, &pion.Packet{Header: hdr, Payload: []byte{0x41, 0}})
	padded := hdr
	padded.Padding = true
	f("padding of no length", 0, &pion.Packet{Header: padded, Payload: []byte{0x41, 0}})
	old := hdr
	old.Version = 1
	f("another version", 0, &pion.Packet{Header: old, Payload: []byte{0x41, 0}})
}

func TestLargestPacket(t *testing.T) {
	now := time.Now()
	c := newCamera(t, avSDP)
	at := from(c.ring)
	c.source(now)
	c.send(0, now, true, append([]byte{0x65}, make([]byte, 65535-12-1)...)...)
	if got := seen(&at); len(got) != 1 || len(got[0].bytes) != 65535 || c.lost != 0 {
		t.Errorf("%d packets pass, %d were dropped", len(got), c.lost)
	}
}

// Tracks towards the origin lead nothing, and nobody waits for their reports.
func TestBackChannels(t *testing.T) {
	now := time.Now()
	c := newCamera(t, head+monitor+h264+speaker+opus)
	if c.lead != 1 || len(c.tracks) != 4 || !slices.Equal(c.clock.tracks, []*track{c.tracks[1], c.tracks[3]}) {
		t.Fatalf("the leading track is %d, the clock has %d of %d tracks", c.lead, len(c.clock.tracks), len(c.tracks))
	}
	c.source(now)
	c.seq[1], c.ts[1] = 7, 100
	c.send(1, now, false, 0x65, 1)
	c.sound = 3
	c.packet(3, &pion.Packet{Header: pion.Header{Version: 2, SequenceNumber: 9}, Payload: []byte{1}}, now)
	for _, i := range []int{1, 3} {
		c.senderReport(i, rtp.NTP(now), 100)
	}
	c.send(1, now, true, 0x65, 1)
	if !c.clock.settled {
		t.Error("the clock waits for reports of back channels")
	}
	o := c.opens(startBurst, now)
	for i, want := range []bool{false, true, false, true} {
		if o.tracks[i].known != want {
			t.Errorf("track %d: known is %v", i, o.tracks[i].known)
		}
	}
}

// A picture that never ends must not keep the past alive.
func TestEndlessPicture(t *testing.T) {
	now := time.Now()
	c := newCamera(t, avSDP)
	c.source(now)
	c.send(0, now, true, 0x65, 1)
	for range 3 * maxGroup / 1000 {
		c.send(0, now, true, append([]byte{0x41}, make([]byte, 999)...)...)
	}
	if behind := c.ring.here().offset() - c.ingest.picture.offset(); behind > maxGroup+maxSlab {
		t.Errorf("%d bytes are kept for a picture that has not ended", behind)
	}
}

// Each track is told the number of its first packet, and the time stamps of all
// tracks belong to one moment: that of the first packet there is.
func TestOpens(t *testing.T) {
	now := time.Now()
	c := newCamera(t, silentSDP)
	c.source(now)
	for n := range 60 { // ends with the 10th picture after a key frame
		c.picture(n%50 == 0, 4, now)
		c.hear(now.Add(time.Millisecond))
		c.hear(now.Add(21 * time.Millisecond))
		now = now.Add(40 * time.Millisecond)
	}
	o := c.opens(startBurst, now)
	at := o.at
	first := seen(&at, 0, 2)[0]
	if first.ch != 0 || first.bytes[12] != 0x65 {
		t.Fatalf("a viewer starts with channel %d, % x", first.ch, first.bytes[:16])
	}
	for i, want := range []struct {
		known bool
		seq   uint16
	}{{true, 50 * 4}, {true, 50 * 2}, {}} {
		if got := o.tracks[i]; got.known != want.known || got.seq != want.seq {
			t.Errorf("track %d opens with %+v, want %+v", i, got, want)
		}
	}
	video, sound := c.tracks[0].media(o.tracks[0].ts), c.tracks[1].media(o.tracks[1].ts)
	if d := video.Sub(sound); o.tracks[0].ts != first.ts || d.Abs() > 30*time.Microsecond {
		t.Errorf("video opens at %d, sound %v away; want %d", o.tracks[0].ts, d, first.ts)
	}
}

// A track that has nothing behind the start yet goes on with its next number.
func TestOpensAtTheEdge(t *testing.T) {
	now := time.Now()
	c := newCamera(t, radioSDP)
	c.source(now)
	if o := c.opens(startBurst, now); o.tracks[0].known || o.tracks[0].report != nil {
		t.Errorf("a track without a packet opens with %+v", o.tracks[0])
	}
	for range 30 {
		c.hear(now)
		now = now.Add(20 * time.Millisecond)
	}
	c.flush(now)
	o := c.opens(startBurst, now)
	if o.at != *c.ring.head.Load() || !o.tracks[0].known || o.tracks[0].seq != 30 {
		t.Errorf("at the edge: opens with %+v at %d, want number 30 at %d", o.tracks[0], o.at.offset(), c.ring.head.Load().offset())
	}
	if want := 20 * time.Millisecond; !near(o.tracks[0].ts-c.ts[0], want, 48000, 1) {
		t.Errorf("opens at %d, want %v after %d", o.tracks[0].ts, want, c.ts[0])
	}
	c.hear(now) // not published yet, but behind the start
	if o := c.opens(startBurst, now); o.tracks[0].seq != 30 {
		t.Errorf("opens with number %d, but 30 is behind the start", o.tracks[0].seq)
	}
}

// In a new life a track is not known before it has come again.
func TestOpensInANewLife(t *testing.T) {
	now := time.Now()
	c := newCamera(t, avSDP)
	c.source(now)
	c.picture(true, 1, now)
	c.hear(now)
	c.again(now)
	c.picture(true, 1, now)
	if o := c.opens(startBurst, now); !o.tracks[0].known || o.tracks[1].known {
		t.Errorf("video %+v, sound %+v: want only video known", o.tracks[0], o.tracks[1])
	}
}

// srOf takes a sender report apart.
func srOf(t *testing.T, b []byte) (ssrc uint32, at time.Time, ts uint32) {
	t.Helper()
	if len(b) < 28 || b[1] != 200 {
		t.Fatalf("no sender report: % x", b)
	}
	be := binary.BigEndian
	return be.Uint32(b[4:]), rtp.FromNTP(be.Uint64(b[8:])), be.Uint32(b[16:])
}

// Reports of all tracks go out as soon as the clock has settled, then every five
// seconds, and a viewer is told the same when it starts.
func TestSenderReports(t *testing.T) {
	start := time.Now()
	now := start
	c := newCamera(t, avSDP)
	at := from(c.ring)
	c.source(now)
	var times [2][]time.Duration
	for n := range 400 { // 16 s
		c.picture(n%50 == 0, 1, now)
		c.hear(now)
		c.hear(now)
		for _, p := range seen(&at, 1, 3) {
			i := p.ch / 2
			ssrc, wall, ts := srOf(t, p.bytes)
			if d := wall.Sub(c.tracks[i].media(ts)); ssrc != c.tracks[i].num.SSRC || d.Abs() > 30*time.Microsecond {
				t.Errorf("track %d: report of %08x is %v off", i, ssrc, d)
			}
			times[i] = append(times[i], now.Sub(start))
		}
		o := c.opens(startBurst, now)
		for i, to := range o.tracks {
			if settled := now.Sub(start) >= settleTime; settled != (to.report != nil) {
				t.Errorf("track %d opens with a report of %d bytes after %v", i, len(to.report), now.Sub(start))
			}
		}
		now = now.Add(40 * time.Millisecond)
	}
	for i, got := range times {
		last := -4 * time.Second // the first within one
		for _, at := range append(got, 16*time.Second) {
			if at-last > 5*time.Second {
				t.Errorf("track %d: reports after %v, want the first within 1s and not over 5s between two", i, got)
			}
			last = at
		}
		if len(got) > 4 {
			t.Errorf("track %d: %d reports in 16s", i, len(got))
		}
	}
}

// The origin's relation of the tracks reaches the viewers.
func TestReportsOfTheOrigin(t *testing.T) {
	now := time.Now()
	theirs := time.Date(2005, 6, 7, 8, 9, 10, 0, time.UTC)
	c := newCamera(t, avSDP)
	at := from(c.ring)
	c.source(now)
	c.picture(true, 1, now)
	c.hear(now) // belongs to 200 ms before the picture
	c.senderReport(0, rtp.NTP(theirs), c.ts[0])
	c.senderReport(1, rtp.NTP(theirs), c.ts[1]+9600)
	c.senderReport(1, 0, 77) // says nothing of the time
	c.picture(false, 1, now.Add(40*time.Millisecond))
	got := seen(&at, 1, 3)
	if len(got) != 2 {
		t.Fatalf("%d reports, want 2", len(got))
	}
	_, wall0, ts0 := srOf(t, got[0].bytes)
	_, wall1, ts1 := srOf(t, got[1].bytes)
	picture := wall0.Add(-time.Duration(ts0-(c.ts[0]-3600)) * time.Second / 90000)
	sound := wall1.Add(-time.Duration(int32(ts1-c.ts[1])) * time.Second / 48000)
	if !near(0, picture.Sub(theirs), 90000, 1) || !near(0, sound.Sub(theirs)+200*time.Millisecond, 48000, 1) {
		t.Errorf("the picture is of %v, the sound of %v; want %v and 200ms before", picture, sound, theirs)
	}
}
