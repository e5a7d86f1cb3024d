package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"weir/proxy"
)

const (
	// peerHeader is how long a peer may take to begin an answer: it may have to ask
	// an origin first. One that is asked to wait (a low-latency playlist) has longer.
	peerHeader = 4 * time.Second
	peerBlock  = 15 * time.Second
)

func (u *Upstream) transport() *http.Transport {
	http1 := new(http.Protocols)
	http1.SetHTTP1(true)
	return &http.Transport{
		DialContext: dialPeer, Protocols: http1, DisableCompression: true,
		MaxResponseHeaderBytes: 256 << 10, MaxIdleConnsPerHost: 64, IdleConnTimeout: time.Minute,
	}
}

// RoundTrip implements http.RoundTripper. A peer is asked for what has a key
// (proxy.Shared) and can be asked for again. What it answers is given, but for
// refusals that may be its own: then an origin is asked. A body that breaks off
// goes on with an origin.
func (u *Upstream) RoundTrip(req *http.Request) (*http.Response, error) {
	key := proxy.SharedKey(req.Context())
	if key == "" || req.Method != http.MethodGet || req.Body != nil && req.Body != http.NoBody {
		return u.next.RoundTrip(req)
	}
	mode, _, _ := strings.Cut(key, ":")
	n := owner(u.c.look().edges, mode, key, nobody)
	if n == nil || n.Self || u.isOut(n.ID, time.Now()) { // the next one would not answer: only gossip makes it the owner
		return u.next.RoundTrip(req)
	}
	res, err := u.ask(n, req)
	switch {
	case req.Context().Err() != nil && err != nil:
		return nil, proxy.Refused(req.Context().Err())
	case errors.Is(err, errLate) && u.answers(req.Context(), n): // its origin is slow, or the object
	case err != nil:
		u.failed(n, err)
	case !trusted(res.StatusCode):
		res.Body.Close() //nolint:errcheck // nobody reads it
	default:
		u.fills.Add(1)
		return res, nil
	}
	u.falls.Add(1)
	return u.next.RoundTrip(req)
}

// trusted reports whether an answer is what an origin would say: what edges say of
// their own accord is not.
func trusted(code int) bool {
	switch code {
	case http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden, http.StatusMethodNotAllowed, http.StatusRequestURITooLong,
		http.StatusTooManyRequests, http.StatusRequestHeaderFieldsTooLarge:
		return false
	}
	return code < 500
}

// answers reports whether a peer that is late answers at all.
func (u *Upstream) answers(ctx context.Context, n *Node) bool {
	addr, _ := n.Addr("http")
	ctx, cancel := context.WithTimeout(ctx, peerDial)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodOptions, "http://"+addr, nil)
	if err != nil {
		return false
	}
	req.URL.Opaque = "*" // its front answers that by itself
	res, err := u.http.RoundTrip(req)
	if err != nil {
		return false
	}
	res.Body.Close() //nolint:errcheck // there is nothing in it
	return true
}

// ask sends a request to a peer.
func (u *Upstream) ask(n *Node, req *http.Request) (*http.Response, error) {
	addr, ok := n.Addr("http")
	if !ok {
		return nil, errNoDoor
	}
	path, err := proxy.CleanPath(req.URL.EscapedPath())
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancelCause(req.Context())
	out := req.Clone(ctx)
	out.URL = &url.URL{Scheme: "http", Host: addr, Path: req.URL.Path, RawPath: req.URL.RawPath, RawQuery: req.URL.RawQuery}
	out.Header["Weir-Peer"] = []string{u.c.Mark(path)}
	patience := u.late
	if strings.Contains(req.URL.RawQuery, "_HLS_") {
		patience = peerBlock
	}
	late := time.AfterFunc(patience, func() { cancel(errLate) })
	res, err := u.http.RoundTrip(out)
	if !late.Stop() && err == nil {
		res.Body.Close() //nolint:errcheck // it came too late
		err = errLate
	}
	if err != nil {
		if cause := context.Cause(ctx); cause != nil {
			err = cause
		}
		cancel(nil)
		return nil, &edgeError{n.Name, err}
	}
	res.Request = req
	res.Body = &peerBody{ReadCloser: res.Body, u: u, n: n, req: req, res: res, cancel: cancel}
	return res, nil
}

var errLate = errors.New("no answer in time")

// A peerBody is an answer's body that goes on with an origin if the peer dies.
type peerBody struct {
	io.ReadCloser
	u      *Upstream
	n      *Node
	req    *http.Request
	res    *http.Response
	cancel context.CancelCauseFunc
	read   int64
	moved  bool
}

// Read implements io.Reader.
func (b *peerBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.read += int64(n)
	if err == nil || err == io.EOF || b.moved || b.req.Context().Err() != nil {
		return n, err
	}
	b.u.failed(b.n, err)
	b.u.falls.Add(1)
	if b.resume() {
		return n, nil
	}
	return n, err
}

// resume asks an origin for the rest, if it can be told that it is the same file's
// (RFC 9110 §13.1.5, §14.4).
func (b *peerBody) resume() bool {
	from, to, ok := b.span()
	etag := b.res.Header.Get("Etag")
	if !ok || etag == "" || strings.HasPrefix(etag, "W/") || b.res.Uncompressed {
		return false
	}
	req := b.req.Clone(b.req.Context())
	req.Header["Range"] = []string{fmt.Sprintf("bytes=%d-%d", from+b.read, to)}
	req.Header["If-Range"] = []string{etag}
	delete(req.Header, "If-None-Match")
	delete(req.Header, "If-Modified-Since")
	res, err := b.u.next.RoundTrip(req)
	if err != nil {
		return false
	}
	want := fmt.Sprintf("bytes %d-%d/", from+b.read, to)
	if res.StatusCode != http.StatusPartialContent || !strings.HasPrefix(res.Header.Get("Content-Range"), want) || res.Header.Get("Etag") != etag {
		res.Body.Close() //nolint:errcheck // it is of no use
		return false
	}
	b.ReadCloser.Close() //nolint:errcheck // broken already
	b.ReadCloser, b.moved = res.Body, true
	return true
}

// span are the first and last byte of the answer in the file.
func (b *peerBody) span() (from, to int64, ok bool) {
	switch b.res.StatusCode {
	case http.StatusOK:
		return 0, b.res.ContentLength - 1, b.res.ContentLength > 0
	case http.StatusPartialContent:
		r, isBytes := strings.CutPrefix(b.res.Header.Get("Content-Range"), "bytes ")
		first, rest, _ := strings.Cut(r, "-")
		last, _, _ := strings.Cut(rest, "/")
		from, err1 := strconv.ParseInt(first, 10, 64)
		to, err2 := strconv.ParseInt(last, 10, 64)
		return from, to, isBytes && err1 == nil && err2 == nil && to >= from
	}
	return 0, 0, false
}

// Close implements io.Closer.
func (b *peerBody) Close() error {
	b.cancel(nil)
	return b.ReadCloser.Close()
}
