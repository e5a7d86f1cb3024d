package splitter

import (
	"net"
	"time"

	"github.com/bluenviron/gortsplib/v4"
	"github.com/bluenviron/gortsplib/v4/pkg/base"

	"weir/proxy"
)

const (
	serverName     = "Weir"
	sessionTimeout = 60 // seconds; gortsplib's, for sessions over UDP
)

// signalling is what gortsplib asks. gortsplib keeps the RTSP state, Weir moves
// the bytes: the ServerStreams that sessions get never carry a packet.
//
// OnSetup, OnPlay and OnPause never wait: a session's goroutine that is busy
// holds up the whole server (server.go:403).
type signalling struct {
	s      *Splitter
	server *gortsplib.Server
}

var (
	_ gortsplib.ServerHandlerOnConnClose    = (*signalling)(nil)
	_ gortsplib.ServerHandlerOnSessionOpen  = (*signalling)(nil)
	_ gortsplib.ServerHandlerOnSessionClose = (*signalling)(nil)
	_ gortsplib.ServerHandlerOnResponse     = (*signalling)(nil)
	_ gortsplib.ServerHandlerOnDescribe     = (*signalling)(nil)
	_ gortsplib.ServerHandlerOnSetup        = (*signalling)(nil)
	_ gortsplib.ServerHandlerOnPlay         = (*signalling)(nil)
	_ gortsplib.ServerHandlerOnPause        = (*signalling)(nil)
	_ gortsplib.ServerHandlerOnGetParameter = (*signalling)(nil)
	_ gortsplib.ServerHandlerOnSetParameter = (*signalling)(nil)
)

// newSignalling prepares a server that takes its connections from connQueue, and
// the splitter's sockets.
func newSignalling(s *Splitter) *signalling {
	h := &signalling{s: s}
	h.server = &gortsplib.Server{
		Handler:                  h,
		RTSPAddress:              "127.0.0.1:0", // never listened on: see Listen
		WriteQueueSize:           8,             // nothing is queued there,
		MaxPacketSize:            64,            // and nothing is written: each session over TCP has a buffer of it
		DisableRTCPSenderReports: true,
		Listen:                   func(string, string) (net.Listener, error) { return s.conns, nil },
	}
	if s.udp != nil {
		h.server.UDPRTPAddress = s.udp.RTP.LocalAddr().String()
		h.server.UDPRTCPAddress = s.udp.RTCP.LocalAddr().String()
		socks := []*net.UDPConn{s.udp.RTP, s.udp.RTCP} // asked for in this order
		h.server.ListenPacket = func(string, string) (net.PacketConn, error) {
			c := socks[0]
			socks = socks[1:]
			return c, nil
		}
	}
	return h
}

// wait ends with the server.
func (h *signalling) wait(stopped chan<- error) { stopped <- h.server.Wait() }

func connOf(sc *gortsplib.ServerConn) *conn { return sc.NetConn().(*conn) }

// A userData is what we hang on a session of gortsplib: the connection that made it,
// and our part of it from its first good SETUP on.
type userData struct {
	conn    *conn
	session *session

	// Guarded by Splitter.mu.
	id    string // as viewers name it; "" until the first SETUP is answered
	ended bool
}

func dataOf(ss *gortsplib.ServerSession) *userData { return ss.UserData().(*userData) }

func sessionOf(ss *gortsplib.ServerSession) *session { return dataOf(ss).session }

// OnConnClose implements gortsplib.ServerHandlerOnConnClose.
func (h *signalling) OnConnClose(ctx *gortsplib.ServerHandlerOnConnCloseCtx) {
	connOf(ctx.Conn).left()
}

// OnSessionOpen implements gortsplib.ServerHandlerOnSessionOpen.
func (h *signalling) OnSessionOpen(ctx *gortsplib.ServerHandlerOnSessionOpenCtx) {
	c := connOf(ctx.Conn)
	ctx.Session.SetUserData(&userData{conn: c})
	c.opened(ctx.Session)
}

// OnSessionClose implements gortsplib.ServerHandlerOnSessionClose.
func (h *signalling) OnSessionClose(ctx *gortsplib.ServerHandlerOnSessionCloseCtx) {
	p := dataOf(ctx.Session)
	h.s.unname(p)
	if p.session != nil {
		h.s.forget(p.session)
		p.session.ended(ctx.Error)
	}
	p.conn.closed(ctx.Session, p.session)
}

// OnDescribe implements gortsplib.ServerHandlerOnDescribe.
func (h *signalling) OnDescribe(ctx *gortsplib.ServerHandlerOnDescribeCtx) (*base.Response, *gortsplib.ServerStream, error) {
	f := connOf(ctx.Conn).feed
	if f == nil { // gortsplib has read another request than we have
		return status(base.StatusBadRequest), nil, nil
	}
	return &base.Response{StatusCode: base.StatusOK, Body: f.body}, nil, nil
}

// OnSetup implements gortsplib.ServerHandlerOnSetup. What can be wrong with a SETUP
// has been looked at by vet.
func (h *signalling) OnSetup(ctx *gortsplib.ServerHandlerOnSetupCtx) (*base.Response, *gortsplib.ServerStream, error) {
	c, d := connOf(ctx.Conn), dataOf(ctx.Session)
	if c.feed == nil || d.conn != c || d.session != nil && d.session.feed != c.feed {
		return status(base.StatusBadRequest), nil, nil // gortsplib has read another request than we have
	}
	if d.session == nil {
		if err := h.newSession(c, ctx); err != nil {
			return refused(err), nil, nil
		}
	}
	c.setUp = d
	s, channel := d.session, c.offer.first
	if s.udp != nil {
		channel = 2 * c.track
		h.setUpUDP(s, c.track, c.offer)
	}
	s.setUp(c.track, channel, trackURL(c.request.URL, c.track))
	return status(base.StatusOK), s.stream, nil
}

// newSession makes our part of a session at its first SETUP.
func (h *signalling) newSession(c *conn, ctx *gortsplib.ServerHandlerOnSetupCtx) error {
	f := c.feed
	ticket, err := h.s.env.Gate.Admit(c.ctx, c.viewer)
	if err != nil {
		return err
	}
	if err := ticket.Declare(proxy.BitRate(f.sdp.BitRate())); err != nil {
		ticket.Close()
		return err
	}
	s := newSession(f, c, ctx.Session, ticket)
	if c.offer.udp {
		s.udp = newUDPTarget(len(s.channels))
		s.stream, err = newStream(h.server, f.desc)
		s.release = s.stream.Close
	} else {
		s.stream, s.release, err = f.shared.hold(h.server, f.desc)
	}
	if err != nil {
		ticket.Close()
		return err
	}
	if !f.join(s) {
		ticket.Close()
		s.release()
		return &proxy.Refusal{Reason: proxy.OriginDown, RetryAfter: time.Second}
	}
	dataOf(ctx.Session).session = s
	c.made(s)
	return nil
}

func (h *signalling) setUpUDP(s *session, track int, o offer) {
	a := s.conn.RemoteAddr().(*net.TCPAddr)
	rtp := &net.UDPAddr{IP: a.IP, Zone: a.Zone, Port: o.first}
	s.udp.setUp(track, rtp, &net.UDPAddr{IP: a.IP, Zone: a.Zone, Port: o.second})
	h.s.claim(rtp.String(), s)
}

// OnPlay implements gortsplib.ServerHandlerOnPlay. Live is where everybody is:
// any Range plays from the last key frame, and a second PLAY changes nothing.
func (h *signalling) OnPlay(ctx *gortsplib.ServerHandlerOnPlayCtx) (*base.Response, error) {
	s, c := sessionOf(ctx.Session), connOf(ctx.Conn)
	if s.udp == nil && s.conn != c {
		return status(base.StatusBadRequest), nil // the channels were agreed on the other connection
	}
	if !s.playing() {
		s.listens(ctx.Session, time.Now())
		start := h.s.opt.Start
		if s.viewer.Peer { // who passes it on needs the times as they are
			start = startBurst
			if v := ctx.Request.Header[startField]; len(v) == 1 && v[0] == startEdge {
				start = startEdge
			}
		}
		o := s.feed.in.opens(start, time.Now())
		o.of = s
		s.info = rtpInfo(s.urls, o.tracks)
		c.arm(o)
	}
	c.rtpInfo = s.info
	return status(base.StatusOK), nil
}

// OnPause implements gortsplib.ServerHandlerOnPause. PLAY resumes at the live
// edge.
func (h *signalling) OnPause(ctx *gortsplib.ServerHandlerOnPauseCtx) (*base.Response, error) {
	sessionOf(ctx.Session).rest("paused")
	return status(base.StatusOK), nil
}

// OnGetParameter implements gortsplib.ServerHandlerOnGetParameter: it asks whether we
// are there (RFC 2326 §10.8), with a session or without.
func (h *signalling) OnGetParameter(*gortsplib.ServerHandlerOnGetParameterCtx) (*base.Response, error) {
	return status(base.StatusOK), nil
}

// OnSetParameter implements gortsplib.ServerHandlerOnSetParameter: some players
// keep their session alive by it.
func (h *signalling) OnSetParameter(*gortsplib.ServerHandlerOnSetParameterCtx) (*base.Response, error) {
	return status(base.StatusOK), nil
}
