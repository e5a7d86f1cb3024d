package cluster

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"weir/proxy"
)

const (
	// peerDial is how long a connection to a peer may take: it is near, and an origin
	// is asked if it does not come about.
	peerDial = time.Second
	// peerOut is for how long a peer that has failed is not asked.
	peerOut = 5 * time.Second
)

// An Upstream is a proxy.Upstream that asks the edge that owns what is wanted, and
// an origin if that is this edge, or if it fails. What a peer asks for goes to an
// origin: there is one hop between edges at most.
//
// An edge that has failed is passed over for five seconds: then the next one in the
// order that all edges agree upon owns what it owned, so that those who lose it
// together find each other again.
type Upstream struct {
	c     *Cluster
	next  proxy.Upstream
	http  *http.Transport
	late  time.Duration // peerHeader, but for tests
	pulls atomic.Uint64 // links that were made to peers
	fills atomic.Uint64 // requests that peers answered
	falls atomic.Uint64 // times that an origin was asked because a peer failed

	mu    sync.Mutex
	out   map[ID]time.Time // peers that have failed, and until when they are passed over
	links map[*peerLink]bool
}

var _ proxy.Upstream = (*Upstream)(nil)

// Upstream returns a way to the origins through the edge that owns what is wanted, to
// be called once and before Run;
// next is the way to them from here. It needs keys: without, nobody could tell an
// edge from a viewer, and next is all there is.
func (c *Cluster) Upstream(next proxy.Upstream) proxy.Upstream {
	if c.o.Share == "off" || len(c.secrets()) == 0 {
		c.log.Info("edges do not share pulls and fills", zap.String("share", c.o.Share), zap.Int("keys", len(c.secrets())))
		return next
	}
	u := &Upstream{c: c, next: next, late: peerHeader, out: map[ID]time.Time{}, links: map[*peerLink]bool{}}
	u.http = u.transport()
	c.OnChange(u.handOver)
	c.shared = u
	return u
}

// Unwrap is the way from here (see proxy.Face).
func (u *Upstream) Unwrap() proxy.Upstream { return u.next }

// DialRTSP implements proxy.Upstream.
func (u *Upstream) DialRTSP(ctx context.Context, w proxy.Want) (*proxy.Link, error) {
	if w.Direct || w.Origin != "" {
		return u.next.DialRTSP(ctx, w)
	}
	n := u.owner("splitter", "splitter:"+w.Path, w.Avoid)
	if n == nil {
		return u.next.DialRTSP(ctx, w)
	}
	link, err := u.link(ctx, n, w.Path)
	if err == nil {
		u.pulls.Add(1)
		return link, nil
	}
	if ctx.Err() != nil {
		return nil, proxy.Refused(ctx.Err())
	}
	u.failed(n, err)
	u.falls.Add(1)
	return u.next.DialRTSP(ctx, w)
}

// link connects to a peer. Between edges RTSP goes in the clear.
func (u *Upstream) link(ctx context.Context, n *Node, path string) (*proxy.Link, error) {
	addr, ok := n.Addr("rtsp")
	if !ok {
		return nil, errNoDoor
	}
	conn, err := dialPeer(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	l := u.joins(n.ID, conn)
	return &proxy.Link{
		Conn: l, URL: &url.URL{Scheme: "rtsp", Host: addr, Path: path}, Origin: edgeName(n), Mark: u.c.Mark(path),
		Leave: l.leave, Fail: func(err error) { u.failed(n, err) },
	}, nil
}

var errNoDoor = errors.New("the edge has no listener in the clear for it")

func dialPeer(ctx context.Context, network, addr string) (net.Conn, error) {
	return (&net.Dialer{Timeout: peerDial, KeepAlive: keepAlive}).DialContext(ctx, network, addr)
}

// keepAlive is the time between probes of a silent connection.
const keepAlive = 15 * time.Second

// edgeName is a node as an origin (Link.Origin, Want.Avoid).
func edgeName(n *Node) string { return "edge " + n.Name }

// owner is the peer that owns a key, nil if it is this edge's. Peers that have failed,
// or are to be avoided, are passed over.
func (u *Upstream) owner(mode, key string, avoid []string) *Node {
	now := time.Now()
	n := owner(u.c.look().edges, mode, key, func(n *Node) bool {
		return !n.Self && (u.isOut(n.ID, now) || slices.Contains(avoid, edgeName(n)))
	})
	if n == nil || n.Self {
		return nil
	}
	return n
}

func (u *Upstream) isOut(id ID, now time.Time) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	until, ok := u.out[id]
	if ok && now.After(until) {
		delete(u.out, id)
		ok = false
	}
	return ok
}

// failed passes a peer over for a while.
func (u *Upstream) failed(n *Node, err error) {
	if err == nil || errors.Is(err, context.Canceled) || errors.Is(err, errNoDoor) {
		return
	}
	now := time.Now()
	fresh := !u.isOut(n.ID, now)
	u.mu.Lock()
	u.out[n.ID] = now.Add(peerOut)
	u.mu.Unlock()
	if fresh {
		u.c.log.Warn("edge failed, others are asked", zap.String("edge", n.Name), zap.Error(err))
	}
}

// sharing is the Upstream's part of the status.
func (u *Upstream) sharing() *sharing {
	if u == nil {
		return nil
	}
	s := &sharing{Pulls: u.pulls.Load(), Fills: u.fills.Load(), Falls: u.falls.Load()}
	now := time.Now()
	for _, n := range u.c.look().nodes {
		if u.isOut(n.ID, now) {
			s.Out = append(s.Out, n.Name)
		}
	}
	return s
}

type sharing struct {
	Pulls uint64   `json:"pulls_from_edges_total"`
	Fills uint64   `json:"fills_from_edges_total"`
	Falls uint64   `json:"edges_failed_total"`
	Out   []string `json:"edges_passed_over,omitempty"`
}

// An edgeError is what came of asking an edge.
type edgeError struct {
	edge string
	err  error
}

func (e *edgeError) Error() string {
	return fmt.Sprintf("edge %s: %s", e.edge, strings.TrimPrefix(e.err.Error(), "net/http: "))
}
func (e *edgeError) Unwrap() error { return e.err }
