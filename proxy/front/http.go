package front

import (
	"context"
	"errors"
	"log"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"

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
		HTTP2:             &http.HTTP2Config{WriteByteTimeout: f.cfg.Idle},
		BaseContext:       func(net.Listener) context.Context { return ctx },
		ErrorLog:          log.New(httpErrors{f}, "", 0),
	}
	if f.https != nil {
		srv.TLSConfig = f.https.tls
	}
	return srv
}

// serveHTTP serves a listener, if it is on, until srv is shut down.
func serveHTTP(srv *http.Server, l *listener, done chan<- error) {
	var err error
	switch {
	case l == nil:
	case l.tls != nil:
		err = srv.ServeTLS(l, "", "")
	default:
		err = srv.Serve(l)
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
		e.f.https.handshakeFailed(failure)
	case strings.HasPrefix(text, "http2: server: error reading preface"): // more of the internet's noise
		e.f.log.Debug(text)
	default:
		e.f.log.Warn(text)
	}
	return len(b), nil
}

// serveHTTP brings a request into the shape that modes expect.
func (f *Front) serveHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodConnect {
		http.Error(w, "no tunnels here", http.StatusMethodNotAllowed)
		return
	}
	escaped := r.URL.EscapedPath()
	path, err := proxy.CleanPath(escaped)
	if err != nil || r.URL.Opaque != "" { // "http:cam" has no path to be checked
		(&proxy.Refusal{Reason: proxy.BadRequest}).WriteHTTP(w)
		return
	}
	v := httpViewer(r, path)
	if err := f.cfg.Gate.Check(r.Context(), v); err != nil {
		proxy.Refused(err).WriteHTTP(w)
		return
	}
	if path != "/" && strings.HasSuffix(escaped, "/") {
		path += "/" // origins tell a folder from a file by it
	}
	*r.URL = url.URL{Path: path, RawQuery: r.URL.RawQuery}
	ctx, cancel := context.WithCancel(proxy.WithViewer(r.Context(), v))
	f.add(r, cancel)
	defer f.remove(r)
	defer cancel()
	f.cfg.Handler.ServeHTTP(w, r.WithContext(ctx))
}

func httpViewer(r *http.Request, path string) *proxy.Viewer {
	addr, _ := netip.ParseAddrPort(r.RemoteAddr)
	return &proxy.Viewer{
		Addr:          netip.AddrPortFrom(addr.Addr().Unmap(), addr.Port()),
		Protocol:      "http",
		Secure:        r.TLS != nil,
		Path:          path,
		Query:         r.URL.RawQuery,
		Authorization: r.Header.Get("Authorization"),
		UserAgent:     r.UserAgent(),
	}
}
