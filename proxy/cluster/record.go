package cluster

import (
	"encoding/binary"
	"time"
)

// A record is what one node told last under one topic. On the wire, big endian:
//
//	version 1 | kind 1 | flags 1 | id 16 | epoch 8 | seq 8 | ttl 4 (ms) | topic 1+n | body 2+n
//
// The ttl is what is left of it, so that clocks need not agree.
type record struct {
	kind       byte
	urgent     bool // spread before others and more often
	id         ID
	epoch, seq uint64
	ttl        time.Duration
	topic      string
	body       []byte
}

const (
	recordVersion = 1
	recordHead    = 1 + 1 + 1 + 16 + 8 + 8 + 4
	ttlAt         = recordHead - 4 // the offset of the ttl

	kindTold  = 1 // proxy.Peers
	kindState = 2 // how the node is; no topic

	flagUrgent = 1

	maxTopic  = 32   // bytes
	maxBody   = 1000 // bytes, see proxy.Peers
	maxTTL    = 10 * time.Minute
	maxEpoch  = 1 << 48 // milliseconds: no clock is so wrong
	maxRecord = recordHead + 1 + maxTopic + 2 + maxBody
)

// A reason is why a message was not taken.
type reason string

const (
	taken     reason = ""
	known     reason = "known"     // heard before, as most of what is gossiped: not a fault
	malformed reason = "malformed" // not a record
	version   reason = "version"   // a record of another version of this program
	oversize  reason = "oversize"
	expired   reason = "expired"
	full      reason = "full" // no room for more nodes, topics or bytes
	forged    reason = "own"  // in this node's name, and not by it
	unfit     reason = "node" // a node that does not say who it is, or an impossible one
)

// reasons are those that are counted.
var reasons = []reason{malformed, version, oversize, expired, full, forged, unfit}

// append writes the record behind b.
func (r *record) append(b []byte) []byte {
	var flags byte
	if r.urgent {
		flags |= flagUrgent
	}
	b = append(b, recordVersion, r.kind, flags)
	b = append(b, r.id[:]...)
	b = binary.BigEndian.AppendUint64(b, r.epoch)
	b = binary.BigEndian.AppendUint64(b, r.seq)
	b = binary.BigEndian.AppendUint32(b, uint32(r.ttl.Milliseconds()))
	b = append(append(b, byte(len(r.topic))), r.topic...)
	b = binary.BigEndian.AppendUint16(b, uint16(len(r.body)))
	return append(b, r.body...)
}

// size is the record's length on the wire.
func (r *record) size() int { return recordHead + 1 + len(r.topic) + 2 + len(r.body) }

// decodeRecord reads one record that is all of b. The body is a copy.
func decodeRecord(b []byte) (r record, why reason) {
	switch {
	case len(b) > maxRecord:
		return r, oversize
	case len(b) == 0:
		return r, malformed
	case b[0] != recordVersion:
		return r, version
	case len(b) < recordHead+3 || b[2]&^flagUrgent != 0:
		return r, malformed
	}
	r.kind, r.urgent, r.id = b[1], b[2]&flagUrgent != 0, ID(b[3:])
	r.epoch, r.seq = binary.BigEndian.Uint64(b[19:]), binary.BigEndian.Uint64(b[27:])
	r.ttl = time.Duration(binary.BigEndian.Uint32(b[ttlAt:])) * time.Millisecond
	n, rest := int(b[recordHead]), b[recordHead+1:]
	if n > maxTopic || len(rest) < n+2 {
		return r, malformed
	}
	r.topic, rest = string(rest[:n]), rest[n:]
	if int(binary.BigEndian.Uint16(rest)) != len(rest)-2 || len(rest)-2 > maxBody || !r.sensible() {
		return r, malformed
	}
	if r.ttl == 0 {
		return r, expired
	}
	r.body = append([]byte{}, rest[2:]...)
	return r, taken
}

func (r *record) sensible() bool {
	if r.ttl > maxTTL || r.epoch >= maxEpoch {
		return false
	}
	switch r.kind {
	case kindTold:
		return validTopic(r.topic)
	case kindState:
		return r.topic == ""
	}
	return false
}

func validTopic(s string) bool { return s != "" && len(s) <= maxTopic && printable(s) }
