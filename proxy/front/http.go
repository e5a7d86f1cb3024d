package front

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"strings"

	"go.uber.org/zap"

	"weir/proxy"
)

const maxHTTPHeader = 64 << 10

func (f *Front) httpServer(ctx context.Context) *http.Server {
	return &http.Server{
		Handler:           http.HandlerFunc(f.serveHTTP),
		ReadHeaderTimeout: f.cfg.FirstByte,
		IdleTimeout:       f.cfg.Idle,
		MaxHeaderBytes:    maxHTTPHeader,
		BaseContext:       func(net.Listener) context.Context { return ctx },
		ErrorLog:          zap.NewStdLog(f.log.WithOptions(zap.IncreaseLevel(zap.WarnLevel))),
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
	path, err := proxy.CleanPath(r.URL.EscapedPath())
	if err != nil {
		(&proxy.Refusal{Reason: proxy.BadRequest}).WriteHTTP(w)
		return
	}
	v := httpViewer(r, path)
	if err := f.cfg.Gate.Check(r.Context(), v); err != nil {
		proxy.Refused(err).WriteHTTP(w)
		return
	}
	r.URL.Scheme, r.URL.Host = "", ""
	r.URL.Path, r.URL.RawPath = path, ""
	if v.Path != "/" && strings.HasSuffix(r.RequestURI, "/") {
		r.URL.Path += "/" // origins tell a folder from a file by it
	}
	f.cfg.Handler.ServeHTTP(w, r.WithContext(proxy.WithViewer(r.Context(), v)))
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
