// Package front is the viewers' door: it listens, answers RTSP OPTIONS by
// itself, reads the first request that names something, asks the gate, and
// hands the connection or request to the ladder. It counts bytes, keeps
// deadlines on those who send nothing, and lets viewers go when the node drains.
//
// It knows nothing of media. Limits: an RTSP message of 8 KiB a line, 32 KiB of
// header and 256 KiB of body (package wire); an HTTP header of 64 KiB.
package front

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"weir/proxy"
)

// Options are the flags of the front.
type Options struct {
	// HTTP and RTSP are the addresses to listen on; empty turns one off.
	HTTP, RTSP string // default :8080 and :8554
	// FirstByte is how long a new connection may take to send its first request.
	// Too little refuses viewers on bad lines, too much lets silent connections pile up.
	FirstByte time.Duration // default 10s
	// Idle is how long an RTSP connection may carry nothing in either direction,
	// and an HTTP one wait for its next request. Less than 2m cuts paused players
	// between two of their keep-alives, much keeps those who have gone silently.
	Idle time.Duration // default 2m
	// DrainNotice is how long the node says that it is going before it stops
	// accepting: as long as load balancers need to see it.
	DrainNotice time.Duration // default 5s
	// DrainTimeout is how long viewers may stay after that. The last tenth of it
	// is spent closing those who are left, one by one.
	DrainTimeout time.Duration // default 5m
}

// Flags declares the front's flags.
func Flags(fs *flag.FlagSet) *Options {
	o := &Options{}
	fs.StringVar(&o.HTTP, "http", ":8080", "viewers' HTTP `address`; empty turns it off")
	fs.StringVar(&o.RTSP, "rtsp", ":8554", "viewers' RTSP `address`; empty turns it off")
	fs.DurationVar(&o.FirstByte, "front.first-byte", 10*time.Second, "how long a new connection may take to send its first request; too little refuses viewers on bad lines, too much lets silent connections pile up")
	fs.DurationVar(&o.Idle, "front.idle", 2*time.Minute, "how long an RTSP connection may carry nothing in either direction, and an HTTP one wait for its next request; under 2m cuts paused players between keep-alives, much keeps those who have gone silently")
	fs.DurationVar(&o.DrainNotice, "drain.notice", 5*time.Second, "after SIGTERM, how long the node says it is going before it stops accepting; less than a load balancer's check interval loses viewers, more makes restarts slow")
	fs.DurationVar(&o.DrainTimeout, "drain.timeout", 5*time.Minute, "after the notice, how long viewers may stay; little cuts them, much keeps the old node; the last tenth is spent closing who is left, one by one")
	return o
}

// Validate reports all mistakes at once, each with its flag.
func (o *Options) Validate() error {
	var errs []error
	if o.HTTP == "" && o.RTSP == "" {
		errs = append(errs, errors.New("-http and -rtsp are both empty: nobody could come in"))
	}
	check := func(bad bool, name string, d time.Duration, want string) {
		if bad {
			errs = append(errs, fmt.Errorf("%s %v: must %s", name, d, want))
		}
	}
	check(o.FirstByte <= 0, "-front.first-byte", o.FirstByte, "be more than 0")
	check(o.Idle <= 0, "-front.idle", o.Idle, "be more than 0")
	check(o.DrainNotice < 0, "-drain.notice", o.DrainNotice, "not be negative")
	check(o.DrainTimeout < 0, "-drain.timeout", o.DrainTimeout, "not be negative")
	return errors.Join(errs...)
}

// Config is what a Front is made of besides its flags.
type Config struct {
	Options
	Handler proxy.Handler // the ladder
	Gate    proxy.Admitter
	Metrics prometheus.Registerer
	Log     *zap.Logger
}

// A Front is a proxy.Part.
type Front struct {
	cfg          Config
	log          *zap.Logger
	http, rtsp   *listener // nil if off
	draining     atomic.Bool
	drainTimeout atomic.Int64 // ns

	mu      sync.Mutex
	viewers map[any]context.CancelFunc // RTSP connections (*conn) and HTTP requests (*http.Request) being served
	empty   chan struct{}              // closed when viewers becomes empty; nil while nobody waits for it
}

var (
	_ proxy.Part    = (*Front)(nil)
	_ proxy.Drainer = (*Front)(nil)
)

// New binds the listeners.
func New(cfg Config) (*Front, error) {
	f := &Front{cfg: cfg, log: cfg.Log.Named("front"), viewers: map[any]context.CancelFunc{}}
	f.drainTimeout.Store(int64(cfg.DrainTimeout))
	var err error
	if f.rtsp, err = listen("rtsp", cfg.RTSP, cfg, f.log); err != nil {
		return nil, err
	}
	if f.http, err = listen("http", cfg.HTTP, cfg, f.log); err != nil {
		f.rtsp.Close()
		return nil, err
	}
	return f, nil
}

// HTTPAddr is the address bound for HTTP; nil if off.
func (f *Front) HTTPAddr() net.Addr { return f.http.addr() }

// RTSPAddr is the address bound for RTSP; nil if off.
func (f *Front) RTSPAddr() net.Addr { return f.rtsp.addr() }

// Run serves until ctx is done; then it stops accepting, lets viewers go on up
// to the drain timeout, closes the last ones spread over time, and returns.
func (f *Front) Run(ctx context.Context) error {
	// Viewers outlive ctx: that is what draining means. They end by leave.
	serving, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	var wg, accepting sync.WaitGroup
	served := make(chan error, 1) // HTTP's end
	if f.rtsp != nil {
		accepting.Go(func() { f.acceptRTSP(serving, &wg) })
	}
	srv := f.httpServer(serving)
	if f.http != nil {
		go func() { served <- serveHTTP(srv, f.http) }()
	} else {
		served <- nil
	}
	f.log.Info("started", zap.Stringer("rtsp", addrString{f.rtsp}), zap.Stringer("http", addrString{f.http}))
	<-ctx.Done()
	f.Drain()
	f.rtsp.Close()
	accepting.Wait() // the last one who came in is among those to be waited for
	f.leave(srv)
	stop()
	wg.Wait()
	<-f.gone() // net/http waits for no handler whose connection it has closed
	err := <-served
	f.log.Info("stopped")
	return err
}

// Drain makes OPTIONS say 503, so that load balancers look elsewhere.
func (f *Front) Drain() { f.draining.Store(true) }

// SetDrainTimeout changes how long viewers may stay once Run's context is done;
// a person at a terminal does not wait for minutes.
func (f *Front) SetDrainTimeout(d time.Duration) { f.drainTimeout.Store(int64(d)) }

// Ready implements proxy.Part: the listeners are bound from New on.
func (f *Front) Ready() error {
	if f.draining.Load() {
		return errors.New("draining")
	}
	return nil
}

// Status implements proxy.Part.
func (f *Front) Status() any {
	return struct {
		RTSP     *listenerStatus `json:"rtsp,omitempty"`
		HTTP     *listenerStatus `json:"http,omitempty"`
		Draining bool            `json:"draining"`
	}{f.rtsp.status(), f.http.status(), f.draining.Load()}
}

type addrString struct{ l *listener }

func (a addrString) String() string {
	if a.l == nil {
		return "off"
	}
	return a.l.Addr().String()
}
