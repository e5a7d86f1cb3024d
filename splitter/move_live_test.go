package splitter_test

import (
	"slices"
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
			var picture, anything time.Duration
			for _, w := range watchers {
				if err := w.over(); err != nil {
					t.Errorf("viewer ended: %v", err)
				}
				picture = max(picture, silence(w.received(0)))
				anything = max(anything, silence(slices.Concat(w.received(0), w.received(1))))
				for track, rate := range []float64{90000, 48000} {
					continues(t, w.received(track), rate)
				}
			}
			t.Logf("%s: the longest time without a picture was %v, without any packet %v", transport, picture, anything)
			if picture > 4*time.Second { // half a group of pictures where the machine has nothing else to do
				t.Errorf("%s: %v without a picture", transport, picture)
			}
		})
	}
}

// silence is the longest time between two packets.
func silence(ps []packet) (longest time.Duration) {
	slices.SortFunc(ps, func(a, b packet) int { return a.at.Compare(b.at) })
	for i := range ps[1:] {
		longest = max(longest, ps[i+1].at.Sub(ps[i].at))
	}
	return longest
}
