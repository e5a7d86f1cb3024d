package main

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// The object of which the bars of a fill speak: a segment as an encoder makes it,
// 640 KB in 20 pieces, one every 100 ms.
const (
	slowPiece = 32 << 10
	slowSize  = 20 * slowPiece
	slowPace  = 100 * time.Millisecond
	slowSlice = 64 << 10 // what the edge is told
)

// obvious is what is asserted where a bar says a few milliseconds: with the race
// detector on a busy machine these are tens. What waits for the fill takes 1.5 s.
const obvious = 500 * time.Millisecond

// A slowObject is sent at the pace at which it is made, from wherever the range that
// was asked for begins.
type slowObject struct {
	body    []byte
	etag    string
	chunked bool
	breaks  int // pieces after which the connection is reset; 0 is never
}

func newSlowObject(etag string) slowObject {
	return slowObject{body: patternOf(etag, 0, slowSize), etag: etag}
}

func (o slowObject) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Etag", `"`+o.etag+`"`)
	w.Header().Set("Cache-Control", "max-age=60")
	w.Header().Set("Content-Type", "application/octet-stream")
	http.ServeContent(&slowWriter{ResponseWriter: w, slowObject: o, viewer: r.Context()}, r, "", time.Time{}, bytes.NewReader(o.body))
}

// A slowWriter is given pieces of 32 KB by http.ServeContent.
type slowWriter struct {
	http.ResponseWriter
	slowObject
	viewer context.Context
	pieces int
}

func (w *slowWriter) WriteHeader(code int) {
	if w.chunked && code == http.StatusOK {
		w.Header().Del("Content-Length")
	}
	w.ResponseWriter.WriteHeader(code)
}

func (w *slowWriter) Write(b []byte) (int, error) {
	if w.pieces > 0 {
		select {
		case <-time.After(slowPace):
		case <-w.viewer.Done():
			return 0, w.viewer.Err()
		}
	}
	if w.pieces++; w.pieces == w.breaks {
		return 0, w.reset()
	}
	n, err := w.ResponseWriter.Write(b)
	if err == nil {
		err = http.NewResponseController(w.ResponseWriter).Flush()
	}
	return n, err
}

func (w *slowWriter) reset() error {
	c, _, err := http.NewResponseController(w.ResponseWriter).Hijack()
	if err != nil {
		return err
	}
	c.(*net.TCPConn).SetLinger(0) //nolint:errcheck // then it is closed less rudely
	return c.Close()
}

// several asks for the same at once.
func several(n int, ask func() cacheAnswer) []cacheAnswer {
	answers := make([]cacheAnswer, n)
	var all sync.WaitGroup
	for i := range answers {
		all.Go(func() { answers[i] = ask() })
	}
	all.Wait()
	return answers
}

// slowest tells all times of answers and returns the longest.
func slowest(t *testing.T, what, bar string, answers []cacheAnswer, took func(cacheAnswer) time.Duration) (longest time.Duration) {
	t.Helper()
	var times []string
	for _, a := range answers {
		times = append(times, fmt.Sprintf("%.1f", float64(took(a).Microseconds())/1000))
		longest = max(longest, took(a))
	}
	t.Logf("%s: %s ms (bar: %s)", what, strings.Join(times, " "), bar)
	return longest
}

func firstByte(a cacheAnswer) time.Duration { return a.first }
func lastByte(a cacheAnswer) time.Duration  { return a.last }

// began asks for a path in the background and returns when the fill goes on for half
// a second. wait waits for the answer.
func began(t *testing.T, e *cacheEdge, path string) (wait func() cacheAnswer) {
	t.Helper()
	answer := make(chan cacheAnswer, 1)
	go func() { answer <- e.get(t.Context(), path) }()
	<-time.After(500 * time.Millisecond)
	return func() cacheAnswer { return <-answer }
}
