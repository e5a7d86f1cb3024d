package viewer

import (
	"encoding/binary"
	"iter"
	"time"
)

// Types of RTCP packets (RFC 3550 §12.1).
const (
	typeSR   = 200
	typeRR   = 201
	typeSDES = 202
	typeBye  = 203
)

func be32(b []byte) uint32 { return binary.BigEndian.Uint32(b) }

// rtcpPackets yields the packets of a compound, up to the first that is not
// whole.
func rtcpPackets(b []byte) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		for len(b) >= 4 && b[0]>>6 == 2 {
			n := 4 + 4*int(binary.BigEndian.Uint16(b[2:]))
			if n > len(b) || !yield(b[:n]) {
				return
			}
			b = b[n:]
		}
	}
}

// names reports whether a BYE is for this source (RFC 3550 §6.6).
func names(bye []byte, ssrc uint32) bool {
	for i := range int(bye[0] & 31) {
		if p := bye[4:]; len(p) >= 4*i+4 && be32(p[4*i:]) == ssrc {
			return true
		}
	}
	return false
}

// A reception is one block of a receiver report (RFC 3550 §6.4.1). Jitter is
// not measured and told as 0.
type reception struct {
	ssrc     uint32
	fraction byte // lost since the report before, in 1/256
	lost     uint64
	highest  uint32
	lastSR   uint32
	sinceSR  time.Duration
}

// appendReport appends a receiver report, empty if r is nil, and the source
// description that has to go with it.
func appendReport(b []byte, ours uint32, r *reception) []byte {
	if r == nil {
		b = append(b, 0x80, typeRR, 0, 1)
		b = binary.BigEndian.AppendUint32(b, ours)
	} else {
		b = append(b, 0x81, typeRR, 0, 7)
		b = binary.BigEndian.AppendUint32(b, ours)
		b = binary.BigEndian.AppendUint32(b, r.ssrc)
		b = binary.BigEndian.AppendUint32(b, uint32(r.fraction)<<24|uint32(min(r.lost, 1<<23-1)))
		b = binary.BigEndian.AppendUint32(b, r.highest)
		b = binary.BigEndian.AppendUint32(b, 0)
		b = binary.BigEndian.AppendUint32(b, r.lastSR)
		b = binary.BigEndian.AppendUint32(b, uint32(r.sinceSR*65536/time.Second))
	}
	b = append(b, 0x81, typeSDES, 0, 3)
	b = binary.BigEndian.AppendUint32(b, ours)
	return append(b, 1, 4, 'w', 'e', 'i', 'r', 0, 0)
}
