package passthrough

import (
	"bufio"
	"context"
	"net"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"weir/proxy"
	"weir/proxy/wire"
)

// A stage is an upstream whose origins are in memory, so that time can be made up. It
// dials as the balancer does.
type stage struct {
	origins []*actor
	gone    bool     // those that are frozen are believed to be dead
	offer   string   // the viewer's Transport; "" for overTCP
	header  []string // of his requests: names and values by turns
	work    sync.WaitGroup
}

// dialLimit is how long a stage waits for one dial: the default of -origin.timeout.
const dialLimit = 3 * time.Second

// slowness is how long one that is slow takes.
const slowness = 2 * time.Second

// An actor is an origin of a stage, which plays a packet each gap.
type actor struct {
	name string
	gap  time.Duration
	ssrc uint32
	sdp  string
	edit func(req *wire.Request, res *wire.Response) // of what it answers; nil: nothing

	mu     sync.Mutex
	is     condition
	dieAt  string // the method that it dies of
	mute   bool   // it plays nothing
	group  int    // pictures from one that can be decoded to the next; 0: each can
	links  []net.Conn
	dials  int
	failed int // how often it has been blamed
}

// A condition is what an origin suffers from.
type condition int

const (
	well   condition = iota
	slow             // it takes its time to describe
	frozen           // it takes what it is sent and answers nothing, as after SIGSTOP
	hole             // its dials do not come about, and what it has is frozen
	dead             // it has closed all, and refuses
)

var _ proxy.Upstream = (*stage)(nil)

// newStage is a stage of origins that play as often as this.
func newStage(gap time.Duration, names ...string) *stage {
	st := &stage{}
	for n, name := range names {
		st.origins = append(st.origins, &actor{name: name, gap: gap, ssrc: uint32(n + 1), sdp: description(1)})
	}
	return st
}

// DialRTSP implements proxy.Upstream: the first that is not to be avoided, and the
// next where that one cannot be reached.
func (st *stage) DialRTSP(ctx context.Context, w proxy.Want) (*proxy.Link, error) {
	for _, a := range st.origins {
		if slices.Contains(w.Avoid, a.name) {
			continue
		}
		switch a.state() {
		case dead:
			continue
		case hole:
			dctx, cancel := context.WithTimeout(ctx, dialLimit)
			<-dctx.Done()
			cancel()
			if ctx.Err() != nil {
				return nil, &proxy.Refusal{Reason: proxy.OriginSlow, Err: ctx.Err()}
			}
			continue
		}
		return st.link(a), nil
	}
	return nil, &proxy.Refusal{Reason: proxy.OriginDown}
}

func (st *stage) link(a *actor) *proxy.Link {
	near, far := net.Pipe()
	a.mu.Lock()
	defer a.mu.Unlock()
	a.dials++
	a.links = append(a.links, far)
	st.work.Go(func() { a.serve(&st.work, far) })
	return &proxy.Link{Conn: near, URL: &url.URL{Scheme: "rtsp", Host: a.name, Path: "/cam"}, Origin: a.name, Fail: a.blame}
}

// RoundTrip implements proxy.Upstream.
func (st *stage) RoundTrip(*http.Request) (*http.Response, error) {
	return nil, &proxy.Refusal{Reason: proxy.NoOrigin}
}

// Others is as the balancer's, which does not know who is frozen.
func (st *stage) Others(_ string, than ...string) bool {
	return slices.ContainsFunc(st.origins, func(a *actor) bool { return !slices.Contains(than, a.name) && a.state() != dead })
}

// Gone is as the balancer's.
func (st *stage) Gone(origin string) bool {
	return st.gone && slices.ContainsFunc(st.origins, func(a *actor) bool { return a.name == origin && a.state() != well })
}

func (a *actor) blame(error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.failed++
}

func (a *actor) state() condition {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.is
}

// falls puts an origin into a condition.
func (a *actor) falls(into condition) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.is = into
	if into != dead {
		return
	}
	for _, c := range a.links {
		c.Close()
	}
	a.links = nil
}

// shows has it play so many pictures for each that can be decoded, 0 for only such; or
// nothing.
func (a *actor) shows(group int, mute bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.group, a.mute = group, mute
}

// unit is the picture that it plays after n others, 0 for none.
func (a *actor) unit(n uint16) byte {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case a.is > slow || a.mute:
		return 0
	case a.group > 0 && (int(n)+1)%a.group != 0:
		return slice
	}
	return key
}

// diesOf has it die of the next request with a method.
func (a *actor) diesOf(method string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.dieAt = method
}

func (a *actor) dies(method string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.dieAt == method
}

// counts is how often it was dialled, and blamed.
func (a *actor) counts() (dials, failed int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.dials, a.failed
}

func (a *actor) serve(work *sync.WaitGroup, c net.Conn) {
	defer c.Close()
	done := make(chan struct{})
	defer close(done)
	in, plays, paused := wire.NewReader(bufio.NewReader(c)), false, atomic.Bool{}
	for {
		m, err := in.Next()
		if err != nil {
			return
		}
		req, ok := m.(*wire.Request)
		if !ok || a.state() > slow {
			continue
		}
		if req.Method == "DESCRIBE" && a.state() == slow {
			time.Sleep(slowness)
		}
		if a.dies(req.Method) {
			a.falls(dead)
			return
		}
		paused.Store(req.Method == "PAUSE" || req.Method != "PLAY" && paused.Load())
		c.Write(a.says(req)) //nolint:errcheck // the read says it
		if req.Method == "PLAY" && !plays {
			plays = true
			work.Go(func() { a.play(c, &paused, done) })
		}
	}
}

func (a *actor) says(req *wire.Request) []byte {
	res := wire.Response{Code: 200, Phrase: "OK"}
	res.Header.Add("CSeq", req.Header.Get("CSeq"))
	res.Header.Add("Session", "1")
	switch req.Method {
	case "DESCRIBE":
		res.Header.Add("Content-Type", "application/sdp")
		res.Body = []byte(a.sdp)
	case "SETUP":
		res.Header.Add("Transport", req.Header.Get("Transport"))
	}
	if a.edit != nil {
		a.edit(req, &res)
	}
	return res.Append(nil)
}

// play plays until its connection has ended.
func (a *actor) play(c net.Conn, paused *atomic.Bool, done <-chan struct{}) {
	tick := time.NewTicker(a.gap)
	defer tick.Stop()
	for n := uint16(1); ; {
		if unit := a.unit(n); unit != 0 && !paused.Load() {
			n++
			c.Write(frameOf(0, rtpOf(a.ssrc, n, uint32(n)*3600, unit))) //nolint:errcheck // done says it
		}
		select {
		case <-tick.C:
		case <-done:
			return
		}
	}
}
