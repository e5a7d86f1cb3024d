package splitter

import (
	"encoding/binary"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bluenviron/gortsplib/v4/pkg/base"
	"github.com/bluenviron/gortsplib/v4/pkg/headers"
	pion "github.com/pion/rtp"

	"weir/proxy"
	"weir/proxy/rtp"
	"weir/proxy/wire"
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

// FuzzTransportHeader: whatever a viewer offers, what is taken of it is what gortsplib
// reads, with numbers that can be sent to, and without addresses: it would ask the
// resolver about the one, and offer to send to the other.
func FuzzTransportHeader(f *testing.F) {
	f.Add("RTP/AVP/TCP;unicast;interleaved=0-1,RTP/AVP;unicast;client_port=4000-4001;mode=\"PLAY\"", true)
	f.Add("RTP/AVP;source=127.0.0.1;destination=127.0.0.2;unicast;client_port=4000", true)
	f.Add("RTP/AVP;mode=\"play\"source=127.0.0.1;client_port=4000-4001", true)
	f.Add("RTP/AVP;x=\";\"destination=127.0.0.1,RTP/AVP/TCP; source=127.0.0.1", false)
	f.Add("RTP/AVP/TCP;;;=,=\",\";source=;interleaved=255", false)
	f.Fuzz(func(t *testing.T, v string, udp bool) {
		o, err := choice{udp: udp, tcp: !udp, used: []int{0, -1, 7}}.take(v)
		if err != nil {
			if r := proxy.Refused(err).Reason; r != proxy.BadRequest && r != proxy.BadTransport {
				t.Fatalf("%q: %v", v, err)
			}
			return
		}
		var th headers.Transport
		if err := th.Unmarshal(base.HeaderValue{o.String()}); err != nil {
			t.Fatalf("%q: gortsplib reads %q: %v", v, o, err)
		}
		pair, low, high := th.InterleavedIDs, 0, 255
		if udp {
			pair, low, high = th.ClientPorts, 1024, 65535
		}
		if o.udp != udp || (th.Protocol == headers.TransportProtocolUDP) != udp || th.Source != nil || th.Destination != nil || pair == nil ||
			pair[0] != o.first || pair[1] != o.second || min(o.first, o.second) < low || max(o.first, o.second) > high || o.first == o.second {
			t.Fatalf("%q: taken is %q", v, o)
		}
		if !udp && (o.first < 2 || o.first >= 6 && o.first <= 8 || o.second != o.first+1) {
			t.Fatalf("%q: taken is %q, which is another track's", v, o)
		}
	})
}

// FuzzURL: whatever URL is described, what its Content-Base makes of a track leads back
// to the same path and that track, and holds nothing of a query or of credentials.
func FuzzURL(f *testing.F) {
	f.Add("rtsp://edge/cam?token=secret")
	f.Add("rtsps://u:secret@[::1]:322//cam/./x/?secret/trackID=3/")
	f.Add("rtsp://edge/%63am;a,b/trackID=1?/trackID=x")
	f.Add("rtsp://edge?secret#x")
	f.Add("rtsp://a%25b@edge/@?@")
	f.Fuzz(func(t *testing.T, url string) {
		req := &wire.Request{Method: "DESCRIBE", URL: url}
		path, _, err := proxy.RequestTarget(req)
		if err != nil || !absolute(req) {
			return
		}
		base := contentBase(url)
		if strings.ContainsAny(base, "?#") || strings.Contains(strings.Split(base, "/")[2], "@") {
			t.Fatalf("%q: base %q", url, base)
		}
		setup := &wire.Request{Method: "SETUP", URL: base + "trackID=7"}
		again, query, err := proxy.RequestTarget(setup)
		track, named, terr := trackOf(setup)
		if err != nil || terr != nil || again != path || query != "" || !named || track != 7 {
			t.Fatalf("%q: %q leads to %q (not %q), track %d: %v, %v", url, setup.URL, again, path, track, err, terr)
		}
		if info := trackURL(setup.URL+"?secret", 7); info != setup.URL {
			t.Fatalf("%q: RTP-Info has %q, not %q", url, info, setup.URL)
		}
	})
}
