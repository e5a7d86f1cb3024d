package sdp

import (
	"strings"
	"testing"
)

func TestSame(t *testing.T) {
	const base = "m=video 0 RTP/AVP 96\na=rtpmap:96 H264/90000\na=fmtp:96 packetization-mode=1;sprop-parameter-sets=AAAA\n" +
		"m=audio 0 RTP/AVP 97\na=rtpmap:97 MPEG4-GENERIC/48000/2\na=fmtp:97 mode=AAC-hbr;config=1190;sizelength=13;indexlength=3;indexdeltalength=3\n" +
		"m=audio 0 RTP/AVP 0\n"
	check := func(old, new string, strict, want bool) {
		t.Helper()
		if !strings.Contains(base, old) {
			t.Fatalf("%q is not in the description", old)
		}
		a, b := parse(t, base), parse(t, strings.Replace(base, old, new, 1))
		if Same(a, b, strict) != want || Same(b, a, strict) != want {
			t.Errorf("%q for %q: same %v and %v, want %v", new, old, Same(a, b, strict), Same(b, a, strict), want)
		}
	}
	f := func(old, new string, want bool) { t.Helper(); check(old, new, false, want) }
	strict := func(old, new string, want bool) { t.Helper(); check(old, new, true, want) }
	f("", "", true)
	f("", "v=0\no=- 9 9 IN IP4 198.51.100.8\ns=another origin\nb=AS:1\n", true)
	f("AAAA", "BBBB", true)
	f("H264", "h264", true)
	f("config=1190", "Config=1190", true)
	f("packetization-mode=1;", " packetization-mode=1 ; profile-level-id=42c01e;", true)
	f("packetization-mode=1;", "profile-level-id=42c01e; packetization-mode=1;", true)
	f("m=audio 0 RTP/AVP 0\n", "m=audio 0 RTP/AVP 0\na=rtpmap:0 PCMU/8000/1\n", true)
	f("m=video 0 RTP/AVP", "m=video 5004 RTP/AVP", true)
	f("H264", "H265", false)
	f("packetization-mode=1", "packetization-mode=0", false)
	f("packetization-mode=1;", "", false)
	f("config=1190", "config=1210", false)
	f("48000/2", "44100/2", false)
	f("48000/2", "48000/1", false)
	f("m=audio 0 RTP/AVP 0\n", "m=audio 0 RTP/AVP 8\n", false)
	f("m=audio 0 RTP/AVP 0\n", "m=audio 0 RTP/AVP 0\na=sendonly\n", false)
	f("m=audio 0 RTP/AVP 0\n", "", false)
	f("m=audio 0 RTP/AVP 0\n", "m=audio 0 RTP/AVP 0\nm=audio 0 RTP/AVP 0\n", false)
	f("m=audio 0 RTP/AVP 0\n", "m=text 0 RTP/AVP 0\n", false)
	f("m=video 0 RTP/AVP", "m=video 0 RTP/SAVP", false)
	f("m=video 0 RTP/AVP 96\na=rtpmap:96 H264/90000\na=fmtp:96", "m=video 0 RTP/AVP 100\na=rtpmap:100 H264/90000\na=fmtp:100", true)
	f("RTP/AVP 0\n", "RTP/AVP 99\na=rtpmap:99 PCMU/8000\n", true)

	strict("", "", true)
	strict("packetization-mode=1;sprop-parameter-sets=AAAA", "sprop-parameter-sets=AAAA; Packetization-Mode=1", true)
	strict("config=1190", "Config=1190", true)
	strict("AAAA", "AAAa", false)
	strict(";sprop-parameter-sets=AAAA", "", false)
	strict("packetization-mode=1;", "packetization-mode=1;profile-level-id=42c01e;", false)
}

func TestTranslate(t *testing.T) {
	const told = "m=video 0 RTP/AVP 96 97 98\na=rtpmap:96 H264/90000\na=rtpmap:97 rtx/90000\na=fmtp:97 apt=96\na=rtpmap:98 ulpfec/90000\n"
	f := func(has string, want map[uint8]int) { // -1: none
		t.Helper()
		types := Translate(&parse(t, told).Media[0], &parse(t, has).Media[0])
		if types == nil || want == nil {
			if types != nil || want != nil {
				t.Errorf("%q: %v, want %v", has, types, want)
			}
			return
		}
		for from, to := range want {
			if got, ok := types.Of(from); ok != (to >= 0) || ok && int(got) != to {
				t.Errorf("%q: %d is %d, %v, want %d", has, from, got, ok, to)
			}
		}
	}
	f(told, nil)
	f("m=video 0 RTP/AVP 96\na=rtpmap:96 h264/90000\n", nil)
	f("m=video 0 RTP/AVP 100\na=rtpmap:100 H264/90000\n", map[uint8]int{100: 96, 101: 101, 127: 127})
	f("m=video 0 RTP/AVP 97 96 100\na=rtpmap:97 H264/90000\na=rtpmap:96 rtx/90000\na=rtpmap:100 flexfec/90000\n", map[uint8]int{97: 96, 96: 97, 100: -1, 98: 98})
	f("m=video 0 RTP/AVP 96 99\na=rtpmap:96 H264/90000\na=rtpmap:99 flexfec/90000\n", map[uint8]int{96: 96, 99: -1})
	f("m=video 0 RTP/AVP 96 200 x\na=rtpmap:96 H264/90000\n", nil)
}
