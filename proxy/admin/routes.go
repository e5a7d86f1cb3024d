package admin

import (
	"log"
	"net/http"
	"net/http/pprof"

	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.uber.org/zap"

	"weir/proxy"
)

// maxLevel bounds the body of a new log level, in bytes.
const maxLevel = 1 << 10

// routes is the whole door. The mux answers 404 and 405 by itself, the latter
// with Allow, because every route names its methods.
func (a *Admin) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /livez", alive)
	mux.HandleFunc("GET /healthz", alive)
	mux.HandleFunc("GET /readyz", a.readyz)

	guarded := func(pattern string, h http.HandlerFunc) { mux.Handle(pattern, a.guard.protect(h)) }
	guarded("GET /{$}", a.servePage)
	guarded("GET /status.json", a.serveStatus)
	guarded("GET /metrics", a.metrics().ServeHTTP)
	guarded("GET /log/level", a.level)
	guarded("PUT /log/level", a.level)
	// Not mounted: cmdline, since flags may hold credentials.
	guarded("GET /debug/pprof/", pprof.Index)
	guarded("GET /debug/pprof/profile", pprof.Profile)
	guarded("GET /debug/pprof/trace", pprof.Trace)
	guarded("GET /debug/pprof/symbol", pprof.Symbol)
	guarded("POST /debug/pprof/symbol", pprof.Symbol)
	for _, p := range a.conf.Parts {
		if own, ok := p.Part.(proxy.Adminer); ok {
			guarded("/"+p.Name+"/", http.StripPrefix("/"+p.Name, own.Admin()).ServeHTTP)
		}
	}
	return withHeaders(mux)
}

// withHeaders sets what every answer carries; a handler that needs more than
// this policy allows sets its own.
func withHeaders(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Cache-Control", "no-store")
		next.ServeHTTP(w, r)
	})
}

// metrics goes on when one collector fails: the others are what an operator
// needs to see then.
func (a *Admin) metrics() http.Handler {
	return promhttp.HandlerFor(a.conf.Metrics, promhttp.HandlerOpts{
		ErrorLog:      stdLog(a.log),
		ErrorHandling: promhttp.ContinueOnError,
	})
}

// level shows the log's level and changes it.
func (a *Admin) level(w http.ResponseWriter, r *http.Request) {
	before := a.conf.Level.Level()
	r.Body = http.MaxBytesReader(w, r.Body, maxLevel)
	a.conf.Level.ServeHTTP(w, r)
	if now := a.conf.Level.Level(); now != before {
		a.log.Info("log level changed", zap.Stringer("from", before), zap.Stringer("to", now))
	}
}

// stdLog is for libraries that log what a peer did wrong: of interest only when
// one looks for it.
func stdLog(l *zap.Logger) *log.Logger {
	std, err := zap.NewStdLogAt(l, zap.DebugLevel)
	if err != nil {
		panic("BUG: debug is not a level: " + err.Error())
	}
	return std
}
