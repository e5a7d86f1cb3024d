package rtp

import (
	"encoding/binary"
	"iter"
	"time"
)

// A Reception is what a receiver says of one source that it hears: a report
// block of RFC 3550 §6.4.1.
type Reception struct {
	SSRC   uint32  // of the source
	Loss   float64 // share of packets lost since the report before, 0 to 1
	Lost   int32   // packets lost since it began; negative if more came twice
	Jitter uint32  // between arrivals, in ticks of the source's clock

	Last  uint32        // the middle of the NTP time in the last report of the source; 0 for none
	Delay time.Duration // from that report's arrival to this one
}

// Types of RTCP packets (RFC 3550 §12.1).
const (
	typeSR   = 200
	typeRR   = 201
	typeSDES = 202
	typeBye  = 203
)

// blockLen is the length of a report block in bytes.
const blockLen = 24

// Receptions yields the report blocks of a compound packet, sender reports'
// included, until something in it is malformed. It allocates nothing.
func Receptions(pkt []byte) iter.Seq[Reception] {
	return func(yield func(Reception) bool) {
		for len(pkt) >= 4 && pkt[0]>>6 == 2 {
			n := 4 + 4*int(binary.BigEndian.Uint16(pkt[2:]))
			if n > len(pkt) {
				return
			}
			for b := blocks(pkt[:n]); len(b) >= blockLen; b = b[blockLen:] {
				if !yield(readBlock(b)) {
					return
				}
			}
			pkt = pkt[n:]
		}
	}
}

// blocks is where the report blocks of one packet stand; nil if it has none, or
// is too short for as many as it says.
func blocks(p []byte) []byte {
	from, n := 8, int(p[0]&31)*blockLen
	switch p[1] {
	case typeRR:
	case typeSR:
		from = 28
	default:
		return nil
	}
	if len(p) < from+n {
		return nil
	}
	return p[from : from+n]
}

func readBlock(b []byte) Reception {
	be := binary.BigEndian
	return Reception{
		SSRC:   be.Uint32(b),
		Loss:   float64(b[4]) / 256,
		Lost:   int32(be.Uint32(b[4:])<<8) >> 8, // 24 bits with a sign
		Jitter: be.Uint32(b[12:]),
		Last:   be.Uint32(b[16:]),
		Delay:  FromShort(be.Uint32(b[20:])),
	}
}

// Short returns the middle 32 bits of an NTP time stamp, by which receivers name
// reports: seconds modulo 65536 and 65536ths (RFC 3550 §4).
func Short(ntp uint64) uint32 { return uint32(ntp >> 16) }

// FromShort is the length of a time given in 65536ths of a second, as receivers
// give their delay.
func FromShort(n uint32) time.Duration { return time.Duration(int64(n) * int64(time.Second) >> 16) }

// Since is the time from a report that a receiver names by last to a moment, for
// less than nine hours either way.
func Since(last uint32, at time.Time) time.Duration {
	return time.Duration(int64(int32(Short(NTP(at))-last)) * int64(time.Second) >> 16)
}
