package passthrough

import (
	"sync"
	"sync/atomic"

	"weir/proxy"
	"weir/proxy/sdp"
	"weir/proxy/udp"
	"weir/proxy/wire"
)

// A track is one medium of a session.
type track struct {
	s      *session
	conn   *conn
	way    atomic.Pointer[way]
	viewer [2]int // the viewer's channels, over TCP

	asks  *wire.Request // his SETUP; nil: more than is kept
	wants transport     // what he has agreed to
	joint               // of the leg's goroutine

	pair  *udp.Pair    // nil over TCP
	lanes [2]*udp.Lane // of the leg's goroutine
	to    [2]*latch    // where RTP and RTCP go
	talks bool         // the viewer sends media, too (ONVIF streaming §5.3)
	freed sync.Once
}

// A way is where a track comes from. It moves.
type way struct {
	leg      *leg
	channels [2]int     // RTP and RTCP
	seam     *seam      // nil: as the origin numbers
	types    *sdp.Types // nil: as the origin has them
}

// newTrack takes channels at the origin's side, and channels or ports at the
// viewer's.
func (l *leg) newTrack(c *conn, tr transport) (*track, error) {
	t := &track{conn: c, viewer: [2]int{-1, -1}}
	l.mu.Lock()
	pair, ok := claimPair(&l.channels, tr.interleaved)
	l.mu.Unlock()
	if !ok {
		return nil, &proxy.Refusal{Reason: proxy.BadTransport}
	}
	t.way.Store(&way{leg: l, channels: pair})
	if tr.tcp {
		if t.viewer, ok = c.claim(tr.interleaved); !ok {
			t.free()
			return nil, &proxy.Refusal{Reason: proxy.BadTransport}
		}
		return t, nil
	}
	if err := t.bind(l, tr.client); err != nil {
		t.free()
		return nil, &proxy.Refusal{Reason: proxy.BadTransport, Err: err}
	}
	return t, nil
}

// called reports whether a URL that its viewer knows is the track's.
func (t *track) called(url string) bool { return t.asks != nil && sameTrack(t.asks.URL, url) }

// free gives back what newTrack took; more than once does nothing.
func (t *track) free() {
	t.freed.Do(func() {
		w := t.way.Load()
		w.leg.mu.Lock()
		releasePair(&w.leg.channels, w.channels)
		w.leg.mu.Unlock()
		t.conn.release(t.viewer)
		switch {
		case t.pair == nil:
		case t.s == nil:
			t.conn.r.ports.giveBack(t.pair)
		default:
			t.conn.r.ports.free(t.pair)
		}
	})
}
