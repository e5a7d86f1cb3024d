package passthrough

import (
	"errors"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"weir/proxy"
)

var viewer = netip.MustParseAddr("203.0.113.5")

// TestChooseTransport: what players offer, what the origin is asked for, and
// what the player is told.
func TestChooseTransport(t *testing.T) {
	origin := parseTransports(`RTP/AVP/TCP;unicast;destination=10.0.0.1;source=10.0.0.9;interleaved=2-3;client_port=0-0;server_port=6970-6971;ssrc=4D1B0A77;mode="play";x-dynamic="ab";x="a,b;c"`)[0]
	f := func(offer string, udp bool, request, answer string) {
		t.Helper()
		got, err := chooseTransport(offer, viewer, udp)
		if err != nil {
			t.Errorf("%q: %v", offer, err)
			return
		}
		if r := got.forOrigin([2]int{2, 3}); r != request {
			t.Errorf("%q: the origin is asked for %q, want %q", offer, r, request)
		}
		a := got.answerTCP(origin, [2]int{0, 1})
		if !got.tcp {
			a = got.answerUDP(origin, [2]int{20000, 20001})
		}
		if want := answer + `;ssrc=4D1B0A77;mode="play";x-dynamic="ab"`; a != want {
			t.Errorf("%q: the viewer is told %q, want %q", offer, a, want)
		}
	}
	const tcp, udp = "RTP/AVP/TCP;unicast;interleaved=0-1", ";unicast;client_port=5000-5001;server_port=20000-20001"
	f("RTP/AVP/TCP;unicast;interleaved=0-1", false, "RTP/AVP/TCP;unicast;interleaved=2-3", tcp) // live555, VLC
	f("RTP/AVP/TCP;unicast;interleaved=0-1;mode=PLAY", true, "RTP/AVP/TCP;unicast;interleaved=2-3;mode=PLAY", tcp)
	f("RTP/AVP/TCP", true, "RTP/AVP/TCP;unicast;interleaved=2-3", tcp)
	f("RTP/AVP/UDP;unicast;client_port=5000-5001", true, "RTP/AVP/TCP;unicast;interleaved=2-3", "RTP/AVP/UDP"+udp) // ffmpeg
	f("RTP/AVP;unicast;client_port=5000", true, "RTP/AVP/TCP;unicast;interleaved=2-3", "RTP/AVP"+udp)
	f("RTP/AVPF;unicast;client_port=5000-5001,RTP/AVP;unicast;client_port=6000-6001", true, "RTP/AVPF/TCP;unicast;interleaved=2-3", "RTP/AVPF"+udp) // gst
	f("RTP/SAVP;unicast;client_port=5000-5001;MIKEY=x", true, "RTP/SAVP/TCP;unicast;interleaved=2-3;MIKEY=x", "RTP/SAVP"+udp)
	f("rtp/avp ; unicast;\tclient_port = 5000 - 5001", true, "rtp/avp/TCP;unicast;interleaved=2-3", "rtp/avp"+udp)
	f("RTP/AVP;multicast;port=5000-5001, RTP/AVP;unicast;client_port=5000-5001, RTP/AVP/TCP;interleaved=0-1", true, "RTP/AVP/TCP;unicast;interleaved=2-3", "RTP/AVP"+udp)
	f("RTP/AVP;unicast;client_port=5000-5001,RTP/AVP/TCP;interleaved=0-1", false, "RTP/AVP/TCP;unicast;interleaved=2-3", tcp) // no UDP here
	f("x-real-rdt/udp;client_port=5000,RAW/RAW/UDP;unicast;client_port=1-2,MP2T/H2221/UDP;unicast;client_port=1-2,RTP/AVP/TCP", true, "RTP/AVP/TCP;unicast;interleaved=2-3", tcp)
	f("RTP/AVP;unicast;client_port=5000-5001;destination=203.0.113.5", true, "RTP/AVP/TCP;unicast;interleaved=2-3", "RTP/AVP"+udp)
	f("RTP/AVP;unicast;client_port=5000-5001;destination=::ffff:203.0.113.5", true, "RTP/AVP/TCP;unicast;interleaved=2-3", "RTP/AVP"+udp)
	// What another reader would see other parameters in stays here.
	f(`RTP/AVP/TCP;x="RTP/AVP,a;b\",";interleaved=0-1;y="ok"`, true, `RTP/AVP/TCP;unicast;interleaved=2-3;y="ok"`, tcp)
	f(`RTP/AVP/TCP;interleaved=0-1;x=";destination=192.0.2.1;client_port=53-54`, true, "RTP/AVP/TCP;unicast;interleaved=2-3", tcp)
	f("RTP/AVP;client_port=5000-99999,RTP/AVP/TCP;interleaved=0-256,RTP/AVP/TCP;interleaved=1-1,RTP/AVP/TCP;client_port=0-0", true, "RTP/AVP/TCP;unicast;interleaved=2-3", tcp)
}

func TestNoTransport(t *testing.T) {
	f := func(offer string) {
		t.Helper()
		got, err := chooseTransport(offer, viewer, true)
		var r *proxy.Refusal
		if !errors.As(err, &r) || r.Reason != proxy.BadTransport {
			t.Errorf("%q: %+v, %v", offer, got, err)
		}
	}
	f("")
	f("RTP")
	f("RTP/AVP/SCTP;unicast;client_port=5000-5001")
	f("RTP/AVP;unicast")
	f("RTP/AVP;multicast;client_port=5000-5001")
	f("RTP/AVP;unicast;client_port=5000-5001;destination=198.51.100.1")
	f("RTP/AVP/TCP;interleaved=0-1;destination=victim.example")
	f("RTP/AVP;unicast;client_port=0-1")
	f("RTP/AVP;unicast;client_port=65535")
	f("RTP/AVP;unicast;client_port=70000-70001")
	f("RTP/AVP;unicast;client_port=-5")
	f("RTP/AVP;unicast;client_port=+5-6")
	f("RTP/AVP/TCP;interleaved=a-b")
	f("RAW/RAW/UDP;unicast;client_port=5000")
	f("MP2T/H2221/TCP;interleaved=0-1")
	f(`"RTP/AVP/TCP;interleaved=0-1`)
	if _, err := chooseTransport("RTP/AVP;unicast;client_port=5000-5001", viewer, false); err == nil {
		t.Error("UDP where there is none")
	}
}

func TestSession(t *testing.T) {
	f := func(value, id string, timeout time.Duration) {
		t.Helper()
		if gotID, got, ok := parseSession(value); gotID != id || got != timeout || !ok {
			t.Errorf("parseSession(%q) = %q, %v, %v", value, gotID, got, ok)
		}
	}
	f("12345678", "12345678", 0)
	f("D2A2F7C0;timeout=65", "D2A2F7C0", 65*time.Second)
	f(" a-$_.+b ; x=1; Timeout = 60 ", "a-$_.+b", time.Minute)
	f("a;timeout=", "a", 0)
	f("a;timeout=-1", "a", 0)
	f("a;timeout=99999999999999999999", "a", 0)
	for _, bad := range []string{"", ";timeout=60", " ", "a b", `"a"`, "a,b", "é"} {
		if id, _, ok := parseSession(bad); ok {
			t.Errorf("parseSession(%q) = %q", bad, id)
		}
	}
	g := func(timeout time.Duration, want string) {
		t.Helper()
		if got := formatSession("a", timeout); got != want {
			t.Errorf("formatSession(%v) = %q, want %q", timeout, got, want)
		}
	}
	g(0, "a")
	g(time.Minute, "a;timeout=60")
	g(59900*time.Millisecond, "a;timeout=59")
	g(time.Millisecond, "a;timeout=1")
}

// FuzzTransport: what is written is read as it was meant, by us and as one offer.
func FuzzTransport(f *testing.F) {
	for _, s := range []string{
		"RTP/AVP/TCP;unicast;interleaved=0-1", "RTP/AVP;unicast;client_port=5000-5001,RTP/AVP/TCP;unicast",
		`RTP/AVP/TCP;mode="PLAY,RECORD";ssrc=1;;x="a`, "RTP/SAVPF/UDP;client_port=1;destination=203.0.113.5", `a/b;"\`, "//;,",
	} {
		f.Add(s, s)
	}
	f.Fuzz(func(t *testing.T, offer, answer string) {
		got, err := chooseTransport(offer, viewer, true)
		if err != nil {
			return
		}
		var origin transport
		if all := parseTransports(answer); len(all) > 0 {
			origin = all[0]
		}
		check := func(s string, tcp bool, kept []string) {
			t.Helper()
			again := parseTransports(s)
			if len(again) != 1 || again[0].tcp != tcp || !slices.Equal(again[0].kept, kept) || again[0].profile != got.profile || strings.Contains(s, "destination=") && !strings.Contains(offer+answer, "destination=") {
				t.Errorf("%q, %q: %q is read as %+v", offer, answer, s, again)
			}
		}
		check(got.forOrigin([2]int{4, 5}), true, got.kept)
		if got.tcp {
			check(got.answerTCP(origin, [2]int{0, 1}), true, origin.kept)
			return
		}
		check(got.answerUDP(origin, [2]int{20000, 20001}), false, origin.kept)
		if again := parseTransports(got.answerUDP(origin, [2]int{20000, 20001})); !reflect.DeepEqual(again[0].client, got.client) {
			t.Errorf("%q: other ports: %+v", offer, again)
		}
	})
}
