package rtp

import (
	"encoding/binary"
	"time"
)

// ntpEpoch is 1 January 1900, seen from Unix time, in seconds.
const ntpEpoch = 2208988800

// A SenderReport relates a track's time stamps to the wall clock (RFC 3550
// §6.4.1).
type SenderReport struct {
	SSRC    uint32
	Time    time.Time
	RTP     uint32 // the time stamp that belongs to Time
	Packets uint32
	Octets  uint32 // of payload
}

// Append appends a compound packet to b: the report, and a source description
// with the canonical name by which receivers group tracks (RFC 3550 §6.1, §6.5).
// Of cname at most 255 bytes count.
func (r SenderReport) Append(b []byte, cname string) []byte {
	b = append(b, 0x80, typeSR, 0, 6)
	b = binary.BigEndian.AppendUint32(b, r.SSRC)
	b = binary.BigEndian.AppendUint64(b, NTP(r.Time))
	b = binary.BigEndian.AppendUint32(b, r.RTP)
	b = binary.BigEndian.AppendUint32(b, r.Packets)
	b = binary.BigEndian.AppendUint32(b, r.Octets)

	return appendName(b, r.SSRC, cname)
}

// appendName appends a source description (RFC 3550 §6.5).
func appendName(b []byte, ssrc uint32, cname string) []byte {
	cname = cname[:min(len(cname), 255)]
	words := (4 + 2 + len(cname) + 1 + 3) / 4 // SSRC, item, at least one zero, padding
	b = append(b, 0x81, typeSDES, 0, byte(words))
	end := len(b) + 4*words
	b = binary.BigEndian.AppendUint32(b, ssrc)
	b = append(b, 1, byte(len(cname)))
	b = append(b, cname...)
	for len(b) < end {
		b = append(b, 0)
	}
	return b
}

// AppendBye appends a packet that says that the source has ended (RFC 3550 §6.6).
func AppendBye(b []byte, ssrc uint32) []byte {
	return binary.BigEndian.AppendUint32(append(b, 0x81, typeBye, 0, 1), ssrc)
}

// NTP returns t as a 64-bit NTP time stamp (RFC 3550 §4).
func NTP(t time.Time) uint64 {
	sec := uint64(t.Unix() + ntpEpoch)
	return sec<<32 | uint64(t.Nanosecond())<<32/1e9
}

// FromNTP is the inverse of NTP, exact to a nanosecond, for times from 1968 to
// 2036.
func FromNTP(n uint64) time.Time {
	sec := int64(n>>32) - ntpEpoch
	ns := (n&0xffffffff*1e9 + 1<<31) >> 32
	return time.Unix(sec, int64(ns))
}
