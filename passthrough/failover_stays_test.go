package passthrough

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestFailoverStays: where it is not safe to go on elsewhere the viewer's connection
// ends in the same moment, and one line of the log says why. No other origin is asked
// unless it may turn out to have something else.
func TestFailoverStays(t *testing.T) {
	f := func(what, why string, dials int, change func(st *stage)) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			st := newStage(often, "one", "two")
			change(st)
			seated(t, st, func(s *seat) {
				s.takes(time.Second)
				st.origins[0].falls(dead)
				if d := s.ends(why); d > 0 {
					t.Errorf("%s: the connection ends after %v", what, d)
				}
				if n, _ := st.origins[1].counts(); n != dials {
					t.Errorf("%s: another origin is dialled %d times", what, n)
				}
			})
		})
	}
	every := func(change func(sdp string) string) func(st *stage) {
		return func(st *stage) {
			for _, a := range st.origins {
				a.sdp = change(a.sdp)
			}
		}
	}
	other := func(sdp string) func(st *stage) {
		return func(st *stage) { st.origins[1].sdp = sdp }
	}
	cam := description(1)
	crypto := "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:d0RmdmcmVCspeEc3QGZiNWpVLFJhQX1cfHAwJSoj\r\n"
	f("SRTP", stayEncrypted, 0, func(st *stage) {
		st.offer = "RTP/SAVP/TCP;unicast;interleaved=0-1"
		every(func(sdp string) string { return strings.Replace(sdp, "RTP/AVP", "RTP/SAVP", 1) + crypto })(st)
	})
	f("a back channel", stayBackChannel, 0, func(st *stage) {
		st.header = []string{"Require", "www.onvif.org/ver20/backchannel"}
		every(func(sdp string) string { return sdp + "m=audio 0 RTP/AVP 0\r\na=control:trackID=1\r\na=sendonly\r\n" })(st)
	})
	f("the viewer's Digest", stayCredentials, 0, func(st *stage) {
		st.header = []string{"Authorization", `Digest username="u", realm="r", nonce="n", uri="/cam", response="x"`}
	})
	f("another codec", stayDescription, 1, other(strings.Replace(cam, "H264", "H265", 1)))
	f("another clock", stayDescription, 1, other(strings.Replace(cam, "90000", "48000", 1)))
	f("another track", stayDescription, 1, other(description(2)))
	f("no description", stayDescription, 1, other("none"))
	f("a stored stream", stayDescription, 1, other(stored(1, "10")))
}

// TestFailoverStaysSecret: media that its description calls encrypted is not
// renumbered, whatever the viewer has called it.
func TestFailoverStaysSecret(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := newStage(often, "one", "two")
		for _, a := range st.origins {
			a.sdp = strings.Replace(a.sdp, "RTP/AVP", "RTP/SAVP", 1)
		}
		seated(t, st, func(s *seat) {
			s.takes(time.Second)
			st.origins[0].falls(dead)
			s.ends(stayEncrypted)
		})
	})
}
