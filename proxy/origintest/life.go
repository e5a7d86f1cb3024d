package origintest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"

	"github.com/bluenviron/gortsplib/v4"
	"go.uber.org/zap"
)

// A life is what a process would be: from bound sockets to the end of all
// connections. An origin that died and was revived is in its second.
type life struct {
	rtsp, http *listener // http is nil if there are no files
	udp        *pair     // nil without UDP
	server     *gortsplib.Server
	streams    []*stream
	signalling *signalling
	live       *live
	files      http.Handler
	log        *zap.Logger
}

// newLife binds the sockets.
func newLife(o *Origin) (*life, error) {
	names := &ssrcs{}
	l := &life{
		live: &live{clip: o.clip, faults: &o.faults, ssrcs: names, nums: number(o.clip)},
		signalling: &signalling{opt: &o.opt, clip: o.clip, seen: &o.seen, faults: &o.faults, ssrcs: names,
			streams: map[string]*stream{}},
		files: files(&o.opt, &o.seen),
		log:   o.opt.Log,
	}
	if err := l.bind(o); err != nil {
		l.shut()
		return nil, err
	}
	l.server = &gortsplib.Server{
		Handler:                  l.signalling,
		RTSPAddress:              l.rtsp.Addr().String(),
		Listen:                   l.listen,
		DisableRTCPSenderReports: true,
	}
	if l.udp != nil {
		l.server.UDPRTPAddress = l.udp[0].LocalAddr().String()
		l.server.UDPRTCPAddress = l.udp[1].LocalAddr().String()
		l.server.ListenPacket = l.udp.listen
	}
	return l, nil
}

func (l *life) bind(o *Origin) (err error) {
	if l.rtsp, err = listen(o.opt.Addr); err != nil {
		return fmt.Errorf("bind RTSP: %w", err)
	}
	// TLS ends in the listener, not in gortsplib: there it would mean SRTP too.
	l.rtsp.tls, l.rtsp.muted = o.opt.TLS, &o.faults.muted
	l.rtsp.accepted, l.rtsp.patch = o.seen.connection, l.live.ssrcs.patch
	if o.opt.HTTP != "" {
		if l.http, err = listen(o.opt.HTTP); err != nil {
			return fmt.Errorf("bind HTTP: %w", err)
		}
		l.http.muted = &o.faults.muted
	}
	if o.opt.UDP {
		l.udp, err = listenPair(l.rtsp.Addr().(*net.TCPAddr).IP)
	}
	return err
}

// listen is gortsplib's hook. Streams need a server that has come this far in
// its start, and must be there before the first connection.
func (l *life) listen(_, _ string) (net.Listener, error) {
	if err := l.addStreams(); err != nil {
		l.closeStreams()
		return nil, err
	}
	return l.rtsp, nil
}

func (l *life) addStreams() error {
	for path, which := range map[string][]int{
		clockPath: {video, audio}, "/live/video": {video}, "/live/radio": {audio},
		storedPath: {video, audio},
	} {
		s, err := newStream(l.server, l.live.clip, which...)
		if err != nil {
			return err
		}
		l.streams = append(l.streams, s)
		l.signalling.streams[path] = s
		if path == storedPath {
			err = s.store()
		} else {
			l.live.add(s)
		}
		if err != nil {
			return err
		}
	}
	for _, path := range l.signalling.opt.Live {
		l.signalling.streams[path] = l.signalling.streams[clockPath]
	}
	return nil
}

func (l *life) closeStreams() {
	for _, s := range l.streams {
		s.Close()
	}
}

// run serves until ctx is done or the life is killed.
func (l *life) run(ctx context.Context) error {
	if err := l.server.Start(); err != nil {
		l.shut()
		return fmt.Errorf("start RTSP: %w", err)
	}
	l.log.Info("origin serves", zap.Stringer("addr", l.rtsp.Addr()))
	ctx, cancel := context.WithCancel(ctx)
	var work sync.WaitGroup
	work.Go(func() { l.shutAfter(ctx) })
	work.Go(func() { l.live.pace(ctx) })
	work.Go(l.serveFiles)

	err := l.server.Wait() // it ends when its listener is closed, and closes its connections
	cancel()
	work.Wait()
	l.closeStreams()
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

func (l *life) shutAfter(ctx context.Context) {
	<-ctx.Done()
	l.shut()
}

// shut closes what was bound; connections are closed by their servers then.
func (l *life) shut() {
	for _, s := range []*listener{l.rtsp, l.http} {
		if s != nil {
			s.Close()
		}
	}
	if l.udp != nil {
		l.udp.close()
	}
}

// kill resets all connections before it shuts.
func (l *life) kill() {
	for _, s := range []*listener{l.rtsp, l.http} {
		if s != nil {
			s.kill()
		}
	}
	l.shut()
}
