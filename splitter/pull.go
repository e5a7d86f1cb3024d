package splitter

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"time"

	"github.com/bluenviron/gortsplib/v4"
	"github.com/bluenviron/gortsplib/v4/pkg/base"
	"github.com/bluenviron/gortsplib/v4/pkg/description"
	"github.com/bluenviron/gortsplib/v4/pkg/format"
	"github.com/bluenviron/gortsplib/v4/pkg/liberrors"
	"github.com/pion/rtcp"
	pion "github.com/pion/rtp"

	"weir/proxy"
	"weir/proxy/sdp"
)

// pullBuffer is what is read from the origin at once, in bytes.
const pullBuffer = 64 << 10

// strangers is how many packets within a second may come that belong to no track:
// a changed SSRC makes gortsplib drop all that follows, for ever.
const strangers = 20

// errGoodbye is what a source says that ends (RFC 3550 §6.6). It may be back.
var errGoodbye = errors.New("origin said goodbye")

// errNotRTSP is what an origin says first that speaks another protocol. gortsplib
// passes over bytes that it does not know, until its patience ends.
var errNotRTSP = errors.New("it does not speak RTSP")

// errStored is the verdict on a stream that has an end.
var errStored = errors.New("stored stream")

// A pull is one life of a source: a gortsplib client that plays a stream.
type pull struct {
	client *gortsplib.Client
	link   *proxy.Link
	desc   *description.Session
	sdp    *sdp.Session

	silence   time.Duration
	lost      chan error     // the first reason for giving up; capacity 1
	delivered []atomic.Int64 // by track: when a packet last came, Unix ns
	pulse     pulse
	another   func() bool  // is there another source?
	playing   atomic.Bool  // PLAY has been answered
	strange   atomic.Int64 // when the present second of counting unusable began, Unix ns
	unusable  atomic.Int64 // packets that were dropped in it
}

// A puller makes pulls of one path.
type puller struct {
	path      string
	upstream  proxy.Upstream
	transport string        // "tcp", "udp" or "auto"
	timeout   time.Duration // for each answer, and for the silence of a source
	direct    atomic.Bool   // other edges pull from this one: it asks origins only
	again     bool          // viewers watch already, who are not to see the past once more
	avoid     string        // the origin that fell silent or could not serve: others are asked first
}

// edgePatience is how long another edge may take to describe what it owns.
const edgePatience = 3 * time.Second

// describe reaches the edge that owns the path, or else an origin, and asks what it
// has. On success the caller closes the pull. Errors are *proxy.Refusal, but for
// errStored.
func (p *puller) describe(ctx context.Context) (*pull, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*p.timeout)
	defer cancel()
	pl, err := p.reach(ctx, p.direct.Load())
	if err != nil && pl.fromEdge() && ctx.Err() == nil { // whatever its reason is, it need not be an origin's
		pl, err = p.reach(ctx, true)
	}
	if err != nil {
		return nil, err
	}
	return pl, nil
}

// reach returns a closed pull with an error, or nil where nobody could be dialed.
func (p *puller) reach(ctx context.Context, direct bool) (*pull, error) {
	w := proxy.Want{Path: p.path, Direct: direct}
	if p.avoid != "" && p.another(p.avoid) {
		w.Avoid = []string{p.avoid}
	}
	link, err := p.upstream.DialRTSP(ctx, w)
	if err != nil {
		return nil, proxy.Refused(err)
	}
	pl := &pull{link: link, silence: p.timeout, lost: make(chan error, 1), another: func() bool { return p.another(link.Origin) }}
	patience := 2 * p.timeout
	switch {
	case pl.fromEdge():
		patience = edgePatience
	case p.again && pl.another():
		patience = quickly
	}
	ctx, cancel := context.WithTimeout(ctx, min(patience, 2*p.timeout))
	defer cancel()
	if err = pl.describe(ctx, p); err == nil {
		return pl, nil
	}
	pl.close()
	p.avoid = link.Origin
	if code := (liberrors.ErrClientBadStatusCode{}); pl.fromEdge() && !errors.As(err, &code) {
		link.Fail(err)
	}
	return pl, err
}

// fromEdge reports whether a pull is from another edge.
func (pl *pull) fromEdge() bool { return pl != nil && pl.link.Mark != "" }

func (pl *pull) describe(ctx context.Context, p *puller) error {
	u, err := base.ParseURL(pl.link.URL.String())
	if err != nil {
		pl.link.Close()
		return refusal(fmt.Errorf("origin %s: its URL is not for RTSP", pl.link.Origin)) // err quotes it
	}
	pl.client = p.newClient(pl, u)
	if err := pl.client.Start2(); err != nil {
		pl.client = nil
		pl.link.Close()
		return refusal(err)
	}
	defer context.AfterFunc(ctx, pl.client.Close)()
	desc, res, err := pl.client.Describe(u)
	if err != nil {
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return refusal(fmt.Errorf("describe at %s: %w", pl.link.Origin, err))
	}
	if pl.sdp, err = sdp.Parse(res.Body); err != nil {
		return &proxy.Refusal{Reason: proxy.OriginBad, Err: err}
	}
	if len(pl.sdp.Media) != len(desc.Medias) || ambiguous(desc) {
		return &proxy.Refusal{Reason: proxy.OriginBad, Err: errors.New("sdp: read in two ways")}
	}
	pl.desc = desc
	pl.delivered = make([]atomic.Int64, len(desc.Medias))
	return nil
}

// ambiguous reports whether a track has two formats of one payload type, of which
// gortsplib keeps one and forgets to end the other.
func ambiguous(desc *description.Session) bool {
	for _, m := range desc.Medias {
		seen := map[uint8]bool{}
		for _, f := range m.Formats {
			if seen[f.PayloadType()] {
				return true
			}
			seen[f.PayloadType()] = true
		}
	}
	return false
}

func (p *puller) newClient(pl *pull, u *base.URL) *gortsplib.Client {
	c := &gortsplib.Client{
		Scheme:            u.Scheme,
		Host:              u.Host,
		ReadTimeout:       p.timeout + time.Second, // its watchdog counts in whole seconds (client_media.go:266); ours is in watch
		WriteTimeout:      p.timeout,
		UserAgent:         "Weir",
		DialContext:       p.dialer(pl),
		OnResponse:        pl.response,
		OnTransportSwitch: func(error) {},
		OnPacketsLost:     func(uint64) {}, // the gaps stay visible to viewers
		OnDecodeError:     pl.undecodable,
		OnServerRequest:   pl.told,
	}
	switch p.transport {
	case "tcp":
		v := gortsplib.TransportTCP
		c.Transport = &v
	case "udp":
		v := gortsplib.TransportUDP
		c.Transport = &v
	}
	if pl.fromEdge() {
		v := gortsplib.TransportTCP
		c.Transport = &v
		c.OnRequest = func(req *base.Request) { pl.markRequest(req, p.again) }
	}
	if pl.link.TLS != nil {
		c.TLSConfig = pl.link.TLS.Clone() // the client writes ServerName into it
	}
	return c
}

// startField is where an edge says that it wants to start at the live edge: it is
// startEdge then.
const startField = "Weir-Start"

// markRequest says that it is an edge who asks, and how it wants to start: with the
// past, for its viewers are to have one, or without, for they have seen it.
func (pl *pull) markRequest(req *base.Request, again bool) {
	req.Header["Weir-Peer"] = base.HeaderValue{pl.link.Mark}
	if again && req.Method == base.Play {
		req.Header[startField] = base.HeaderValue{startEdge}
	}
}

// dialer hands the client the link at first. When it comes again (it falls back
// from UDP to TCP, or follows a redirect) it may go to the same host only: an
// origin does not choose whom an edge talks to.
func (p *puller) dialer(pl *pull) func(context.Context, string, string) (net.Conn, error) {
	home := ""
	return func(ctx context.Context, _, addr string) (net.Conn, error) {
		if home == "" {
			home = addr
			return buffered(pl.link.Conn, pl.link.URL.Scheme == "rtsps"), nil
		}
		if addr != home {
			return nil, fmt.Errorf("redirected to %s, which is no origin of ours", addr)
		}
		link, err := p.upstream.DialRTSP(ctx, proxy.Want{Path: p.path, Origin: pl.link.Origin})
		if err != nil {
			return nil, err
		}
		return buffered(link.Conn, link.URL.Scheme == "rtsps"), nil
	}
}

// bufferedConn saves two system calls of three on reading.
type bufferedConn struct {
	net.Conn
	br    *bufio.Reader
	begun bool // the first byte has been seen
}

// buffered wraps a connection to an origin. Under TLS nothing is known of its bytes.
func buffered(c net.Conn, secure bool) net.Conn {
	return &bufferedConn{Conn: c, br: bufio.NewReaderSize(c, pullBuffer), begun: secure}
}

func (c *bufferedConn) Read(b []byte) (int, error) {
	if !c.begun {
		first, err := c.br.Peek(1)
		if err == nil && strings.IndexByte("R$\r\n", first[0]) < 0 {
			err = errNotRTSP
		}
		if err != nil {
			return 0, err
		}
		c.begun = true
	}
	return c.br.Read(b)
}

// play sets up all tracks towards viewers and starts the stream into in.
func (pl *pull) play(ctx context.Context, in *ingest) error {
	defer context.AfterFunc(ctx, pl.client.Close)()
	for _, m := range pl.desc.Medias {
		if m.IsBackChannel {
			continue
		}
		if _, err := pl.client.Setup(pl.desc.BaseURL, m, 0, 0); err != nil {
			return refusal(fmt.Errorf("set up at %s: %w", pl.link.Origin, cmp.Or(ctx.Err(), err)))
		}
	}
	index := make(map[*description.Media]int, len(pl.desc.Medias))
	for i, m := range pl.desc.Medias {
		index[m] = i
	}
	pl.client.OnPacketRTPAny(func(m *description.Media, _ format.Format, pkt *pion.Packet) {
		now := time.Now()
		i := index[m]
		pl.delivered[i].Store(now.UnixNano())
		pl.pulse.beat(now.UnixNano())
		in.packet(i, pkt, now)
	})
	pl.client.OnPacketRTCPAny(func(m *description.Media, pkt rtcp.Packet) {
		switch p := pkt.(type) {
		case *rtcp.SenderReport:
			in.senderReport(index[m], p.NTPTime, p.RTPTime)
		case *rtcp.Goodbye:
			if pl.delivered[index[m]].Load() != 0 {
				pl.giveUp(errGoodbye)
			}
		}
	})
	if _, err := pl.client.Play(nil); err != nil {
		return refusal(fmt.Errorf("play at %s: %w", pl.link.Origin, cmp.Or(ctx.Err(), err)))
	}
	pl.playing.Store(true)
	return nil
}

// watch returns when the source is lost, with the reason, or when ctx is done.
func (pl *pull) watch(ctx context.Context) error {
	ended := make(chan error, 1)
	go pl.wait(ended)
	tick := time.NewTicker(min(quietEvery, pl.silence/4))
	defer tick.Stop()
	start := time.Now()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err := <-ended:
			select {
			case why := <-pl.lost: // what it knew before it ended
				return streamLost{why}
			default:
				return err
			}
		case err := <-pl.lost:
			return streamLost{err}
		case <-pl.link.Leave:
			return errLeaves
		case now := <-tick.C:
			if err := cmp.Or(pl.silent(start, now), pl.quiet(now)); err != nil {
				return streamLost{err}
			}
		}
	}
}

// A streamLost is the end of a stream whose server is there: on another edge it says
// nothing of that one's other streams.
type streamLost struct{ error }

func (e streamLost) Unwrap() error { return e.error }

// wait ends with the client, which close ends.
func (pl *pull) wait(ended chan<- error) { ended <- pl.client.Wait() }

// delivers reports whether media has come for at least d since start.
func (pl *pull) delivers(start time.Time, d time.Duration) bool {
	for i := range pl.delivered {
		if ns := pl.delivered[i].Load(); ns != 0 && time.Unix(0, ns).Sub(start) >= d {
			return true
		}
	}
	return false
}

// silent looks for a source that delivers nothing on any track, or for twice as
// long nothing on one that has delivered. gortsplib's own watchdog is fed by
// packets that it then drops.
func (pl *pull) silent(start, now time.Time) error {
	last := start
	for i := range pl.delivered {
		ns := pl.delivered[i].Load()
		if ns == 0 {
			continue // some tracks are silent by nature: metadata, back channels
		}
		at := time.Unix(0, ns)
		if at.After(last) {
			last = at
		}
		m := pl.sdp.Media[i]
		if now.Sub(at) > 2*pl.silence && (m.Type == "video" || m.Type == "audio") {
			return fmt.Errorf("track %d silent for %v", i, now.Sub(at).Round(time.Second))
		}
	}
	if now.Sub(last) > pl.silence {
		return fmt.Errorf("silent for %v", now.Sub(last).Round(time.Second))
	}
	return nil
}

// response sees what gortsplib ignores: answers to keep-alives.
func (pl *pull) response(res *base.Response) {
	switch res.StatusCode {
	case base.StatusServiceUnavailable:
		if pl.playing.Load() && pl.another() {
			pl.giveUp(fmt.Errorf("keep-alive answered 503: %w", errLeaves))
		}
	case base.StatusUnauthorized, base.StatusSessionNotFound:
		if pl.playing.Load() {
			pl.giveUp(fmt.Errorf("keep-alive answered %d", res.StatusCode))
		}
	}
}

// told sees what an origin asks of its own accord. Where it wants to send us is its
// affair (RFC 2326 §10.10): we know who else has the stream.
func (pl *pull) told(req *base.Request) {
	if req.Method == "REDIRECT" && pl.playing.Load() && pl.another() {
		pl.giveUp(fmt.Errorf("REDIRECT: %w", errLeaves))
	}
}

// undecodable counts packets that gortsplib drops; many at once mean that the
// source has changed under us. Others are no sign of it: payload types that the
// description does not name (error correction comes that way), packets of 0 bytes,
// reports that are none. gortsplib has no type for the one that is
// (pkg/rtcpreceiver/rtcpreceiver.go:251).
func (pl *pull) undecodable(err error) {
	if !strings.Contains(err.Error(), "wrong SSRC") {
		return
	}
	now := time.Now().UnixNano()
	if now-pl.strange.Load() > int64(time.Second) {
		pl.strange.Store(now)
		pl.unusable.Store(0)
	}
	if pl.unusable.Add(1) == strangers {
		pl.giveUp(fmt.Errorf("source changed: %w", err))
	}
}

func (pl *pull) giveUp(err error) {
	select {
	case pl.lost <- err:
	default:
	}
}

// close ends the session at the origin and waits for the client.
func (pl *pull) close() {
	if pl.client != nil {
		pl.client.Close()
	}
	pl.link.Close()
}

// A shortError is one that quotes an origin, who may say much.
type shortError struct{ error }

func (e shortError) Error() string {
	s := e.error.Error()
	if len(s) > maxQuote {
		s = strings.ToValidUTF8(s[:maxQuote], "") + "…"
	}
	return s
}

func (e shortError) Unwrap() error { return e.error }

// maxQuote bounds what is logged of what an origin says, in bytes.
const maxQuote = 300

// refusal says no for an origin's sake.
func refusal(err error) *proxy.Refusal {
	r := refusalOf(err)
	if r.Err != nil {
		r.Err = shortError{r.Err}
	}
	return r
}

func refusalOf(err error) *proxy.Refusal {
	var code liberrors.ErrClientBadStatusCode
	var ne net.Error
	retry := 5 * time.Second
	switch {
	case errors.As(err, &code):
		return &proxy.Refusal{Reason: reason(code.Code), RetryAfter: retryFor(code.Code), Err: err}
	case nonsense(err):
		return &proxy.Refusal{Reason: proxy.OriginBad, Err: err}
	case errors.As(err, &liberrors.ErrClientRequestTimedOut{}), errors.As(err, &ne) && ne.Timeout(), errors.Is(err, context.DeadlineExceeded):
		return &proxy.Refusal{Reason: proxy.OriginSlow, RetryAfter: retry, Err: err}
	}
	var r *proxy.Refusal
	if errors.As(err, &r) {
		return r
	}
	return &proxy.Refusal{Reason: proxy.OriginDown, RetryAfter: retry, Err: err}
}

// nonsense reports whether an origin answered what cannot be understood.
func nonsense(err error) bool {
	return errors.Is(err, errNotRTSP) ||
		errors.As(err, &liberrors.ErrClientServerRequestedTCP{}) ||
		errors.As(err, &liberrors.ErrClientServerRequestedUDP{}) ||
		errors.As(err, &liberrors.ErrClientSDPInvalid{}) ||
		errors.As(err, &liberrors.ErrClientContentTypeMissing{}) ||
		errors.As(err, &liberrors.ErrClientContentTypeUnsupported{}) ||
		errors.As(err, &liberrors.ErrClientTransportHeaderInvalid{})
}

// reason is what an origin's status code means to a viewer of the edge.
func reason(code base.StatusCode) proxy.Reason {
	switch {
	case code == base.StatusNotFound || code == base.StatusGone:
		return proxy.NotFound
	case code == base.StatusUnauthorized || code == base.StatusForbidden:
		return proxy.OriginRefused
	case code == base.StatusServiceUnavailable || code == base.StatusNotEnoughBandwidth:
		return proxy.OriginDown
	default:
		return proxy.OriginBad
	}
}

func retryFor(code base.StatusCode) time.Duration {
	if reason(code) == proxy.OriginDown {
		return 5 * time.Second
	}
	return 0
}
