package cluster

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
)

// An identity on the wire is a byte for the version, and then fields of a tag, a
// length and a value, a byte each for the first two; numbers are big endian. Tags
// that are not known are skipped, so that a cluster can be upgraded node by node.
const (
	identityVersion = 1
	// maxIdentity bounds an identity in bytes. Memberlist panics above 512; each
	// message about a node carries it.
	maxIdentity = 220
)

const (
	tagRole     = 1 // a byte
	tagID       = 2 // 16 bytes
	tagEpoch    = 3 // 8 bytes
	tagName     = 4
	tagMode     = 5 // one each
	tagService  = 6 // one each: protocol, a byte; port, two; host
	tagWeight   = 7 // two bytes
	tagCapacity = 8 // four bytes
	tagPath     = 9 // one each
)

// The bytes of roles and protocols are their places here; 0 is none.
var (
	roles  = []Role{"", Edge, Origin}
	protos = []string{"", "rtsp", "rtsps", "http", "https"}
)

func protoByte(s string) byte { return byte(max(slices.Index(protos, s), 0)) }

// encode is the identity on the wire.
func (i *Identity) encode() ([]byte, error) {
	if err := i.validate(); err != nil {
		return nil, err
	}
	b := []byte{identityVersion}
	add := func(tag byte, value ...byte) { b = append(append(b, tag, byte(len(value))), value...) }
	add(tagRole, byte(max(slices.Index(roles, i.Role), 0)))
	add(tagID, i.ID[:]...)
	add(tagEpoch, binary.BigEndian.AppendUint64(nil, i.Epoch)...)
	add(tagName, []byte(i.Name)...)
	for _, m := range i.Modes {
		add(tagMode, []byte(m)...)
	}
	for _, s := range i.Services {
		add(tagService, append([]byte{protoByte(s.Proto), byte(s.Port >> 8), byte(s.Port)}, s.Host...)...)
	}
	if i.Weight > 1 {
		add(tagWeight, binary.BigEndian.AppendUint16(nil, uint16(i.Weight))...)
	}
	if i.Capacity > 0 {
		add(tagCapacity, binary.BigEndian.AppendUint32(nil, uint32(i.Capacity))...)
	}
	for _, p := range i.Paths {
		add(tagPath, []byte(p)...)
	}
	if len(b) > maxIdentity {
		return nil, fmt.Errorf("what this node says of itself needs %d bytes, %d are allowed: shorter names, hosts and paths", len(b), maxIdentity)
	}
	return b, nil
}

var errIdentity = errors.New("not the identity of a node")

// decodeIdentity reads an identity from the wire. It takes none that lacks a name,
// an ID or an epoch, and none with a value that encode would not have written.
func decodeIdentity(b []byte) (i Identity, err error) {
	if len(b) == 0 || len(b) > 512 || b[0] != identityVersion {
		return i, errIdentity
	}
	i.Role, i.Weight = Other, 1
	var seen uint16
	for b = b[1:]; len(b) > 0; {
		if len(b) < 2 || len(b) < 2+int(b[1]) {
			return i, errIdentity
		}
		tag, n := b[0], int(b[1])
		value := b[2 : 2+n]
		b = b[2+n:]
		repeats := tag == tagMode || tag == tagService || tag == tagPath
		if tag <= tagPath && !repeats && seen&(1<<tag) != 0 {
			return i, errIdentity
		}
		if tag <= tagPath {
			seen |= 1 << tag
		}
		if !i.set(tag, value) {
			return i, errIdentity
		}
	}
	const needed = 1<<tagRole | 1<<tagID | 1<<tagEpoch | 1<<tagName
	if seen&needed != needed || i.validate() != nil {
		return i, errIdentity
	}
	return i, nil
}

// set takes one field.
func (i *Identity) set(tag byte, v []byte) bool {
	switch {
	case tag == tagRole && len(v) == 1:
		if v[0] > 0 && int(v[0]) < len(roles) {
			i.Role = roles[v[0]]
		}
	case tag == tagID && len(v) == len(i.ID):
		i.ID = ID(v)
	case tag == tagEpoch && len(v) == 8:
		i.Epoch = binary.BigEndian.Uint64(v)
	case tag == tagName:
		i.Name = string(v)
	case tag == tagMode:
		i.Modes = append(i.Modes, string(v))
	case tag == tagService && len(v) >= 3:
		if v[0] > 0 && int(v[0]) < len(protos) { // another protocol is of a later version
			i.Services = append(i.Services, Service{protos[v[0]], string(v[3:]), binary.BigEndian.Uint16(v[1:])})
		}
	case tag == tagWeight && len(v) == 2:
		i.Weight = max(1, int(binary.BigEndian.Uint16(v)))
	case tag == tagCapacity && len(v) == 4:
		i.Capacity = int(binary.BigEndian.Uint32(v))
	case tag == tagPath:
		i.Paths = append(i.Paths, string(v))
	default:
		return tag == 0 || tag > tagPath
	}
	return true
}
