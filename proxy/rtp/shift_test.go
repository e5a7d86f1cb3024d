package rtp

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"slices"
	"strings"
	"testing"
	"time"
)

var shift = Shift{In: 0x11111111, Out: 0x22222222, Seq: 1000, TS: 90000}

// TestShiftForth: the receivers' SSRC and time stamps, the source's wall clock.
func TestShiftForth(t *testing.T) {
	at := time.Unix(1_700_000_000, 0)
	in := SenderReport{SSRC: shift.In, Time: at, RTP: 5, Packets: 7, Octets: 9}.Append(nil, "name")
	in = AppendBye(in, shift.In)
	want := SenderReport{SSRC: shift.Out, Time: at, RTP: 90005, Packets: 7, Octets: 9}.Append(nil, "name")
	want = AppendBye(want, shift.Out)
	got := bytes.Clone(in)
	shift.Forth(got)
	if !bytes.Equal(got, want) {
		t.Errorf("% x\nwant % x", got, want)
	}
	early := shift
	early.Wall = -90 * time.Second
	want = SenderReport{SSRC: shift.Out, Time: at.Add(early.Wall), RTP: 90005, Packets: 7, Octets: 9}.Append(nil, "name")
	got = bytes.Clone(in[:len(want)])
	if early.Forth(got); !bytes.Equal(got, want) {
		t.Errorf("% x\nwant % x", got, want)
	}
	block := binary.BigEndian.AppendUint32([]byte{0x81, typeRR, 0, 7, 0, 0, 0, 1}, shift.Out)
	block = binary.BigEndian.AppendUint32(append(block, make([]byte, 12)...), Short(NTP(at.Add(early.Wall))))
	block = append(block, 0, 0, 0, 0)
	if early.Back(block); binary.BigEndian.Uint32(block[24:]) != Short(NTP(at)) {
		t.Errorf("the last report was at %x, want %x", block[24:28], Short(NTP(at)))
	}
	other := SenderReport{SSRC: 7, Time: at, RTP: 5}.Append(nil, "name")
	got = bytes.Clone(other)
	if shift.Forth(got); !bytes.Equal(got, other) {
		t.Errorf("another's report has become % x", got)
	}
}

// TestCutBye: what says that the source has ended goes, wherever it stands; the
// rest stays.
func TestCutBye(t *testing.T) {
	report := SenderReport{SSRC: 1, Time: time.Unix(0, 0)}.Append(nil, "n")
	bye := AppendBye(nil, 1)
	f := func(want []byte, parts ...[]byte) {
		t.Helper()
		in := slices.Concat(parts...)
		if has := HasBye(in); has != (len(want) < len(in)) {
			t.Errorf("HasBye(% x) = %v", in, has)
		}
		got := bytes.Clone(in)
		if got = got[:CutBye(got)]; !bytes.Equal(got, want) {
			t.Errorf("of % x is left % x, want % x", in, got, want)
		}
	}
	f(report, report)
	f(report, report, bye)
	f(report, bye, report, bye)
	f(nil, bye)
	f(nil)
	f([]byte("no RTCP"), []byte("no RTCP"))
	f(append(bytes.Clone(report), "rest"...), report, []byte("rest"))
}

// TestShiftBack: what a receiver says of the source, in the source's numbers.
func TestShiftBack(t *testing.T) {
	be := binary.BigEndian
	rr := []byte{0x82, typeRR, 0, 13, 0, 0, 0, 1}
	for _, of := range []uint32{shift.Out, 7} {
		rr = be.AppendUint32(rr, of)
		rr = append(rr, 0, 0, 0, 0, 0, 3, 3, 0xe9, 0, 0, 0, 0, 0, 0, 0, 42, 0, 0, 0, 0) // 3 times round, 1001
	}
	nack := be.AppendUint32([]byte{0x81, typeFeedback, 0, 3, 0, 0, 0, 1}, shift.Out)
	nack = append(nack, 0x03, 0xe9, 0, 1)
	pli := be.AppendUint32([]byte{0x81, typePicture, 0, 2, 0, 0, 0, 1}, shift.Out)
	fir := be.AppendUint32([]byte{0x84, typePicture, 0, 4, 0, 0, 0, 1, 0, 0, 0, 0}, shift.Out)
	fir = append(fir, 1, 0, 0, 0)
	got := slices.Concat(rr, nack, pli, fir)
	shift.Back(got)
	in := be.AppendUint32(nil, shift.In)
	want := slices.Concat(rr[:8], in, rr[12:18], []byte{0, 1}, rr[20:],
		nack[:8], in, []byte{0, 1, 0, 1}, pli[:8], in, fir[:12], in, fir[16:])
	if !bytes.Equal(got, want) {
		t.Errorf("% x\nwant % x", got, want)
	}
}

func TestReport(t *testing.T) {
	at := time.Unix(1_700_000_000, 5e8)
	ssrc, ntp, ts, ok := Report(SenderReport{SSRC: 3, Time: at, RTP: 4}.Append(nil, ""))
	if !ok || ssrc != 3 || ntp != NTP(at) || ts != 4 {
		t.Errorf("%d, %d, %d, %v", ssrc, ntp, ts, ok)
	}
	for _, b := range [][]byte{nil, AppendBye(nil, 1), make([]byte, 40), {0x80, typeSR, 0, 6, 0, 0, 0, 1}} {
		if _, _, _, ok := Report(b); ok {
			t.Errorf("% x is a report", b)
		}
	}
}

// A receiver names a report by the middle of its time, however far that was moved.
func TestShiftBackWall(t *testing.T) {
	sent := time.Date(1970, 1, 2, 3, 4, 5, 678e6, time.UTC)
	for _, wall := range []time.Duration{time.Millisecond, -time.Millisecond, time.Hour, -time.Hour, 50 * 365 * 24 * time.Hour, -50 * 365 * 24 * time.Hour} {
		s := Shift{In: 1, Out: 2, Wall: wall}
		var b [4]byte
		binary.BigEndian.PutUint32(b[:], uint32(NTP(sent.Add(wall))>>16))
		s.backWall(b[:])
		if got, want := binary.BigEndian.Uint32(b[:]), uint32(NTP(sent)>>16); got-want+2 > 4 {
			t.Errorf("moved by %v: %08x, want %08x", wall, got, want)
		}
	}
}

func TestNumberingShift(t *testing.T) {
	n := Numbering{SSRC: 9}
	n.Begin(100, 1000, 5000)
	n.Begin(50, 10, 6000)
	if got, want := n.Shift(7), (Shift{In: 7, Out: 9, Seq: 50, TS: 5990}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}

func TestSets(t *testing.T) {
	f := func(fmtp string, want ...string) {
		t.Helper()
		got := Sets(fmtp)
		if !slices.EqualFunc(got, want, func(a []byte, b string) bool { return string(a) == b }) {
			t.Errorf("Sets(%q) = %q, want %q", fmtp, got, want)
		}
	}
	f("")
	f("packetization-mode=1; sprop-parameter-sets=YQ==,Yg==; profile-level-id=42", "a", "b")
	f("sprop-pps=Yw==;sprop-vps=YQ==;SPROP-SPS=Yg==", "a", "b", "c")
	f("sprop-parameter-sets=!,YQ==,", "a")
	f("sprop-parameter-sets="+base64.StdEncoding.EncodeToString(make([]byte, maxSet+1))+",Yg==", "b")
	f("sprop-parameter-sets="+strings.Repeat("QQ==,", 100), slices.Repeat([]string{"A"}, maxSets)...)
}

func FuzzShift(f *testing.F) {
	f.Add(AppendBye(SenderReport{SSRC: shift.In}.Append(nil, "name"), shift.In))
	f.Add([]byte{0x81, typeSDES, 0, 1, 0x11, 0x11, 0x11, 0x11})
	f.Add([]byte{0x9f, typeBye, 0, 1, 0x11, 0x11, 0x11, 0x11})
	f.Add([]byte{0x84, typePicture, 0, 2, 0, 0, 0, 1, 0x22, 0x22, 0x22, 0x22})
	f.Fuzz(func(t *testing.T, in []byte) {
		pkt := bytes.Clone(in)
		shift.Forth(pkt)
		if HasBye(pkt) != HasBye(in) {
			t.Fatal("a BYE has come, or gone")
		}
		n := CutBye(pkt)
		if n > len(in) || HasBye(pkt[:n]) {
			t.Fatalf("% x is left", pkt[:n])
		}
		shift.Back(pkt)
		Report(pkt)
	})
}
