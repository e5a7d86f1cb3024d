package front

import (
	"bytes"
	"context"
	"errors"
	"log"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"weir/proxy"
)

const maxHTTPHeader = 64 << 10

// httpServer serves both HTTP and HTTPS. Under TLS there is HTTP/2, where a
// handler's write deadline cannot free a connection whose socket takes nothing:
// that is what WriteByteTimeout is for.
func (f *Front) httpServer(ctx context.Context) *http.Server {
	srv := &http.Server{
		Handler:           http.HandlerFunc(f.serveHTTP),
		ReadHeaderTimeout: f.cfg.FirstByte, // the handshake's, too
		IdleTimeout:       f.cfg.Idle,
		MaxHeaderBytes:    maxHTTPHeader,
		// Its answer to "OPTIONS *" waits for a body without any limit.
		DisableGeneralOptionsHandler: true,
		HTTP2:                        &http.HTTP2Config{WriteByteTimeout: f.cfg.Idle},
		BaseContext:                  func(net.Listener) context.Context { return ctx },
		ConnContext:                  withConn,
		ConnState:                    connState,
		ErrorLog:                     log.New(httpErrors{f}, "", 0),
	}
	if f.https != nil {
		srv.TLSConfig = f.https.tls
	}
	return srv
}

// serveListener serves a listener, if it is on, until srv is shut down.
func (f *Front) serveListener(ctx context.Context, srv *http.Server, l *listener, done chan<- error) {
	var err error
	switch {
	case l == nil:
	case l.tls != nil:
		err = srv.ServeTLS(l, "", "")
	default:
		err = srv.Serve(f.quick(ctx, l))
	}
	if errors.Is(err, http.ErrServerClosed) {
		err = nil
	}
	done <- err
}

// httpErrors takes what net/http has to say: a handler's panic above all, and
// handshakes that failed, which it tells nobody else.
type httpErrors struct{ f *Front }

// Write implements io.Writer; b is one message.
func (e httpErrors) Write(b []byte) (int, error) {
	text := strings.TrimSpace(string(b))
	failure, handshake := strings.CutPrefix(text, "http: TLS handshake error from ")
	switch {
	case handshake && strings.HasSuffix(failure, ": EOF"): // see conn.handshake
	case handshake:
		from, why, _ := strings.Cut(failure, ": ")
		e.f.https.handshakeFailed(from, why)
	case strings.HasPrefix(text, "http2: server: error reading preface"): // more of the internet's noise
		e.f.log.Debug(text)
	default:
		e.f.log.Warn(text)
	}
	return len(b), nil
}

// serveHTTP brings a request into the shape that modes expect.
func (f *Front) serveHTTP(w http.ResponseWriter, r *http.Request) {
	f.limitBody(w, r)
	switch {
	case r.Method == http.MethodConnect:
		http.Error(w, "no tunnels here", http.StatusMethodNotAllowed)
		return
	case r.Method == http.MethodOptions && r.RequestURI == "*": // load balancers', as net/http answers it
		w.Header().Set("Content-Length", "0")
		return
	}
	viewerPath, path, err := cleanPath(r.URL.EscapedPath())
	if err != nil || r.URL.Opaque != "" { // "http:cam" has no path to be checked
		f.offends(r)
		(&proxy.Refusal{Reason: proxy.BadRequest}).WriteHTTP(w)
		return
	}
	v, err := f.check(r, viewerPath)
	if err != nil {
		if preflight(w, r) {
			return
		}
		if r.Header.Get("Origin") != "" { // else a page's player sees no code, but a network that failed
			w.Header().Set("Access-Control-Allow-Origin", "*")
		}
		proxy.Refused(err).WriteHTTP(w)
		return
	}
	*r.URL = url.URL{Path: path, RawQuery: v.Query}
	strip(r, v.Taken)
	ctx, cancel := context.WithCancel(proxy.WithViewer(r.Context(), v))
	f.add(r, cancel)
	defer f.remove(r)
	defer cancel()
	f.cfg.Handler.ServeHTTP(w, r.WithContext(ctx))
}

// limitBody bounds how long net/http waits for a body that nobody reads, to begin
// the answer and to be ready for the next request: it has no limit of its own, and
// a byte a minute would hold a connection for hours. Whoever reads bodies sets a
// deadline before each read; at the end of the body net/http lifts it. On HTTP/2
// nobody waits.
func (f *Front) limitBody(w http.ResponseWriter, r *http.Request) {
	if r.ProtoMajor == 1 && r.Body != nil && r.Body != http.NoBody {
		_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(min(maxStall, f.cfg.Idle))) // not supported in process
	}
}

// offends tells the gate of a request that nobody sends by mistake.
func (f *Front) offends(r *http.Request) {
	f.cfg.Gate.Offend(f.sender(r).Addr(), proxy.BadRequest)
}

// refusedByNetHTTP returns the status in what net/http answers by itself to what it
// cannot read: in one piece, without the date that handlers' answers have, the status
// once more as the body (Go 1.26, server.go). It is nil for anything else. What is
// said under TLS nobody can see.
func refusedByNetHTTP(b []byte) []byte {
	const protocol, fields = "HTTP/1.1 ", "\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n"
	if len(b) > 300 || len(b) < len(protocol+fields) || string(b[:len(protocol)]) != protocol {
		return nil
	}
	status, again, _ := bytes.Cut(b[len(protocol):], []byte(fields))
	if !bytes.Equal(status, again) {
		return nil
	}
	return status
}

// check says who sends a request, once the gate has been asked: it may have been
// when a quick answer was looked for.
func (f *Front) check(r *http.Request, path string) (*proxy.Viewer, error) {
	if c, ok := r.Context().Value(connKey{}).(*quickConn); ok {
		if v, err := c.recall(r.RequestURI); v != nil {
			return v, err
		}
	}
	v := httpViewer(f.sender(r), r.Method, r.RequestURI, path, r.URL.RawQuery, func(name string) string {
		return strings.Join(r.Header[name], "; ") // there may be several of Cookie only (RFC 9113 §8.2.3)
	})
	if v.Secure = r.TLS != nil; v.Secure {
		v.Certificate = certified(r.TLS)
	}
	mark := r.Header.Get(markField)
	delete(r.Header, markField)
	if r.Method == http.MethodGet { // edges ask each other for nothing else
		var err error
		if v.Peer, err = f.isPeer(mark, path); err != nil {
			return &v, err
		}
	}
	return &v, f.cfg.Gate.Check(r.Context(), &v)
}

// sender is whose request it is.
func (f *Front) sender(r *http.Request) netip.AddrPort {
	from, _ := netip.ParseAddrPort(r.RemoteAddr)
	return f.viewerOf(netip.AddrPortFrom(from.Addr().Unmap(), from.Port()), func(name string) string { return strings.Join(r.Header[name], ",") })
}

// strip takes the gate's credentials out of what a mode sees; the query is
// without them already.
func strip(r *http.Request, t *proxy.Taken) {
	if t == nil {
		return
	}
	h := r.Header
	r.RequestURI = r.URL.RequestURI()
	if from := h.Get("Referer"); from != "" { // of a page whose URL had the token
		from, _, _ = strings.Cut(from, "?")
		h.Set("Referer", from)
	}
	if t.Authorization {
		delete(h, "Authorization")
	}
	cookies := h["Cookie"]
	if len(cookies) == 0 {
		return
	}
	if rest := t.StripCookie(strings.Join(cookies, "; ")); rest != "" {
		h["Cookie"] = []string{rest}
	} else {
		delete(h, "Cookie")
	}
}

type connKey struct{}

// withConn is http.Server.ConnContext.
func withConn(ctx context.Context, nc net.Conn) context.Context {
	if c, ok := nc.(*quickConn); ok {
		return context.WithValue(ctx, connKey{}, c)
	}
	return ctx
}

// httpViewer says who sent a request with the given fields.
func httpViewer(from netip.AddrPort, method, target, path, query string, field func(name string) string) proxy.Viewer {
	return proxy.Viewer{
		Addr:          netip.AddrPortFrom(from.Addr().Unmap(), from.Port()),
		Protocol:      "http",
		Path:          path,
		Method:        method,
		Target:        target,
		Query:         query,
		Authorization: field("Authorization"),
		Cookie:        field("Cookie"),
		UserAgent:     field("User-Agent"),
	}
}

// cleanPath returns the path that viewers are checked by, and the one that is
// asked for: origins tell a folder from a file by the slash at its end.
func cleanPath(escaped string) (viewer, asked string, err error) {
	folder := strings.HasSuffix(escaped, "/")
	if canonical(escaped) {
		return strings.TrimSuffix(escaped, "/"), escaped, nil
	}
	viewer, err = proxy.CleanPath(escaped)
	if asked = viewer; folder && viewer != "/" {
		asked += "/"
	}
	return viewer, asked, err
}

// canonical reports at a glance that proxy.CleanPath would change nothing but
// the slash at the end; false is no answer.
func canonical(path string) bool {
	if len(path) < 2 || len(path) > 1024 || path[0] != '/' {
		return false
	}
	start := true // of a segment
	for i := 1; i < len(path); i++ {
		switch x := path[i]; {
		case classes[x]&inSegment != 0 || x == '.' && !start:
			start = false
		case x == '/' && !start:
			start = true
		default:
			return false
		}
	}
	return true
}

// preflight answers what a browser asks, always without credentials, before it
// asks with them (Fetch §4.8): reading is what they would be for. It is false for
// anything else.
func preflight(w http.ResponseWriter, r *http.Request) bool {
	if r.Method != http.MethodOptions || r.Header.Get("Origin") == "" || r.Header.Get("Access-Control-Request-Method") == "" {
		return false
	}
	h := w.Header()
	h.Set("Access-Control-Allow-Origin", "*")
	h.Set("Access-Control-Allow-Methods", "GET, HEAD, POST")
	if asked := r.Header.Get("Access-Control-Request-Headers"); asked != "" {
		h.Set("Access-Control-Allow-Headers", asked)
	}
	h.Set("Access-Control-Max-Age", "600")
	w.WriteHeader(http.StatusNoContent)
	return true
}
