package proxy

import (
	"context"
	"fmt"
	"io"
	"net/http"
)

// Fetch asks a rung in process, without front and gate: a part reads through the
// cache as a viewer would. The body streams; closing it early ends the
// handler's request context. One goroutine runs the handler per request and
// ends with it.
func Fetch(h Handler) http.RoundTripper { return fetcher{h} }

type fetcher struct{ h Handler }

func (f fetcher) RoundTrip(req *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancel(req.Context())
	pr, pw := io.Pipe()
	w := &pipeWriter{header: http.Header{}, body: pw, started: make(chan struct{})}
	go f.serve(w, req.Clone(ctx))
	select {
	case <-w.started:
	case <-ctx.Done():
		cancel()
		pr.CloseWithError(ctx.Err())
		return nil, ctx.Err()
	}
	return &http.Response{
		Status: fmt.Sprintf("%d %s", w.code, http.StatusText(w.code)), StatusCode: w.code, Header: w.sent,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		ContentLength: -1, Body: &pipeBody{pr, cancel}, Request: req,
	}, nil
}

func (f fetcher) serve(w *pipeWriter, req *http.Request) {
	defer func() {
		if p := recover(); p != nil { // net/http's rule: the answer is cut, visibly
			w.WriteHeader(http.StatusInternalServerError)
			w.body.CloseWithError(io.ErrUnexpectedEOF)
			return
		}
		w.WriteHeader(http.StatusOK)
		w.body.Close()
	}()
	if req.Body == nil {
		req.Body = http.NoBody // as a server's requests have it
	}
	defer req.Body.Close() //nolint:errcheck // http.RoundTripper's duty
	f.h.ServeHTTP(w, req)
}

// pipeWriter is used by the handler's goroutine only; sent and code are read by
// the asker after started is closed.
type pipeWriter struct {
	header, sent http.Header
	code         int
	body         *io.PipeWriter
	started      chan struct{}
}

func (w *pipeWriter) Header() http.Header { return w.header }

func (w *pipeWriter) WriteHeader(code int) {
	if w.sent != nil || code < 200 { // 1xx are for the wire only
		return
	}
	w.code, w.sent = code, w.header.Clone()
	close(w.started)
}

func (w *pipeWriter) Write(b []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	return w.body.Write(b)
}

// Flush implements http.Flusher: a pipe holds nothing back.
func (w *pipeWriter) Flush() { w.WriteHeader(http.StatusOK) }

type pipeBody struct {
	*io.PipeReader
	cancel context.CancelFunc
}

func (b *pipeBody) Close() error {
	b.cancel()
	return b.PipeReader.Close()
}
