package origintest

import (
	"testing"
	"time"

	wrtp "weir/proxy/rtp"
)

func testClip(t *testing.T) *clip {
	t.Helper()
	c, err := loadClip()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestClip(t *testing.T) {
	c := testClip(t)
	var n [tracks]int
	keys := 0
	for _, s := range c.samples {
		if s.key {
			keys++
		}
		if s.key != (s.track == video && n[video]%25 == 0) {
			t.Errorf("sample of track %d at %v: key = %v", s.track, s.at, s.key)
		}
		n[s.track]++
	}
	f := func(what string, got, want int) {
		t.Helper()
		if got != want {
			t.Errorf("%s = %d, want %d", what, got, want)
		}
	}
	f("pictures", n[video], 200)
	f("audio frames", n[audio], 375)
	f("key frames", keys, 8)
	f("video ticks", n[video]*videoStep, int(ticks(clipLength, videoClock)))
	f("audio ticks", n[audio]*audioStep, int(ticks(clipLength, audioClock)))
	if b, err := content.ReadFile("clip.ts"); err != nil || len(b) > 800<<10 {
		t.Errorf("clip.ts has %d bytes, %v; want at most 800 KiB", len(b), err)
	}
}

// Packets fit into a datagram, a picture ends with the marker, a key frame begins
// with its parameters, and numbers go on.
func TestPackets(t *testing.T) {
	c := testClip(t)
	nums := number(c)
	want := nums[video].seq
	for n := range len(c.samples) {
		s, _, stamp := c.endless(n)
		if s.track != video {
			continue
		}
		packets := nums[video].wrap(s, stamp)
		for i, p := range packets {
			if p.SequenceNumber != want || p.Marker != (i == len(packets)-1) || p.MarshalSize() > 1472 {
				t.Fatalf("at %v: packet %d of %d is %v", s.at, i, len(packets), p)
			}
			want++
		}
		if first := packets[0].Payload; wrtp.H264.IsKey(first) != s.key {
			t.Errorf("at %v: IsKey(first packet) = %v", s.at, !s.key)
		}
	}
}

func TestNoSeam(t *testing.T) {
	c := testClip(t)
	step := [tracks]uint32{videoStep, audioStep}
	var next [tracks]uint32
	last := time.Duration(0)
	for n := range 3 * len(c.samples) {
		s, due, stamp := c.endless(n)
		if stamp != next[s.track] {
			t.Fatalf("sample %d of track %d has time stamp %d, want %d", n, s.track, stamp, next[s.track])
		}
		if due < last {
			t.Fatalf("sample %d is due at %v, the one before at %v", n, due, last)
		}
		next[s.track] += step[s.track]
		last = due
	}
}

func TestKeyAt(t *testing.T) {
	c := testClip(t)
	f := func(at, want time.Duration) {
		t.Helper()
		if s := c.samples[c.keyAt(at)]; s.at != want || !s.key {
			t.Errorf("keyAt(%v) is at %v, want %v", at, s.at, want)
		}
	}
	f(0, 0)
	f(999*time.Millisecond, 0)
	f(time.Second, time.Second)
	f(2500*time.Millisecond, 2*time.Second)
	f(time.Hour, 7*time.Second)
}

func TestTicks(t *testing.T) {
	f := func(d time.Duration, rate int, want uint32) {
		t.Helper()
		if got := ticks(d, rate); got != want {
			t.Errorf("ticks(%v, %d) = %d, want %d", d, rate, got, want)
		}
	}
	f(1500*time.Millisecond, 90000, 135000)
	f(time.Millisecond, 48000, 48)
	f(1000*time.Hour, 90000, uint32(1000*3600*90000%(1<<32)))
}

// A report relates the wall clock to time stamps, fraction included.
func TestReport(t *testing.T) {
	c := testClip(t)
	nums := number(c)
	now := time.Unix(1_700_000_000, 500_000_000)
	for i, n := range nums {
		pkt, err := n.report(7, now, 2500*time.Millisecond).Marshal()
		if err != nil {
			t.Fatal(err)
		}
		sr := senderReport(t, pkt)
		if got, want := sr.NTPTime, uint64(1_700_000_000+2_208_988_800)<<32|1<<31; got != want {
			t.Errorf("track %d: NTP = %x, want %x", i, got, want)
		}
		if got, want := sr.RTPTime-n.offset, uint32(n.clock*5/2); got != want {
			t.Errorf("track %d: RTP = %d ticks, want %d", i, got, want)
		}
	}
}
