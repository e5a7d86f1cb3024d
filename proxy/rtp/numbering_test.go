package rtp

import (
	"encoding/binary"
	"testing"
)

// bare is a packet of which only the numbers matter.
func bare(seq uint16, ts uint32) []byte {
	b := make([]byte, HeaderLen)
	b[0] = 0x80
	binary.BigEndian.PutUint16(b[2:], seq)
	binary.BigEndian.PutUint32(b[4:], ts)
	return b
}

// apply checks what goes out for one packet that comes in.
func apply(t *testing.T, n *Numbering, seq uint16, ts uint32, wantSeq uint16, wantTS uint32) {
	t.Helper()
	pkt := bare(seq, ts)
	n.Apply(pkt)
	if Seq(pkt) != wantSeq || Timestamp(pkt) != wantTS || SSRC(pkt) != n.SSRC {
		t.Errorf("%d, %d goes out as %d, %d of %x, want %d, %d of %x", seq, ts, Seq(pkt), Timestamp(pkt), SSRC(pkt), wantSeq, wantTS, n.SSRC)
	}
	if n.Out(ts) != wantTS {
		t.Errorf("Out(%d) = %d, want %d", ts, n.Out(ts), wantTS)
	}
}

func wantLast(t *testing.T, n *Numbering, seq uint16, ts uint32) {
	t.Helper()
	if s, x := n.Last(); s != seq || x != ts {
		t.Errorf("last = %d, %d, want %d, %d", s, x, seq, ts)
	}
}

func TestNumberingOfOneSource(t *testing.T) {
	n := Numbering{SSRC: 0xcafe}
	if n.Started() {
		t.Error("started before Begin")
	}
	n.Begin(100, 9000, 5000)
	if !n.Started() {
		t.Error("not started after Begin")
	}
	wantLast(t, &n, 99, 5000)
	apply(t, &n, 100, 9000, 100, 5000)
	apply(t, &n, 101, 12000, 101, 8000)
	apply(t, &n, 104, 15000, 104, 11000) // loss upstream stays visible
	apply(t, &n, 102, 12000, 102, 8000)  // late
	wantLast(t, &n, 104, 11000)
}

func TestNumberingGoesOnWithAnotherSource(t *testing.T) {
	n := Numbering{SSRC: 0xcafe}
	n.Begin(100, 9000, 5000)
	apply(t, &n, 100, 9000, 100, 5000)
	apply(t, &n, 103, 9300, 103, 5300)
	apply(t, &n, 102, 9200, 102, 5200) // the last to come, not the furthest

	n.Begin(60000, 70, 8000)
	apply(t, &n, 60000, 70, 104, 8000)
	apply(t, &n, 60002, 90, 106, 8020)
	apply(t, &n, 60001, 80, 105, 8010)

	n.Begin(0, 4_000_000_000, 8100)
	apply(t, &n, 0, 4_000_000_000, 107, 8100)
	wantLast(t, &n, 107, 8100)
}

func TestNumberingWraps(t *testing.T) {
	n := Numbering{SSRC: 1}
	n.Begin(0, 0, 0xffffff00) // in: 16 bit at its begin; out: 32 bit near its end
	apply(t, &n, 0, 0, 0, 0xffffff00)
	apply(t, &n, 1, 0x200, 1, 0x100)
	wantLast(t, &n, 1, 0x100)
	apply(t, &n, 0, 0, 0, 0xffffff00) // late, from before the wrap
	wantLast(t, &n, 1, 0x100)

	n.Begin(65535, 0xfffffff0, 0x200)
	apply(t, &n, 65535, 0xfffffff0, 2, 0x200)
	apply(t, &n, 0, 0x10, 3, 0x220) // both wrap on the way in
	wantLast(t, &n, 3, 0x220)

	m := Numbering{SSRC: 1}
	m.Begin(65534, 7, 7)
	apply(t, &m, 65534, 7, 65534, 7)
	apply(t, &m, 65535, 8, 65535, 8)
	apply(t, &m, 0, 9, 0, 9) // on the way out
	apply(t, &m, 65535, 8, 65535, 8)
	wantLast(t, &m, 0, 9)
	m.Begin(500, 7, 10)
	apply(t, &m, 500, 7, 1, 10)
}

// A source that begins at 0 is no special case.
func TestNumberingBeginsAtZero(t *testing.T) {
	n := Numbering{}
	n.Begin(0, 0, 0)
	wantLast(t, &n, 65535, 0)
	apply(t, &n, 0, 0, 0, 0)
	wantLast(t, &n, 0, 0)
}

// Viewers see one stream over any number of sources: numbers without a gap and
// time that does not go back.
func TestNumberingOverManySources(t *testing.T) {
	n := Numbering{SSRC: 1}
	var seq uint16
	var ts uint32
	for source := range 40 {
		inSeq, inTS := uint16(source*7919), uint32(source)*0x1234567
		n.Begin(inSeq, inTS, ts+3000)
		for i := range 4000 {
			pkt := bare(inSeq+uint16(i), inTS+uint32(i)*3000)
			n.Apply(pkt)
			if first := source == 0 && i == 0; !first && Seq(pkt) != seq+1 || Timestamp(pkt) != ts+3000 {
				t.Fatalf("packet %d of source %d: %d, %d after %d, %d", i, source, Seq(pkt), Timestamp(pkt), seq, ts)
			}
			seq, ts = Seq(pkt), Timestamp(pkt)
		}
	}
}

func TestApplyAllocatesNothing(t *testing.T) {
	n := Numbering{SSRC: 1}
	n.Begin(1, 1, 1)
	pkt := bare(1, 1)
	if got := testing.AllocsPerRun(100, func() { n.Apply(pkt) }); got != 0 {
		t.Errorf("%v allocations, want none", got)
	}
}
