package viewer

import (
	"net"
	"net/netip"
	"sync/atomic"
	"time"

	"weir/proxy/rtp"
	"weir/proxy/sdp"
)

// A track is one medium: what it is, where it comes from, what came.
type track struct {
	index     int
	url       string
	media     sdp.Media
	codec     rtp.Codec
	announced *uint32

	// UDP only; see udp.go.
	rtpSock, rtcpSock *net.UDPConn
	rtpTo, rtcpTo     netip.AddrPort // zero if the server names no ports
	peer, source      netip.Addr

	bytes, packets, lost, reordered atomic.Uint64
	highest                         atomic.Uint32 // sequence number, above it the count of cycles (RFC 3550 §6.4.1)
	ssrc                            atomic.Uint32 // of the latest packet
	bye                             atomic.Bool

	// For the goroutine that reads RTP. window holds the numbers up to highest,
	// bit 0 the highest; a cleared bit is one that has been counted as lost.
	plays  uint32 // Viewer.plays when this numbering began
	begun  bool
	window uint64
	probe  int32 // the number that would make a new numbering out of a stray one; -1 for none

	lastSR   atomic.Uint32 // middle of its NTP time
	lastSRAt atomic.Int64  // ns since the viewer's start

	reportedHighest uint32 // by the report before
	reportedLost    uint64
}

// count counts a valid packet. plays is Viewer.plays: another PLAY may move the
// position, and with it the numbers.
func (t *track) count(pkt []byte, plays uint32) {
	t.bytes.Add(uint64(len(pkt)))
	t.packets.Add(1)
	if ssrc := rtp.SSRC(pkt); t.ssrc.Load() != ssrc {
		t.ssrc.Store(ssrc)
	}
	seq := rtp.Seq(pkt)
	if !t.begun || t.plays != plays {
		t.begun, t.plays = true, plays
		t.restart(seq)
		return
	}
	switch d := int16(seq - uint16(t.highest.Load())); {
	case d > 0:
		t.forward(uint64(d))
	case d > -64:
		t.late(uint(-d))
	default:
		t.stray(seq)
	}
}

// restart begins a numbering. Nothing before seq is missed.
func (t *track) restart(seq uint16) {
	t.highest.Store(t.highest.Load()&^0xffff | uint32(seq))
	t.window = ^uint64(0)
	t.probe = -1
}

func (t *track) forward(d uint64) {
	t.highest.Add(uint32(d))
	t.window = t.window<<d | 1
	t.probe = -1
	if d > 1 {
		t.lost.Add(d - 1)
	}
}

// late takes a packet that is behind the highest: a number that was counted as
// lost, or a duplicate, which counts as neither.
func (t *track) late(behind uint) {
	bit := uint64(1) << behind
	if t.window&bit != 0 {
		return
	}
	t.window |= bit
	t.reordered.Add(1)
	t.lost.Add(^uint64(0)) // one less
}

// stray takes a packet from far behind. Two of them in sequence are a source
// that numbers anew (RFC 3550 §A.1).
func (t *track) stray(seq uint16) {
	if int32(seq) == t.probe {
		t.restart(seq)
		return
	}
	t.reordered.Add(1)
	t.probe = int32(seq + 1)
}

// note reads what matters to us out of a compound RTCP packet: sender reports,
// and whether the track's source has just said goodbye.
func (t *track) note(pkt []byte, at time.Duration) (bye bool) {
	for p := range rtcpPackets(pkt) {
		switch p[1] {
		case typeSR:
			if len(p) >= 20 {
				t.lastSR.Store(be32(p[10:]))
				t.lastSRAt.Store(int64(at))
			}
		case typeBye:
			if names(p, t.ssrc.Load()) {
				t.bye.Store(true)
				bye = true
			}
		}
	}
	return bye
}

// report appends a receiver report to b.
func (t *track) report(b []byte, ours uint32, now time.Duration) []byte {
	if t.packets.Load() == 0 {
		return appendReport(b, ours, nil)
	}
	r := reception{ssrc: t.ssrc.Load(), highest: t.highest.Load(), lost: t.lost.Load(), lastSR: t.lastSR.Load()}
	if r.lastSR != 0 {
		r.sinceSR = now - time.Duration(t.lastSRAt.Load())
	}
	// Late packets and new numberings make either go backwards: then nothing is said.
	lost, expected := int64(r.lost-t.reportedLost), int64(r.highest)-int64(t.reportedHighest)
	if t.reportedHighest != 0 && lost > 0 && expected > 0 {
		r.fraction = byte(min(lost*256/expected, 255))
	}
	t.reportedHighest, t.reportedLost = r.highest, r.lost
	return appendReport(b, ours, &r)
}
