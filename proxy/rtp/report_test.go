package rtp

import (
	"strings"
	"testing"
	"time"

	"github.com/pion/rtcp"
)

func TestSenderReport(t *testing.T) {
	at := time.Date(2026, 11, 22, 16, 0, 0, 500_000_000, time.UTC)
	f := func(cname, want string) {
		t.Helper()
		b := SenderReport{SSRC: 0xcafebabe, Time: at, RTP: 0xfedcba98, Packets: 1 << 31, Octets: 1<<32 - 1}.Append([]byte("x"), cname)
		if b[0] != 'x' || (len(b)-1)%4 != 0 {
			t.Fatalf("%d bytes, beginning with %q", len(b), b[0])
		}
		packets, err := rtcp.Unmarshal(b[1:])
		if err != nil || len(packets) != 2 {
			t.Fatalf("CNAME %.20q: %v, %v", cname, packets, err)
		}
		sr, ok := packets[0].(*rtcp.SenderReport)
		if !ok || sr.SSRC != 0xcafebabe || sr.NTPTime != NTP(at) || sr.RTPTime != 0xfedcba98 || sr.PacketCount != 1<<31 || sr.OctetCount != 1<<32-1 || len(sr.Reports) != 0 {
			t.Errorf("report = %+v", packets[0])
		}
		sdes, ok := packets[1].(*rtcp.SourceDescription)
		if !ok || len(sdes.Chunks) != 1 || sdes.Chunks[0].Source != 0xcafebabe || len(sdes.Chunks[0].Items) != 1 {
			t.Fatalf("description = %+v", packets[1])
		}
		if item := sdes.Chunks[0].Items[0]; item.Type != rtcp.SDESCNAME || item.Text != want {
			t.Errorf("item = %v %.20q (%d bytes), want CNAME %.20q (%d)", item.Type, item.Text, len(item.Text), want, len(want))
		}
		if err := rtcp.CompoundPacket(packets).Validate(); err != nil {
			t.Errorf("compound: %v", err)
		}
	}
	for n := range 9 { // every padding
		f(strings.Repeat("c", n), strings.Repeat("c", n))
	}
	f("weir@edge-1", "weir@edge-1")
	f(strings.Repeat("c", 255), strings.Repeat("c", 255))
	f(strings.Repeat("c", 300), strings.Repeat("c", 255))
}

func TestBye(t *testing.T) {
	packets, err := rtcp.Unmarshal(AppendBye(nil, 0xcafebabe))
	if err != nil || len(packets) != 1 {
		t.Fatalf("%v, %v", packets, err)
	}
	if bye, ok := packets[0].(*rtcp.Goodbye); !ok || len(bye.Sources) != 1 || bye.Sources[0] != 0xcafebabe || bye.Reason != "" {
		t.Errorf("goodbye = %+v", packets[0])
	}
	// Behind a report it is a valid compound.
	b := AppendBye(SenderReport{SSRC: 1, Time: time.Unix(1, 0)}.Append(nil, "c"), 1)
	if packets, err = rtcp.Unmarshal(b); err != nil || len(packets) != 3 {
		t.Errorf("report and goodbye = %v, %v", packets, err)
	}
}

func TestNTP(t *testing.T) {
	f := func(t0 time.Time, want uint64) {
		t.Helper()
		if got := NTP(t0); got != want {
			t.Errorf("NTP(%v) = %#x, want %#x", t0, got, want)
		}
	}
	f(time.Unix(0, 0), 2208988800<<32)
	f(time.Unix(0, 500_000_000), 2208988800<<32|0x80000000)
	f(time.Unix(0, 250_000_000), 2208988800<<32|0x40000000)
	f(time.Unix(1, 0), 2208988801<<32)
	f(time.Date(1900, 1, 1, 0, 0, 0, 0, time.UTC), 0)
	f(time.Unix(0, 999_999_999), 2208988800<<32|0xfffffffb)
}

func TestNTPAndBack(t *testing.T) {
	f := func(t0 time.Time) {
		t.Helper()
		if got := FromNTP(NTP(t0)); !got.Equal(t0) {
			t.Errorf("FromNTP(NTP(%v)) = %v", t0, got)
		}
	}
	for _, ns := range []int64{0, 1, 2, 999, 1000, 123_456_789, 499_999_999, 500_000_000, 500_000_001, 999_999_998, 999_999_999} {
		for _, sec := range []int64{-63072000, 0, 1, 1_795_000_000, 2_085_978_495} { // 1968 … 7 February 2036
			f(time.Unix(sec, ns))
		}
	}
	if got, want := FromNTP(2208988800<<32|0xffffffff), time.Unix(1, 0); !got.Equal(want) {
		t.Errorf("the last fraction of a second = %v, want it rounded to %v", got, want)
	}
}
