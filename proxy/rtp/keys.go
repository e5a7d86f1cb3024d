package rtp

import "bytes"

// av1Key: RTP payload format for AV1 §4.4. A packet that begins a coded video
// sequence says so; some senders forget, but then a sequence header comes first.
func av1Key(p []byte) bool {
	if len(p) < 2 || p[0]&0x80 != 0 { // goes on with a unit of the packet before
		return false
	}
	if p[0]&0x08 != 0 {
		return true
	}
	unit := p[1:]
	if p[0]&0x30 != 0x10 { // each unit but the last of a counted few has its size in front
		for len(unit) > 0 && unit[0]&0x80 != 0 {
			unit = unit[1:]
		}
		unit = unit[min(1, len(unit)):]
	}
	return len(unit) > 0 && unit[0]>>3&15 == 1
}

// vp8Key: RFC 7741 §4.2, §4.3: the first packet of a frame that refers to none.
func vp8Key(p []byte) bool {
	if len(p) < 2 || p[0]&0x17 != 0x10 { // start of a partition, the first one
		return false
	}
	n := 1
	if p[0]&0x80 != 0 {
		ext := p[1]
		n = 2
		if ext&0x80 != 0 {
			n += pictureID(p[n:])
		}
		if ext&0x40 != 0 {
			n++
		}
		if ext&0x30 != 0 {
			n++
		}
	}
	return n < len(p) && p[n]&1 == 0
}

// vp9Key: RFC 9628 §4.2: the beginning of a frame of the lowest spatial layer that
// refers to none. Some senders say so of all frames, so the frame's own header has
// to say it too.
func vp9Key(p []byte) bool {
	if len(p) < 2 || p[0]&0x48 != 0x08 {
		return false
	}
	n := 1
	if p[0]&0x80 != 0 {
		n += pictureID(p[n:])
	}
	if p[0]&0x20 != 0 {
		if n >= len(p) || p[n]>>1&7 != 0 {
			return false
		}
		n++
		if p[0]&0x10 == 0 {
			n++ // number of the picture in its lowest temporal layer
		}
	}
	if p[0]&0x02 != 0 {
		n += vp9Structure(p[min(n, len(p)):])
	}
	return n < len(p) && vp9Intra(p[n])
}

// vp9Structure is the length of the description of layers (RFC 9628 §4.2.1).
func vp9Structure(p []byte) int {
	if len(p) == 0 {
		return 0
	}
	n := 1
	if p[0]&0x10 != 0 {
		n += 4 * (int(p[0]>>5) + 1)
	}
	if p[0]&0x08 != 0 && n < len(p) {
		pictures := int(p[n])
		n++
		for ; pictures > 0 && n < len(p); pictures-- {
			n += 1 + int(p[n]>>2&3)
		}
	}
	return n
}

// vp9Intra reads the first byte of a frame: marker, profile, whether it only
// repeats another frame, and its type (VP9 bitstream specification §6.2).
func vp9Intra(b byte) bool {
	if b>>6 != 2 {
		return false
	}
	if b&0x30 == 0x30 {
		b <<= 1 // a reserved bit behind profile 3
	}
	return b&0x0c == 0
}

// pictureID is the length of a picture's number, in VP8's and VP9's descriptors.
func pictureID(p []byte) int {
	if len(p) > 0 && p[0]&0x80 != 0 {
		return 2
	}
	return 1
}

// jpegKey: RFC 2435 §3.1: every picture stands alone; its first fragment is at 0.
func jpegKey(p []byte) bool { return len(p) >= 8 && p[1]|p[2]|p[3] == 0 }

// mpeg4Key: RFC 6416 §5.1, ISO 14496-2 §6.2: a header of a sequence, an object, a
// layer or a group, or a picture of its own.
func mpeg4Key(p []byte) bool {
	if len(p) < 5 || !bytes.HasPrefix(p, []byte{0, 0, 1}) {
		return false
	}
	switch code := p[3]; {
	case code < 0x30, code == 0xb0, code == 0xb3, code == 0xb5:
		return true
	default:
		return code == 0xb6 && p[4]>>6 == 0
	}
}

// mpegKey: RFC 2250 §3.4: a packet with a sequence header, without which decoders
// cannot begin; a picture of its own does not do.
func mpegKey(p []byte) bool { return len(p) >= 4 && p[2]&0x20 != 0 }

// Lengths of a transport packet and its header (ISO 13818-1 §2.4.3).
const (
	tsLen    = 188
	tsHeader = 4
)

// tsKey: RFC 2250 §2: a picture begins whose transport packet says that decoding
// may begin there. Sound says that of all its packets.
func tsKey(p []byte) bool {
	for ; len(p) >= tsLen && p[0] == 0x47; p = p[tsLen:] {
		if p[1]&0x40 == 0 || p[3]&0x30 != 0x30 || p[4] == 0 || p[5]&0x40 == 0 {
			continue
		}
		pes := p[min(tsHeader+1+int(p[4]), tsLen):tsLen]
		if len(pes) >= 4 && pes[0] == 0 && pes[1] == 0 && pes[2] == 1 && pes[3]>>4 == 0xe {
			return true
		}
	}
	return false
}

// IsPrelude reports whether a payload holds what a decoder needs before the key
// frame that follows in packets of other time stamps: the tables of MPEG-TS.
func (c Codec) IsPrelude(p []byte) bool {
	if c != MP2T {
		return false
	}
	for ; len(p) >= tsLen && p[0] == 0x47; p = p[tsLen:] {
		if p[1]&0x5f == 0x40 && p[2] == 0 { // the start of a table, on the first table's channel
			return true
		}
	}
	return false
}
