package splitter

import (
	"strings"
	"testing"

	"weir/proxy"
	"weir/proxy/wire"
)

func TestTake(t *testing.T) {
	f := func(c choice, field, want string) {
		t.Helper()
		o, err := c.take(field)
		got := o.String()
		if err != nil {
			got = string(proxy.Refused(err).Reason)
		}
		if got != want {
			t.Errorf("%+v take %q: %s, want %s", c, field, got, want)
		}
	}
	both, tcp, udp := choice{udp: true, tcp: true}, choice{tcp: true}, choice{udp: true}
	const overUDP = "RTP/AVP;unicast;client_port=4000-4001"
	f(both, "RTP/AVP/TCP;unicast;interleaved=0-1", "RTP/AVP/TCP;unicast;interleaved=0-1")
	f(both, "RTP/AVP;unicast;client_port=4000-4001;mode=play", overUDP)
	f(both, "RTP/AVP/UDP;unicast;client_port=4000-4001,RTP/AVP/TCP;interleaved=0-1", overUDP)
	f(tcp, "RTP/AVP/UDP;unicast;client_port=4000-4001,RTP/AVP/TCP;interleaved=0-1", "RTP/AVP/TCP;unicast;interleaved=0-1")
	f(tcp, "RTP/AVP;client_port=x,RTP/AVP/TCP", "RTP/AVP/TCP;unicast;interleaved=0-1")
	f(udp, "RTP/AVP/TCP;interleaved=x,RTP/AVP;client_port=4000", overUDP)
	f(tcp, "RTP/AVP;unicast;client_port=4000-4001", "bad-transport")
	f(udp, "RTP/AVP/TCP;interleaved=0-1", "bad-transport")
	f(both, " rtp/avp ; Unicast ; Client_Port = 4000-4001 ", overUDP)
	f(both, `RTP/AVP;unicast;mode="PLAY,RECORD";client_port="4000-4001"`, overUDP)
	f(both, `RTP/AVP;mode="RECORD",RTP/AVP/TCP;mode=Play`, "RTP/AVP/TCP;unicast;interleaved=0-1")
	f(both, "RTP/AVP;destination=10.0.0.1;source=evil.example;client_port=4000-4001", overUDP)
	f(both, "RTP/AVP;multicast;client_port=4000-4001", "bad-transport")
	f(both, "RTP/SAVP;client_port=4000-4001,RTP/AVPF;client_port=4000-4001,RAW/RAW/UDP,x", "bad-transport")
	f(both, "RTP/AVP", "bad-request")
	f(both, "RTP/AVP/TCP;interleaved=0-1;interleaved=7-9", "bad-request")
	f(both, "", "bad-request")
	f(both, ",,", "bad-request")
	f(both, strings.Repeat("x,", maxOffers)+"RTP/AVP/TCP", "bad-request")
	f(both, strings.Repeat("x,", maxOffers-1)+"RTP/AVP/TCP", "RTP/AVP/TCP;unicast;interleaved=0-1")
	f(choice{tcp: true, used: []int{-1, 0, 3}}, "RTP/AVP/TCP", "RTP/AVP/TCP;unicast;interleaved=6-7")
	f(choice{tcp: true, used: []int{-1, 0, 3}}, "RTP/AVP/TCP;interleaved=2-3", "bad-request")
	f(choice{tcp: true, used: []int{-1, 0, 3}}, "RTP/AVP/TCP;interleaved=4-5", "bad-request")
	f(choice{tcp: true, used: []int{-1, 0, 3}}, "RTP/AVP/TCP;interleaved=5", "RTP/AVP/TCP;unicast;interleaved=5-6")
	f(choice{tcp: true, used: []int{-1, 0, 3}}, "RTP/AVP/TCP;interleaved=1-2", "bad-request")
}

func TestURLs(t *testing.T) {
	f := func(url string, track int, base, info string) {
		t.Helper()
		if got := contentBase(url); got != base {
			t.Errorf("contentBase(%q) = %q, want %q", url, got, base)
		}
		if got := trackURL(url, track); got != info {
			t.Errorf("trackURL(%q) = %q, want %q", url, got, info)
		}
	}
	f("rtsp://edge", 0, "rtsp://edge/", "rtsp://edge/")
	f("rtsp://edge/cam", 0, "rtsp://edge/cam/", "rtsp://edge/cam")
	f("rtsp://edge/cam/?t=s", 0, "rtsp://edge/cam/", "rtsp://edge/cam/")
	f("RTSPS://u:p@edge:322/cam?t=s/trackID=3", 3, "RTSPS://edge:322/cam/", "RTSPS://edge:322/cam/trackID=3")
	f("rtsp://[::1]:554/a@b/trackID=3?t=s@x", 3, "rtsp://[::1]:554/a@b/trackID=3/", "rtsp://[::1]:554/a@b/trackID=3")
}

func TestTrackOf(t *testing.T) {
	f := func(url string, track int, named, ok bool) {
		t.Helper()
		got, n, err := trackOf(&wire.Request{URL: url})
		if got != track || n != named || (err == nil) != ok {
			t.Errorf("trackOf(%q) = %d, %v, %v", url, got, n, err)
		}
	}
	f("rtsp://edge/cam/trackID=2", 2, true, true)
	f("rtsp://edge/cam/trackID=2?x=y", 2, true, true)
	f("rtsp://edge/cam?x=y/trackID=2", 2, true, true)
	f("rtsp://edge/cam/trackID=1?x=y/trackID=2", 2, true, true)
	f("rtsp://edge/cam", 0, false, true)
	f("rtsp://edge/cam/", 0, false, true)
	f("rtsp://edge/cam?trackID=2", 0, false, true)
	f("rtsp://edge/cam/trackID=x", 0, false, false)
	f("rtsp://edge/cam/trackID=1?/trackID=x", 0, false, false)
	f("rtsp://edge/%zz/trackID=1", 0, false, false)
}
