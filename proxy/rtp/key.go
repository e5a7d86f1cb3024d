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
	AV1
	VP8
	VP9
	JPEG
	MPEG4 // part 2, "MP4V-ES"
	MPEG  // MPEG-1 and MPEG-2 video, "MPV"
	MP2T  // a transport stream
)

// CodecOf returns the codec of an encoding name of SDP's rtpmap.
func CodecOf(encoding string) Codec {
	switch strings.ToUpper(encoding) {
	case "H264":
		return H264
	case "H265":
		return H265
	case "AV1":
		return AV1
	case "VP8":
		return VP8
	case "VP9":
		return VP9
	case "JPEG":
		return JPEG
	case "MP4V-ES":
		return MPEG4
	case "MPV":
		return MPEG
	case "MP2T":
		return MP2T
	}
	return Other
}

// IsKey reports whether an RTP payload holds the start of a picture that a
// decoder can begin with, or the parameters that stand before one. It looks at
// the first bytes only, of MPEG-TS at each packet's, and never panics, whatever it
// is given.
func (c Codec) IsKey(payload []byte) bool {
	switch c { // not a table of functions: payload would escape
	case H264:
		return h264Key(payload)
	case H265:
		return h265Key(payload)
	case AV1:
		return av1Key(payload)
	case VP8:
		return vp8Key(payload)
	case VP9:
		return vp9Key(payload)
	case JPEG:
		return jpegKey(payload)
	case MPEG4:
		return mpeg4Key(payload)
	case MPEG:
		return mpegKey(payload)
	case MP2T:
		return tsKey(payload)
	}
	return false
}

// HasSets reports whether a payload holds a sequence parameter set, or that of
// H.265's video, which comes before one; codecs other than H.264 and H.265 have none.
func (c Codec) HasSets(p []byte) bool {
	switch c {
	case H264:
		return h264Any(p, func(t byte) bool { return t == 7 })
	case H265:
		return h265Any(p, func(t byte) bool { return t == 32 || t == 33 })
	}
	return false
}

// h264Key: RFC 6184 §5.2 to §5.8.
func h264Key(p []byte) bool { return h264Any(p, h264Start) }

// h264Any reports whether one of the units that begin in a payload is of a type.
func h264Any(p []byte, is func(t byte) bool) bool {
	if len(p) < 2 {
		return false
	}
	switch t := p[0] & 31; t {
	case 24: // STAP-A
		return anyUnit(p[1:], func(u []byte) bool { return is(u[0] & 31) })
	case 28, 29: // FU-A, FU-B; only the fragment that starts the unit
		return p[1]&0x80 != 0 && is(p[1]&31)
	default:
		return is(t)
	}
}

// h264Start: an IDR slice or a sequence parameter set. A PPS alone may stand
// before any picture.
func h264Start(t byte) bool { return t == 5 || t == 7 }

// h265Key: RFC 7798 §4.4.
func h265Key(p []byte) bool { return h265Any(p, h265Start) }

// h265Any is h264Any for H.265.
func h265Any(p []byte, is func(t byte) bool) bool {
	if len(p) < 3 {
		return false
	}
	switch t := p[0] >> 1 & 63; t {
	case 48: // aggregation packet
		return anyUnit(p[2:], func(u []byte) bool { return is(u[0] >> 1 & 63) })
	case 49: // fragmentation unit
		return p[2]&0x80 != 0 && is(p[2]&63)
	default:
		return is(t)
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
