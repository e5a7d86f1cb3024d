package sdp

import (
	"fmt"
	"strings"
	"testing"
)

func parse(t testing.TB, body string) *Session {
	t.Helper()
	s, err := Parse([]byte(body))
	if err != nil {
		t.Fatalf("%q: %v", body, err)
	}
	return s
}

// show is the tracks on one line each.
func show(s *Session) string {
	var b strings.Builder
	for _, m := range s.Media {
		fmt.Fprintf(&b, "%s %s %d %d/%s %d %s", m.Type, m.Encoding, m.PayloadType, m.ClockRate, m.Channels, m.BitRate, m.Control)
		if m.BackChannel {
			b.WriteString(" back")
		}
		b.WriteString("\n")
	}
	return b.String()
}

func TestParseSamples(t *testing.T) {
	f := func(name, want string) {
		t.Helper()
		if got := show(parse(t, samples[name])); got != want {
			t.Errorf("%s:\n%swant\n%s", name, got, want)
		}
	}
	f("ffmpeg", "video H264 96 90000/ 2000000 streamid=0\naudio MPEG4-GENERIC 97 48000/2 128000 streamid=1\n")
	f("gstreamer", "video H264 96 90000/ 4000000 stream=0\n")
	f("live555", "video H265 96 90000/ 500000 track1\naudio OPUS 97 48000/2 96000 track2\n")
	f("hikvision", "video H264 96 90000/ 5000000 rtsp://admin:s3cret@198.51.100.7:554/Streaming/Channels/101/trackID=1\n"+
		"audio PCMA 8 8000/ 50000 rtsp://admin:s3cret@198.51.100.7:554/Streaming/Channels/101/trackID=2\n")
	f("mediamtx", "video H264 96 90000/ 0 rtsp://198.51.100.7:8554/cam/trackID=0\naudio PCMU 0 8000/ 0 rtsp://198.51.100.7:8554/cam/trackID=1\n")
	f("onvif back channel", "audio PCMU 0 8000/ 0 rtsp://198.51.100.7/audioback back\nvideo JPEG 26 90000/ 0 rtsp://198.51.100.7/video\n"+
		"audio PCMU 0 8000/ 0 rtsp://198.51.100.7/audio\napplication vnd.onvif.metadata 107 90000/ 64000 rtsp://198.51.100.7/metadata\n")
	f("odd", "video JPEG2000 96 90000/ 0 \n")
}

func TestParseFmtp(t *testing.T) {
	s := parse(t, samples["ffmpeg"])
	if got, want := s.Media[0].Fmtp, "packetization-mode=1; sprop-parameter-sets=Z2QAH6zZQFAFuwEQAAADABAAAAMDIPGDGWA=,aOvjyyLA; profile-level-id=64001F"; got != want {
		t.Errorf("fmtp = %q, want %q", got, want)
	}
	s = parse(t, "m=video 0 RTP/AVP 96 97\na=fmtp:97 apt=96\na=fmtp:961 x\n")
	if got := s.Media[0].Fmtp; got != "" {
		t.Errorf("fmtp of another payload type is taken: %q", got)
	}
}

func TestStaticTypes(t *testing.T) {
	f := func(pt int, want string) {
		t.Helper()
		m := parse(t, fmt.Sprintf("m=audio 0 RTP/AVP %d", pt)).Media[0]
		if got := fmt.Sprintf("%s/%d", m.Encoding, m.ClockRate); got != want {
			t.Errorf("payload type %d = %s, want %s", pt, got, want)
		}
	}
	f(0, "PCMU/8000")
	f(8, "PCMA/8000")
	f(9, "G722/8000")
	f(14, "MPA/90000")
	f(26, "JPEG/90000")
	f(32, "MPV/90000")
	f(33, "MP2T/90000")
	f(96, "/0")
}

func TestParseRefuses(t *testing.T) {
	f := func(body string) {
		t.Helper()
		if s, err := Parse([]byte(body)); err == nil {
			t.Errorf("%.60q is taken for %+v", body, s)
		}
	}
	f("")
	f("v=0\r\ns=-\r\n")
	f("<html>404</html>")
	f("m=")
	f("m=video 0 RTP/AVP")
	f("m=video 0 RTP/AVP H264")
	f("m=video 0 RTP/AVP 128")
	f("m=video 0 RTP/AVP -1")
	f("m=application 9 UDP/DTLS/SCTP webrtc-datachannel")
	f(strings.Repeat("m=video 0 RTP/AVP 96\n", maxTracks+1))
	f("m=video 0 RTP/AVP 96\n" + strings.Repeat("\n", maxLines))
}

func TestParseBounds(t *testing.T) {
	if got := len(parse(t, strings.Repeat("m=video 0 RTP/AVP 96\n", maxTracks)).Media); got != maxTracks {
		t.Errorf("%d media, want %d", got, maxTracks)
	}
}

func TestStored(t *testing.T) {
	f := func(ranges string, want bool) {
		t.Helper()
		const media = "m=video 0 RTP/AVP 96\na=rtpmap:96 H264/90000\n"
		if got := parse(t, "v=0\n"+ranges+"\n"+media).Stored(); got != want {
			t.Errorf("session with %q: stored %v, want %v", ranges, got, want)
		}
		if got := parse(t, "v=0\n"+media+"m=audio 0 RTP/AVP 0\n"+ranges+"\n").Stored(); got != want {
			t.Errorf("track with %q: stored %v, want %v", ranges, got, want)
		}
	}
	f("", false)
	f("a=range:npt=0-12.3", true)
	f("a=range:npt=0.000-596.458", true)
	f("a=range: npt=0-12.3", true)
	f("a=range:npt=0 - 12.3", true)
	f("a=range:npt=00:00:00-01:35:07.5", true)
	f("a=range:npt=-12.3", true)
	f("a=range:npt=0-12.3;time=19970123T143720Z", true)
	f("a=range:clock=19961108T142300Z-19961108T143520Z", true)
	f("a=range:smpte=0:10:00-0:20:00", true)
	f("a=range:npt=0-", false)
	f("a=range:npt=0.000-", false)
	f("a=range:npt=now-", false)
	f("a=range:npt=now-now", false)
	f("a=range:npt=0-now", false)
	f("a=range:npt=0-;time=19970123T143720Z", false)
	f("a=range:clock=19961108T142300Z-", false)
	f("a=range:npt=0", false)
	f("a=range", false)
	f("a=range:", false)
	f("a=rangefinder:npt=0-12.3", false)
}

func TestStoredSamples(t *testing.T) {
	for name, body := range samples {
		if got, want := parse(t, body).Stored(), name == "live555"; got != want {
			t.Errorf("%s: stored %v, want %v", name, got, want)
		}
	}
}

func TestBitRate(t *testing.T) {
	f := func(body string, want int) {
		t.Helper()
		if got := parse(t, body).BitRate(); got != want {
			t.Errorf("%.60q: %d bit/s, want %d", body, got, want)
		}
	}
	const video, audio = "m=video 0 RTP/AVP 96\n", "m=audio 0 RTP/AVP 0\n"
	f(video, 0)
	f(video+"b=AS:500\n", 500_000)
	f(video+"b=AS:500\n"+audio+"b=AS:64\n", 564_000)
	f(video+"b=AS:500\nb=TIAS:480000\n", 480_000)
	f("b=AS:600\n"+video+"b=AS:500\n", 600_000)
	f("b=AS:400\n"+video+"b=AS:500\n", 500_000)
	f(video+"b=AS:500\n"+audio+"a=sendonly\nb=AS:64\n", 500_000)
	f(video+"b=AS:0\n", 0)
	f(video+"b=AS:-5\n", 0)
	f(video+"b=AS:many\n", 0)
	f(video+"b=AS:99999999999999999999\n", 0)
	f(video+"b=AS:2147483647\n", 0)
	f(video+"b=RR:800\n", 0)
}

func TestEncrypted(t *testing.T) {
	f := func(line string, want bool) {
		t.Helper()
		s, err := Parse([]byte("v=0\r\ns=x\r\n" + line + "\r\n"))
		if err != nil || len(s.Media) != 1 || s.Media[0].Encrypted() != want {
			t.Errorf("%q: %v, %v", line, s, err)
		}
	}
	f("m=video 0 RTP/AVP 96", false)
	f("m=video 0 RTP/SAVP 96", true)
	f("m=audio 0 UDP/TLS/RTP/SAVPF 111", true)
	if (&Media{}).Encrypted() {
		t.Error("none is encrypted")
	}
}
