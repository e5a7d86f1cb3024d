package admission

import (
	"testing"
	"testing/synctest"
	"time"

	"weir/proxy"
)

const mbit = proxy.BitRate(1e6)

func TestDeclaredBandwidth(t *testing.T) {
	g := gateOf(t, "-admission.bandwidth=10Mbit/s", "-admission.assume=200kbit/s")
	take := func(rate proxy.BitRate, want proxy.Reason) proxy.Ticket {
		t.Helper()
		ticket, err := g.Admit(t.Context(), viewer("rtsp", "/a", 1))
		if err == nil {
			if err = ticket.Declare(rate); err != nil {
				ticket.Close()
			}
		}
		if reason(err) != want {
			t.Fatalf("%v, want %q", err, want)
		}
		return ticket
	}
	first := take(4*mbit, "") // and a tenth
	take(4*mbit, "")
	take(4*mbit, proxy.NoBandwidth)
	if s := g.ledger.status(); s.Needed != 8800000 || s.Viewers != 2 {
		t.Errorf("%+v", s)
	}
	take(mbit, "")
	first.Close()
	take(4*mbit, "")
	take(mbit, proxy.NoBandwidth)
	take(0, proxy.NoBandwidth) // nobody knows: what is assumed does not fit
}

// TestAssumedBandwidth has viewers come at once of whom nothing is known.
func TestAssumedBandwidth(t *testing.T) {
	for _, protocol := range []string{"rtsp", "http"} {
		g := gateOf(t, "-admission.bandwidth=10Mbit/s", "-admission.assume=2Mbit/s")
		in := 0
		for n := range 20 {
			ticket, err := g.Admit(t.Context(), viewer(protocol, "/a/index.m3u8", n))
			if err == nil && (protocol == "http" || ticket.Declare(0) == nil) {
				in++
			}
		}
		if in != 5 {
			t.Errorf("%s: %d are in, want 5", protocol, in)
		}
	}
}

// TestLearnedBandwidth: the first viewer asks for the playlist that says what the
// stream needs, and counts with that from the next request on.
func TestLearnedBandwidth(t *testing.T) {
	g := gateOf(t)
	ask := func(path string, want proxy.BitRate) {
		t.Helper()
		if _, err := g.Admit(t.Context(), viewer("http", path, 1)); err != nil {
			t.Fatal(err)
		}
		if s := g.ledger.status(); s.Needed != want {
			t.Errorf("after %s: %d needed, want %d", path, s.Needed, want)
		}
	}
	ask("/film/main.m3u8", g.o.Assume)
	g.streams.learn("/film/main.m3u8", []byte("#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=5000000\nhigh/index.m3u8\n"))
	ask("/film/high/index.m3u8", 5500000)
	ask("/film/high/1.ts", 5500000)
}

func TestBandwidthOfClasses(t *testing.T) {
	g := gateOf(t, "-admission.bandwidth=10Mbit/s", "-admission.class=gold=100,bronze=50")
	v := viewer("rtsp", "/a", 1)
	ticket, _ := g.Admit(t.Context(), v)
	if err := ticket.Declare(6 * mbit); reason(err) != proxy.NoBandwidth {
		t.Errorf("bronze: %v", err)
	}
	v.Class = "gold"
	ticket, _ = g.Admit(t.Context(), v)
	if err := ticket.Declare(6 * mbit); err != nil {
		t.Errorf("gold: %v", err)
	}
}

// TestMeasuredBandwidth has a viewer who declares 1 Mbit/s and takes 8: after ten
// seconds that is what others find taken, and what the next one on the stream
// is taken to need.
func TestMeasuredBandwidth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := gateOf(t, "-admission.bandwidth=20Mbit/s")
		ticket, err := g.Admit(t.Context(), viewer("rtsp", "/a", 1))
		if err != nil || ticket.Declare(mbit) != nil {
			t.Fatal(err)
		}
		second := func(bytes int) {
			time.Sleep(time.Second)
			ticket.Sent(bytes)
			g.ledger.sample(time.Now())
		}
		for range 9 {
			second(1e6)
		}
		if s := g.ledger.status(); s.Needed != 1100000 {
			t.Errorf("after 9 s: %v needed, want what was declared", s.Needed)
		}
		second(1e6)
		if s := g.ledger.status(); s.Needed != 8*mbit {
			t.Errorf("after 10 s: %v needed, want 8 Mbit/s", s.Needed)
		}
		for range 60 {
			second(0)
		}
		if s := g.ledger.status(); s.Needed != 8*mbit || s.Sent > 1000 {
			t.Errorf("in a pause: %+v", s)
		}
		other, err := g.Admit(t.Context(), viewer("rtsp", "/a", 2))
		if err != nil || other.Declare(0) != nil {
			t.Fatal(err)
		}
		if s := g.ledger.status(); s.Needed != 16*mbit {
			t.Errorf("with another one: %v needed, want 16 Mbit/s", s.Needed)
		}
		ticket.Close()
		other.Close()
		if s := g.ledger.status(); s.Needed != 0 {
			t.Errorf("%v needed by nobody", s.Needed)
		}
	})
}

// TestSegmentsAreMeasuredOverTheirLength: six seconds of 4 Mbit/s that come in
// one are not 24 Mbit/s.
func TestSegmentsAreMeasuredOverTheirLength(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := gateOf(t)
		for i := range 120 {
			if i%6 == 0 {
				ticket, err := g.Admit(t.Context(), viewer("http", "/a/x.ts", 1))
				if err != nil {
					t.Fatal(err)
				}
				ticket.Sent(3e6)
				ticket.Close()
			}
			time.Sleep(time.Second)
			g.ledger.sample(time.Now())
		}
		if s := g.ledger.status(); s.Needed < 4*mbit || s.Needed > 5*mbit {
			t.Errorf("%v needed, want about 4 Mbit/s", s.Needed)
		}
	})
}

func TestMeterPercentile(t *testing.T) {
	var m meter
	for i := range 100 {
		m.add(int64(i%30+1)*125000, false)
	}
	if r := m.rate(); r != 29*mbit {
		t.Errorf("of 1 to 30 Mbit/s: %v, want 29", r)
	}
}
