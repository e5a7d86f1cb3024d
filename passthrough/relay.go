package passthrough

import (
	"context"
	"crypto/rand"
	"errors"
	"flag"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	"weir/proxy"
	"weir/proxy/forward"
)

// Options are the flags of the relay.
type Options struct {
	// UDP is the range of ports, "lo-hi", from which viewers over UDP are served:
	// two for each track of each session. Empty turns UDP off.
	UDP string // default 20000-20999
	// Timeout is how long an origin may take for each answer. Too little refuses
	// slow origins, too much keeps viewers of a dead one waiting.
	Timeout time.Duration // default 10s
	// Beat is how often what an origin has sent is handed on to viewers over TCP
	// while it plays; all sessions have the same. What costs is waking up, not bytes: with 0 each
	// packet is handed on as it comes, at several times the price, and media that
	// waits for the beat comes later by half of it on average.
	Beat time.Duration // default 40ms: a picture
	// Lag is how long a viewer may take nothing of what is there for him before
	// he is closed. Too little cuts viewers on bad lines, too much keeps those
	// who have gone silently, and their places at the origin.
	Lag time.Duration // default 30s
	// Failover says which sessions go on with another origin when theirs dies.
	Failover Failover // default live,vod,http
	// Strict has them go on only where the description says the same of the pictures, too.
	Strict bool
}

// Flags declares the relay's flags; it is the mode's proxy.Register.
func Flags(fs *flag.FlagSet) proxy.Build {
	o := &Options{}
	fs.StringVar(&o.UDP, "passthrough.udp", "20000-20999", "`range` of UDP ports for viewers, two for each track of each session; too few refuse viewers (they try TCP then); empty turns UDP off")
	fs.DurationVar(&o.Timeout, "passthrough.timeout", 10*time.Second, "how long an origin may take for each answer; little refuses slow origins, much keeps viewers of a dead one waiting")
	fs.DurationVar(&o.Beat, "passthrough.beat", 40*time.Millisecond, "how often media that has come is handed on over TCP; 0 hands on each packet as it comes, at several times the CPU; much comes late and in lumps")
	fs.DurationVar(&o.Lag, "passthrough.lag", 30*time.Second, "how long a viewer may take nothing of what is there for him before he is closed; little cuts viewers on bad lines, much keeps those who have gone silently")
	return func(env proxy.Env) (proxy.Mode, error) {
		o.Failover, o.Strict = failoverOf(fs) // an origin's flags, which others heed, too
		return New(*o, env)
	}
}

// Validate reports all mistakes at once, each with its flag.
func (o *Options) Validate() error {
	var errs []error
	if _, _, err := o.ports(); err != nil {
		errs = append(errs, err)
	}
	for name, d := range map[string]time.Duration{"timeout": o.Timeout, "lag": o.Lag} {
		if d < 100*time.Millisecond {
			errs = append(errs, fmt.Errorf("-passthrough.%s %v: must be 100ms or more", name, d))
		}
	}
	if o.Beat < 0 || o.Beat > time.Second {
		errs = append(errs, fmt.Errorf("-passthrough.beat %v: must be 0 to 1s", o.Beat))
	}
	return errors.Join(errs...)
}

// ports returns the range, 0 and 0 for none.
func (o *Options) ports() (lo, hi int, err error) {
	if o.UDP == "" {
		return 0, 0, nil
	}
	from, to, _ := strings.Cut(o.UDP, "-")
	lo, err1 := strconv.Atoi(from)
	hi, err2 := strconv.Atoi(to)
	if err1 != nil || err2 != nil || lo < 1 || hi > 65535 || hi-lo < 1 {
		return 0, 0, fmt.Errorf("-passthrough.udp %s: must be a range like 20000-20999", o.UDP)
	}
	return lo, hi, nil
}

// A Relay is the mode for sessions that the origin itself must serve, live or
// on demand: it is a proxy.Mode.
type Relay struct {
	opt     Options
	env     proxy.Env
	log     *zap.Logger
	met     *relayMetrics
	ports   *ports           // nil: no UDP
	forward *forward.Handler // HTTP
	id      string           // in Via
	began   time.Time
	inboxes sync.Pool // of *inbox
	queue   queue     // of moves

	mu       sync.Mutex
	sessions map[string]*session // by the id that the viewer knows
	conns    map[*conn]struct{}
	stopped  bool
	idle     chan struct{} // closed when the last conn has gone, once stopped
}

var _ proxy.Mode = (*Relay)(nil)

// New makes a relay. It binds nothing: ports are a session's.
func New(o Options, env proxy.Env) (*Relay, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	r := &Relay{opt: o, env: env, log: env.Log.Named("relay"), id: "weir-" + strings.ToLower(rand.Text()[:10]),
		began: time.Now(), sessions: map[string]*session{}, conns: map[*conn]struct{}{}, idle: make(chan struct{})}
	r.inboxes.New = newInbox
	r.queue.lanes = map[string]*lane{}
	r.forward = forward.New(forward.Options{Upstream: env.Upstream, ID: r.id, Lag: o.Lag, Log: r.log})
	if lo, hi, _ := o.ports(); hi > 0 {
		r.ports = newPorts(lo, hi)
	}
	r.met = newRelayMetrics(env.Metrics, r)
	return r, nil
}

// lookEvery is how often sessions are looked at for viewers who have gone.
const lookEvery = time.Second

// Run implements proxy.Part: it ends sessions whose viewers have gone without a
// word.
func (r *Relay) Run(ctx context.Context) error {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	quiet := time.NewTicker(quietEvery)
	defer quiet.Stop()
	var looks sync.WaitGroup
	defer looks.Wait()
	for {
		select {
		case now := <-tick.C:
			for _, s := range r.list() {
				if s.looked.CompareAndSwap(false, true) { // an origin that does not read holds up its own only
					looks.Go(func() { s.look(now); s.looked.Store(false) })
				}
			}
		case now := <-quiet.C:
			r.listen(now)
		case <-ctx.Done():
			r.stop()
			return nil
		}
	}
}

// listen looks for origins that have gone silent.
func (r *Relay) listen(now time.Time) {
	r.mu.Lock()
	conns := slices.Collect(maps.Keys(r.conns))
	r.mu.Unlock()
	for _, c := range conns {
		if l := c.leg.Load(); l != nil {
			l.listen(now)
		}
	}
}

// stop closes what is left and waits for it.
func (r *Relay) stop() {
	r.mu.Lock()
	r.stopped = true
	left := slices.Collect(maps.Keys(r.conns))
	r.mu.Unlock()
	for _, c := range left {
		c.hangUp("the relay stops")
	}
	if len(left) > 0 {
		<-r.idle
	}
}

// ServeRTSP implements proxy.Handler.
func (r *Relay) ServeRTSP(ctx context.Context, rc *proxy.RTSPConn) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	c := newConn(r, rc, cancel)
	r.mu.Lock()
	if r.stopped {
		r.mu.Unlock()
		rc.Close()
		return
	}
	r.conns[c] = struct{}{}
	r.mu.Unlock()
	c.serve(ctx)
	r.mu.Lock()
	defer r.mu.Unlock()
	if delete(r.conns, c); r.stopped && len(r.conns) == 0 {
		close(r.idle)
	}
}

// session returns the session that a viewer names. Another connection than the
// one it was made on may name it (RFC 2326 §1.1: sessions are not bound to
// connections) if that one has gone, and it is the same viewer.
func (r *Relay) session(id string, c *conn) *session {
	r.mu.Lock()
	s := r.sessions[id]
	r.mu.Unlock()
	if s == nil || s.conn != c && !(s.udp() && s.conn.gone.Load() && c.rc.Viewer.Same(s.conn.rc.Viewer)) {
		return nil
	}
	return s
}

func (r *Relay) addSession(s *session) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sessions[s.id] = s
}

func (r *Relay) removeSession(s *session) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.sessions, s.id)
}

func (r *Relay) list() []*session {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Collect(maps.Values(r.sessions))
}

// Ready implements proxy.Part: a relay without an origin can give nothing.
func (r *Relay) Ready() error {
	if u, ok := proxy.Face[interface{ Usable() error }](r.env.Upstream); ok {
		return u.Usable()
	}
	return nil
}

func addrOf(a net.Addr) netip.Addr {
	if t, ok := a.(*net.TCPAddr); ok {
		return t.AddrPort().Addr().Unmap()
	}
	return netip.Addr{}
}
