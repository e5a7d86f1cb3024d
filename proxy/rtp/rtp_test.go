package rtp

import (
	"bytes"
	"encoding/binary"
	"testing"

	pion "github.com/pion/rtp"
)

// packet is one as another library writes it.
func packet(t testing.TB, p pion.Packet) []byte {
	t.Helper()
	p.Version = 2
	b, err := p.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestHeader(t *testing.T) {
	pkt := packet(t, pion.Packet{
		Header:  pion.Header{Marker: true, PayloadType: 96, SequenceNumber: 0xfffe, Timestamp: 0xfedcba98, SSRC: 0xcafebabe},
		Payload: []byte("x"),
	})
	if !Valid(pkt) || !Marker(pkt) || Seq(pkt) != 0xfffe || Timestamp(pkt) != 0xfedcba98 || SSRC(pkt) != 0xcafebabe {
		t.Errorf("valid %v, marker %v, sequence %x, time stamp %x, SSRC %x", Valid(pkt), Marker(pkt), Seq(pkt), Timestamp(pkt), SSRC(pkt))
	}
	pkt[1] &^= 0x80
	binary.BigEndian.PutUint32(pkt[4:], 7)
	if Marker(pkt) || Timestamp(pkt) != 7 || Seq(pkt) != 0xfffe {
		t.Errorf("patched: marker %v, time stamp %d, sequence %x", Marker(pkt), Timestamp(pkt), Seq(pkt))
	}
}

func TestValid(t *testing.T) {
	f := func(want bool, pkt ...byte) {
		t.Helper()
		if got := Valid(pkt); got != want {
			t.Errorf("Valid(% x) = %v, want %v", pkt, got, want)
		}
	}
	f(false)
	f(false, 0x80)
	f(false, make([]byte, 12)...)
	f(true, append([]byte{0x80}, make([]byte, 11)...)...)
	f(false, append([]byte{0x80}, make([]byte, 10)...)...)
	f(false, append([]byte{0xc0}, make([]byte, 11)...)...)
}

func TestPayload(t *testing.T) {
	f := func(what string, p pion.Packet, want string) {
		t.Helper()
		if got := Payload(packet(t, p)); string(got) != want {
			t.Errorf("%s: %q, want %q", what, got, want)
		}
	}
	ext := pion.Header{}
	if err := ext.SetExtension(1, []byte("abcdefg")); err != nil {
		t.Fatal(err)
	}
	both := ext
	both.CSRC, both.Padding = []uint32{1, 2, 3}, true
	f("plain", pion.Packet{Payload: []byte("media")}, "media")
	f("empty", pion.Packet{}, "")
	f("CSRCs", pion.Packet{Header: pion.Header{CSRC: []uint32{1, 2}}, Payload: []byte("media")}, "media")
	f("extension", pion.Packet{Header: ext, Payload: []byte("media")}, "media")
	f("padding", pion.Packet{Header: pion.Header{Padding: true}, Payload: []byte("media"), PaddingSize: 4}, "media")
	f("all", pion.Packet{Header: both, Payload: []byte("media"), PaddingSize: 3}, "media")
	f("padding only", pion.Packet{Header: pion.Header{Padding: true}, PaddingSize: 255}, "")
}

func TestPayloadOfBrokenPackets(t *testing.T) {
	f := func(what string, pkt ...byte) {
		t.Helper()
		if got := Payload(pkt); got != nil {
			t.Errorf("%s: % x, want nil", what, got)
		}
	}
	header := func(first byte, rest ...byte) []byte {
		return append(append([]byte{first}, make([]byte, 11)...), rest...)
	}
	f("nothing")
	f("version 1", header(0x40, 1, 2, 3)...)
	f("CSRC missing", header(0x81, 1, 2, 3)...)
	f("extension header missing", header(0x90, 1, 2, 3)...)
	f("extension missing", header(0x90, 0, 0, 0, 1)...)
	f("huge extension", header(0x90, 0, 0, 0xff, 0xff)...)
	f("more padding than packet", header(0xa0, 0xff)...)
	f("padding over the header", header(0xa0, 2)...)
}

// FuzzPayload: it never panics, and agrees with another library where that
// accepts a packet.
func FuzzPayload(f *testing.F) {
	f.Add([]byte(nil))
	f.Add(make([]byte, 12))
	f.Add(packet(f, pion.Packet{Payload: []byte("media")}))
	f.Add(packet(f, pion.Packet{Header: pion.Header{CSRC: []uint32{1, 2}, Padding: true}, Payload: []byte("media"), PaddingSize: 4}))
	f.Add(append([]byte{0x9f}, bytes.Repeat([]byte{0xff}, 80)...))
	f.Add(append([]byte{0xb0}, bytes.Repeat([]byte{0}, 30)...))
	f.Fuzz(func(t *testing.T, pkt []byte) {
		got := Payload(pkt)
		if len(got) > len(pkt) {
			t.Fatalf("%d bytes out of %d", len(got), len(pkt))
		}
		var p pion.Packet
		if !Valid(pkt) || p.Unmarshal(pkt) != nil {
			return
		}
		if p.Padding && p.PaddingSize == 0 {
			return // not to be (RFC 3550 §5.1), and there the two differ
		}
		if !bytes.Equal(got, p.Payload) {
			t.Errorf("payload of % x = % x, want % x", pkt, got, p.Payload)
		}
	})
}
