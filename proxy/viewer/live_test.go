package viewer

import (
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bluenviron/gortsplib/v4"
	"github.com/bluenviron/gortsplib/v4/pkg/base"
	"github.com/bluenviron/gortsplib/v4/pkg/description"
	"github.com/bluenviron/gortsplib/v4/pkg/format"
	"github.com/bluenviron/gortsplib/v4/pkg/liberrors"
	"github.com/pion/rtcp"
	"github.com/pion/rtp"
)

// A live is a real server with one stream of video and audio, /cam.
type live struct {
	server       *gortsplib.Server
	stream       *gortsplib.ServerStream
	video, audio *description.Media
	addr         string
	user         string        // "" lets everybody in; the password is p@ss
	sent         atomic.Uint64 // pictures

	mu      sync.Mutex
	asked   []base.Method
	reports []*rtcp.ReceiverReport
	open    int // sessions
}

// serve starts a server that sends a picture and a piece of audio every 4 ms;
// each tenth picture is a key frame. change may set it up before that.
func serve(t *testing.T, change func(*live)) *live {
	t.Helper()
	l := &live{
		video: &description.Media{Type: description.MediaTypeVideo,
			Formats: []format.Format{&format.H264{PayloadTyp: 96, PacketizationMode: 1}}},
		audio: &description.Media{Type: description.MediaTypeAudio,
			Formats: []format.Format{&format.G711{MULaw: true, SampleRate: 8000, ChannelCount: 1}}},
	}
	l.server = l.newServer(t)
	l.stream = &gortsplib.ServerStream{Server: l.server, Desc: &description.Session{Medias: []*description.Media{l.video, l.audio}}}
	if change != nil {
		change(l)
	}
	if err := l.server.Start(); err != nil {
		t.Fatal(err)
	}
	if err := l.stream.Initialize(); err != nil {
		t.Fatal(err)
	}
	stop := make(chan struct{})
	var owned sync.WaitGroup
	owned.Go(func() { l.send(stop) })
	t.Cleanup(func() {
		close(stop)
		owned.Wait()
		l.stream.Close()
		l.server.Close()
	})
	return l
}

// newServer binds the UDP ports, whose numbers a Server wants to know before.
func (l *live) newServer(t *testing.T) *gortsplib.Server {
	t.Helper()
	even, odd, err := listenPair(net.IPv4(127, 0, 0, 1), "")
	if err != nil {
		t.Fatal(err)
	}
	socks := map[string]net.PacketConn{even.LocalAddr().String(): even, odd.LocalAddr().String(): odd}
	return &gortsplib.Server{
		Handler: l, RTSPAddress: "127.0.0.1:0", DisableRTCPSenderReports: true,
		UDPRTPAddress: even.LocalAddr().String(), UDPRTCPAddress: odd.LocalAddr().String(),
		ListenPacket: func(_, addr string) (net.PacketConn, error) { return socks[addr], nil },
		Listen: func(network, addr string) (net.Listener, error) {
			ln, err := net.Listen(network, addr)
			if err == nil {
				l.addr = ln.Addr().String()
			}
			return ln, err
		},
	}
}

func (l *live) send(stop <-chan struct{}) {
	tick := time.NewTicker(4 * time.Millisecond)
	defer tick.Stop()
	for n := 0; ; n++ {
		select {
		case <-stop:
			return
		case <-tick.C:
		}
		h := rtp.Header{Version: 2, Marker: true, SequenceNumber: uint16(65500 + n), Timestamp: uint32(n) * 360}
		unit := byte(0x41)
		if n%10 == 0 {
			unit = 0x65
		}
		video := &rtp.Packet{Header: h, Payload: append([]byte{unit}, make([]byte, 500)...)}
		video.PayloadType = 96
		// Both fail once a test has closed the server.
		_ = l.stream.WritePacketRTP(l.video, video)
		_ = l.stream.WritePacketRTP(l.audio, &rtp.Packet{Header: h, Payload: make([]byte, 32)})
		l.sent.Add(1)
	}
}

func (l *live) url(path string) string { return "rtsp://" + l.addr + path }

// sessions returns how many there are.
func (l *live) sessions() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.open
}

func (l *live) heard(m base.Method) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Contains(l.asked, m)
}

// reported returns the latest receiver report that has a block, nil if none has
// come.
func (l *live) reported() *rtcp.ReceiverReport {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, r := range slices.Backward(l.reports) {
		if len(r.Reports) > 0 {
			return r
		}
	}
	return nil
}

func (l *live) OnRequest(_ *gortsplib.ServerConn, req *base.Request) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.asked = append(l.asked, req.Method)
}

func (l *live) OnSessionOpen(*gortsplib.ServerHandlerOnSessionOpenCtx) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open++
}

func (l *live) OnSessionClose(*gortsplib.ServerHandlerOnSessionCloseCtx) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open--
}

func (l *live) OnDescribe(c *gortsplib.ServerHandlerOnDescribeCtx) (*base.Response, *gortsplib.ServerStream, error) {
	switch {
	case c.Path != "/cam":
		return &base.Response{StatusCode: base.StatusNotFound}, nil, nil
	case l.user != "" && !c.Conn.VerifyCredentials(c.Request, l.user, "p@ss"):
		return &base.Response{StatusCode: base.StatusUnauthorized}, nil, liberrors.ErrServerAuth{}
	}
	return &base.Response{StatusCode: base.StatusOK}, l.stream, nil
}

func (l *live) OnSetup(c *gortsplib.ServerHandlerOnSetupCtx) (*base.Response, *gortsplib.ServerStream, error) {
	if l.user != "" && !c.Conn.VerifyCredentials(c.Request, l.user, "p@ss") {
		return &base.Response{StatusCode: base.StatusUnauthorized}, nil, liberrors.ErrServerAuth{}
	}
	return &base.Response{StatusCode: base.StatusOK}, l.stream, nil
}

func (l *live) OnPlay(c *gortsplib.ServerHandlerOnPlayCtx) (*base.Response, error) {
	c.Session.OnPacketRTCPAny(func(_ *description.Media, p rtcp.Packet) {
		if r, ok := p.(*rtcp.ReceiverReport); ok {
			l.mu.Lock()
			defer l.mu.Unlock()
			l.reports = append(l.reports, r)
		}
	})
	return &base.Response{StatusCode: base.StatusOK}, nil
}

func (l *live) OnPause(*gortsplib.ServerHandlerOnPauseCtx) (*base.Response, error) {
	return &base.Response{StatusCode: base.StatusOK}, nil
}

var (
	_ gortsplib.ServerHandlerOnRequest      = (*live)(nil)
	_ gortsplib.ServerHandlerOnSessionOpen  = (*live)(nil)
	_ gortsplib.ServerHandlerOnSessionClose = (*live)(nil)
	_ gortsplib.ServerHandlerOnDescribe     = (*live)(nil)
	_ gortsplib.ServerHandlerOnSetup        = (*live)(nil)
	_ gortsplib.ServerHandlerOnPlay         = (*live)(nil)
	_ gortsplib.ServerHandlerOnPause        = (*live)(nil)
)
