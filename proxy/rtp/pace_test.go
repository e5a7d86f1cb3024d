package rtp

import "testing"

func TestPace(t *testing.T) {
	f := func(what string, high, step uint32, stamps ...uint32) {
		t.Helper()
		var p Pace
		if _, ok := p.High(); ok || p.Step() != 1 {
			t.Errorf("%s: known before the first packet", what)
		}
		for _, ts := range stamps {
			p.Note(ts)
			p.Note(ts) // a picture has several packets
		}
		if got, ok := p.High(); !ok || got != high || p.Step() != step {
			t.Errorf("%s: %d, by %d; want %d, by %d", what, got, p.Step(), high, step)
		}
	}
	f("one", 7, 1, 7)
	f("sound", 3072, 1024, 0, 1024, 2048, 3072)
	f("sound of which some is lost", 6144, 1024, 0, 1024, 2048, 6144)
	f("pictures that refer to later ones", 5*3600, 3600, 0, 3*3600, 1*3600, 2*3600, 5*3600, 4*3600)
	f("around the end of the numbers", 0x700, 0x400, 0xfffffb00, 0xffffff00, 0x300, 0x700)
	f("slower than before", 40000, 9000, 1000, 2000, 3000, 4000, 13000, 22000, 31000, 40000)
	f("another beginning", 5_000_000, 3000, 0, 3000, 5_000_000)
	f("an earlier one", 50, 3000, 5_000_000, 5_003_000, 50)
	f("half the numbers away", 1<<31, 1, 0, 1<<31)
}

func BenchmarkPace(b *testing.B) {
	var p Pace
	for i := range b.N {
		p.Note(uint32(i/8) * 3600)
	}
}
