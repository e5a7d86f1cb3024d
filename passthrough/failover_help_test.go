package passthrough

import (
	"encoding/binary"
	"fmt"
	"strings"
	"time"

	"weir/proxy/proxytest"
	"weir/proxy/rtp"
	"weir/proxy/wire"
)

// rtpOf is an RTP packet of H.264: a picture that can be decoded (with its
// parameters or not), or one that needs those before it.
func rtpOf(ssrc uint32, seq uint16, ts uint32, unit byte) []byte {
	b := []byte{0x80, 0x80 | 96}
	b = binary.BigEndian.AppendUint16(b, seq)
	b = binary.BigEndian.AppendUint32(b, ts)
	b = binary.BigEndian.AppendUint32(b, ssrc)
	return append(b, 0x60|unit, 1, 2, 3)
}

// Types of H.264's units.
const (
	slice  = 1
	key    = 5
	params = 7
)

// reportOf is a sender report.
func reportOf(ssrc uint32, at time.Time, ts uint32) []byte {
	return rtp.SenderReport{SSRC: ssrc, Time: at, RTP: ts, Packets: 7, Octets: 70}.Append(nil, "cam")
}

// watching is a player who plays the one track of a fake that may be left for
// another.
func watching(e *edge, f *fake, offer string) (*player, *fakeLink) {
	e.t.Helper()
	return staged(e, f, "/cam", offer)
}

// takesOver has a fake take over the one track of a session, and returns the
// request to play, unless nothing is to.
func (f *fake) takesOver(plays bool) (*fakeLink, string) {
	f.t.Helper()
	l := f.accept()
	l.describe(1)
	l.setup("88;timeout=60")
	if !plays {
		return l, ""
	}
	return l, string(l.play().Raw)
}

// wantPacket fails the test unless the next frame is an RTP packet so numbered; it
// returns the packet.
func (p *player) wantPacket(ssrc uint32, seq uint16) []byte {
	p.t.Helper()
	ch, pkt := p.frame()
	if ch != 0 || !rtp.Valid(pkt) || rtp.SSRC(pkt) != ssrc || rtp.Seq(pkt) != seq {
		p.t.Fatalf("frame on channel %d: %x, want %08x number %d", ch, pkt, ssrc, seq)
	}
	return pkt
}

// stored is a description of a stream with an end.
func stored(tracks int, length string) string {
	return strings.Replace(description(tracks), "t=0 0\r\n", fmt.Sprintf("t=0 0\r\na=range:npt=0-%s\r\n", length), 1)
}

// describeAs answers DESCRIBE with a description.
func (l *fakeLink) describeAs(body string) {
	l.t.Helper()
	l.reply(l.request("DESCRIBE"), 200, body, "Content-Type", "application/sdp")
}

// playAs answers PLAY with a Range and the numbers that belong to it.
func (l *fakeLink) playAs(from string, seq, ts int) string {
	l.t.Helper()
	req := l.request("PLAY")
	l.reply(req, 200, "", "Session", req.Header.Get("Session"), "Range", from, "RTP-Info", fmt.Sprintf("url=trackID=0;seq=%d;rtptime=%d", seq, ts))
	return req.Header.Get("Range")
}

// nobody fails the test if somebody dials.
func (f *fake) nobody() {
	f.t.Helper()
	select {
	case c := <-f.links:
		c.Close()
		f.t.Error("somebody dials")
	default:
	}
}

// wantAt waits until the edge's only connection has its sessions at an origin.
func (e *edge) wantAt(f *fake) {
	e.t.Helper()
	proxytest.Eventually(e.t, soon, "the sessions have moved", func() bool {
		l := e.leg()
		return l.link.Origin == f.addr && l.busy()
	})
}

// isEnd reports whether a message is an RTCP packet that says that a track has
// ended.
func isEnd(m any) bool {
	f, ok := m.(*wire.Frame)
	return ok && f.Channel%2 == 1 && rtp.HasBye(f.Payload)
}
