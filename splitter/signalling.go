package splitter

import (
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/bluenviron/gortsplib/v4"
	"github.com/bluenviron/gortsplib/v4/pkg/base"
	"github.com/bluenviron/gortsplib/v4/pkg/headers"

	"weir/proxy"
	"weir/proxy/sdp"
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
	p.conn.closed(ctx.Session)
}

// OnDescribe implements gortsplib.ServerHandlerOnDescribe.
func (h *signalling) OnDescribe(ctx *gortsplib.ServerHandlerOnDescribeCtx) (*base.Response, *gortsplib.ServerStream, error) {
	f := connOf(ctx.Conn).feed
	if f == nil { // gortsplib has read another request than we have
		return status(base.StatusBadRequest), nil, nil
	}
	return &base.Response{StatusCode: base.StatusOK, Body: f.body}, nil, nil
}

// OnSetup implements gortsplib.ServerHandlerOnSetup.
func (h *signalling) OnSetup(ctx *gortsplib.ServerHandlerOnSetupCtx) (*base.Response, *gortsplib.ServerStream, error) {
	c := connOf(ctx.Conn)
	s := sessionOf(ctx.Session)
	track, ok := trackOf(ctx.Request.URL, c.feed)
	if !ok || s != nil && s.feed != c.feed {
		return status(base.StatusNotFound), nil, nil // or the feed has ended and begun anew
	}
	offer, code := h.offer(ctx)
	switch {
	case code != base.StatusOK:
		return status(code), nil, nil
	case dataOf(ctx.Session).conn != c, // whoever else knows its id: what it is belongs to its connection
		s != nil && s.channels[track] >= 0,
		s != nil && (s.udp != nil) != (ctx.Transport == gortsplib.TransportUDP):
		return status(base.StatusBadRequest), nil, nil
	}
	if s == nil {
		var err error
		if s, err = h.newSession(c, ctx); err != nil {
			return refused(err), nil, nil
		}
	}
	c.setUp = dataOf(ctx.Session)
	s.setUp(track, h.channel(s, track, offer), c.request.URL)
	if s.udp != nil {
		h.setUpUDP(s, track, offer.ClientPorts)
	}
	return status(base.StatusOK), s.stream, nil
}

// newSession makes our part of a session at its first SETUP.
func (h *signalling) newSession(c *conn, ctx *gortsplib.ServerHandlerOnSetupCtx) (*session, error) {
	f := c.feed
	ticket, err := h.s.env.Gate.Admit(c.ctx, c.viewer)
	if err != nil {
		return nil, err
	}
	if err := ticket.Declare(proxy.BitRate(f.sdp.BitRate())); err != nil {
		ticket.Close()
		return nil, err
	}
	s := newSession(f, c, ctx.Session, ticket)
	if ctx.Transport == gortsplib.TransportUDP {
		s.udp = newUDPTarget(len(s.channels))
		s.stream, err = newStream(h.server, f.desc)
		s.release = s.stream.Close
	} else {
		s.stream, s.release, err = f.shared.hold(h.server, f.desc)
	}
	if err != nil {
		ticket.Close()
		return nil, err
	}
	if !f.join(s) {
		ticket.Close()
		s.release()
		return nil, &proxy.Refusal{Reason: proxy.OriginDown, RetryAfter: time.Second}
	}
	dataOf(ctx.Session).session = s
	return s, nil
}

// offer is the transport that gortsplib is going to take: the first of the
// viewer's that can be had. It checks what gortsplib does not.
func (h *signalling) offer(ctx *gortsplib.ServerHandlerOnSetupCtx) (*headers.Transport, base.StatusCode) {
	if connOf(ctx.Conn).Viewer.Secure && ctx.Transport != gortsplib.TransportTCP {
		return nil, base.StatusUnsupportedTransport // media would leave in the clear
	}
	var offers headers.Transports
	if err := offers.Unmarshal(ctx.Request.Header["Transport"]); err != nil {
		return nil, base.StatusBadRequest
	}
	for _, t := range offers {
		tcp := t.Protocol == headers.TransportProtocolTCP
		multicast := t.Delivery != nil && *t.Delivery == headers.TransportDeliveryMulticast
		if t.Secure || multicast || tcp != (ctx.Transport == gortsplib.TransportTCP) {
			continue
		}
		switch ids, ports := t.InterleavedIDs, t.ClientPorts; {
		case tcp && ids != nil && (ids[0] < 0 || ids[0] > 254):
			return nil, base.StatusBadRequest
		case !tcp && (ports == nil || ports[0] < 1024 || ports[0] > 65534 || ports[1] < 1024 || ports[1] > 65535):
			return nil, base.StatusBadRequest
		}
		return &t, base.StatusOK
	}
	return nil, base.StatusUnsupportedTransport
}

// channel is the interleaved channel of a track: what the viewer asked for, else
// what gortsplib is going to choose, the first free pair.
func (h *signalling) channel(s *session, track int, t *headers.Transport) int {
	if t.InterleavedIDs != nil {
		return t.InterleavedIDs[0]
	}
	for ch := 0; ; ch += 2 {
		free := true
		for i, used := range s.channels {
			if i != track && used >= 0 && used <= ch+1 && used+1 >= ch {
				free = false
			}
		}
		if free {
			return ch
		}
	}
}

func (h *signalling) setUpUDP(s *session, track int, ports *[2]int) {
	a := s.conn.RemoteAddr().(*net.TCPAddr)
	s.udp.rtp[track] = &net.UDPAddr{IP: a.IP, Zone: a.Zone, Port: ports[0]}
	s.udp.rtcp[track] = &net.UDPAddr{IP: a.IP, Zone: a.Zone, Port: ports[1]}
	h.s.claim(s.udp.rtp[track].String(), s)
}

// trackOf is the track that a SETUP names, behind the query or the path as
// gortsplib looks for it; without a name it is the first.
func trackOf(u *base.URL, f *feed) (int, bool) {
	if f == nil {
		return 0, false
	}
	where := u.Path
	if strings.Contains(u.RawQuery, "/trackID=") {
		where = u.RawQuery
	}
	_, track, ok := sdp.SplitTrack(where)
	if !ok && strings.Contains(where, "/trackID=") {
		return 0, false
	}
	return track, track < len(f.sdp.Media) && !f.sdp.Media[track].BackChannel
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
		if s.viewer.Peer {
			start = startBurst // who passes it on needs the times as they are
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

// OnSetParameter implements gortsplib.ServerHandlerOnSetParameter: some players
// keep their session alive by it.
func (h *signalling) OnSetParameter(*gortsplib.ServerHandlerOnSetParameterCtx) (*base.Response, error) {
	return status(base.StatusOK), nil
}

// OnResponse implements gortsplib.ServerHandlerOnResponse: it says what
// gortsplib does not know or says wrong.
func (h *signalling) OnResponse(sc *gortsplib.ServerConn, res *base.Response) {
	res.Header["Server"] = base.HeaderValue{serverName}
	c := connOf(sc)
	if c.request == nil || res.StatusCode != base.StatusOK {
		return
	}
	switch c.request.Method {
	case "OPTIONS":
		res.Header["Public"] = base.HeaderValue{proxy.RTSPMethods}
	case "DESCRIBE":
		res.Header["Content-Base"] = base.HeaderValue{contentBase(c.request.URL)}
	case "SETUP":
		if v := res.Header["Session"]; len(v) == 1 && c.setUp != nil {
			c.s.name(c.setUp, v[0])
		}
		sayTransport(c, res)
	case "PLAY":
		res.Header["Range"] = base.HeaderValue{"npt=now-"}
		res.Header["RTP-Info"] = base.HeaderValue{c.rtpInfo}
	}
}

// contentBase is what tracks are relative to. A query may hold a token: it is not
// said again.
func contentBase(url string) string {
	url, _, _ = strings.Cut(url, "?")
	return strings.TrimRight(url, "/") + "/"
}

// sayTransport names the SSRC under which the track comes, and the time-out,
// which gortsplib gives over UDP only.
func sayTransport(c *conn, res *base.Response) {
	u, err := base.ParseURL(c.request.URL)
	if err != nil {
		return
	}
	track, ok := trackOf(u, c.feed)
	if v := res.Header["Transport"]; ok && len(v) == 1 {
		t, _, _ := strings.Cut(v[0], ";ssrc=")
		res.Header["Transport"] = base.HeaderValue{fmt.Sprintf("%s;ssrc=%08X", t, c.feed.in.tracks[track].num.SSRC)}
	}
	if v := res.Header["Session"]; len(v) == 1 && !strings.Contains(v[0], ";") {
		res.Header["Session"] = base.HeaderValue{v[0] + ";timeout=" + strconv.Itoa(sessionTimeout)}
	}
}

// rtpInfo tells the first sequence number of each track and the time stamps that
// belong together (RFC 2326 §12.33). A track that has had no packet yet gets
// none: players drop what is older than they were told.
func rtpInfo(urls []string, tracks []trackOpening) string {
	var info []string
	for i, url := range urls {
		if url == "" {
			continue
		}
		e := "url=" + url
		if tracks[i].known {
			e += fmt.Sprintf(";seq=%d;rtptime=%d", tracks[i].seq, tracks[i].ts)
		}
		info = append(info, e)
	}
	return strings.Join(info, ",")
}

func status(code base.StatusCode) *base.Response { return &base.Response{StatusCode: code} }

// refused is the answer to a viewer whom the gate or the feed does not take.
func refused(err error) *base.Response {
	r := proxy.Refused(err).Response(nil)
	res := &base.Response{StatusCode: base.StatusCode(r.Code), StatusMessage: r.Phrase, Header: base.Header{}}
	for _, f := range r.Header {
		res.Header[f.Name] = base.HeaderValue{f.Value}
	}
	return res
}
