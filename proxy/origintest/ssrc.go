package origintest

import (
	"encoding/binary"
	"math/rand/v2"
	"sync/atomic"

	"github.com/bluenviron/gortsplib/v4/pkg/base"
	"github.com/bluenviron/gortsplib/v4/pkg/headers"
)

// ssrcs gives live streams other SSRCs than gortsplib did, which fixes them for
// the life of a stream: they are patched on their way into a TCP connection.
type ssrcs struct {
	live []uint32 // as gortsplib has them; guarded by live.mu, as is change
	now  atomic.Pointer[map[uint32]uint32]
}

// change picks new ones for all.
func (s *ssrcs) change() {
	m := make(map[uint32]uint32, len(s.live))
	for _, old := range s.live {
		m[old] = rand.Uint32()
	}
	s.now.Store(&m)
}

// of returns what an SSRC is now.
func (s *ssrcs) of(ssrc uint32) uint32 {
	if m := s.now.Load(); m != nil {
		if other, ok := (*m)[ssrc]; ok {
			return other
		}
	}
	return ssrc
}

// patch changes what a server writes, if it is an interleaved frame: gortsplib
// writes each with one call, from a buffer that nobody else reads.
func (s *ssrcs) patch(b []byte) {
	if len(b) < 16 || b[0] != '$' || s.now.Load() == nil {
		return
	}
	p := b[4:]
	if !isRTCP(p) {
		s.patchAt(p[8:])
		return
	}
	for len(p) >= 8 { // each packet of a compound begins with whom it is from, or about
		s.patchAt(p[4:])
		p = p[min(len(p), 4+4*int(binary.BigEndian.Uint16(p[2:]))):]
	}
}

func (s *ssrcs) patchAt(b []byte) {
	binary.BigEndian.PutUint32(b, s.of(binary.BigEndian.Uint32(b)))
}

// isRTCP: RFC 5761 §4.
func isRTCP(p []byte) bool { return p[1] >= 192 && p[1] <= 223 }

// announce corrects the SSRC in the answer to SETUP.
func (s *ssrcs) announce(res *base.Response) {
	var t headers.Transport
	if err := t.Unmarshal(res.Header["Transport"]); err != nil || t.SSRC == nil {
		return
	}
	if other := s.of(*t.SSRC); other != *t.SSRC {
		t.SSRC = &other
		res.Header["Transport"] = t.Marshal()
	}
}
