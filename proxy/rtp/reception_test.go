package rtp

import (
	"slices"
	"testing"
	"time"

	"github.com/pion/rtcp"
)

// receiverReport makes a receiver's compound packet with another writer than ours.
func receiverReport(t testing.TB, pkts ...rtcp.Packet) []byte {
	t.Helper()
	b, err := rtcp.Marshal(pkts)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestReceptions(t *testing.T) {
	f := func(what string, pkt []byte, want ...Reception) {
		t.Helper()
		if got := slices.Collect(Receptions(pkt)); !slices.Equal(got, want) {
			t.Errorf("%s: %+v, want %+v", what, got, want)
		}
	}
	one := rtcp.ReceptionReport{SSRC: 7, FractionLost: 64, TotalLost: 1000, LastSequenceNumber: 99, Jitter: 900, LastSenderReport: 0xdeadbeef, Delay: 3 << 15}
	is := Reception{SSRC: 7, Loss: 0.25, Lost: 1000, Jitter: 900, Last: 0xdeadbeef, Delay: 1500 * time.Millisecond}
	two := rtcp.ReceptionReport{SSRC: 8, TotalLost: 0xffffff}
	is2 := Reception{SSRC: 8, Lost: -1}
	name := rtcp.NewCNAMESourceDescription(1, "player")

	f("one block", receiverReport(t, &rtcp.ReceiverReport{SSRC: 1, Reports: []rtcp.ReceptionReport{one}}, name), is)
	f("two blocks", receiverReport(t, &rtcp.ReceiverReport{SSRC: 1, Reports: []rtcp.ReceptionReport{one, two}}, name), is, is2)
	f("of a sender", receiverReport(t, &rtcp.SenderReport{SSRC: 1, Reports: []rtcp.ReceptionReport{two}}, name), is2)
	f("two packets", receiverReport(t, &rtcp.ReceiverReport{SSRC: 1, Reports: []rtcp.ReceptionReport{one}}, name,
		&rtcp.ReceiverReport{SSRC: 1, Reports: []rtcp.ReceptionReport{two}}), is, is2)
	f("empty", receiverReport(t, &rtcp.ReceiverReport{SSRC: 1}, name))
	f("a goodbye", receiverReport(t, &rtcp.Goodbye{Sources: []uint32{1}}))
	f("nothing", nil)

	whole := receiverReport(t, &rtcp.ReceiverReport{SSRC: 1, Reports: []rtcp.ReceptionReport{one, two}})
	for n := range whole {
		f("cut", whole[:n])
	}
	short := slices.Clone(whole)
	short[0] |= 31 // says it has more than fit
	f("more blocks than bytes", short)
	other := slices.Clone(whole)
	other[0] &^= 0x80
	f("another version", other)
}

func TestSince(t *testing.T) {
	now := time.Now()
	for _, d := range []time.Duration{0, time.Millisecond, 5 * time.Second, -time.Second, 8 * time.Hour} {
		if got := Since(Short(NTP(now)), now.Add(d)); (got - d).Abs() > 20*time.Microsecond {
			t.Errorf("%v after: %v", d, got)
		}
	}
}

func FuzzReceptions(f *testing.F) {
	f.Add(receiverReport(f, &rtcp.ReceiverReport{SSRC: 1, Reports: []rtcp.ReceptionReport{{SSRC: 7, Delay: 5}}}, rtcp.NewCNAMESourceDescription(1, "a")))
	f.Add(receiverReport(f, &rtcp.SenderReport{SSRC: 1, Reports: []rtcp.ReceptionReport{{SSRC: 7}, {SSRC: 8}}}))
	f.Add(AppendBye(SenderReport{SSRC: 1, Time: time.Now()}.Append(nil, "weir"), 1))
	f.Fuzz(func(t *testing.T, pkt []byte) {
		n := 0
		for r := range Receptions(pkt) {
			if r.Loss < 0 || r.Loss >= 1 || r.Lost < -1<<23 || r.Lost >= 1<<23 || r.Delay < 0 || r.Delay > 65536*time.Second {
				t.Fatalf("%+v", r)
			}
			n++
		}
		if n*blockLen > len(pkt) {
			t.Fatalf("%d blocks in %d bytes", n, len(pkt))
		}
		// What a strict reader takes is read alike.
		var want []uint32
		ps, err := rtcp.Unmarshal(pkt)
		if err != nil {
			return
		}
		for _, p := range ps {
			switch p := p.(type) {
			case *rtcp.ReceiverReport:
				for _, b := range p.Reports {
					want = append(want, b.SSRC)
				}
			case *rtcp.SenderReport:
				for _, b := range p.Reports {
					want = append(want, b.SSRC)
				}
			}
		}
		var got []uint32
		for r := range Receptions(pkt) {
			got = append(got, r.SSRC)
		}
		if !slices.Equal(got, want) {
			t.Fatalf("blocks of %v, want %v", got, want)
		}
	})
}

func TestReceptionsAllocateNothing(t *testing.T) {
	b := receiverReport(t, &rtcp.ReceiverReport{SSRC: 1, Reports: []rtcp.ReceptionReport{{SSRC: 7}, {SSRC: 8}}})
	var sum uint32
	if n := testing.AllocsPerRun(100, func() {
		for r := range Receptions(b) {
			sum += r.SSRC
		}
	}); n != 0 {
		t.Errorf("%v allocations per report, want 0", n)
	}
}
