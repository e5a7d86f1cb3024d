package splitter_test

import (
	"testing"
	"time"

	"weir/proxy/origintest"
)

// The origin of a feed dies and there is another: nobody is disconnected, every
// track goes on, and packets come again soon.
func TestMovesToTheOtherOrigin(t *testing.T) {
	for _, transport := range []string{"tcp", "udp"} {
		t.Run(transport, func(t *testing.T) {
			origins := []*origintest.Origin{newOrigin(t, origintest.Options{}), newOrigin(t, origintest.Options{})}
			e := newEdge(t, edgeOptions(), balancer(t, origins[0].URL(), origins[1].URL()))
			watchers := crowd(t, 25, e.url+clock, transport)
			more(t, watchers, 0, 30)
			in := 0
			if origins[1].Counts().Pulls == 1 {
				in = 1
			}
			origins[in].Die()
			more(t, watchers, 0, 40)
			more(t, watchers, 1, 10)
			if n := origins[1-in].Counts().Pulls; n != 1 {
				t.Errorf("%d pulls from the other origin, want 1", n)
			}
			var longest time.Duration
			for _, w := range watchers {
				if err := w.over(); err != nil {
					t.Errorf("viewer ended: %v", err)
				}
				ps := w.received(0)
				for i := range ps[1:] {
					longest = max(longest, ps[i+1].at.Sub(ps[i].at))
				}
				for track, rate := range []float64{90000, 48000} {
					continues(t, w.received(track), rate)
				}
			}
			t.Logf("%s: the longest time without a packet was %v", transport, longest)
			if longest > 3*time.Second { // it is a tenth of a second where the machine has nothing else to do
				t.Errorf("%s: %v without a packet", transport, longest)
			}
		})
	}
}
