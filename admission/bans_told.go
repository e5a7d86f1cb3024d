package admission

import (
	"cmp"
	"encoding/binary"
	"net/netip"
	"slices"
	"time"
)

// A message of bans on the wire, all big endian: version, boot, how many of IPv4, and
// then for each of those four bytes of address, for each /64 of IPv6 the first eight,
// and behind each the seconds that are left. The order is by what is left, the
// longest first, in each of both.
const (
	bansVersion = 1
	bansHead    = 1 + 8 + 1
	bans4       = 4 + 2
	bans6       = 8 + 2
	bansMost    = (maxGauge - bansHead) / bans4
)

// The number of those of IPv4 fits into its byte.
const _ = uint(255 - bansMost)

// A toldBan is one as it is told.
type toldBan struct {
	client netip.Addr
	left   uint16 // in seconds
}

// told are the bans that others are to hear of, the longest first, as many as fit. It
// is not those that came about by what others had told: two edges would keep each
// other's alive.
func (b *bans) told(now time.Time) []toldBan {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.changed = false
	top := make([]toldBan, 0, bansMost)
	for _, c := range slices.Backward(b.banned.Keys()) {
		ban, _ := b.banned.Peek(c)
		if left := ban.until.Sub(now); left > 0 && !ban.hinted {
			seconds := uint16((left + time.Second - 1) / time.Second)
			top = among(top, toldBan{c, seconds}, longer)
		}
	}
	return top
}

func longer(a, b toldBan) int { return cmp.Compare(b.left, a.left) }

// encodeBans leaves out what does not fit.
func encodeBans(boot uint64, told []toldBan) []byte {
	var four, six []byte
	for _, t := range told {
		a := t.client.AsSlice()
		switch room := maxGauge - bansHead - len(four) - len(six); {
		case len(a) == 4 && room >= bans4:
			four = binary.BigEndian.AppendUint16(append(four, a...), t.left)
		case len(a) == 16 && room >= bans6:
			six = binary.BigEndian.AppendUint16(append(six, a[:8]...), t.left)
		}
	}
	b := binary.BigEndian.AppendUint64([]byte{bansVersion}, boot)
	b = append(b, byte(len(four)/bans4))
	return append(append(b, four...), six...)
}

// decodeBans reads a message, all of it or nothing: no edge tells of bans that are
// over, or longer than any, or twice of one.
func decodeBans(b []byte) (boot uint64, told []toldBan, ok bool) {
	if len(b) < bansHead || len(b) > maxGauge || b[0] != bansVersion {
		return 0, nil, false
	}
	boot, four := binary.BigEndian.Uint64(b[1:]), bans4*int(b[9])
	b = b[bansHead:]
	if four > len(b) || (len(b)-four)%bans6 != 0 {
		return 0, nil, false
	}
	for e := range slices.Chunk(b[:four], bans4) {
		told = append(told, toldBan{netip.AddrFrom4([4]byte(e)), binary.BigEndian.Uint16(e[4:])})
	}
	for e := range slices.Chunk(b[four:], bans6) {
		told = append(told, toldBan{netip.AddrFrom16([16]byte(append(e[:8:8], make([]byte, 8)...))), binary.BigEndian.Uint16(e[8:])})
	}
	seen := map[netip.Addr]bool{}
	for _, t := range told {
		if t.left == 0 || time.Duration(t.left)*time.Second > longest || seen[t.client] {
			return 0, nil, false
		}
		seen[t.client] = true
	}
	return boot, told, true
}
