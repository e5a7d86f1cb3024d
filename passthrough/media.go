package passthrough

import (
	"slices"
	"time"

	"weir/proxy/rtp"
	"weir/proxy/sdp"
	"weir/proxy/udp"
)

// routes say where interleaved data of a leg goes. They are never changed: a leg
// stores new ones, so that nothing is locked for a packet.
type routes struct {
	down   [256]route // by the origin's channel
	up     [256]int16 // by the viewer's channel: the origin's, or -1
	tracks []*track   // that are routed
}

// A route is where one channel goes.
type route struct {
	t       *track     // nil: nowhere
	channel byte       // the viewer's, over TCP
	kind    byte       // 0 RTP, 1 RTCP
	fast    bool       // nothing but the channel changes
	seam    *seam      // nil: packets are numbered as the origin does
	types   *sdp.Types // nil: payload types are the origin's
}

func newRoutes() *routes {
	r := &routes{}
	for i := range r.up {
		r.up[i] = -1
	}
	return r
}

func (r *routes) with(t *track) *routes {
	next := *r
	next.tracks = append(slices.Clone(r.tracks), t)
	w := t.way.Load()
	for kind := range 2 {
		from := byte(w.channels[kind])
		next.down[from] = route{t: t, channel: byte(t.viewer[kind]), kind: byte(kind), seam: w.seam, types: w.types,
			fast: t.pair == nil && kind == 0 && w.seam == nil && w.types == nil}
		if t.pair == nil {
			next.up[byte(t.viewer[kind])] = int16(from)
		}
	}
	return &next
}

func (r *routes) without(s *session) *routes {
	next := newRoutes()
	for _, t := range r.tracks {
		if t.s != s {
			next = next.with(t)
		}
	}
	return next
}

// media hands on the interleaved frames that have been read, in place: those for
// the viewer's connection that stand behind one another are one write.
func (l *leg) media() error {
	buf, err := l.in.Peek(l.in.Buffered())
	if err != nil {
		return err
	}
	rt := l.routes.Load()
	start, at := 0, 0 // of the run in hand; of the frame
	for at+4 <= len(buf) && buf[at] == '$' {
		end := at + 4 + int(buf[at+2])<<8 + int(buf[at+3])
		if end > len(buf) {
			break
		}
		to := &rt.down[buf[at+1]]
		if to.fast {
			buf[at+1] = to.channel
			to.t.s.batch += end - at
			to.t.tail = at + 4
			to.t.note(buf[at+4 : end])
		} else {
			start = l.deliver(to, buf, start, at, end)
		}
		at = end
	}
	l.conn.write(buf[start:at])
	l.settle(rt, buf)
	if at == 0 {
		return l.wholeFrame()
	}
	_, err = l.in.Discard(at)
	return err
}

// wholeFrame waits until the frame that has begun is there.
func (l *leg) wholeFrame() error {
	h, err := l.in.Peek(4)
	if err != nil {
		return err
	}
	_, err = l.in.Peek(4 + int(h[2])<<8 + int(h[3]))
	return err
}

// handOn hands on one frame that does not stand in the read buffer.
func (l *leg) handOn(channel byte, payload []byte) {
	rt := l.routes.Load()
	b := append([]byte{'$', channel, byte(len(payload) >> 8), byte(len(payload))}, payload...)
	l.conn.write(b[l.deliver(&rt.down[channel], b, 0, 0, len(b)):])
	l.settle(rt, b)
}

// deliver takes the frame at buf[at:end], where more than its channel is to be
// changed, or which does not go to the viewer's connection. What stands from start
// to at has not been written; it returns where what is to be written begins then.
func (l *leg) deliver(to *route, buf []byte, start, at, end int) int {
	pkt := buf[at+4 : end]
	ahead, n := to.pass(l, pkt)
	if to.kind == 0 && to.t != nil {
		l.came = true // also what the viewer does not get yet
		if n > 0 {
			to.t.tail = at + 4
		}
	}
	if n == len(pkt) && len(ahead) == 0 && to.t != nil && to.t.pair == nil {
		buf[at+1] = to.channel
		to.t.s.batch += end - at
		return start
	}
	l.conn.write(buf[start:at])
	for _, b := range append(ahead, pkt[:n]) {
		if len(b) > 0 {
			l.single(to, b)
		}
	}
	return end
}

// single sends one packet.
func (l *leg) single(to *route, pkt []byte) {
	if to.t.pair != nil {
		to.send(pkt)
		return
	}
	l.conn.write(append([]byte{'$', to.channel, byte(len(pkt) >> 8), byte(len(pkt))}, pkt...))
	to.t.s.batch += 4 + len(pkt)
}

// pass changes a packet as the viewer is to have it: the first n bytes of it, and
// others ahead of it.
func (to *route) pass(l *leg, pkt []byte) (ahead [][]byte, n int) {
	switch {
	case to.t == nil:
		return nil, 0
	case to.kind == 1:
		return nil, to.reports(l, pkt)
	case !to.translates(pkt):
		return nil, 0
	case to.seam == nil:
		to.t.note(pkt)
		return nil, len(pkt)
	}
	ahead, ok := to.seam.pass(pkt, time.Now())
	if !ok {
		return nil, 0
	}
	to.t.note(pkt)
	return ahead, len(pkt)
}

// translates has a packet be of the payload type that the viewer was told of; false if he
// knows of none.
func (to *route) translates(pkt []byte) bool {
	if to.types == nil || len(pkt) < rtp.HeaderLen {
		return true
	}
	kind, ok := to.types.Of(pkt[1] & 0x7f)
	pkt[1] = pkt[1]&0x80 | kind&0x7f
	return ok
}

// reports changes an RTCP packet as the viewer is to have it: the first n bytes.
func (to *route) reports(l *leg, pkt []byte) (n int) {
	if to.seam != nil {
		if !to.seam.reports(pkt) {
			return 0
		}
	} else if _, ntp, ts, ok := rtp.Report(pkt); ok {
		to.t.reported = ref{true, rtp.FromNTP(ntp), ts}
	}
	if rtp.HasBye(pkt) && l.ends(to, pkt) {
		return rtp.CutBye(pkt)
	}
	return len(pkt)
}

// back changes what the viewer says of a route's track as its origin is to hear it.
func (to *route) back(pkt []byte) { to.seam.back(to.kind, pkt) }

// settle sends the datagrams that have been gathered, and counts what has left.
func (l *leg) settle(rt *routes, buf []byte) {
	var now time.Time
	heard := l.came
	l.came = false
	if heard {
		now = time.Now()
	}
	for _, t := range rt.tracks {
		s := t.s
		if t.tail > 0 {
			if now.IsZero() {
				now = time.Now()
			}
			t.look(buf, now)
			heard = true
		}
		if t.pair != nil {
			l.r.met.lost.Add(uint64(t.lanes[0].Send() + t.lanes[1].Send()))
		}
		if s.batch > 0 {
			s.bytes.Add(uint64(s.batch))
			l.r.met.sent.Add(uint64(s.batch))
			s.ticket.Sent(s.batch)
			if t.pair != nil {
				s.conn.rc.Sent(s.batch)
			}
			s.batch = 0
		}
	}
	if heard {
		l.hears(now)
	}
}

// send gathers a datagram for a viewer over UDP.
func (to *route) send(pkt []byte) {
	addr := to.t.to[to.kind].addr.Load()
	if addr == nil { // nowhere to send to yet
		return
	}
	if len(pkt) > udp.MaxPayload {
		to.t.conn.r.met.tooLong.Add(1) // sent in pieces, for what that is worth
	}
	to.t.lanes[to.kind].Add(pkt, addr)
	to.t.s.batch += len(pkt)
}
