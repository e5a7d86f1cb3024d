package admission

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"weir/proxy"
)

// seconds lets time go by, with the gate's samples.
func (g *Gate) seconds(n int) {
	for range n {
		time.Sleep(time.Second)
		g.ledger.sample(time.Now())
	}
}

// TestQuickDownloadsNeedNothingAfterwards: what was sent at once to those who
// loaded a file is nothing that they need, or that others have to wait for.
func TestQuickDownloadsNeedNothingAfterwards(t *testing.T) {
	f := func(path string, viewers int) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			g := gateOf(t, "-admission.bandwidth=10Mbit/s")
			for n := range viewers {
				ticket, err := g.Admit(t.Context(), viewer("http", path, n))
				if err != nil {
					t.Fatal(err)
				}
				ticket.Sent(30e6)
				ticket.Close()
			}
			for second := range 29 {
				if s := g.ledger.status(); s.Needed != 0 || s.Sent != 0 || s.Viewers != viewers {
					t.Errorf("%d of %s after %d s: %d needed, %d sent, %d viewers", viewers, path, second, s.Needed, s.Sent, s.Viewers)
				}
				g.seconds(1)
			}
			if _, err := g.Admit(t.Context(), viewer("rtsp", "/cam", 99)); err != nil {
				t.Errorf("%d of %s: the next one over RTSP: %v", viewers, path, err)
			}
		})
	}
	for _, path := range []string{"/big.bin", "/film", "/film.mp4", "/", "/player.js"} {
		f(path, 1)
		f(path, 4)
	}
}

// TestOpenDownloads: while it lasts, a download needs the pace, or what is assumed,
// and no more than a quarter of the limit; less if it is slower than that.
func TestOpenDownloads(t *testing.T) {
	f := func(path string, perSecond int, begins, settles proxy.BitRate, flags ...string) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			g := gateOf(t, flags...)
			ticket, err := g.Admit(t.Context(), viewer("http", path, 1))
			if err != nil {
				t.Fatal(err)
			}
			if s := g.ledger.status(); s.Needed != begins {
				t.Errorf("%s, %v begins: %d needed, want %d", path, flags, s.Needed, begins)
			}
			for range 12 {
				ticket.Sent(perSecond)
				g.seconds(1)
			}
			if s := g.ledger.status(); s.Needed != settles || s.Sent != 0 {
				t.Errorf("%s, %v lasts: %d needed, want %d; %d sent", path, flags, s.Needed, settles, s.Sent)
			}
			ticket.Close()
			if s := g.ledger.status(); s.Needed != 0 {
				t.Errorf("%s, %v is over: %d needed", path, flags, s.Needed)
			}
		})
	}
	for _, path := range []string{"/film.mp4", "/big.bin"} {
		f(path, 10e6, 2*mbit, 2*mbit, "-admission.bandwidth=10Mbit/s")
		f(path, 10e6, mbit, mbit, "-admission.bandwidth=4Mbit/s")
		f(path, 10e6, 5*mbit, 5*mbit, "-admission.bandwidth=100Mbit/s", "-admission.pace=5Mbit/s")
		f(path, 10e6, 2500e3, 2500e3, "-admission.bandwidth=10Mbit/s", "-admission.pace=5Mbit/s")
		f(path, 16e3, 2*mbit, 128e3, "-admission.bandwidth=10Mbit/s") // a radio
		f(path, 10e6, 2*mbit, 2*mbit)
	}
}

// TestDownloadsAgain: the next file is taken to need as much as the first, though
// that was slow, and it is let in though others have taken what there is.
func TestDownloadsAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := gateOf(t, "-admission.bandwidth=10Mbit/s")
		v := viewer("http", "/big.bin", 1)
		ticket, err := g.Admit(t.Context(), v)
		if err != nil {
			t.Fatal(err)
		}
		for range 12 {
			ticket.Sent(1e3)
			g.seconds(1)
		}
		ticket.Close()
		for n := range 5 {
			if _, err := g.Admit(t.Context(), viewer("http", fmt.Sprintf("/cam%d/index.m3u8", n), 2)); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := g.Admit(t.Context(), v); err != nil {
			t.Error(err)
		}
		if s := g.ledger.status(); s.Needed != 12*mbit {
			t.Errorf("%d needed, want 12 Mbit/s", s.Needed)
		}
	})
}

// TestDownloadsThenStream: who asks for a playlist after a page is a viewer of a
// stream from then on, if there is the bandwidth; the page's bytes are not the
// stream's.
func TestDownloadsThenStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := gateOf(t, "-admission.bandwidth=5Mbit/s", "-admission.assume=1Mbit/s")
		ask := func(path string, n, bytes int, want proxy.Reason) {
			t.Helper()
			ticket, err := g.Admit(t.Context(), viewer("http", path, n))
			if reason(err) != want {
				t.Fatalf("%s: %v, want %q", path, err, want)
			}
			if err == nil {
				ticket.Sent(bytes)
				ticket.Close()
			}
		}
		needed := func(want proxy.BitRate, viewers int) {
			t.Helper()
			if s := g.ledger.status(); s.Needed != want || s.Viewers != viewers {
				t.Errorf("%d needed by %d, want %d by %d", s.Needed, s.Viewers, want, viewers)
			}
		}
		ask("/cam/", 1, 100e6, "")
		needed(0, 1)
		ask("/cam/index.m3u8", 1, 0, "")
		needed(mbit, 1)
		ask("/cam/1", 1, 2500e3, "") // no file any more, whatever its name
		g.seconds(10)
		if s := g.ledger.status(); s.Needed != 2*mbit {
			t.Errorf("%d needed after ten seconds, want what the stream took, 2 Mbit/s", s.Needed)
		}
		ask("/other/", 2, 1000, "")
		for n := range 2 {
			ask(fmt.Sprintf("/cam%d/index.m3u8", n), 3, 0, "")
		}
		ask("/third/index.m3u8", 3, 0, "")
		ask("/other/index.m3u8", 2, 0, proxy.NoBandwidth)
		ask("/other/player.js", 2, 0, "") // what is there is no stream
		g.seconds(31)
		needed(0, 0)
		ask("/other/index.m3u8", 2, 0, "")
	})
}
