// Package forward passes one HTTP request through an http.RoundTripper as a
// proxy must (RFC 9110 §7.6): fields of one hop stay on their hop, the edge
// signs in Via, says in Forwarded who asks, and everything else goes through as
// it is: ranges, 1xx, trailers, upgrades, bodies of any length in both
// directions. httputil.ReverseProxy does what is the same for every proxy; here
// stands what an edge for media adds.
//
// It stores nothing, chooses no origin, follows no redirect and never repeats a
// request. A cache uses Request and Response alone.
//
// Each answer in flight holds one buffer of 64 KiB, however slow its viewer.
// There is no total deadline: a body may be endless. But a viewer who does not
// take a buffer, or give a byte, within Lag is closed. An upload's trailers pass
// if they were announced; an answer's always.
package forward

import (
	"context"
	"errors"
	"log"
	"net/http"
	"net/http/httputil"
	"sync"
	"time"

	"go.uber.org/zap"

	"weir/proxy"
)

const (
	// bufferSize is the largest write, and so what Lag is for. With bodies of 10 MB
	// (Nov 2026, BenchmarkForward of passthrough) 32, 64 and 128 KiB were the same
	// within the noise, 1.3 times HAProxy's bytes per CPU second; 256 KiB brought
	// 1.8, but holds four times the memory and asks four times as much of a viewer.
	bufferSize = 64 << 10

	// headerWait is how long a header may wait for the body's first bytes to
	// share a packet with.
	headerWait = 10 * time.Millisecond
)

// Options are what a Handler needs.
type Options struct {
	// Upstream answers. Its errors become a Refusal's answer.
	Upstream http.RoundTripper
	// ID is this edge's name in Via: an RFC 9110 token that no other edge has, or
	// requests from one edge to another look like a loop.
	ID string
	// Lag is how long a viewer may take to take one write of up to 64 KiB, or to
	// send the next bytes of a request's body. Too little closes viewers on bad
	// lines (30s asks for 17 kbit/s), too much lets dead ones hold an origin.
	Lag time.Duration // default 30s
	// Log is told at debug level why answers failed.
	Log *zap.Logger
}

// A Handler forwards. It may be used by any number of goroutines at once.
type Handler struct {
	id    string
	lag   time.Duration
	log   *zap.Logger
	proxy *httputil.ReverseProxy
}

// New returns a Handler.
func New(opts Options) *Handler {
	h := &Handler{id: opts.ID, lag: opts.Lag, log: opts.Log}
	if h.lag <= 0 {
		h.lag = 30 * time.Second
	}
	h.proxy = &httputil.ReverseProxy{
		Rewrite:       keep,
		Transport:     cleaned{opts.Upstream, opts.ID},
		FlushInterval: headerWait,
		BufferPool:    new(buffers),
		ErrorHandler:  h.failed,
		ErrorLog:      debugLog(opts.Log),
	}
	return h
}

// ServeHTTP implements http.Handler.
func (h *Handler) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	h.Serve(w, req, nobody{})
}

// A Tally is told what becomes of a request; a proxy.Ticket is one.
type Tally interface {
	Sent(n int) // bytes of the body, as they go to the viewer
	Failed()    // the answer is an error
}

type nobody struct{}

func (nobody) Sent(int) {}
func (nobody) Failed()  {}

// Serve forwards a request whose context may carry a viewer (proxy.ViewerFrom);
// t is told of the body's bytes as they go to the viewer, those of an
// upgraded connection included, and of errors. An answer that breaks off ends in a panic with
// http.ErrAbortHandler, which the viewer sees as an error.
func (h *Handler) Serve(w http.ResponseWriter, req *http.Request, t Tally) {
	if Looped(req.Header, h.id) {
		// Not 502 or 503: an edge that gets those asks the next origin, which
		// would send the request round once more.
		t.Failed()
		http.Error(w, "Loop Detected", http.StatusLoopDetected)
		return
	}
	out := Request(req, h.id)
	if answerHere(w, out) {
		return
	}
	rc := http.NewResponseController(w)
	a := &answer{ResponseWriter: w, rc: rc, lag: h.lag, tally: t, multiplexed: req.ProtoMajor > 1}
	if req.ContentLength != 0 {
		// The origin may answer while it reads. HTTP/2 has no need of this.
		_ = rc.EnableFullDuplex()
		up := &upload{ReadCloser: req.Body, rc: rc, lag: h.lag}
		defer up.end(req, a)
		out.Body = up
	}
	h.proxy.ServeHTTP(a, underServer(out))
}

// underServer makes ReverseProxy cut a broken answer, which it does below an
// http.Server only; a request made by proxy.Fetch would see a clean end.
func underServer(req *http.Request) *http.Request {
	if req.Context().Value(http.ServerContextKey) != nil {
		return req
	}
	return req.WithContext(context.WithValue(req.Context(), http.ServerContextKey, &http.Server{}))
}

// keep puts back what ReverseProxy takes out of a request that Request has
// cleaned already: who asks, queries it cannot parse, the trailers to come.
func keep(p *httputil.ProxyRequest) {
	p.Out.Header = p.In.Header
	p.Out.URL.RawQuery = p.In.URL.RawQuery
	p.Out.Trailer = p.In.Trailer // filled when the body has been read
}

// failed answers where the upstream did not.
func (h *Handler) failed(w http.ResponseWriter, req *http.Request, err error) {
	h.log.Debug("no answer to pass on", zap.String("path", req.URL.Path), zap.Error(err))
	var refused *proxy.Refusal
	if errors.Is(req.Context().Err(), context.Canceled) && !errors.As(err, &refused) {
		panic(http.ErrAbortHandler) // the viewer has gone or must go
	}
	proxy.Refused(err).WriteHTTP(w)
}

// cleaned is an upstream whose answers are fit for viewers. Doing this in front
// of ReverseProxy leaves nothing for its own, simpler cleaning.
type cleaned struct {
	upstream http.RoundTripper
	id       string
}

func (c cleaned) RoundTrip(req *http.Request) (*http.Response, error) {
	res, err := c.upstream.RoundTrip(req)
	if err == nil {
		Response(res, c.id)
	}
	return res, err
}

// buffers is an httputil.BufferPool.
type buffers struct{ pool sync.Pool }

func (b *buffers) Get() []byte {
	if buf, ok := b.pool.Get().(*[bufferSize]byte); ok {
		return buf[:]
	}
	return make([]byte, bufferSize)
}

func (b *buffers) Put(buf []byte) { b.pool.Put((*[bufferSize]byte)(buf)) }

func debugLog(l *zap.Logger) *log.Logger {
	std, _ := zap.NewStdLogAt(l, zap.DebugLevel) // fails for an unknown level only
	return std
}
