// Package rtp is pure functions on the bytes of RTP and RTCP packets (RFC 3550):
// reading and patching headers, finding key frames, numbering that goes on over
// a change of source, sender reports. It keeps no packet and allocates nothing
// per packet.
package rtp

import "encoding/binary"

// HeaderLen is the length of an RTP header without CSRCs and extension.
const HeaderLen = 12

// Valid reports whether pkt begins with a whole RTP header, version 2.
func Valid(pkt []byte) bool { return len(pkt) >= HeaderLen && pkt[0]>>6 == 2 }

// Marker returns the marker bit: for video, the last packet of an access unit.
func Marker(pkt []byte) bool { return pkt[1]&0x80 != 0 }

// Seq returns the sequence number.
func Seq(pkt []byte) uint16 { return binary.BigEndian.Uint16(pkt[2:]) }

// Timestamp returns the time stamp, in ticks of the track's clock.
func Timestamp(pkt []byte) uint32 { return binary.BigEndian.Uint32(pkt[4:]) }

// SSRC returns the synchronisation source.
func SSRC(pkt []byte) uint32 { return binary.BigEndian.Uint32(pkt[8:]) }

// Payload returns what follows CSRCs and extension, without padding; nil if the
// packet is shorter than its header says (RFC 3550 §5.1, §5.3.1).
func Payload(pkt []byte) []byte {
	if !Valid(pkt) {
		return nil
	}
	off := HeaderLen + 4*int(pkt[0]&0x0f)
	if pkt[0]&0x10 != 0 {
		if len(pkt) < off+4 {
			return nil
		}
		off += 4 + 4*int(binary.BigEndian.Uint16(pkt[off+2:]))
	}
	end := len(pkt)
	if pkt[0]&0x20 != 0 {
		end -= int(pkt[end-1])
	}
	if off > end {
		return nil
	}
	return pkt[off:end]
}
