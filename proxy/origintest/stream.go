package origintest

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/bluenviron/gortsplib/v4"
	"github.com/bluenviron/gortsplib/v4/pkg/base"
	"github.com/bluenviron/gortsplib/v4/pkg/description"
	"github.com/pion/rtcp"
	"github.com/pion/rtp"

	wrtp "weir/proxy/rtp"
)

// cname tells receivers that tracks belong together (RFC 3550 §6.5.1).
const cname = "origintest"

// A stream is what a path carries: some tracks of the clip.
type stream struct {
	*gortsplib.ServerStream
	medias [tracks]*description.Media // nil where it has not that track
	ssrcs  [tracks]uint32
	stored []byte // description of a stream with an end; nil for a live one
}

// newStream makes a stream of a server that has begun to start.
func newStream(server *gortsplib.Server, c *clip, which ...int) (*stream, error) {
	s := &stream{}
	desc := &description.Session{Title: "clip"}
	for i, track := range which {
		kind := description.MediaTypeVideo
		if track == audio {
			kind = description.MediaTypeAudio
		}
		m := &description.Media{Type: kind, Formats: c.formats[track : track+1], Control: fmt.Sprint("trackID=", i)}
		s.medias[track] = m
		desc.Medias = append(desc.Medias, m)
	}
	s.ServerStream = &gortsplib.ServerStream{Server: server, Desc: desc}
	if err := s.Initialize(); err != nil {
		return nil, err
	}
	stats := s.Stats()
	for _, track := range which {
		m := s.medias[track]
		s.ssrcs[track] = stats.Medias[m].Formats[m.Formats[0]].LocalSSRC
	}
	return s, nil
}

// store makes the stream one with an end: it is described with its length, which
// gortsplib cannot say, and each session is sent its own packets.
func (s *stream) store() error {
	body, err := s.Desc.Marshal(false)
	if err != nil {
		return err
	}
	length := fmt.Sprintf("a=range:npt=0-%.3f\r\nm=", clipLength.Seconds())
	s.stored = bytes.Replace(body, []byte("m="), []byte(length), 1)
	return nil
}

// A numbering gives the packets of one track their numbers.
type numbering struct {
	payloadType uint8
	clock       int    // ticks per second
	seq         uint16 // of the next packet
	offset      uint32 // time stamp of the begin

	packets, octets uint32 // so far
}

// number returns new numberings, which begin anywhere.
func number(c *clip) (n [tracks]numbering) {
	for i, f := range c.formats {
		n[i] = numbering{payloadType: f.PayloadType(), clock: f.ClockRate(),
			seq: uint16(rand.Uint32()), offset: rand.Uint32()}
	}
	return n
}

// wrap returns a sample's packets; stamp counts from the begin.
func (n *numbering) wrap(s *sample, stamp uint32) []*rtp.Packet {
	packets := make([]*rtp.Packet, len(s.payloads))
	for i, payload := range s.payloads {
		packets[i] = &rtp.Packet{
			Header: rtp.Header{
				Version: 2, Marker: i == len(s.payloads)-1, PayloadType: n.payloadType,
				SequenceNumber: n.seq, Timestamp: n.offset + stamp,
			},
			Payload: payload,
		}
		n.seq++
		n.packets++
		n.octets += uint32(len(payload))
	}
	return packets
}

// report is a sender report that says that it is now position after the begin.
// gortsplib's own have a wrong fraction of a second.
func (n *numbering) report(ssrc uint32, now time.Time, position time.Duration) rtcp.Packet {
	r := wrtp.SenderReport{SSRC: ssrc, Time: now, RTP: n.offset + ticks(position, n.clock),
		Packets: n.packets, Octets: n.octets}
	raw := rtcp.RawPacket(r.Append(nil, cname))
	return &raw
}

// bye is a report that says that there is no more (RFC 3550 §6.6). Alone the last word would
// be passed over: ffmpeg takes nothing that short for RTCP.
func (n *numbering) bye(ssrc uint32, now time.Time, position time.Duration) rtcp.Packet {
	raw := *n.report(ssrc, now, position).(*rtcp.RawPacket)
	raw = wrtp.AppendBye(raw, ssrc)
	return &raw
}

// ok is an answer that a handler can add to.
func ok() *base.Response {
	return &base.Response{StatusCode: base.StatusOK, Header: base.Header{}}
}
