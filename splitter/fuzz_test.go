package splitter

import (
	"encoding/binary"
	"slices"
	"testing"
	"time"

	"github.com/bluenviron/gortsplib/v4/pkg/base"
	"github.com/bluenviron/gortsplib/v4/pkg/headers"
	pion "github.com/pion/rtp"

	"weir/proxy/rtp"
)

// FuzzIngest: whatever a source sends, in whatever order, the ring holds whole
// frames in order, and every viewer finds a start.
func FuzzIngest(f *testing.F) {
	f.Add([]byte("\x00\x00\x20\x65\x00\x02\x20\x01\x03\x00\x00\x00\x10\x41"))
	f.Add([]byte{0, 0, 40, 0xb0, 96, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0xbe, 0xde, 0, 1, 0x10, 1, 0, 0, 0x65, 1, 4, 9, 2, 3, 5, 3})
	f.Add(slices.Repeat([]byte{0, 2, 200, 0x80, 224, 0, 1, 255, 255, 255, 255, 0, 0, 0, 0, 0x65, 6, 1, 1, 2, 3, 4, 5, 6, 7, 8}, 30))
	f.Fuzz(func(t *testing.T, script []byte) {
		c := newCamera(t, silentSDP)
		first := from(c.ring)
		at, now := first, time.Now()
		c.source(now)
		for len(script) >= 3 {
			op, track, n := script[0]%8, int(script[1]%4), int(script[2])
			script = script[3:]
			arg := script[:min(n, len(script))]
			script = script[len(arg):]
			now = now.Add(time.Duration(n*n) * time.Millisecond)
			fuzzStep(c, op, track, arg, now)
			checkOpening(t, c, now)
		}
		c.flush(now)
		checkRing(t, c, first, at)
	})
}

func fuzzStep(c *camera, op byte, track int, arg []byte, now time.Time) {
	switch op {
	case 4:
		c.again(now)
	case 5:
		c.away()
	case 6:
		if len(arg) >= 8 {
			c.senderReport(track%3, binary.BigEndian.Uint64(arg), uint32(len(arg))<<28)
		}
	case 7:
		c.expire()
	case 3: // a packet that holds together
		c.picture(len(arg)%2 == 0, 1+len(arg)/8, now)
	default:
		var pkt pion.Packet
		if pkt.Unmarshal(slices.Clone(arg)) == nil {
			c.packet(track, &pkt, now)
		}
	}
}

// checkOpening: a viewer starts within the ring, and is told the number of the
// first packet that it gets.
func checkOpening(t *testing.T, c *camera, now time.Time) {
	t.Helper()
	o := c.opens(startBurst, now)
	if o.waits {
		if o.at != (cursor{}) {
			t.Fatal("a viewer who waits is somewhere")
		}
		return
	}
	if at := o.at.offset(); at > c.ring.head.Load().offset() || at < 0 {
		t.Fatalf("a viewer starts at %d of %d", at, c.ring.head.Load().offset())
	}
	at := o.at
	for _, p := range seen(&at) {
		to := &o.tracks[p.ch/2]
		if p.ch%2 == 0 && to.known {
			if to.seq != p.seq {
				t.Fatalf("track %d starts with %d, but was told %d", p.ch/2, p.seq, to.seq)
			}
			to.known = false
		}
	}
}

// checkRing: two ways of reading agree, and all packets of a track have its SSRC.
func checkRing(t *testing.T, c *camera, byRun, byPacket cursor) {
	t.Helper()
	var stream []byte
	for {
		b, after := byRun.run(1500)
		if byRun = after; len(b) == 0 {
			break
		}
		stream = append(stream, b...)
	}
	for {
		pkt, ch, after := byPacket.packet()
		if byPacket = after; pkt == nil {
			break
		}
		if n := len(pkt) + headerLen; len(stream) < n || stream[0] != '$' || stream[1] != ch ||
			int(binary.BigEndian.Uint16(stream[2:])) != len(pkt) || string(stream[headerLen:n]) != string(pkt) {
			t.Fatalf("frame of %d bytes on channel %d reads as % x", len(pkt), ch, stream[:min(len(stream), 16)])
		}
		stream = stream[len(pkt)+headerLen:]
		if want := c.tracks[ch/2].num.SSRC; ch%2 == 0 && (!rtp.Valid(pkt) || rtp.SSRC(pkt) != want) {
			t.Fatalf("packet % x of track %d, want SSRC %08x", pkt[:min(12, len(pkt))], ch/2, want)
		}
	}
	if len(stream) != 0 || byRun.offset() != byPacket.offset() {
		t.Fatalf("%d bytes are left, at %d and %d", len(stream), byRun.offset(), byPacket.offset())
	}
}

// FuzzTransportHeader: whatever a viewer offers, gortsplib never finds an address
// in it: it would ask the resolver about the one, and offer to send to the other.
func FuzzTransportHeader(f *testing.F) {
	f.Add("RTP/AVP/TCP;unicast;interleaved=0-1,RTP/AVP;unicast;client_port=4000-4001;mode=\"PLAY\"")
	f.Add("RTP/AVP;source=127.0.0.1;destination=127.0.0.2;unicast")
	f.Add("RTP/AVP;mode=\"play\"source=127.0.0.1;client_port=4000-4001")
	f.Add("RTP/AVP;x=\";\"destination=127.0.0.1,RTP/AVP; source=127.0.0.1")
	f.Add("RTP/AVP;;;=,=\",\";source=")
	f.Fuzz(func(t *testing.T, v string) {
		out := plainTransport(v)
		var offers headers.Transports
		if offers.Unmarshal(base.HeaderValue{out}) != nil {
			return
		}
		for _, o := range offers {
			if o.Source != nil || o.Destination != nil {
				t.Fatalf("plainTransport(%q) = %q: source %v, destination %v", v, out, o.Source, o.Destination)
			}
		}
		if again := plainTransport(out); again != out {
			t.Fatalf("plainTransport(%q) = %q, and of that %q", v, out, again)
		}
	})
}
