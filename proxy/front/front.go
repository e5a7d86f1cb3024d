// Package front is the viewers' door: it listens, ends TLS, answers RTSP OPTIONS
// by itself, reads the first request that names something, asks the gate, and
// hands the connection or request to the ladder. It counts bytes as they stand
// on the wire, keeps deadlines on those who send nothing, and lets viewers go
// when the node drains.
//
// Plain requests of HTTP/1.1 in the clear that the ladder has the answer to at
// hand (proxy.Hitter) are answered without net/http: see quickConn. Its mutex
// comes before the Front's.
//
// Who the viewer is, a PROXY header, X-Forwarded-For or Forwarded says, if it comes
// from a load balancer that is named; nobody else's is read. What the gate takes
// of a viewer's credentials ends here: handlers see the request without it, but
// for RTSP, whose first request is theirs to strip. Viewers that are refused may
// ask again on the same RTSP connection, eight times; connections that the gate
// has no place for are told so, 64 of a listener at a time. What is malformed is
// told to the gate, unless net/http refused it under TLS, where nobody sees it.
//
// Nobody holds a connection by sending slowly: the first request and each HTTP
// header have FirstByte, a body that no handler reads has 30 s. Whoever reads a
// body or writes an answer sets deadlines of his own.
//
// It knows nothing of media. Limits: an RTSP message of 8 KiB a line, 32 KiB of
// header and 256 KiB of body (package wire); an HTTP header of 64 KiB; a PROXY
// header of version 1 comes in one piece.
package front

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"weir/proxy"
)

// Config is what a Front is made of besides its flags.
type Config struct {
	Options
	Handler proxy.Handler // the ladder; asked for what it has at hand, too, if it is a proxy.Hitter
	Gate    proxy.Admitter
	Peer    func(mark, path string) bool // is what Weir-Peer says in a request for a path true? nil: there are no edges
	Metrics prometheus.Registerer
	Log     *zap.Logger
}

// A Front is a proxy.Part.
type Front struct {
	cfg          Config
	log          *zap.Logger
	pair         *keyPair  // nil without TLS
	http, https  *listener // nil if off
	rtsp, rtsps  *listener
	draining     atomic.Bool
	marked       atomic.Int64 // when a bad mark was last complained of, Unix s
	drainTimeout atomic.Int64 // ns

	mu      sync.Mutex
	viewers map[any]context.CancelFunc // RTSP connections (*conn) and HTTP requests (*http.Request) being served
	empty   chan struct{}              // closed when viewers becomes empty; nil while nobody waits for it
}

var (
	_ proxy.Part    = (*Front)(nil)
	_ proxy.Drainer = (*Front)(nil)
)

// New reads the certificate and binds the listeners.
func New(cfg Config) (*Front, error) {
	f := &Front{cfg: cfg, log: cfg.Log.Named("front"), viewers: map[any]context.CancelFunc{}}
	f.drainTimeout.Store(int64(cfg.DrainTimeout))
	if cfg.secure() {
		var err error
		if f.pair, err = readKeyPair(cfg.Cert, cfg.Key, cfg.ClientCA, f.log); err != nil {
			return nil, err
		}
		f.pair.register(cfg.Metrics)
	}
	if err := f.bind(); err != nil {
		for _, l := range []*listener{f.rtsp, f.http, f.rtsps, f.https} {
			l.Close() //nolint:errcheck // nobody has come in
		}
		return nil, err
	}
	return f, nil
}

func (f *Front) bind() (err error) {
	optional := f.cfg.ClientAuth == "optional"
	for _, b := range []struct {
		to             **listener
		protocol, addr string
		tls            *tls.Config
	}{
		{&f.rtsp, "rtsp", f.cfg.RTSP, nil},
		{&f.http, "http", f.cfg.HTTP, nil},
		{&f.rtsps, "rtsps", f.cfg.RTSPS, f.pair.config(optional)},
		{&f.https, "https", f.cfg.HTTPS, f.pair.config(optional, "h2", "http/1.1")},
	} {
		if *b.to, err = f.listen(b.protocol, b.addr, b.tls); err != nil {
			return err
		}
	}
	return nil
}

// HTTPAddr is the address bound for HTTP; nil if off.
func (f *Front) HTTPAddr() net.Addr { return f.http.addr() }

// HTTPSAddr is the address bound for HTTP under TLS; nil if off.
func (f *Front) HTTPSAddr() net.Addr { return f.https.addr() }

// RTSPAddr is the address bound for RTSP; nil if off.
func (f *Front) RTSPAddr() net.Addr { return f.rtsp.addr() }

// RTSPSAddr is the address bound for RTSP under TLS; nil if off.
func (f *Front) RTSPSAddr() net.Addr { return f.rtsps.addr() }

// Run serves until ctx is done; then it stops accepting, lets viewers go on up
// to the drain timeout, closes the last ones spread over time, and returns.
func (f *Front) Run(ctx context.Context) error {
	// Viewers outlive ctx: that is what draining means. They end by leave.
	serving, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	var wg, accepting sync.WaitGroup
	for _, l := range []*listener{f.rtsp, f.rtsps, f.http, f.https} {
		l.start()
	}
	for _, l := range []*listener{f.rtsp, f.rtsps} {
		accepting.Go(func() { f.acceptRTSP(serving, l, &wg) })
	}
	if f.pair != nil {
		wg.Go(func() { f.pair.watch(serving) })
	}
	srv := f.httpServer(serving)
	served := make(chan error, 2) // the end of HTTP and of HTTPS
	go f.serveListener(serving, srv, f.http, served)
	go f.serveListener(serving, srv, f.https, served)
	f.log.Info("started", zap.Stringer("rtsp", addrString{f.rtsp}), zap.Stringer("http", addrString{f.http}),
		zap.Stringer("rtsps", addrString{f.rtsps}), zap.Stringer("https", addrString{f.https}))
	<-ctx.Done()
	f.Drain()
	f.rtsp.Close()
	f.rtsps.Close()
	accepting.Wait() // the last one who came in is among those to be waited for
	f.leave(srv)
	stop()
	wg.Wait()
	<-f.gone() // net/http waits for no handler whose connection it has closed
	err := errors.Join(<-served, <-served)
	f.log.Info("stopped")
	return err
}

// Drain makes OPTIONS say 503, so that load balancers look elsewhere.
func (f *Front) Drain() { f.draining.Store(true) }

// SetDrainTimeout changes how long viewers may stay once Run's context is done;
// a person at a terminal does not wait for minutes.
func (f *Front) SetDrainTimeout(d time.Duration) { f.drainTimeout.Store(int64(d)) }

// Ready implements proxy.Part: the listeners are bound from New on. A certificate
// that viewers refuse is no reason to send them all elsewhere: the other edges
// have the same one.
func (f *Front) Ready() error {
	switch {
	case f.draining.Load():
		return errors.New("draining")
	case f.pair != nil:
		return f.pair.ready()
	}
	return nil
}

// Status implements proxy.Part.
func (f *Front) Status() any {
	return struct {
		RTSP        *listenerStatus `json:"rtsp,omitempty"`
		HTTP        *listenerStatus `json:"http,omitempty"`
		RTSPS       *listenerStatus `json:"rtsps,omitempty"`
		HTTPS       *listenerStatus `json:"https,omitempty"`
		Certificate *keyPairStatus  `json:"certificate,omitempty"`
		Draining    bool            `json:"draining"`
	}{f.rtsp.status(), f.http.status(), f.rtsps.status(), f.https.status(), f.pair.status(), f.draining.Load()}
}

type addrString struct{ l *listener }

func (a addrString) String() string {
	if a.l == nil {
		return "off"
	}
	return a.l.Addr().String()
}
