package front

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"

	"go.uber.org/zap"

	"weir/proxy"
)

const maxHTTPHeader = 64 << 10

func (f *Front) httpServer(ctx context.Context) *http.Server {
	errorLog, _ := zap.NewStdLogAt(f.log, zap.WarnLevel) // fails for an unknown level only
	return &http.Server{
		Handler:           http.HandlerFunc(f.serveHTTP),
		ReadHeaderTimeout: f.cfg.FirstByte,
		IdleTimeout:       f.cfg.Idle,
		MaxHeaderBytes:    maxHTTPHeader,
		BaseContext:       func(net.Listener) context.Context { return ctx },
		ErrorLog:          errorLog,
	}
}

func serveHTTP(srv *http.Server, l net.Listener) error {
	if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
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
		Path:          path,
		Query:         r.URL.RawQuery,
		Authorization: r.Header.Get("Authorization"),
		UserAgent:     r.UserAgent(),
	}
}
