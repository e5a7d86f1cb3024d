package origintest

import (
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"weir/proxy/sdp"
	"weir/proxy/wire"

	wrtp "weir/proxy/rtp"
)

func TestStoredDescription(t *testing.T) {
	t.Parallel()
	o := run(t, Options{})
	f := func(path string, want bool) {
		t.Helper()
		v := dial(t, o, path)
		body := v.ok("DESCRIBE", v.url).Body
		s, err := sdp.Parse(body)
		if err != nil {
			t.Fatal(err)
		}
		if s.Stored() != want || len(s.Media) != 2 || !strings.Contains(s.Media[0].Fmtp, "sprop-parameter-sets=") {
			t.Errorf("%s: stored = %v in\n%s", path, s.Stored(), body)
		}
	}
	f("/vod/clip", true)
	f("/live/clock", false)
}

// place is what RTP-Info says of a track.
type place struct {
	seq   uint16
	stamp uint32
}

func places(t *testing.T, res *wire.Response) (p []place) {
	t.Helper()
	for i, e := range strings.Split(res.Header.Get("RTP-Info"), ",") {
		if !strings.Contains(e, "/vod/clip/trackID="+strconv.Itoa(i)+";") {
			t.Errorf("RTP-Info: %s", e)
		}
		_, e, _ = strings.Cut(e, ";")
		var one place
		if _, err := fmt.Sscanf(e, "seq=%d;rtptime=%d", &one.seq, &one.stamp); err != nil {
			t.Fatalf("RTP-Info: %s: %v", e, err)
		}
		p = append(p, one)
	}
	if len(p) != 2 {
		t.Fatalf("RTP-Info: %v", p)
	}
	return p
}

// expectPlaces checks that the first packets are those that RTP-Info announced:
// the picture at the very place, the sound within a frame.
func expectPlaces(t *testing.T, v *viewer, p []place, slack [2]uint32) {
	t.Helper()
	var seen [2]bool
	for !seen[0] || !seen[1] {
		c, pkt := v.packet()
		if c%2 != 0 || seen[c/2] {
			continue
		}
		i := c / 2
		seen[i] = true
		if wrtp.Seq(pkt) != p[i].seq || wrtp.Timestamp(pkt)-p[i].stamp > slack[i] {
			t.Errorf("track %d begins with %d, %d; RTP-Info said %+v", i, wrtp.Seq(pkt), wrtp.Timestamp(pkt), p[i])
		}
	}
}

func TestStoredRange(t *testing.T) {
	t.Parallel()
	o := run(t, Options{})
	v := dial(t, o, "/vod/clip")
	v.setup(2)
	res := v.ok("PLAY", v.url, "Range", "npt=2.4-7.5")
	if got := res.Header.Get("Range"); got != "npt=2.000-7.500" {
		t.Errorf("Range = %s", got)
	}
	at2 := places(t, res)
	expectPlaces(t, v, at2, [2]uint32{0, audioStep})

	v.ok("PAUSE", v.url)
	if c := o.Counts(); c.Playing != 0 || c.Pulls != 1 {
		t.Errorf("Counts after PAUSE = %+v", c)
	}
	res = v.ok("PLAY", v.url) // goes on where it was, to the same end
	var from, to float64
	if _, err := fmt.Sscanf(res.Header.Get("Range"), "npt=%f-%f", &from, &to); err != nil || from <= 2 || from > 4 || to != 7.5 {
		t.Errorf("Range = %s", res.Header.Get("Range"))
	}
	resumed := places(t, res)
	ms := uint32(from*1000 + 0.5)
	if resumed[0].stamp-at2[0].stamp != (ms-2000)*90 || resumed[1].stamp-at2[1].stamp != (ms-2000)*48 {
		t.Errorf("at %d ms RTP-Info is %v; at 2 s it was %v", ms, resumed, at2)
	}
	expectPlaces(t, v, resumed, [2]uint32{videoStep, audioStep})

	res = v.ok("PLAY", v.url, "Range", "npt=5-") // seek without PAUSE
	if p := places(t, res); p[0].stamp-at2[0].stamp != 3*videoClock || p[1].stamp-at2[1].stamp != 3*audioClock {
		t.Errorf("at 5 s RTP-Info is %v; at 2 s it was %v", p, at2)
	}
	f := func(header string) {
		t.Helper()
		if res := v.do("PLAY", v.url, "Range", header); res.Code != 457 {
			t.Errorf("Range: %s: %d, want 457", header, res.Code)
		}
	}
	f("npt=8-")
	f("npt=5-4")
	f("npt=nan-")
	f("npt=now-")
	f("clock=20200101T000000Z-")
}

func TestStoredEnd(t *testing.T) {
	t.Parallel()
	o := run(t, Options{})
	v := dial(t, o, "/vod/clip")
	v.setup(2)
	begin := time.Now()
	p := places(t, v.ok("PLAY", v.url, "Range", "npt=7.9-"))
	pictures, reports, byes := 0, 0, 0
	last := uint32(0)
	for byes < 2 {
		c, pkt := v.packet()
		switch {
		case c%2 == 1 && wrtp.HasBye(pkt):
			byes++
		case c%2 == 1:
			reports++
		case c == 0:
			last = wrtp.Timestamp(pkt)
			if wrtp.Marker(pkt) {
				pictures++
			}
		}
	}
	if pictures != 25 || last-p[0].stamp != 24*videoStep || reports != 2 {
		t.Errorf("the last second had %d pictures and %d reports; it ended at %d", pictures, reports, last-p[0].stamp)
	}
	if d := time.Since(begin); d < 900*time.Millisecond || d > 3*time.Second {
		t.Errorf("the last second took %v", d)
	}
	// After the end, PLAY begins anew, and sequence numbers go on.
	res := v.ok("PLAY", v.url)
	if got := res.Header.Get("Range"); got != "npt=0.000-8.000" {
		t.Errorf("Range = %s", got)
	}
	again := places(t, res)
	if again[0].stamp != p[0].stamp-7*videoClock || again[0].seq == p[0].seq {
		t.Errorf("RTP-Info is %v; it was %v", again, p)
	}
	v.ok("TEARDOWN", v.url)
	eventually(t, "nobody plays", func() bool { return o.Counts().Playing == 0 })
}

func TestStoredStall(t *testing.T) {
	t.Parallel()
	o := run(t, Options{})
	v := dial(t, o, "/vod/clip")
	v.setup(1)
	v.ok("PLAY", v.url)
	v.rtp(0)
	o.Stall(true)
	quiet(t, v)
	o.Stall(false)
	v.rtp(0)
}

// ssrcOf is the sender's, of RTP or RTCP.
func ssrcOf(channel byte, pkt []byte) uint32 {
	if channel%2 == 1 {
		return binary.BigEndian.Uint32(pkt[4:])
	}
	return wrtp.SSRC(pkt)
}
