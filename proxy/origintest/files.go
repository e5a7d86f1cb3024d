package origintest

import (
	"errors"
	"net"
	"net/http"
	"sync"

	"go.uber.org/zap"
)

// files is the handler of HTTP.
func files(opt *Options, seen *tally) http.Handler {
	from, header := opt.Files, ""
	if from == nil {
		from, header = content, "max-age=60" // embedded files have no time of their own
	}
	server := http.FileServerFS(from)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen.httpRequest()
		if header != "" {
			w.Header().Set("Cache-Control", header)
		}
		server.ServeHTTP(w, r)
	})
}

// serveFiles serves HTTP until its listener is closed, and then waits for the
// goroutines of its connections.
func (l *life) serveFiles() {
	if l.http == nil {
		return
	}
	var conns sync.WaitGroup
	server := &http.Server{Handler: l.files, ErrorLog: zap.NewStdLog(l.log)}
	server.ConnState = func(_ net.Conn, s http.ConnState) {
		switch s {
		case http.StateNew:
			conns.Add(1)
		case http.StateClosed:
			conns.Done()
		}
	}
	if err := server.Serve(l.http); !errors.Is(err, net.ErrClosed) {
		l.log.Warn("files no longer served", zap.Error(err))
	}
	server.Close()
	conns.Wait()
}
