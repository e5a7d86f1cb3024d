package viewer

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/pion/rtcp"

	"weir/proxy/rtp"
	"weir/proxy/sdp"
	"weir/proxy/wire"
)

func TestCount(t *testing.T) {
	f := func(lost, reordered uint64, highest uint32, seqs ...uint16) {
		t.Helper()
		var tr track
		for _, s := range seqs {
			tr.count(packet(s), 1)
		}
		if l, r, h := tr.lost.Load(), tr.reordered.Load(), tr.highest.Load(); l != lost || r != reordered || h != highest {
			t.Errorf("%v: %d lost, %d reordered, highest %#x, want %d, %d, %#x", seqs, l, r, h, lost, reordered, highest)
		}
	}
	f(0, 0, 3, 1, 2, 3)
	f(2, 0, 4, 1, 4)
	f(1, 1, 4, 1, 4, 3)
	f(0, 2, 4, 1, 4, 3, 2)
	f(1, 1, 4, 1, 4, 3, 3)                 // a duplicate
	f(0, 0, 5, 5, 4)                       // sent before the first
	f(1, 0, 0x10001, 65534, 65535, 1)      // a new cycle
	f(0, 1, 0x10000, 65534, 0, 65535)      // back into the old one
	f(99, 0, 101, 1, 101)                  // more than the window
	f(98, 1, 101, 1, 101, 38)              // its last number
	f(99, 1, 101, 1, 101, 37)              // too old to tell
	f(0, 1, 702, 30000, 700, 701, 702)     // numbered anew
	f(0, 2, 30001, 30000, 700, 900, 30001) // strays
	f(19999, 0, 20001, 1, 20001)           // a jump is a loss
}

// A new PLAY begins a new numbering, from which on loss counts again.
func TestCountOverPlays(t *testing.T) {
	var tr track
	tr.count(packet(1), 1)
	tr.count(packet(100), 2)
	tr.count(packet(102), 2)
	if got := tr.lost.Load(); got != 1 {
		t.Errorf("lost = %d, want 1", got)
	}
}

func TestReport(t *testing.T) {
	var tr track
	read := func(now time.Duration) *rtcp.ReceiverReport {
		t.Helper()
		ps, err := rtcp.Unmarshal(tr.report(nil, 5, now))
		if err != nil || len(ps) != 2 {
			t.Fatalf("report is %v, %v", ps, err)
		}
		if err := rtcp.CompoundPacket(ps).Validate(); err != nil {
			t.Error(err)
		}
		return ps[0].(*rtcp.ReceiverReport)
	}
	if r := read(0); r.SSRC != 5 || len(r.Reports) != 0 {
		t.Errorf("before the first packet: %+v", r)
	}
	tr.count(packet(65535), 1)
	tr.note(rtp.SenderReport{SSRC: 7, Time: time.Unix(1, 1<<29)}.Append(nil, "x"), time.Second)
	read(time.Second)
	tr.count(packet(3), 1)
	b := read(1500 * time.Millisecond).Reports[0]
	want := rtcp.ReceptionReport{SSRC: 7, FractionLost: 3 * 256 / 4, TotalLost: 3, LastSequenceNumber: 0x10003,
		LastSenderReport: uint32(rtp.NTP(time.Unix(1, 1<<29)) >> 16), Delay: 1 << 15}
	if b != want {
		t.Errorf("report %+v, want %+v", b, want)
	}
	if b := read(2 * time.Second).Reports[0]; b.FractionLost != 0 || b.TotalLost != 3 {
		t.Errorf("report with nothing new %+v", b)
	}
}

func FuzzRTCP(f *testing.F) {
	f.Add(rtp.AppendBye(rtp.SenderReport{SSRC: 7}.Append(nil, "x"), 7))
	f.Add([]byte{0x9f, 203, 0, 1, 0, 0, 0, 7})
	f.Fuzz(func(_ *testing.T, b []byte) {
		var tr track
		tr.note(b, 0)
	})
}

// stream is bytes without end: a key frame, nine other pictures, and so on.
func stream() *Viewer {
	var once []byte
	for i := range uint16(10) {
		p := packet(i)
		if i == 0 {
			p[12] = 0x65
		}
		once = append(once, frame(0, append(p, make([]byte, 1200)...))...)
	}
	v := &Viewer{start: time.Now(), keyed: true, tracks: []*track{{codec: rtp.H264, media: sdp.Media{Format: sdp.Format{Encoding: "H264"}}}}}
	v.br = bufio.NewReaderSize(&endless{once: once}, bufferSize)
	v.msgs = wire.NewReader(v.br)
	v.route[0] = 1
	return v
}

type endless struct {
	once []byte
	rest bytes.Reader
}

func (e *endless) Read(b []byte) (int, error) {
	if e.rest.Len() == 0 {
		e.rest.Reset(e.once)
	}
	return e.rest.Read(b)
}

func TestReadingAllocatesNothing(t *testing.T) {
	v := stream()
	v.o.OnPacket = func(int, []byte) {}
	if n := testing.AllocsPerRun(1000, func() {
		if err := v.next(); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations per frame, want 0", n)
	}
}

// datagrams sends the packets of stream over a socket of its own, one for each call
// of next, which reads it.
func datagrams(t testing.TB) (next func()) {
	v := stream()
	sock, other, err := listenPair(net.IPv4(127, 0, 0, 1), "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { sock.Close(); other.Close() })
	tr, take := v.tracks[0], v.packet
	tr.peer = netip.MustParseAddr("127.0.0.1")
	to, pkt, buf := sock.LocalAddr().(*net.UDPAddr).AddrPort(), append(packet(0), make([]byte, 1200)...), make([]byte, bufferSize)
	var seq uint16
	return func() {
		binary.BigEndian.PutUint16(pkt[2:], seq)
		seq++
		if _, err := other.WriteToUDPAddrPort(pkt, to); err != nil {
			t.Fatal(err)
		}
		if err := tr.datagram(sock, buf, take); err != nil {
			t.Fatal(err)
		}
	}
}

func TestReadingUDPAllocatesNothing(t *testing.T) {
	if n := testing.AllocsPerRun(1000, datagrams(t)); n != 0 {
		t.Errorf("%v allocations per datagram, want 0", n)
	}
}

// BenchmarkDatagram is what a packet over UDP costs, its sending included.
func BenchmarkDatagram(b *testing.B) {
	next := datagrams(b)
	b.ReportAllocs()
	for b.Loop() {
		next()
	}
}

// BenchmarkFrame is what a packet over TCP costs, the kernel's part aside.
func BenchmarkFrame(b *testing.B) {
	f := func(name string, codec rtp.Codec) {
		b.Run(name, func(b *testing.B) {
			v := stream()
			v.tracks[0].codec = codec
			b.ReportAllocs()
			for b.Loop() {
				if err := v.next(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	f("playing", rtp.H264)
	f("before-key-frame", rtp.Other) // each packet is looked at and timed
}
