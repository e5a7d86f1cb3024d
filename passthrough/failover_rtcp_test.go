package passthrough

import (
	"encoding/binary"
	"slices"
	"testing"
	"time"

	"weir/proxy/rtp"
)

// reception is what a viewer says of a source.
func reception(of uint32, seq uint32, last uint32) []byte {
	b := []byte{0x81, 201, 0, 7, 0, 0, 0, 9}
	b = binary.BigEndian.AppendUint32(b, of)
	b = append(b, 0, 0, 0, 0)
	b = binary.BigEndian.AppendUint32(b, seq)
	b = append(b, 0, 0, 0, 0)
	b = binary.BigEndian.AppendUint32(b, last)
	return append(b, 0, 0, 0, 0)
}

// TestFailoverReports: RTCP is of the numbers that each side knows, in both
// directions, and over both transports of the viewer.
func TestFailoverReports(t *testing.T) {
	one, two := newFake(t), newFake(t)
	e := newEdge(t, quick, one.url(), two.url())
	p, l := watching(e, one, overTCP)
	at := time.Unix(1_700_000_000, 0)
	l.write(frameOf(0, rtpOf(0xaaaa, 100, 9000, params)))
	p.wantPacket(0xaaaa, 100)
	first := reportOf(0xaaaa, at, 9000)
	l.write(frameOf(1, first))
	p.wantFrame(1, first)
	l.write(frameOf(1, rtp.AppendBye(reportOf(0xaaaa, at, 9100), 0xaaaa)))
	p.wantFrame(1, reportOf(0xaaaa, at, 9100)) // the end is not for the viewer
	l2, _ := two.takesOver(true)
	l2.write(frameOf(1, reportOf(0xbbbb, at, 500))) // of what nobody has seen
	l2.write(frameOf(0, rtpOf(0xbbbb, 7, 500, slice)))
	l2.write(frameOf(0, rtpOf(0xbbbb, 8, 900, params)))
	l2.write(frameOf(1, reportOf(0xbbbb, at.Add(20*time.Millisecond), 900)))
	pkt := p.wantPacket(0xaaaa, 101)
	ch, sr := p.frame()
	ssrc, ntp, ts, ok := rtp.Report(sr)
	due := at.Add(time.Duration(ts-9100) * time.Second / 90000) // on the line of the one before
	if ch != 1 || !ok || ssrc != 0xaaaa || rtp.FromNTP(ntp).Sub(due).Abs() > time.Microsecond || ts != rtp.Timestamp(pkt) {
		t.Errorf("report on channel %d: %x of %08x, time %v, stamp %d; want %v and stamp %d", ch, sr, ssrc, rtp.FromNTP(ntp), ts, due, rtp.Timestamp(pkt))
	}
	if want := []byte{0x81, 202}; len(sr) < 40 || !slices.Equal(sr[28:30], want) || binary.BigEndian.Uint32(sr[32:]) != 0xaaaa {
		t.Errorf("behind the report: %x", sr)
	}
	e.wantAt(two)
	p.write(string(frameOf(1, reception(0xaaaa, 0x10065, 4711))))
	f := l2.frame()
	moved := due.Sub(at.Add(20*time.Millisecond)).Seconds() * (1 << 16)
	want := reception(0xbbbb, 0x10008, 4711-uint32(int32(moved)))
	heard := binary.BigEndian.Uint32(f[len(f)-8:]) - binary.BigEndian.Uint32(want[len(want)-8:]) // when the report went out, by its clock
	if f[0] != 1 || !slices.Equal(f[1:len(f)-8], want[:len(want)-8]) || heard+2 > 4 {
		t.Errorf("the origin hears %x, want %x", f[1:], want)
	}
}

// TestFailoverEndAlone: where there is no other origin, the viewer learns that the
// stream has ended.
func TestFailoverEndAlone(t *testing.T) {
	one := newFake(t)
	e := newEdge(t, quick, one.url())
	p, l := watching(e, one, overTCP)
	bye := rtp.AppendBye(reportOf(0xaaaa, time.Now(), 9100), 0xaaaa)
	l.write(frameOf(1, bye))
	n := len(bye) - 8
	p.wantFrame(1, bye[:n])
	p.wantFrame(1, bye)
}

// TestFailoverSets: pictures of another kind come with what a decoder needs.
func TestFailoverSets(t *testing.T) {
	one, two := newFake(t), newFake(t)
	e := newEdge(t, quick, one.url(), two.url())
	p, l := watching(e, one, overTCP)
	l.write(frameOf(0, rtpOf(0xaaaa, 100, 9000, params)))
	p.wantPacket(0xaaaa, 100)
	l.reset()
	l2 := two.accept()
	l2.describeAs(description(1) + "a=fmtp:96 sprop-parameter-sets=Z0I=,aM4=\r\n")
	l2.setup("88")
	l2.play()
	l2.write(frameOf(0, rtpOf(0xbbbb, 65535, 10, key)))
	l2.write(frameOf(0, rtpOf(0xbbbb, 0, 20, slice)))
	var stamps []uint32
	for i, want := range []string{"\x67\x42", "\x68\xce", "\x65\x01\x02\x03", "\x61\x01\x02\x03"} {
		pkt := p.wantPacket(0xaaaa, uint16(101+i))
		if got := string(rtp.Payload(pkt)); got != want {
			t.Errorf("packet %d holds %x, want %x", i, got, want)
		}
		stamps = append(stamps, rtp.Timestamp(pkt))
	}
	if stamps[0] != stamps[2] || stamps[3] != stamps[2]+10 || int32(stamps[0]-9000) <= 0 {
		t.Errorf("time stamps %d", stamps)
	}
}
