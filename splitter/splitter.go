// Package splitter is the rung for live RTSP: it pulls each stream once, however
// many watch it, and splits it to all of them.
//
//	origin ──RTSP──► feed ──► ring (one per path) ──► cursor of each viewer ──► one write per burst and viewer
//
// gortsplib signals, Weir moves the bytes. A feed (feed.go, reopen.go) keeps the source
// alive through a pull (pull*.go); its ingest numbers the packets so that they go
// on over a change of source (ingest.go, clock.go) and publishes them in bursts
// into the ring (ring.go), where each viewer begins (opening.go). Workers (fanout.go)
// write each burst to their share of the viewers, without waiting: over TCP through the
// viewer's conn (conn*.go), over UDP in batches (udp.go). vet.go reads what viewers ask,
// signalling.go and answers.go answer.
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
	"maps"
	"runtime"
	"slices"
	"sync"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"go.uber.org/zap"

	"weir/proxy"
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
	h := newSignalling(s)
	if err := h.server.Start(); err != nil {
		s.conns.Close()
		s.udp.close()
		return err
	}
	var wg sync.WaitGroup
	for _, w := range s.workers {
		wg.Go(func() { w.run(ctx, newBatch(s.udp)) })
	}
	for i, path := range s.always() {
		wg.Go(func() {
			pause(ctx, time.Duration(i)*redialShare) // an origin may have many of them
			s.attend(ctx, path)
		})
	}
	err := s.runFeeds(ctx, asked, &wg, h)
	s.conns.Close()
	s.udp.close()
	cancel()
	wg.Wait()
	return err
}

// runFeeds starts feeds as they are asked for. It returns when the signalling has
// stopped: by itself, with an error, or after the goodbyes when asked is done.
func (s *Splitter) runFeeds(ctx, asked context.Context, wg *sync.WaitGroup, h *signalling) error {
	stopped := make(chan error, 1)
	go h.wait(stopped)
	for {
		select {
		case f := <-s.start:
			wg.Go(func() { s.runFeed(ctx, f) })
		case err := <-stopped:
			return err
		case <-asked.Done():
			letGo(s.views())
			h.server.Close()
			<-stopped
			return nil
		}
	}
}

// always are the paths that are pulled though nobody watches.
func (s *Splitter) always() []string {
	if up, ok := proxy.Face[interface{ Always() []string }](s.env.Upstream); ok {
		return up.Always()
	}
	return nil
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
