package rtp

import (
	"encoding/hex"
	"slices"
	"strings"
	"testing"

	"github.com/pion/rtp/codecs"
)

// samples are beginnings of payloads as FFmpeg sends them, by what they are.
var samples = map[string]string{
	"VP8 key":       "90808000 102f009d012a60006000000708858858",
	"VP8 key's end": "80808000 425c2cbce3f61723d518f92128b64e95",
	"VP8 inter":     "90808001 7104000910ac001cc23357fd2c745fea",

	"MP4V-ES key":       "000001b001000001b58913000001000000012000c48d8800",
	"MP4V-ES key's end": "3c1c08a2103c47fd60f17ff2833d0000983361b41e03f3d0",
	"MP4V-ES inter":     "000001b653c08856c11303e301ca36531907221cb1c3e143",
	"MP4V-ES intra":     "000001b610c08856c11303e301ca36531907221cb1c3e143",

	"MPV key":       "00003900000001b306006013ffffe018000001b5148a0001",
	"MPV key's end": "00001900000001031bf5a081f3a00d4107fb4103f4004252",
	"MPV inter":     "00001800000001000057fffb80000001b5811ff341800000",
	"MPV 1 key":     "00003900000001b306006013ffffe018000001b800080040",

	"MP2T tables":  "474000100000b00d0001c100000001f0002ab104b2ffffff",
	"MP2T key":     "47410030075000007b0c7e00000001e0000080c00a310009",
	"MP2T picture": "4741003d071000009e347e00000001e0000080c00a31000f",
	"MP2T middle":  "4701001b90a19460faafed50f3353e7dffd5535e765b20a1",
	"MP2T sound":   "474101300140000001c00b3b808005210009e14dfff15040",
}

func unhex(s string) []byte {
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		panic(err)
	}
	return b
}

// transport makes a payload of whole transport packets out of samples.
func transport(names ...string) (p []byte) {
	for _, n := range names {
		b := unhex(samples["MP2T "+n])
		p = append(append(p, b...), slices.Repeat([]byte{0xff}, tsLen-len(b))...)
	}
	return p
}

// only checks that a codec takes these samples for key frames, and no others of
// its own; and that no payload does so when it is cut to nothing.
func only(t *testing.T, c Codec, prefix string, keys ...string) {
	t.Helper()
	for name, s := range samples {
		if !strings.HasPrefix(name, prefix+" ") {
			continue
		}
		if got, want := c.IsKey(unhex(s)), slices.Contains(keys, name); got != want {
			t.Errorf("%s: key %v, want %v", name, got, want)
		}
	}
	for n := range 3 {
		if c.IsKey(make([]byte, n)) {
			t.Errorf("%s: %d zeros are a key frame", prefix, n)
		}
	}
}

func TestIsKeySamples(t *testing.T) {
	only(t, VP8, "VP8", "VP8 key")
	only(t, MPEG4, "MP4V-ES", "MP4V-ES key", "MP4V-ES intra")
	only(t, MPEG, "MPV", "MPV key", "MPV 1 key")
}

// is is a test of one codec.
func is(t *testing.T, c Codec) func(what string, want bool, payload ...byte) {
	return func(what string, want bool, payload ...byte) {
		t.Helper()
		if got := c.IsKey(payload); got != want {
			t.Errorf("%s: % x: key %v, want %v", what, payload, got, want)
		}
	}
}

func TestIsKeyAV1(t *testing.T) {
	f := is(t, AV1)
	f("a sequence begins", true, 0x18, 0x0a, 0x0b)
	f("a sequence begins, first unit goes on in the next packet", true, 0x58, 0x0a)
	f("a unit goes on", false, 0x98, 0x0a)
	f("a frame", false, 0x10, 0x32, 0)
	f("a sequence header alone", true, 0x10, 0x0a, 0x0b)
	f("a sequence header of two units", true, 0x20, 0x0b, 0x0a, 0x0b)
	f("a sequence header, size of two bytes", true, 0x00, 0x80, 0x01, 0x0a)
	f("a frame of two units", false, 0x20, 0x0b, 0x32, 0x0a)
	f("a size without a unit", false, 0x20, 0x0b)
	f("a size without an end", false, 0x20, 0x80, 0x80)
	f("nothing", false, 0x18)

	// As another writer sends them: a temporal unit with a sequence header, one
	// without.
	sequence, frame := []byte{0x0a, 0x0b, 0, 0, 0}, slices.Repeat([]byte{0x30}, 3000)
	w := codecs.AV1Payloader{}
	for i, p := range w.Payload(1400, slices.Concat([]byte{0x0a, 4}, sequence[1:], []byte{0x32, 0xb8, 0x17}, frame)) {
		f("a key frame's packet", i == 0, p...)
	}
	for _, p := range w.Payload(1400, slices.Concat([]byte{0x32, 0xb8, 0x17}, frame)) {
		f("another frame's packet", false, p...)
	}
}

func TestIsKeyVP8(t *testing.T) {
	f := is(t, VP8)
	f("bare", true, 0x10, 0x10, 2)
	f("bare inter", false, 0x10, 0x11, 2)
	f("goes on", false, 0x00, 0x10, 2)
	f("another partition", false, 0x11, 0x10, 2)
	f("not referred to", true, 0x30, 0x10, 2)
	f("short number", true, 0x90, 0x80, 0x7f, 0x10)
	f("short number, inter", false, 0x90, 0x80, 0x7f, 0x11)
	f("all extensions", true, 0x90, 0xf0, 0x80, 1, 2, 3, 0x10)
	f("all extensions, inter", false, 0x90, 0xf0, 0x80, 1, 2, 3, 0x11)
	f("layers alone", true, 0x90, 0x20, 9, 0x10)
	f("cut", false, 0x90, 0xf0, 0x80, 1, 2, 3)
	f("cut", false, 0x90, 0x80)
}

func TestIsKeyVP9(t *testing.T) {
	const key, inter, repeat = 0x82, 0x86, 0x8a
	f := is(t, VP9)
	f("bare", true, 0x08, key)
	f("a frame that says it refers to none, and does", false, 0x08, inter)
	f("a frame shown again", false, 0x08, repeat)
	f("profile 3", true, 0x08, 0xb0)
	f("profile 3, inter", false, 0x08, 0xb2)
	f("no frame", false, 0x08, 0x00)
	f("refers", false, 0x48, key)
	f("goes on", false, 0x00, key)
	f("numbered", true, 0x88, 0x05, key)
	f("numbered at length", true, 0x88, 0x85, 1, key)
	f("lowest layer", true, 0xa8, 0x05, 0x10, 0, key)
	f("upper layer", false, 0xa8, 0x05, 0x12, 0, key)
	f("lowest layer, flexible", true, 0xb8, 0x05, 0x10, key)
	f("with sizes", true, 0x8a, 0x05, 0x30, 0, 96, 0, 96, 0, 48, 0, 48, key)
	f("with sizes and a group", true, 0x8a, 0x05, 0x18, 0, 96, 0, 96, 2, 0x08, 1, 2, 0x00, key)
	f("cut", false, 0x8a, 0x05, 0x18, 0, 96, 0, 96, 2, 0x08, 1, 2, 0x00)
	f("cut", false, 0xa8, 0x05)
	f("cut", false, 0x8a, 0x05)

	// As another writer sends frames: the header of a key frame of 96 by 96.
	frame := append([]byte{0x82, 0x49, 0x83, 0x42, 0x00, 0x05, 0xf0, 0x05, 0xf0, 0x00}, make([]byte, 3000)...)
	for _, flexible := range []bool{false, true} {
		w := codecs.VP9Payloader{FlexibleMode: flexible}
		packets := w.Payload(1400, frame)
		if len(packets) < 3 {
			t.Fatalf("%d packets", len(packets))
		}
		for i, p := range packets {
			f("a key frame's packet", i == 0, p...)
		}
		frame[0] = inter
		for _, p := range w.Payload(1400, frame) {
			f("another frame's packet", false, p...)
		}
		frame[0] = key
	}
}

func TestIsKeyJPEG(t *testing.T) {
	f := is(t, JPEG)
	f("first fragment", true, 0, 0, 0, 0, 1, 80, 12, 12, 0xff)
	f("second fragment", false, 0, 0, 5, 0x60, 1, 80, 12, 12, 0xff)
	f("far fragment", false, 0, 1, 0, 0, 1, 80, 12, 12, 0xff)
	f("cut", false, 0, 0, 0, 0, 1, 80, 12)
}

func TestIsKeyMPEG4(t *testing.T) {
	f := is(t, MPEG4)
	f("intra", true, 0, 0, 1, 0xb6, 0x10)
	f("predicted", false, 0, 0, 1, 0xb6, 0x50)
	f("between", false, 0, 0, 1, 0xb6, 0x90)
	f("sprite", false, 0, 0, 1, 0xb6, 0xd0)
	f("group", true, 0, 0, 1, 0xb3, 0)
	f("layer", true, 0, 0, 1, 0x20, 0)
	f("user data", false, 0, 0, 1, 0xb2, 0)
	f("cut", false, 0, 0, 1, 0xb6)
}

func TestIsKeyMP2T(t *testing.T) {
	f := is(t, MP2T)
	f("a key frame behind the tables", true, transport("tables", "key", "middle")...)
	f("last of seven", true, transport("middle", "middle", "middle", "middle", "middle", "middle", "key")...)
	f("a picture", false, transport("tables", "picture", "middle")...)
	f("sound", false, transport("sound")...)
	f("cut", false, transport("key")[:187]...)
	f("out of step", false, append([]byte{0}, transport("key", "key")...)...)
	odd := transport("key")
	odd[4] = 255 // an extension longer than the packet
	f("too long an extension", false, odd...)
	for name, want := range map[string]bool{"tables": true, "key": false, "sound": false, "middle": false} {
		if got := MP2T.IsPrelude(transport("middle", name)); got != want {
			t.Errorf("%s: prelude %v, want %v", name, got, want)
		}
	}
	if H264.IsPrelude(transport("tables")) {
		t.Error("H.264 has tables")
	}
}
