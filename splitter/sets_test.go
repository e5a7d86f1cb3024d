package splitter

import (
	"fmt"
	"strings"
	"testing"
	"time"

	pion "github.com/pion/rtp"

	"weir/proxy/rtp"
)

const (
	setsSDP  = head + "m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=fmtp:96 packetization-mode=1; sprop-parameter-sets=Z0IAHg==,aM4xsg==\r\n" + opus
	otherSDP = head + "m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=fmtp:96 sprop-parameter-sets=Z00AKA==,aO48gA==;packetization-mode=1\r\n" + opus
)

// units are the first bytes of the pictures' packets, in the order of the ring,
// which have to be numbered without a gap.
func units(t *testing.T, at *cursor) (got string) {
	t.Helper()
	var last *packetSeen
	for _, p := range seen(at, 0) {
		if last != nil && (p.seq != last.seq+1 || p.ssrc != last.ssrc || int32(p.ts-last.ts) < 0) {
			t.Errorf("number %d after %d, time %d after %d", p.seq, last.seq, p.ts, last.ts)
		}
		last = &p
		got += map[byte]string{5: "K", 1: "p", 7: "S", 8: "P", 24: "A", 6: "i"}[p.bytes[12]&31]
		if p.marker {
			got += " "
		}
	}
	return strings.TrimSpace(got)
}

// A source that replaces another and describes itself with other parameter sets has
// them sent in band before each key frame, unless it does that itself.
func TestParameterSetsOfANewSource(t *testing.T) {
	now := time.Now()
	unit := func(c *camera, kinds ...byte) {
		now = now.Add(40 * time.Millisecond)
		c.ts[0] += 3600
		for i, k := range kinds {
			if k == 24 {
				c.send(0, now, i == len(kinds)-1, 24, 0, 4, 0x67, 1, 2, 3, 0, 2, 0x65, 1)
				continue
			}
			c.send(0, now, i == len(kinds)-1, 0x60|k, 0xaa, 0xbb)
		}
	}
	play := func(c *camera) {
		unit(c, 5, 5)
		unit(c, 1)
		unit(c, 6, 5)
		unit(c, 7, 8, 5)
		unit(c, 24)
		unit(c, 1)
	}
	const plain = "KK p iK SPK A p"
	f := func(what, first, second, want string) {
		t.Helper()
		c := newCamera(t, first)
		at := c.ring.here()
		c.source(now)
		c.described(parseSDP(t, first))
		play(c)
		if got := units(t, &at); got != plain {
			t.Errorf("%s: the first source: %q, want %q", what, got, plain)
		}
		c.again(now.Add(time.Second))
		now = now.Add(time.Second)
		c.described(parseSDP(t, second))
		play(c)
		if got := units(t, &at); got != want {
			t.Errorf("%s: %q, want %q", what, got, want)
		}
		// A new viewer starts with them as well.
		start := from(c.ring)
		if got := units(t, &start); got != "A p" {
			t.Errorf("%s: starts with %q", what, got)
		}
	}
	f("the same", setsSDP, setsSDP, plain)
	f("others", setsSDP, otherSDP, "SPKK p iSPK SPK A p")
	f("none described", setsSDP, avSDP, plain)
	f("described for the first time", avSDP, otherSDP, "SPKK p iSPK SPK A p")

	// Back at the first one, whose sets viewers have long replaced.
	c := newCamera(t, setsSDP)
	at := c.ring.here()
	c.source(now)
	for _, text := range []string{setsSDP, otherSDP, setsSDP} {
		c.described(parseSDP(t, text))
		unit(c, 5)
		now = now.Add(time.Second)
		c.again(now)
	}
	var sets []string
	for _, p := range seen(&at, 0) {
		if rtp.H264.HasSets(p.bytes[12:]) {
			sets = append(sets, string(p.bytes[12:]))
		}
	}
	if want := []string{"g\x4d\x00\x28", "g\x42\x00\x1e"}; strings.Join(sets, "|") != strings.Join(want, "|") {
		t.Errorf("parameter sets %q, want %q", sets, want)
	}
}

// The same with H.265, whose sets are three and begin with that of the video.
func TestH265ParameterSetsOfANewSource(t *testing.T) {
	const (
		first  = head + "m=video 0 RTP/AVP 96\r\na=rtpmap:96 H265/90000\r\na=fmtp:96 sprop-vps=QAE=; sprop-sps=QgE=; sprop-pps=RAE=\r\n"
		second = head + "m=video 0 RTP/AVP 96\r\na=rtpmap:96 H265/90000\r\na=fmtp:96 sprop-pps=RAEC; sprop-sps=QgEC; sprop-vps=QAEC\r\n"
	)
	now := time.Now()
	c := newCamera(t, first)
	at := c.ring.here()
	unit := func(packets ...[]byte) {
		now = now.Add(40 * time.Millisecond)
		c.ts[0] += 3600
		for i, p := range packets {
			c.send(0, now, i == len(packets)-1, p...)
		}
	}
	nal := func(kind byte) []byte { return []byte{kind << 1, 1, 0xaa} }
	play := func() {
		unit(nal(19), nal(19))                                                // IDR
		unit(nal(1))                                                          // trailing
		unit(nal(35), nal(21))                                                // delimiter, CRA
		unit(nal(32), nal(33), nal(34), nal(19))                              // with sets of its own
		unit([]byte{48 << 1, 1, 0, 3, 66, 1, 0xaa, 0, 3, 38, 1, 0xaa})        // SPS and IDR in one packet
		unit([]byte{49 << 1, 1, 0x80 | 20, 0xaa}, []byte{49 << 1, 1, 20, 20}) // an IDR in two
	}
	kinds := func() (got string) {
		names := map[byte]string{1: "p", 19: "K", 21: "K", 32: "V", 33: "S", 34: "P", 35: "d", 48: "A", 49: "F"}
		for _, p := range seen(&at, 0) {
			got += names[p.bytes[12]>>1]
			if d := len(p.bytes); d == 15 && p.bytes[12]>>1 >= 32 && p.bytes[12]>>1 <= 34 && p.bytes[14] == 2 {
				got += "'" // of the second description
			}
			if p.marker {
				got += " "
			}
		}
		return strings.TrimSpace(got)
	}
	f := func(text, want string) {
		t.Helper()
		c.again(now)
		c.described(parseSDP(t, text))
		play()
		if got := kinds(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	f(first, "KK p dK VSPK A FF")
	f(second, "V'S'P'KK p dV'S'P'K VSPK A V'S'P'FF")
	f(first, "VSPKK p dVSPK VSPK A VSPFF")
}

// Loss upstream stays visible though packets are put in.
func TestInsertKeepsGaps(t *testing.T) {
	now := time.Now()
	c := newCamera(t, setsSDP)
	at := c.ring.here()
	c.source(now)
	c.picture(true, 2, now)
	c.again(now)
	c.described(parseSDP(t, otherSDP))
	c.picture(true, 2, now)
	c.seq[0] += 3 // lost
	c.picture(true, 1, now)
	got := seen(&at, 0)
	var gaps []uint16
	for i, p := range got[1:] {
		if d := p.seq - got[i].seq - 1; d != 0 {
			gaps = append(gaps, d)
		}
	}
	if len(got) != 9 || len(gaps) != 1 || gaps[0] != 3 {
		t.Errorf("%d packets with gaps %v, want 9 with one of 3", len(got), gaps)
	}
}

// A source that numbers payload types otherwise is heard as the first one was, also with
// parameter sets that are sent for it; what viewers were not told of is left out.
func TestPayloadTypesOfANewSource(t *testing.T) {
	c := newCamera(t, setsSDP)
	at := c.ring.here()
	now := time.Now()
	c.source(now)
	c.described(parseSDP(t, setsSDP))
	c.picture(true, 1, now)
	c.again(now)
	c.described(parseSDP(t, strings.NewReplacer("AVP 96", "AVP 100 101", ":96", ":100", "AVP 97", "AVP 96", ":97", ":96").Replace(otherSDP)))
	send := func(track int, pt uint8, payload ...byte) {
		c.ts[track] += 3600
		c.packet(track, &pion.Packet{Header: pion.Header{Version: 2, PayloadType: pt, Marker: true, SequenceNumber: c.seq[track],
			Timestamp: c.ts[track], SSRC: c.ssrc}, Payload: payload}, now.Add(time.Second))
		c.seq[track]++
	}
	send(0, 100, 0x65, 1)
	send(0, 101, 0x65, 2)
	send(1, 96, 1, 2, 3)
	send(0, 100, 0x41, 1)
	c.flushNow(now.Add(time.Second))
	var got []string
	for _, p := range seen(&at, 0, 2) {
		got = append(got, fmt.Sprintf("%d:%d", p.bytes[1]&0x7f, p.bytes[12]&31))
	}
	if want := "96:5 96:7 96:8 96:5 97:1 96:1"; strings.Join(got, " ") != want {
		t.Errorf("payload types and units %v, want %s", got, want)
	}
}
