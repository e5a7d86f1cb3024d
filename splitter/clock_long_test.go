package splitter

import (
	"strings"
	"testing"
	"time"

	"weir/proxy/rtp"
)

// Data whose time stamps stand still, or come after hours, does not tell what time it is:
// pictures go on after an outage by as much as it was long, and reports stay.
func TestDataTellsNoTime(t *testing.T) {
	f := func(what string, seconds int, data func(second int, c *camera, now time.Time)) {
		t.Helper()
		c := newCamera(t, silentSDP)
		now := time.Now()
		c.source(now)
		for s := range seconds {
			now = now.Add(time.Second)
			c.ts[0] += 24 * 3600 // no test needs all of them
			c.picture(true, 1, now)
			c.ts[1] += 49 * 960
			c.hear(now)
			data(s, c, now.Add(time.Millisecond))
		}
		_, had := c.tracks[0].num.Last()
		off := c.clock.ties[0].off
		if off.Abs() > time.Minute {
			t.Errorf("%s: reports are %v off the clock", what, off)
		}
		const gap = 10 * time.Second
		c.again(now)
		now = now.Add(gap)
		c.hear(now)
		c.picture(true, 1, now)
		_, has := c.tracks[0].num.Last()
		if d := c.tracks[0].ticks(has - had); (d - gap).Abs() > 100*time.Millisecond {
			t.Errorf("%s: pictures go on after %v, want %v", what, d, gap)
		}
	}
	f("none", 60, func(int, *camera, time.Time) {})
	f("it stands still", 600, func(s int, c *camera, now time.Time) { c.send(2, now, true, 1, 2, 3) })
	for _, hours := range []int{1, 7, 12} {
		f("silent for hours", hours*3600, func(s int, c *camera, now time.Time) {
			if c.ts[2] += 90000; s == 0 || s == hours*3600-1 {
				c.send(2, now, true, 1, 2, 3)
			}
		})
	}
}

// Sound that begins when the source has played for a day is where the pictures are, though
// its clock has gone another way than ours.
func TestLateSound(t *testing.T) {
	const wrong = 1 + 100e-6
	for _, late := range []time.Duration{time.Hour, 24 * time.Hour} {
		c := newCamera(t, avSDP)
		start, zero := time.Now(), time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)
		c.source(start)
		step := func(at time.Duration, sound bool) {
			said := time.Duration(float64(at) * wrong)
			for track, rate := range []float64{90000, 48000} {
				if track > 0 && !sound {
					break
				}
				c.ts[track] = uint32(int64(said.Seconds() * rate))
				if at%(5*time.Second) == 0 {
					c.senderReport(track, rtp.NTP(zero.Add(said)), c.ts[track])
				}
				c.send(track, start.Add(at), true, 0x65, 1)
			}
		}
		c.senderReport(0, rtp.NTP(zero), 0)
		at := time.Duration(0)
		for ; at < late; at += time.Second {
			step(at, false)
		}
		apart := func() time.Duration {
			v, a := c.tracks[0], c.tracks[1]
			return v.media(v.num.Out(c.ts[0])).Sub(a.media(a.num.Out(c.ts[1])))
		}
		for range 600 {
			at += 100 * time.Millisecond
			if step(at, true); apart().Abs() > 50*time.Millisecond {
				t.Fatalf("sound after %v, %v later: %v apart", late, at-late, apart())
			}
		}
	}
}

// Each picture track waits for a picture of its own that can be decoded.
func TestGateOfASecondPicture(t *testing.T) {
	c := newCamera(t, head+h264+strings.Replace(h264, "trackID=0", "trackID=1", 1))
	now := time.Now()
	at := c.ring.here()
	both := func(first, second byte) {
		now = now.Add(40 * time.Millisecond)
		for track, unit := range []byte{first, second} {
			c.ts[track] += 3600
			c.send(track, now, true, unit, 1)
		}
	}
	c.source(now)
	both(0x65, 0x65)
	c.again(now)
	both(0x41, 0x41)
	both(0x65, 0x41)
	both(0x41, 0x65)
	both(0x41, 0x41)
	c.flushNow(now)
	var got strings.Builder
	for _, p := range seen(&at, 0, 2) {
		got.WriteString(map[byte]string{0x65: "K", 0x41: "p"}[p.bytes[12]])
		got.WriteByte('0' + p.ch/2)
	}
	if want := "K0K1K0p0K1p0p1"; got.String() != want {
		t.Errorf("%s, want %s", got.String(), want)
	}
}
