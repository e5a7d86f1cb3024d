package splitter

import (
	"slices"
	"time"

	pion "github.com/pion/rtp"

	"weir/proxy/rtp"
	"weir/proxy/sdp"
)

// Parameter sets tell a decoder what pictures are like. Viewers know those of the
// description that they got; a source that takes another's place may have others,
// and may say so in its description only. Then they go out in band before each key
// frame that does not bring them (RFC 6184 §8.4, RFC 7798 §7.1).

// described tells what the source that comes next says of itself. Once it has said
// something else than the first one, viewers are told in band for good.
func (in *ingest) described(s *sdp.Session) {
	in.mu.Lock()
	defer in.mu.Unlock()
	for i, t := range in.tracks[:min(len(in.tracks), len(s.Media))] {
		t.types = sdp.Translate(&in.media[i], &s.Media[i])
	}
	if in.lead < 0 || in.lead >= len(s.Media) {
		return
	}
	sets := rtp.Sets(s.Media[in.lead].Fmtp)
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
