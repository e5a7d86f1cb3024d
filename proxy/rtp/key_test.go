package rtp

import (
	"slices"
	"testing"
)

func TestCodecOf(t *testing.T) {
	f := func(encoding string, want Codec) {
		t.Helper()
		if got := CodecOf(encoding); got != want {
			t.Errorf("CodecOf(%q) = %d, want %d", encoding, got, want)
		}
	}
	f("H264", H264)
	f("h264", H264)
	f("H265", H265)
	f("HEVC", Other)
	f("JPEG", JPEG)
	f("AV1", AV1)
	f("vp8", VP8)
	f("VP9", VP9)
	f("MP4V-ES", MPEG4)
	f("MPV", MPEG)
	f("MP2T", MP2T)
	f("opus", Other)
	f("", Other)
}

// A set that begins a run of them is one, alone, aggregated or in fragments.
func TestHasSets(t *testing.T) {
	f := func(c Codec, want bool, payload ...byte) {
		t.Helper()
		if got := c.HasSets(payload); got != want {
			t.Errorf("codec %d, % x: %v, want %v", c, payload, got, want)
		}
	}
	f(H264, true, 0x67, 0x42)
	f(H264, false, 0x68, 0xce)
	f(H264, false, 0x65, 0x88)
	f(H264, true, 24, 0, 1, 0x67, 0, 1, 0x65)
	f(H265, true, 32<<1, 1, 0)
	f(H265, true, 33<<1, 1, 0)
	f(H265, false, 34<<1, 1, 0)
	f(H265, false, 19<<1, 1, 0)
	f(H265, true, 48<<1, 1, 0, 3, 32<<1, 1, 0, 0, 3, 19<<1, 1, 0)
	f(H265, true, 49<<1, 1, 0x80|32, 0)
	f(H265, false, 49<<1, 1, 32, 0)
	f(VP8, false, 0x67, 0x42, 0)
}

func TestIsKeyH264(t *testing.T) {
	f := func(what string, want bool, payload ...byte) {
		t.Helper()
		if got := H264.IsKey(payload); got != want {
			t.Errorf("%s % x: %v, want %v", what, payload, got, want)
		}
	}
	f("IDR slice", true, 0x65, 0x88)
	f("IDR slice, lowest priority", true, 0x25, 0x88)
	f("other slice", false, 0x41, 0x9a)
	f("data partition", false, 0x42, 0x9a)
	f("SEI", false, 0x06, 0x05)
	f("SPS", true, 0x67, 0x64)
	f("PPS only", false, 0x68, 0xeb)
	f("access unit delimiter", false, 0x09, 0xf0)
	f("filler", false, 0x0c, 0xff)

	f("STAP-A of SPS and PPS", true, 0x78, 0, 2, 0x67, 0x64, 0, 2, 0x68, 0xeb)
	f("STAP-A of AUD, SEI and IDR", true, 0x18, 0, 2, 0x09, 0xf0, 0, 1, 0x06, 0, 2, 0x65, 0x88)
	f("STAP-A of PPS and slice", false, 0x78, 0, 2, 0x68, 0xeb, 0, 2, 0x41, 0x9a)
	f("STAP-A of nothing", false, 0x78, 0)
	f("STAP-A, cut in a size", false, 0x78, 0, 2, 0x68, 0xeb, 0)
	f("STAP-A, cut in a unit", false, 0x78, 0, 9, 0x67, 0x64)
	f("STAP-A with an empty unit", false, 0x78, 0, 0, 0, 2, 0x67, 0x64)

	f("FU-A, start of IDR", true, 0x7c, 0x85, 0x88)
	f("FU-A, middle of IDR", false, 0x7c, 0x05, 0x88)
	f("FU-A, end of IDR", false, 0x7c, 0x45, 0x88)
	f("FU-A, start of SPS", true, 0x7c, 0x87, 0x64)
	f("FU-A, start of another slice", false, 0x7c, 0x81, 0x9a)
	f("FU-B, start of IDR", true, 0x7d, 0x85, 0, 0)

	f("nothing", false)
	f("one byte", false, 0x65)
	f("reserved type", false, 0x7e, 0x85)
}

func TestIsKeyH265(t *testing.T) {
	f := func(what string, want bool, payload ...byte) {
		t.Helper()
		if got := H265.IsKey(payload); got != want {
			t.Errorf("%s % x: %v, want %v", what, payload, got, want)
		}
	}
	unit := func(t byte) byte { return t << 1 }
	for typ := range byte(64) {
		want := typ >= 16 && typ <= 21 || typ == 32 || typ == 33 // BLA, IDR, CRA; VPS, SPS
		if typ == 48 || typ == 49 {
			continue
		}
		f("single unit", want, unit(typ), 1, 0)
		f("fragment, start", want, unit(49), 1, 0x80|typ, 0)
		f("fragment, middle", false, unit(49), 1, typ, 0)
		f("fragment, end", false, unit(49), 1, 0x40|typ, 0)
		f("aggregation", want, unit(48), 1, 0, 2, unit(34), 1, 0, 2, unit(typ), 1)
	}
	f("IDR of layer 1", true, unit(19)|1, 1, 0)
	f("aggregation of VPS, SPS and PPS", true, unit(48), 1, 0, 2, unit(32), 1, 0, 2, unit(33), 1, 0, 2, unit(34), 1)
	f("aggregation of nothing", false, unit(48), 1, 0)
	f("aggregation, cut", false, unit(48), 1, 0, 9, unit(19), 1)
	f("aggregation with an empty unit", false, unit(48), 1, 0, 0, 0, 2, unit(19), 1)
	f("nothing", false)
	f("two bytes", false, unit(19), 1)
}

func TestIsKeyOther(t *testing.T) {
	if Other.IsKey([]byte{0x65, 0x88, 0x80}) || Codec(99).IsKey([]byte{0x65, 0x88, 0x80}) {
		t.Error("a codec that is not known has key frames")
	}
}

func FuzzIsKey(f *testing.F) {
	for _, p := range []string{"", "\x65", "\x65\x88", "\x78\x00\x02\x67\x64\x00\x02\x68\xeb", "\x78\xff\xff\x67", "\x78\x00\x00", "\x7c\x85\x88", "\x7c",
		"\x26\x01\x00", "\x60\x01\x00\x02\x44\x01\x00\x02\x26\x01", "\x60\x01\x00", "\x62\x01\x93\x00", "\x62\x01"} {
		f.Add([]byte(p))
	}
	for _, p := range samples {
		f.Add(unhex(p))
	}
	f.Fuzz(func(t *testing.T, payload []byte) {
		before := string(payload)
		for c := Other; c <= MP2T+1; c++ {
			c.IsKey(payload)
			c.IsPrelude(payload)
		}
		if string(payload) != before {
			t.Error("the payload was changed")
		}
	})
}

func BenchmarkIsKey(b *testing.B) {
	f := func(name string, c Codec, payload ...byte) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				c.IsKey(payload)
			}
		})
	}
	f("h264-fu", H264, 0x7c, 0x85, 0x88)
	f("h264-stap", H264, 0x78, 0, 2, 0x09, 0xf0, 0, 1, 0x06, 0, 2, 0x65, 0x88)
	f("vp9", VP9, 0x8b, 0x80, 1, 0x18, 0, 96, 0, 96, 1, 4, 1, 0x82, 0x49)
	f("mp2t", MP2T, slices.Repeat(slices.Concat([]byte{0x47, 1, 0, 0x10}, make([]byte, 184)), 7)...)
	f("h265-aggregation", H265, 0x60, 1, 0, 2, 0x44, 1, 0, 2, 0x26, 1)
}

func TestIsKeyAllocatesNothing(t *testing.T) {
	stap := []byte{0x78, 0, 2, 0x09, 0xf0, 0, 1, 0x06, 0, 2, 0x65, 0x88}
	if n := testing.AllocsPerRun(100, func() { H264.IsKey(stap) }); n != 0 {
		t.Errorf("%v allocations, want none", n)
	}
}
