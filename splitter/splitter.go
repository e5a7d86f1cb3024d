// Package splitter is the rung for live RTSP: it pulls each stream once, however
// many watch it, and splits it to all of them.
//
//	origin ──RTSP──► feed ──► ring (one per path) ──► cursor of each viewer ──► one write per burst and viewer
//
// gortsplib signals, Weir moves the bytes. A feed (feed.go) keeps the source
// alive through a pull (pull.go); its ingest numbers the packets so that they go
// on over a change of source (ingest.go, clock.go) and publishes them in bursts
// into the ring (ring.go). Workers (fanout.go) write each burst to their share of
// the viewers, without waiting: over TCP through the viewer's conn (conn.go), over
// UDP in batches (udp.go). vet.go reads what viewers ask, signalling.go answers.
//
// It is not for stored streams (left to the next rung) nor for publishing to.
// Limits: 32 tracks; packets of 65535 bytes over TCP and 1472 over UDP; a new
// viewer is given at most 8 MiB, 16384 packets or 10 s of the past, and all feeds
// together keep no more of it than -splitter.past.
//
// Locks: Splitter.mu before feed.mu before session.mu; udpTarget.mu before conn.mu
// before session.mu before ingest.mu before share.mu and worker.mu. None is held
// over a call that waits. conn.mu and udpTarget.mu are held over writes that do not
// wait, and over the counting of what they wrote (Ticket.Sent, RTSPConn.Sent): a
// viewer's bytes leave in order because of them.
package splitter

import (
	"context"
	"errors"
	"maps"
	"net"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"go.uber.org/zap"

	"weir/proxy"
)

// How long what an origin said of a path is remembered, and of how many paths.
// Meanwhile nobody asks it again.
const (
	rememberStored  = 30 * time.Second
	rememberRefused = time.Second
	rememberPaths   = 4096
)

// A Splitter is a proxy.Mode.
type Splitter struct {
	opt     Options
	env     proxy.Env
	log     *zap.Logger
	met     *metrics
	udp     *udpSockets // nil: off
	workers []*worker
	batches sync.Pool // of *batch, for start bursts
	scratch sync.Pool // of *[]byte with room for a burst and a packet, for mapped viewers
	conns   *connQueue
	start   chan *feed // to Run, whose context feeds live in
	herd    *herd

	orphanGrace time.Duration

	past *budget

	mu         sync.Mutex
	feeds      map[string]*feed // by path; none that has ended
	ports      map[string]*session
	owners     map[string]*userData // sessions by the id that viewers name
	verdicts   *lru.Cache[string, verdict]
	complaints *lru.Cache[string, proxy.Reason] // why there was no feed, as it was logged last
}

var _ proxy.Mode = (*Splitter)(nil)

// A verdict is why a path has no feed.
type verdict struct {
	err   error
	until time.Time
}

// New makes a splitter and binds its UDP ports.
func New(o Options, env proxy.Env) (*Splitter, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	s := &Splitter{opt: o, env: env, log: env.Log.Named("splitter"), conns: newConnQueue(), start: make(chan *feed),
		herd: newHerd(), orphanGrace: orphanGrace, past: &budget{max: int64(o.Past)},
		workers: newWorkers(runtime.GOMAXPROCS(0)), feeds: map[string]*feed{}, ports: map[string]*session{}, owners: map[string]*userData{}}
	s.batches.New = func() any { return newBatch(s.udp) }
	s.scratch.New = func() any { b := make([]byte, 0, maxBurst+64<<10); return &b }
	s.complaints, _ = lru.New[string, proxy.Reason](rememberPaths)
	s.verdicts, _ = lru.New[string, verdict](rememberPaths) // errs on a size below 1 only
	if o.UDP != "" {
		var err error
		if s.udp, err = listenUDP(o.UDP); err != nil {
			return nil, err
		}
	}
	s.met = newMetrics(env.Metrics, s)
	return s, nil
}

// Run implements proxy.Part. Viewers who are left when ctx is done are told goodbye
// first, which takes a second at most.
func (s *Splitter) Run(asked context.Context) error {
	ctx, cancel := context.WithCancel(context.WithoutCancel(asked))
	defer cancel()
	var wg sync.WaitGroup
	h := newSignalling(s)
	if err := h.server.Start(); err != nil {
		s.conns.Close()
		s.udp.close()
		return err
	}
	for _, w := range s.workers {
		wg.Go(func() { w.run(ctx, newBatch(s.udp)) })
	}
	if up, ok := proxy.Face[interface{ Always() []string }](s.env.Upstream); ok {
		for i, path := range up.Always() {
			wg.Go(func() {
				pause(ctx, time.Duration(i)*redialShare) // an origin may have many of them
				s.attend(ctx, path)
			})
		}
	}
	stopped := make(chan error, 1)
	go h.wait(stopped)
	var err error
	for done := false; !done; {
		select {
		case f := <-s.start:
			wg.Go(func() { s.runFeed(ctx, f) })
		case err = <-stopped: // by itself: it should not
			done = true
		case <-asked.Done():
			letGo(s.views())
			h.server.Close()
			<-stopped
			done = true
		}
	}
	s.conns.Close()
	s.udp.close()
	cancel()
	wg.Wait()
	return err
}

// attend keeps the feed of a path alive though nobody watches: it asks for it as
// a viewer would, again before that is forgotten.
func (s *Splitter) attend(ctx context.Context, path string) {
	for ; ctx.Err() == nil; pause(ctx, grace/2) {
		if _, err := s.find(ctx, path, false); err != nil {
			s.log.Debug("source that is always to be pulled", zap.String("path", path), zap.Error(err))
		}
	}
}

// runFeed is a feed's life, and what is left of it.
func (s *Splitter) runFeed(ctx context.Context, f *feed) {
	f.run(ctx)
	s.mu.Lock()
	defer s.mu.Unlock()
	if f.err == nil {
		s.complaints.Remove(f.path)
	}
	if s.feeds[f.path] != f {
		return // another has taken its place: what this one has to say is old
	}
	delete(s.feeds, f.path)
	switch {
	case errors.Is(f.err, errStored):
		s.verdicts.Add(f.path, verdict{f.err, time.Now().Add(rememberStored)})
	case f.err != nil:
		s.complain(f.path, f.err)
		s.verdicts.Add(f.path, verdict{f.err, time.Now().Add(rememberRefused)})
	}
}

// complain says why a path has no feed. Paths that viewers invent are kept out of the
// log, and so is what has been said before: a camera that is off is asked for again and
// again. s.mu is held.
func (s *Splitter) complain(path string, err error) {
	level := zap.InfoLevel
	reason := proxy.Refused(err).Reason
	if said, _ := s.complaints.Get(path); said == reason || reason == proxy.NotFound || reason == proxy.NoOrigin {
		level = zap.DebugLevel
	}
	s.complaints.Add(path, reason)
	s.log.Log(level, "no feed", zap.String("path", path), zap.Error(err))
}

// lookup is find for a viewer, who may be another edge.
func (s *Splitter) lookup(ctx context.Context, v *proxy.Viewer) (*feed, error) {
	f, err := s.find(ctx, v.Path, v.Peer)
	if err == nil && v.Peer && !f.forEdge(ctx) {
		err = &proxy.Refusal{Reason: proxy.SecondHand}
	}
	return f, err
}

// find returns the feed of a path, begins it if there is none, and waits until
// it plays; direct has a new one ask origins only. Errors are *proxy.Refusal, but for
// errStored.
func (s *Splitter) find(ctx context.Context, path string, direct bool) (*feed, error) {
	s.mu.Lock()
	if v, ok := s.verdicts.Get(path); ok {
		if time.Now().Before(v.until) {
			s.mu.Unlock()
			return nil, v.err
		}
		s.verdicts.Remove(path)
	}
	f, running := s.feeds[path]
	if running && !f.touch() {
		if err := f.refused(); err != nil { // it is about to be noted
			s.mu.Unlock()
			return nil, err
		}
		running = false
	}
	if running && direct && f.waitsForEdge(s.env.Peers) {
		s.mu.Unlock()
		return nil, &proxy.Refusal{Reason: proxy.SecondHand}
	}
	if !running {
		f = newFeed(path, s)
		f.pull.direct.Store(direct)
		f.touch()
		s.feeds[path] = f
	}
	s.mu.Unlock()

	if !running {
		select {
		case s.start <- f:
		case <-ctx.Done():
			s.drop(f)
			return nil, proxy.Refused(ctx.Err())
		case <-s.conns.closed:
			return nil, &proxy.Refusal{Reason: proxy.Draining}
		}
	}
	select {
	case <-f.opened:
		return f, f.err
	case <-ctx.Done():
		return nil, proxy.Refused(ctx.Err())
	case <-s.conns.closed:
		return nil, &proxy.Refusal{Reason: proxy.Draining}
	}
}

// drop forgets a feed that never began to run.
func (s *Splitter) drop(f *feed) {
	f.err = proxy.Refused(context.Canceled)
	f.setState("ended", "")
	close(f.opened)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.feeds[f.path] == f {
		delete(s.feeds, f.path)
	}
}

// ServeHTTP implements proxy.Handler: nothing of HTTP is ours yet.
func (s *Splitter) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.env.Next.ServeHTTP(w, r) }

// Hit implements proxy.Hitter for the rung to the right.
func (s *Splitter) Hit(p *proxy.Plain) *proxy.Hit {
	if next, ok := s.env.Next.(proxy.Hitter); ok {
		return next.Hit(p)
	}
	return nil
}

// ServeRTSP implements proxy.Handler. What is not live is left to the next rung.
func (s *Splitter) ServeRTSP(ctx context.Context, rc *proxy.RTSPConn) {
	if s.leaves(ctx, rc) {
		s.env.Next.ServeRTSP(ctx, rc)
		return
	}
	rc.First = nil // it is read again; a connection may be kept for days
	c := newConn(ctx, s, rc)
	if !s.conns.push(ctx, c) {
		rc.Close()
		return
	}
	select {
	case <-c.ended:
	case <-ctx.Done():
		c.shut()
		s.wait(c)
	case <-s.conns.closed:
		s.wait(c)
	}
	c.work.Wait()
}

// wait returns when gortsplib has done with a connection. When the splitter has
// stopped, so has gortsplib, and one that it never took is only ours to close.
func (s *Splitter) wait(c *conn) {
	select {
	case <-c.ended:
	case <-s.conns.closed:
		c.Close()
	}
}

// leaves reports whether the next rung is to have the connection: for a stored
// stream, one that is to be talked to (ONVIF streaming §5.3), or a session that
// is none of ours (RFC 2326 §1.1: it may have been made on another connection).
func (s *Splitter) leaves(ctx context.Context, rc *proxy.RTSPConn) bool {
	req := rc.First
	if strings.Contains(req.Header.Get("Require"), "backchannel") {
		return true
	}
	if req.Header.Get("Session") != "" {
		return !s.has(rc.Viewer.Path)
	}
	if req.Method != "DESCRIBE" && req.Method != "SETUP" {
		return false
	}
	_, err := s.lookup(ctx, rc.Viewer)
	return errors.Is(err, errStored)
}

// has reports whether a path has a feed.
func (s *Splitter) has(path string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.feeds[path] != nil
}

// claim gives a viewer's UDP address to a session. Another one that has it is of
// a viewer who has gone without a word: two cannot receive there.
func (s *Splitter) claim(addr string, to *session) {
	to.claims = append(to.claims, addr)
	s.mu.Lock()
	old := s.ports[addr]
	s.ports[addr] = to
	s.mu.Unlock()
	if old != nil && old != to {
		old.setReason("its port was taken over")
		old.close()
	}
}

// forget drops the claims of a session.
func (s *Splitter) forget(of *session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, a := range of.claims {
		if s.ports[a] == of {
			delete(s.ports, a)
		}
	}
}

// Ready implements proxy.Part: a splitter is ready without an origin, since it
// pulls on demand.
func (s *Splitter) Ready() error {
	for _, f := range s.list() {
		if f.is("away") {
			return proxy.Degraded("source of " + f.path + " is away")
		}
	}
	return nil
}

func (s *Splitter) list() []*feed {
	s.mu.Lock()
	defer s.mu.Unlock()
	fs := make([]*feed, 0, len(s.feeds))
	for _, f := range s.feeds {
		fs = append(fs, f)
	}
	return fs
}

// views are all viewers' sessions.
func (s *Splitter) views() (all []*session) {
	for _, f := range s.list() {
		f.mu.Lock()
		all = slices.AppendSeq(all, maps.Keys(f.sessions))
		f.mu.Unlock()
	}
	return all
}

// A connQueue hands connections to gortsplib as a listener.
type connQueue struct {
	c      chan *conn
	closed chan struct{}
	once   sync.Once
}

func newConnQueue() *connQueue {
	return &connQueue{c: make(chan *conn), closed: make(chan struct{})}
}

// push reports whether the connection was taken.
func (q *connQueue) push(ctx context.Context, c *conn) bool {
	select {
	case q.c <- c:
		return true
	case <-ctx.Done():
	case <-q.closed:
	}
	return false
}

// Accept implements net.Listener.
func (q *connQueue) Accept() (net.Conn, error) {
	select {
	case c := <-q.c:
		return c, nil
	case <-q.closed:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (q *connQueue) Close() error {
	q.once.Do(func() { close(q.closed) })
	return nil
}

// Addr implements net.Listener.
func (q *connQueue) Addr() net.Addr { return &net.TCPAddr{} }
