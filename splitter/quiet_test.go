package splitter

import (
	"testing"
	"time"
)

// A pause counts as silence when it is five times as long as usual, and a second.
func TestPulse(t *testing.T) {
	const ms = time.Millisecond
	f := func(what string, every []time.Duration, times int, least, want time.Duration) {
		t.Helper()
		var p pulse
		now := time.Unix(1000, 0)
		for range times {
			for _, d := range every {
				now = now.Add(d)
				p.beat(now.UnixNano())
			}
		}
		if _, ok := p.silent(now.Add(want-ms), least); ok {
			t.Errorf("%s: silent after less than %v", what, want)
		}
		if d, ok := p.silent(now.Add(want+ms), least); !ok || d != want+ms {
			t.Errorf("%s: not silent after %v", what, want)
		}
	}
	f("25 pictures a second", []time.Duration{40 * ms}, 1000, quietLeast, time.Second)
	f("behind an edge", []time.Duration{40 * ms}, 1000, quietEdge, 3*time.Second)
	f("one picture a second", []time.Duration{time.Second}, 100, quietLeast, 5*time.Second)
	f("lumps", append(make([]time.Duration, 200), 900*ms), 20, quietLeast, 4500*ms)
	f("the first packet", []time.Duration{40 * ms}, 1, quietLeast, time.Second)
	var p pulse
	if _, ok := p.silent(time.Now(), quietLeast); ok {
		t.Error("silent before anything has come")
	}
}

// A long pause is forgotten, by half in half a minute.
func TestPulseForgets(t *testing.T) {
	var p pulse
	now := time.Unix(1000, 0)
	beat := func(after time.Duration) {
		now = now.Add(after)
		p.beat(now.UnixNano())
	}
	beat(0)
	beat(4 * time.Second)
	for range 30 * 25 {
		beat(40 * time.Millisecond)
	}
	if got := time.Duration(p.usual.Load()); got < 1900*time.Millisecond || got > 2100*time.Millisecond {
		t.Errorf("a pause of 4 s counts for %v after half a minute, want 2 s", got)
	}
}
