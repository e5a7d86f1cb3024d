package rtp

import (
	"encoding/binary"
	"time"
)

// Types of RTCP packets that only receivers and RFC 3611 have.
const (
	typeApp      = 204
	typeFeedback = 205 // on transport (RFC 4585 §6.2)
	typePicture  = 206 // on pictures (RFC 4585 §6.3)
	typeXR       = 207
)

// A Shift is by how much what receivers get of a source differs from what it
// sends. The zero Shift differs in nothing.
type Shift struct {
	In, Out uint32        // SSRC, as sent and as received
	Seq     uint16        // added to sequence numbers
	TS      uint32        // added to time stamps
	Wall    time.Duration // added to the wall clock's times in sender reports
}

// Shift returns what Apply does to packets of an SSRC now.
func (n *Numbering) Shift(in uint32) Shift {
	return Shift{In: in, Out: n.SSRC, Seq: n.seqOff, TS: n.tsOff}
}

// Forth changes a compound RTCP packet of the source in place, as its receivers
// are to have it: the time stamps of sender reports and the SSRC move along; what
// is malformed stays.
func (s Shift) Forth(pkt []byte) {
	for n := packetLen(pkt); n > 0; n = packetLen(pkt) {
		s.forth(pkt[:n])
		pkt = pkt[n:]
	}
}

// HasBye reports whether a compound RTCP packet says that a source has ended.
func HasBye(pkt []byte) bool {
	for n := packetLen(pkt); n > 0; n = packetLen(pkt) {
		if pkt[1] == typeBye {
			return true
		}
		pkt = pkt[n:]
	}
	return false
}

// CutBye takes that out in place, and returns the length that is left. What is
// malformed stays.
func CutBye(pkt []byte) (n int) {
	for at := 0; at < len(pkt); {
		size := packetLen(pkt[at:])
		if size == 0 {
			return n + copy(pkt[n:], pkt[at:])
		}
		if pkt[at+1] != typeBye {
			copy(pkt[n:], pkt[at:at+size])
			n += size
		}
		at += size
	}
	return n
}

// packetLen is the length of the RTCP packet that b begins with, 0 if there is
// none (RFC 3550 §6.4.1). Each has 8 bytes at least, a BYE without a name aside.
func packetLen(b []byte) int {
	if len(b) < 8 || b[0]>>6 != 2 || b[1] < 192 || b[1] > 223 {
		return 0
	}
	n := 4 + 4*int(binary.BigEndian.Uint16(b[2:]))
	if n < 8 || n > len(b) {
		return 0
	}
	return n
}

// forth changes one packet.
func (s Shift) forth(p []byte) {
	switch p[1] {
	case typeSR:
		if len(p) >= 28 && binary.BigEndian.Uint32(p[4:]) == s.In {
			binary.BigEndian.PutUint32(p[16:], binary.BigEndian.Uint32(p[16:])+s.TS)
			s.forthWall(p[8:])
		}
		s.rename(p[4:])
	case typeSDES:
		s.chunks(p)
	case typeBye:
		for i := 0; i < int(p[0]&31) && len(p) >= 8+4*i; i++ {
			s.rename(p[4+4*i:])
		}
	case typeRR, typeApp, typeFeedback, typePicture, typeXR:
		s.rename(p[4:])
	}
}

// forthWall moves a 64-bit NTP time, if its sender knows one.
func (s Shift) forthWall(b []byte) {
	if n := binary.BigEndian.Uint64(b); n != 0 && s.Wall != 0 {
		binary.BigEndian.PutUint64(b, NTP(FromNTP(n).Add(s.Wall)))
	}
}

// backWall moves the middle of one back, by which a receiver names a report.
func (s Shift) backWall(b []byte) {
	if n := binary.BigEndian.Uint32(b); n != 0 && s.Wall != 0 {
		whole, rest := s.Wall/time.Second, s.Wall%time.Second
		binary.BigEndian.PutUint32(b, n-uint32(whole<<16)-uint32(rest<<16/time.Second))
	}
}

// chunks renames in a source description (RFC 3550 §6.5).
func (s Shift) chunks(p []byte) {
	b := p[4:]
	for range p[0] & 31 {
		if len(b) < 4 {
			return
		}
		s.rename(b)
		n := 4
		for n < len(b) && b[n] != 0 { // items: type, length, text
			if n+2 > len(b) {
				return
			}
			n += 2 + int(b[n+1])
		}
		n = (n/4 + 1) * 4 // at least one zero, and to the next word
		if n > len(b) {
			return
		}
		b = b[n:]
	}
}

func (s Shift) rename(b []byte) {
	if binary.BigEndian.Uint32(b) == s.In {
		binary.BigEndian.PutUint32(b, s.Out)
	}
}

// Back changes a compound RTCP packet of a receiver in place, as the source is to
// have it: its SSRC, sequence numbers and times in report blocks and feedback. What a
// receiver says of others stays, as does what is malformed.
func (s Shift) Back(pkt []byte) {
	for n := packetLen(pkt); n > 0; n = packetLen(pkt) {
		p := pkt[:n]
		switch pkt = pkt[n:]; p[1] {
		case typeSR, typeRR:
			for b := blocks(p); len(b) >= blockLen; b = b[blockLen:] {
				if s.backName(b) {
					s.backSeq(b[10:])
					s.backWall(b[16:])
				}
			}
		case typeFeedback, typePicture:
			s.feedback(p)
		}
	}
}

// feedback changes what a receiver asks of the source (RFC 4585 §6.1, RFC 5104
// §4.3.1).
func (s Shift) feedback(p []byte) {
	if len(p) < 12 {
		return
	}
	ours := s.backName(p[8:])
	kind := p[0] & 31
	switch {
	case p[1] == typeFeedback && kind == 1 && ours: // packets that are missing
		for b := p[12:]; len(b) >= 4; b = b[4:] {
			s.backSeq(b)
		}
	case p[1] == typePicture && kind == 4: // a picture that decoders can begin with
		for b := p[12:]; len(b) >= 8; b = b[8:] {
			s.backName(b)
		}
	}
}

func (s Shift) backName(b []byte) bool {
	if binary.BigEndian.Uint32(b) != s.Out {
		return false
	}
	binary.BigEndian.PutUint32(b, s.In)
	return true
}

func (s Shift) backSeq(b []byte) {
	binary.BigEndian.PutUint16(b, binary.BigEndian.Uint16(b)-s.Seq)
}

// Report is the sender report that a compound packet begins with: the wall clock
// and the time stamp that belongs to it. ok is false if there is none, or its
// sender has no wall clock.
func Report(pkt []byte) (ssrc uint32, ntp uint64, ts uint32, ok bool) {
	if packetLen(pkt) < 28 || pkt[1] != typeSR {
		return 0, 0, 0, false
	}
	ntp = binary.BigEndian.Uint64(pkt[8:])
	return binary.BigEndian.Uint32(pkt[4:]), ntp, binary.BigEndian.Uint32(pkt[16:]), ntp != 0
}
