package cache

import (
	"encoding/binary"
	"strings"
)

const (
	// purgeVersion is the first byte of a message. Others are not read.
	purgeVersion = 1
	// maxPurgeText bounds a URL, a prefix or a tag in a message, in bytes.
	maxPurgeText = 400
)

// The kind of a purge in a message.
const (
	kindURL byte = iota
	kindPrefix
	kindTag
	kindSoft byte = 4 // added
)

// encodePurges packs purges, which stand in falling order of their numbers:
//
//	version  1 byte
//	epoch    8 bytes, big-endian
//	then for each purge
//	number   uvarint
//	kind     1 byte
//	shared   uvarint: how many bytes the text has in common with the one before
//	length   uvarint: of what follows
//	text     the rest of URL, prefix or tag
func encodePurges(epoch uint64, purges []numbered) []byte {
	b := binary.BigEndian.AppendUint64([]byte{purgeVersion}, epoch)
	before := ""
	for _, n := range purges {
		kind, text := n.packed()
		shared := common(text, before)
		b = append(binary.AppendUvarint(b, n.number), kind)
		b = binary.AppendUvarint(b, uint64(shared))
		b = binary.AppendUvarint(b, uint64(len(text)-shared))
		b = append(b, text[shared:]...)
		before = text
	}
	return b
}

func (p *purge) packed() (kind byte, text string) {
	switch {
	case p.Tag != "":
		kind, text = kindTag, p.Tag
	case p.Prefix != "":
		kind, text = kindPrefix, p.Prefix
	default:
		kind, text = kindURL, p.URL
	}
	if p.Soft {
		kind |= kindSoft
	}
	return kind, text
}

// decodePurges reads a message, all of it or nothing.
func decodePurges(b []byte) (epoch uint64, purges []numbered, ok bool) {
	if len(b) < 9 || len(b) > purgeMessage || b[0] != purgeVersion {
		return 0, nil, false
	}
	epoch = binary.BigEndian.Uint64(b[1:])
	r := purgeReader{rest: b[9:], ok: true}
	var last uint64
	for len(r.rest) > 0 && r.ok {
		n := r.next()
		if n.number == 0 || last > 0 && n.number >= last {
			return 0, nil, false
		}
		last = n.number
		purges = append(purges, n)
	}
	return epoch, purges, r.ok
}

// A purgeReader reads the purges of a message. It is not ok any more once
// something was wrong.
type purgeReader struct {
	rest   []byte
	before string
	ok     bool
}

func (r *purgeReader) next() numbered {
	number := r.uvarint()
	kind := r.bytes(1)
	shared := r.uvarint()
	tail := r.bytes(r.uvarint())
	if !r.ok || shared > uint64(len(r.before)) {
		r.ok = false
		return numbered{}
	}
	text := r.before[:shared] + string(tail)
	r.before = text
	p, ok := unpacked(kind[0], text)
	r.ok = ok
	return numbered{purge: p, number: number}
}

func (r *purgeReader) uvarint() uint64 {
	v, n := binary.Uvarint(r.rest)
	if n <= 0 {
		r.ok = false
		return 0
	}
	r.rest = r.rest[n:]
	return v
}

func (r *purgeReader) bytes(n uint64) []byte {
	if !r.ok || n > uint64(len(r.rest)) {
		r.ok = false
		return nil
	}
	b := r.rest[:n]
	r.rest = r.rest[n:]
	return b
}

func unpacked(kind byte, text string) (p purge, ok bool) {
	p.Soft = kind&kindSoft != 0
	path := strings.HasPrefix(text, "/")
	switch kind &^ kindSoft {
	case kindURL:
		p.URL, ok = text, path
	case kindPrefix:
		p.Prefix, ok = text, path
	case kindTag:
		p.Tag, ok = text, text != ""
	}
	return p, ok && len(text) <= maxPurgeText
}
