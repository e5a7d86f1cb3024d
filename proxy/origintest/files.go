package origintest

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"net"
	"net/http"
	"path"
	"strings"
	"sync"

	"go.uber.org/zap"
)

// files is the handler of HTTP.
func files(opt *Options, seen *tally) http.Handler {
	from, embedded := opt.Files, opt.Files == nil
	if embedded {
		from = content
	}
	server := http.FileServerFS(from)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen.httpRequest()
		switch path.Ext(r.URL.Path) { // some systems know neither, or take .ts for a translation
		case ".ts":
			w.Header().Set("Content-Type", "video/mp2t")
		case ".m3u8":
			w.Header().Set("Content-Type", "application/vnd.apple.mpegurl")
		}
		if embedded { // such files have no time of their own
			w.Header().Set("Cache-Control", "max-age=60")
			if b, err := fs.ReadFile(from, strings.TrimPrefix(r.URL.Path, "/")); err == nil {
				w.Header().Set("Etag", fmt.Sprintf(`"%08x"`, crc32.ChecksumIEEE(b)))
			}
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
