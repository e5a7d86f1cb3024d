package splitter

import (
	"encoding/base64"
	"slices"
	"strings"
	"time"

	pion "github.com/pion/rtp"

	"weir/proxy/sdp"
)

// Parameter sets tell a decoder what pictures are like. Viewers know those of the
// description that they got; a source that takes another's place may have others,
// and may say so in its description only. Then they go out in band before each key
// frame that does not bring them (RFC 6184 §8.4, RFC 7798 §7.1).

// Bounds of what a description may put before each key frame.
const (
	maxSets = 16
	maxSet  = 1400 // bytes: it goes into one packet, also over UDP
)

// setsOf are the parameter sets that a description has of a track, in the order in
// which a decoder wants them. What is out of bounds is left out.
func setsOf(m sdp.Media) (sets [][]byte) {
	for _, name := range []string{"sprop-parameter-sets", "sprop-vps", "sprop-sps", "sprop-pps"} {
		for p := range strings.SplitSeq(m.Fmtp, ";") {
			k, v, _ := strings.Cut(strings.TrimSpace(p), "=")
			if !strings.EqualFold(k, name) {
				continue
			}
			for s := range strings.SplitSeq(v, ",") {
				if b, err := base64.StdEncoding.DecodeString(strings.TrimSpace(s)); err == nil && len(b) > 0 && len(b) <= maxSet && len(sets) < maxSets {
					sets = append(sets, b)
				}
			}
		}
	}
	return sets
}

// described tells what the source that comes next says of itself. Once it has said
// something else than the first one, viewers are told in band for good.
func (in *ingest) described(s *sdp.Session) {
	if in.lead < 0 || in.lead >= len(s.Media) {
		return
	}
	sets := setsOf(s.Media[in.lead])
	in.mu.Lock()
	defer in.mu.Unlock()
	if !slices.EqualFunc(sets, in.told, slices.Equal[[]byte]) {
		in.differs = true
	}
	in.sets = sets
}

// prepend sends the parameter sets before a key frame that comes without. They
// take numbers of their own, so what follows moves on by as many.
func (in *ingest) prepend(pkt *pion.Packet, now time.Time) {
	if !in.differs || len(in.sets) == 0 {
		return
	}
	if !in.setsDone || pkt.Timestamp != in.setsTS {
		in.setsTS, in.setsDone = pkt.Timestamp, in.codec.HasSets(pkt.Payload)
	}
	if in.setsDone || !in.codec.IsKey(pkt.Payload) {
		return
	}
	in.setsDone = true
	n := uint16(len(in.sets))
	if t := in.tracks[in.lead]; t.begun {
		t.num.Insert(n)
	}
	for i, set := range in.sets {
		in.store(in.lead, &pion.Packet{Header: pion.Header{Version: 2, PayloadType: pkt.PayloadType,
			SequenceNumber: pkt.SequenceNumber - n + uint16(i), Timestamp: pkt.Timestamp}, Payload: set}, true, now)
	}
}
