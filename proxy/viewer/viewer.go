// Package viewer is an RTSP viewer of our own, cheap enough to be run by the
// thousand: for the demo, for load, and for tests of whatever serves RTSP. It
// sets up every track, counts what arrives and tells how soon, how much and
// what was missing; it allocates nothing per packet.
//
// It is not a player: it decodes nothing, orders nothing and conceals nothing.
// Limits: RTSP/1.0, also under TLS (no HTTP tunnel, no multicast, no back
// channels), RTP over the RTSP connection or, without TLS, over unicast UDP,
// Basic and Digest MD5 credentials, at most 3 redirects.
//
// A viewer over TCP costs one goroutine besides that of Run and a buffer of 64
// KiB; over UDP two more goroutines per track, with a buffer each (64 and 4
// KiB), and one that reports. OPTIONS is not asked before DESCRIBE: it would
// cost a round trip and tell nothing that is needed.
package viewer

import (
	"bufio"
	"context"
	"crypto/tls"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"weir/proxy/auth"
	"weir/proxy/sdp"
	"weir/proxy/wire"
)

// Options say what to view, and how.
type Options struct {
	// URL is rtsp://[user:password@]host[:554]/path[?query], or rtsps:// likewise,
	// with 322 for the port.
	URL string
	// TLS is for rtsps; nil trusts whom the system trusts. Not changed.
	TLS *tls.Config
	// Transport is "tcp" (default), which carries media on the RTSP connection,
	// or "udp".
	Transport string
	// UserAgent is what the viewer calls itself. Default "weir-viewer".
	UserAgent string
	// Timeout bounds the dial and each answer. Too little takes a busy server
	// for a dead one. Default 10s.
	Timeout time.Duration
	// Dial makes the connection of rtsp://; nil for the system's way.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
	// OnPacket is called for each RTP packet, on the goroutine that reads the
	// track: over UDP several tracks may call at once. track counts Tracks. pkt
	// is valid during the call. It may call Close and Stats, but nothing that
	// waits for an answer: none is read meanwhile. May be nil.
	OnPacket func(track int, pkt []byte)
	// OnRTCP is the same for RTCP packets. May be nil.
	OnRTCP func(track int, pkt []byte)
}

// Stats is what a viewer has seen so far.
type Stats struct {
	Bytes     uint64 // RTP headers and payloads
	Packets   uint64 // of RTP
	Lost      uint64 // sequence numbers that were skipped and have not come late
	Reordered uint64 // packets that came after one with a higher number

	// Time since the first dial; 0 means not yet.
	PlayAfter        time.Duration // until the answer to PLAY
	FirstPacketAfter time.Duration
	FirstKeyAfter    time.Duration // a key frame; the first packet if no track's codec has known ones
}

// A Track is one medium that was set up.
type Track struct {
	Control string // the URL it was set up by
	Media   sdp.Media
	SSRC    *uint32 // as announced in Transport; nil if it was not
	Seq     *uint16 // of the first packet, by RTP-Info of the latest PLAY; nil if not given
	RTPTime *uint32 // of the position that Range names, by the same; nil if not given
}

// A Viewer is one session. Open makes it, Run works and closes it; who does not
// call Run calls Close. All methods may be called by any number of goroutines.
type Viewer struct {
	o     Options
	start time.Time
	conn  net.Conn
	br    *bufio.Reader // for whoever holds reading
	msgs  *wire.Reader  // on br

	// Set by Open, not changed after.
	url         string // of the whole session
	sdp         *sdp.Session
	session     string
	idle        time.Duration // after which the server forgets the session
	tracks      []*track
	route       [256]uint8 // by interleaved channel: 0 unknown, else 1 + 2*track, and 1 more for RTCP
	keyed       bool       // some track's key frames are known
	ssrc        uint32     // ours, in reports
	reportEvery time.Duration

	creds auth.Client
	cseq  atomic.Int64

	mu      sync.Mutex
	pending map[int]request // by CSeq

	reading chan struct{} // holds a token while somebody reads the connection
	dead    chan struct{} // closed when the connection has ended
	cause   error         // why; read it after dead or fail
	once    sync.Once     // of fail
	allBye  chan struct{} // closed when every track's source has said goodbye
	byeOnce sync.Once

	plays                            atomic.Uint32 // counts PLAYs and their answers: at each, numbering may begin anew
	played                           atomic.Pointer[wire.Response]
	playAfter, firstPacket, firstKey atomic.Int64 // ns since start
}

// Stats returns a snapshot.
func (v *Viewer) Stats() Stats {
	s := Stats{
		PlayAfter:        time.Duration(v.playAfter.Load()),
		FirstPacketAfter: time.Duration(v.firstPacket.Load()),
		FirstKeyAfter:    time.Duration(v.firstKey.Load()),
	}
	for _, t := range v.tracks {
		s.Bytes += t.bytes.Load()
		s.Packets += t.packets.Load()
		s.Lost += t.lost.Load()
		s.Reordered += t.reordered.Load()
	}
	return s
}

// Keyed reports whether key frames of some track are known: for others,
// Stats.FirstKeyAfter is the first packet.
func (v *Viewer) Keyed() bool { return v.keyed }

// SDP returns the description as the server gave it.
func (v *Viewer) SDP() *sdp.Session { return v.sdp }

// PlayResponse returns the answer to the latest PLAY that was granted.
func (v *Viewer) PlayResponse() *wire.Response { return v.played.Load() }

// Session returns the session's id.
func (v *Viewer) Session() string { return v.session }

// URL returns the URL of the session as a whole, without credentials.
func (v *Viewer) URL() string { return v.url }

// Tracks returns what was set up, in the order of the description.
func (v *Viewer) Tracks() []Track {
	infos := rtpInfos(v.played.Load().Header)
	tracks := make([]Track, len(v.tracks))
	for i, t := range v.tracks {
		tracks[i] = Track{Control: t.url, Media: t.media, SSRC: t.announced}
		if info := infoOf(infos, t, i, len(v.tracks)); info != nil {
			tracks[i].Seq, tracks[i].RTPTime = info.seq, info.rtptime
		}
	}
	return tracks
}

// Close ends the viewer at once, without TEARDOWN. If Run runs, it returns an
// error that wraps net.ErrClosed when its goroutines have ended; Close does not
// wait for that, so it may be called from OnPacket. It returns nil.
func (v *Viewer) Close() error {
	v.fail(net.ErrClosed)
	for _, t := range v.tracks {
		t.close()
	}
	return nil
}

// fail closes the connection. The first cause is the one that counts, and may
// be read when fail has returned.
func (v *Viewer) fail(cause error) {
	v.once.Do(func() {
		v.cause = cause
		close(v.dead)
		v.conn.Close()
	})
}
