package rtp

import "encoding/binary"

// A Numbering gives all packets of a track one SSRC, and sequence numbers and
// time stamps that go on when the source is replaced. Within the life of one
// source its offsets are constant, so loss upstream stays visible as gaps.
// The zero value, its SSRC apart, is ready for Begin. It is for one goroutine.
type Numbering struct {
	SSRC uint32

	seqOff  uint16
	tsOff   uint32
	lastSeq uint16 // the furthest so far, outgoing
	lastTS  uint32
	started bool
}

// Begin tells that a source begins with a packet of this sequence number and
// time stamp, and that the outgoing time stamp of that packet shall be ts. The
// sequence goes on with the next number, or anywhere for the first source.
func (n *Numbering) Begin(inSeq uint16, inTS, ts uint32) {
	n.tsOff = ts - inTS
	if n.started {
		n.seqOff = n.lastSeq + 1 - inSeq
		return
	}
	n.started = true
	n.seqOff = 0
	n.lastSeq, n.lastTS = inSeq-1, ts
}

// Insert makes room for n packets before the next one: their incoming numbers are
// the n before its own.
func (n *Numbering) Insert(packets uint16) { n.seqOff += packets }

// Late tells that time stamps may have gone round since the last packet: what comes next has
// the outgoing one ts.
func (n *Numbering) Late(ts uint32) { n.lastTS = ts }

// Started reports whether there was a Begin.
func (n *Numbering) Started() bool { return n.started }

// Last returns the furthest sequence number and time stamp that went out.
func (n *Numbering) Last() (seq uint16, ts uint32) { return n.lastSeq, n.lastTS }

// Out returns the outgoing time stamp for an incoming one.
func (n *Numbering) Out(inTS uint32) uint32 { return inTS + n.tsOff }

// Apply patches a valid packet in place.
func (n *Numbering) Apply(pkt []byte) {
	seq, ts := Seq(pkt)+n.seqOff, Timestamp(pkt)+n.tsOff
	binary.BigEndian.PutUint16(pkt[2:], seq)
	binary.BigEndian.PutUint32(pkt[4:], ts)
	binary.BigEndian.PutUint32(pkt[8:], n.SSRC)
	if int16(seq-n.lastSeq) > 0 {
		n.lastSeq = seq
	}
	if int32(ts-n.lastTS) > 0 {
		n.lastTS = ts
	}
}
