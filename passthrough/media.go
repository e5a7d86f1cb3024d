package passthrough

import (
	"slices"

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
	t       *track // nil: nowhere
	channel byte   // the viewer's, over TCP
	kind    byte   // 0 RTP, 1 RTCP
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
	for kind := range 2 {
		from := byte(t.channels[kind])
		next.down[from] = route{t: t, channel: byte(t.viewer[kind]), kind: byte(kind)}
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
		if to.t != nil && to.t.pair == nil {
			buf[at+1] = to.channel
			to.t.s.batch += end - at
		} else {
			l.conn.write(buf[start:at])
			start = end
			to.send(buf[at+4 : end])
		}
		at = end
	}
	l.conn.write(buf[start:at])
	l.settle(rt)
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
	to := &rt.down[channel]
	if to.t != nil && to.t.pair == nil {
		b := []byte{'$', to.channel, byte(len(payload) >> 8), byte(len(payload))}
		l.conn.write(append(b, payload...))
		to.t.s.batch += 4 + len(payload)
	} else {
		to.send(payload)
	}
	l.settle(rt)
}

// settle sends the datagrams that have been gathered, and counts what has left.
func (l *leg) settle(rt *routes) {
	for _, t := range rt.tracks {
		s := t.s
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
}

// send gathers a datagram for a viewer over UDP. What has no route is dropped.
func (to *route) send(pkt []byte) {
	if to.t == nil {
		return
	}
	addr := to.t.to[to.kind].addr.Load()
	if addr == nil { // nowhere to send to yet
		return
	}
	if len(pkt) > udp.MaxPayload {
		to.t.leg.r.met.tooLong.Add(1) // sent in pieces, for what that is worth
	}
	to.t.lanes[to.kind].Add(pkt, addr)
	to.t.s.batch += len(pkt)
}
