package rtp

import (
	"encoding/binary"
	"strings"
)

// A Codec tells how a track's payloads are read.
type Codec uint8

// Codecs whose key frames are known. Other stands for the rest.
const (
	Other Codec = iota
	H264
	H265
)

// CodecOf returns the codec of an encoding name of SDP's rtpmap.
func CodecOf(encoding string) Codec {
	switch strings.ToUpper(encoding) {
	case "H264":
		return H264
	case "H265":
		return H265
	}
	return Other
}

// IsKey reports whether an RTP payload holds the start of a picture that a
// decoder can begin with, or the parameters that stand before one. It looks at
// the first bytes only and never panics, whatever it is given.
func (c Codec) IsKey(payload []byte) bool {
	switch c {
	case H264:
		return h264Key(payload)
	case H265:
		return h265Key(payload)
	}
	return false
}

// h264Key: RFC 6184 §5.2 to §5.8.
func h264Key(p []byte) bool {
	if len(p) < 2 {
		return false
	}
	switch t := p[0] & 31; t {
	case 24: // STAP-A
		return anyUnit(p[1:], func(u []byte) bool { return h264Start(u[0] & 31) })
	case 28, 29: // FU-A, FU-B; only the fragment that starts the unit
		return p[1]&0x80 != 0 && h264Start(p[1]&31)
	default:
		return h264Start(t)
	}
}

// h264Start: an IDR slice or a sequence parameter set. A PPS alone may stand
// before any picture.
func h264Start(t byte) bool { return t == 5 || t == 7 }

// h265Key: RFC 7798 §4.4.
func h265Key(p []byte) bool {
	if len(p) < 3 {
		return false
	}
	switch t := p[0] >> 1 & 63; t {
	case 48: // aggregation packet
		return anyUnit(p[2:], func(u []byte) bool { return h265Start(u[0] >> 1 & 63) })
	case 49: // fragmentation unit
		return p[2]&0x80 != 0 && h265Start(p[2]&63)
	default:
		return h265Start(t)
	}
}

// h265Start: BLA, IDR and CRA pictures, VPS and SPS.
func h265Start(t byte) bool { return t >= 16 && t <= 21 || t == 32 || t == 33 }

// anyUnit walks units that each stand behind a 16-bit size.
func anyUnit(p []byte, is func(unit []byte) bool) bool {
	for len(p) > 2 {
		n := int(binary.BigEndian.Uint16(p))
		if n == 0 || len(p) < 2+n {
			return false
		}
		if is(p[2 : 2+n]) {
			return true
		}
		p = p[2+n:]
	}
	return false
}
