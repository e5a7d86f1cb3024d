package passthrough

import (
	"sync"

	"weir/proxy"
	"weir/proxy/udp"
)

// A track is one medium of a session.
type track struct {
	s        *session
	leg      *leg
	conn     *conn
	channels [2]int // at the origin's side, RTP and RTCP
	viewer   [2]int // the viewer's, over TCP

	pair  *udp.Pair    // nil over TCP
	lanes [2]*udp.Lane // of the leg's goroutine
	to    [2]*latch    // where RTP and RTCP go
	talks bool         // the viewer sends media, too (ONVIF streaming §5.3)
	freed sync.Once
}

// newTrack takes channels at the origin's side, and channels or ports at the
// viewer's.
func (l *leg) newTrack(c *conn, tr transport) (*track, error) {
	t := &track{leg: l, conn: c, viewer: [2]int{-1, -1}}
	l.mu.Lock()
	pair, ok := claimPair(&l.channels, tr.interleaved)
	l.mu.Unlock()
	if !ok {
		return nil, &proxy.Refusal{Reason: proxy.BadTransport}
	}
	t.channels = pair
	if tr.tcp {
		if t.viewer, ok = c.claim(tr.interleaved); !ok {
			t.free()
			return nil, &proxy.Refusal{Reason: proxy.BadTransport}
		}
		return t, nil
	}
	if err := t.bind(tr.client); err != nil {
		t.free()
		return nil, &proxy.Refusal{Reason: proxy.BadTransport, Err: err}
	}
	return t, nil
}

// free gives back what newTrack took; more than once does nothing.
func (t *track) free() {
	t.freed.Do(func() {
		t.leg.mu.Lock()
		releasePair(&t.leg.channels, t.channels)
		t.leg.mu.Unlock()
		t.conn.release(t.viewer)
		switch {
		case t.pair == nil:
		case t.s == nil:
			t.leg.r.ports.giveBack(t.pair)
		default:
			t.leg.r.ports.free(t.pair)
		}
	})
}
