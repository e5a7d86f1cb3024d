package sdp

import (
	"strings"
	"testing"

	"github.com/bluenviron/gortsplib/v4/pkg/description"
	gosdp "github.com/bluenviron/gortsplib/v4/pkg/sdp"
)

func edge(t testing.TB, body string) string { t.Helper(); return string(parse(t, body).Edge()) }

func TestEdge(t *testing.T) {
	f := func(name, want string) {
		t.Helper()
		if got := edge(t, samples[name]); got != crlf(want) {
			t.Errorf("%s:\n%swant\n%s", name, got, want)
		}
	}
	f("hikvision", `v=0
o=- 1109162014219182 1109162014219192 IN IP4 127.0.0.1
s=Media Presentation
c=IN IP4 0.0.0.0
b=AS:5100
t=0 0
a=control:*
a=range:npt=now-
m=video 0 RTP/AVP 96
b=AS:5000
a=recvonly
a=x-dimensions:2560,1440
a=rtpmap:96 H264/90000
a=fmtp:96 profile-level-id=420029; packetization-mode=1; sprop-parameter-sets=Z00AMp2oCgAzabgICAgQ,aO48gA==
a=control:trackID=0
m=audio 0 RTP/AVP 8
b=AS:50
a=recvonly
a=rtpmap:8 PCMA/8000
a=Media_header:MEDIAINFO=494D4B48010200000400000111710110401F000000FA000000000000000000000000000000000000;
a=appversion:1.0
a=control:trackID=1
`)
	f("onvif back channel", `v=0
o=- 2890844256 2890842807 IN IP4 127.0.0.1
s=RTSP Session with audiobackchannel
c=IN IP4 0.0.0.0
t=0 0
a=control:*
a=range:npt=now-
m=video 0 RTP/AVP 26
a=recvonly
a=control:trackID=1
m=audio 0 RTP/AVP 0
a=recvonly
a=control:trackID=2
m=application 0 RTP/AVP 107
b=TIAS:64000
a=rtpmap:107 vnd.onvif.metadata/90000
a=recvonly
a=control:trackID=3
`)
	f("odd", `v=0
o=- 0 0 IN IP4 127.0.0.1
`+"s= "+`
c=IN IP4 0.0.0.0
b=AS:100
t=0 0
a=x-unknown
a=control:*
a=range:npt=now-
m=video 0 RTP/AVP 96 97
i=the picture
a=rtpmap:97 rtx/90000
a=rtpmap:96 JPEG2000/90000
a=rtcp-fb:96 nack
a=extmap:1 http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time
a=framesize:96 1920-1080
a=control:trackID=0
`)
}

func TestEdgeSaysNothingOfTheOrigin(t *testing.T) {
	for name, body := range samples {
		got := edge(t, body)
		for _, secret := range []string{"198.51.100.7", "2001:db8", "s3cret", "admin", "root", "rtsp://", "npt=0-"} {
			if strings.Contains(strings.ToLower(got), secret) {
				t.Errorf("%s: %q is in\n%s", name, secret, got)
			}
		}
	}
}

// TestEdgeDropsAddresses: wherever the description has the addresses that it gives for
// its origin, and lines that hide others.
func TestEdgeDropsAddresses(t *testing.T) {
	f := func(line string, kept bool) {
		t.Helper()
		for _, body := range []string{
			"v=0\r\no=- 1 1 IN IP4 198.51.100.7\r\ns=x\r\nc=IN IP6 2001:DB8::7\r\nt=0 0\r\n" + line + "\r\nm=video 0 RTP/AVP 26\r\nc=IN IP4 cam.example.com/127\r\n",
			"v=0\r\no=- 1 1 IN IP4 198.51.100.7\r\ns=x\r\nc=IN IP6 2001:DB8::7\r\nt=0 0\r\nm=video 0 RTP/AVP 26\r\nc=IN IP4 cam.example.com/127\r\n" + line + "\r\n",
		} {
			if got := strings.Contains(edge(t, body), line); got != kept {
				t.Errorf("%q is kept: %v in %q", line, got, body)
			}
		}
	}
	f("a=x-server:198.51.100.7", false)
	f("a=x-server:[2001:db8::7]:554", false)
	f("a=tool:cam at CAM.example.COM", false)
	f("a=x-server:198.51.100.77", false) // better one too many
	f("a=x-server:203.0.113.5", true)
	f("i=the one at 198.51.100.7", false)
	f("i=the one at the door", true)
	f("a=x\rc=IN IP4 203.0.113.5", false)
	f("a=x\x00y", false)
	f("a=ts-refclk:ntp=203.0.113.5", false)
	f("a=ts-refclk:local", true)
	f("a=mediaclk:direct=963214424", false)
	f("a=mediaclk:sender", true)
	f("a=source:rtsp://203.0.113.5/", false)
	if got := edge(t, "v=0\no=- 1 1 IN IP4 198.51.100.7\ns=cam 198.51.100.7\nm=video 0 RTP/AVP 26\n"); !strings.Contains(got, "s= \r\n") {
		t.Errorf("the name is in %q", got)
	}
	for _, addr := range []string{"0.0.0.0", "127.0.0.1", "::1", "localhost", "-"} { // say nothing
		if got := edge(t, "v=0\no=- 1 1 IN IP4 "+addr+"\ns=x\na=y:"+addr+"\nm=video 0 RTP/AVP 26\n"); !strings.Contains(got, "a=y:"+addr) {
			t.Errorf("%s hides %q", addr, got)
		}
	}
}

// TestEdgeProfile: viewers ask for the profile that they read, and there is one.
func TestEdgeProfile(t *testing.T) {
	for _, profile := range []string{"RTP/AVP", "RTP/AVPF", "RTP/SAVP", "RTP/SAVPF"} {
		if got := edge(t, "v=0\nm=video 5000 "+profile+" 96\na=rtpmap:96 H264/90000\n"); !strings.Contains(got, "m=video 0 RTP/AVP 96\r\n") {
			t.Errorf("%s: %q", profile, got)
		}
	}
}

// TestEdgeKeeps: what an edge does not know is not its to drop.
func TestEdgeKeeps(t *testing.T) {
	for name, body := range samples {
		got := edge(t, body)
		for line := range strings.Lines(body) {
			line = strings.TrimSpace(line)
			for _, kept := range []string{"b=", "a=fmtp", "a=rtpmap", "a=x-dim", "a=x-qt", "a=tool", "a=type", "a=framerate", "a=ts-refclk", "a=rtcp-fb"} {
				if strings.HasPrefix(line, kept) && name != "onvif back channel" && !strings.Contains(got, line+"\r\n") {
					t.Errorf("%s: %q is not in\n%s", name, line, got)
				}
			}
		}
	}
}

// TestEdgeIsReadByGortsplib: it is what signals towards viewers, and players are
// no stricter.
func TestEdgeIsReadByGortsplib(t *testing.T) {
	for name, body := range samples {
		s := parse(t, body)
		var d gosdp.SessionDescription
		if err := d.Unmarshal(s.Edge()); err != nil {
			t.Errorf("%s: %v\n%s", name, err, s.Edge())
			continue
		}
		var desc description.Session
		if err := desc.Unmarshal(&d); err != nil {
			t.Errorf("%s: %v\n%s", name, err, s.Edge())
			continue
		}
		want := 0
		for _, m := range s.Media {
			if !m.BackChannel {
				want++
			}
		}
		if len(desc.Medias) != want {
			t.Errorf("%s: %d media, want %d", name, len(desc.Medias), want)
		}
	}
}

// TestEdgeOfEdge: a splitter may be fed by a splitter.
func TestEdgeOfEdge(t *testing.T) {
	for name, body := range samples {
		once := edge(t, body)
		twice := edge(t, once)
		if name != "onvif back channel" && once != twice {
			t.Errorf("%s: once\n%stwice\n%s", name, once, twice)
		}
		if thrice := edge(t, twice); thrice != twice {
			t.Errorf("%s: twice\n%sthrice\n%s", name, twice, thrice)
		}
		if parse(t, once).Stored() {
			t.Errorf("%s: has an end:\n%s", name, once)
		}
	}
}

func TestSplitTrack(t *testing.T) {
	f := func(in, rest string, track int, ok bool) {
		t.Helper()
		r, n, o := SplitTrack(in)
		if r != rest || n != track || o != ok {
			t.Errorf("SplitTrack(%q) = %q, %d, %v, want %q, %d, %v", in, r, n, o, rest, track, ok)
		}
	}
	f("/cam/trackID=1", "/cam", 1, true)
	f("/trackID=0", "", 0, true)
	f("/cam/trackID=255", "/cam", 255, true)
	f("token=x/trackID=2", "token=x", 2, true)
	f("/trackID=1/trackID=2", "/trackID=1", 2, true)
	f("/cam/trackID=256", "/cam/trackID=256", 0, false)
	f("/cam/trackID=-1", "/cam/trackID=-1", 0, false)
	f("/cam/trackID=+1", "/cam/trackID=+1", 0, false)
	f("/cam/trackID=", "/cam/trackID=", 0, false)
	f("/cam/trackID=1/", "/cam/trackID=1/", 0, false)
	f("/cam/trackID=1a", "/cam/trackID=1a", 0, false)
	f("/cam/trackid=1", "/cam/trackid=1", 0, false)
	f("trackID=1", "trackID=1", 0, false)
	f("/cam", "/cam", 0, false)
	f("", "", 0, false)
}

func FuzzParse(f *testing.F) {
	for _, body := range samples {
		f.Add([]byte(body))
	}
	for _, body := range []string{"m=video 0 RTP/AVP 96", "m=", "m=a b c 1 2\nm=a b c 1\na=sendonly", "\x00=\r\nm=\xff 0 \xff 0\r\na=\r\na=:\r\no=",
		"o=- 1 2\ns=\ns= \ns=x\nm=v\u00a01\u00852 3 a=range:npt=-\n", "m=a 0 b 0\ra=control:x\na= control:y\na=control :z"} {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		SplitTrack(string(body))
		s, err := Parse(body)
		if err != nil {
			return
		}
		s.Stored()
		if s.BitRate() < 0 {
			t.Errorf("bit rate %d", s.BitRate())
		}
		if !Same(s, s, false) {
			t.Error("it is not the same as itself")
		}
		once := s.Edge()
		first, err := Parse(once)
		if err != nil {
			if allBack(s) {
				return // nothing is left for viewers
			}
			t.Fatalf("Edge %q: %v", once, err)
		}
		if first.Stored() {
			t.Errorf("Edge %q has an end", once)
		}
		second, err := Parse(first.Edge())
		if err != nil {
			t.Fatalf("Edge of Edge %q: %v", first.Edge(), err)
		}
		// The numbers close up where a back channel stood before another track.
		if len(first.Media) == len(s.Media) && string(first.Edge()) != string(once) || string(second.Edge()) != string(first.Edge()) {
			t.Errorf("Edge is not stable:\n%q\n%q\n%q", once, first.Edge(), second.Edge())
		}
	})
}

func allBack(s *Session) bool {
	for _, m := range s.Media {
		if !m.BackChannel {
			return false
		}
	}
	return true
}
