package admission

import (
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// An answer is what the ladder writes to where the gate has something to do with
// it. Like all of its kind it is used by one goroutine at a time. What it does
// not have itself, http.ResponseController finds below it.
type answer struct {
	http.ResponseWriter
	w    *wrapper
	rc   *http.ResponseController // below
	req  *http.Request            // its context ends with it
	kind kind
	path string

	learns bool         // from this playlist, if the header allows it
	paces  bool         // the same
	cookie *http.Cookie // to be set; nil for none

	begun  bool // the final header is there
	length int64
	copied []byte // of the playlist, while learns

	pace     *pacer    // nil for full speed
	deadline time.Time // of writes, set by the ladder; zero for none
}

// Unwrap is for http.ResponseController.
func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

// WriteHeader implements http.ResponseWriter. 1xx pass.
func (a *answer) WriteHeader(code int) {
	if code >= http.StatusOK {
		a.begin(code)
	}
	a.ResponseWriter.WriteHeader(code)
}

// begin looks at the header and completes it, once.
func (a *answer) begin(code int) {
	if a.begun {
		return
	}
	a.begun = true
	h := a.Header()
	if a.cookie != nil && (code == http.StatusOK || code == http.StatusPartialContent || code == http.StatusNotModified) {
		setCookie(h, a.cookie)
	}
	a.learns = a.learns && a.readable(code, h)
	if a.paces {
		a.pace = pacerFor(a.kind, code, h, a.w.pace, a.w.burst)
	}
}

// readable reports whether a body can be learned from, and notes how long it is
// to be: -1 if that is not said. Some players ask for playlists, too, by a range
// that is all of them.
func (a *answer) readable(code int, h http.Header) bool {
	a.length = -1
	if s := h.Get("Content-Length"); s != "" {
		a.length, _ = strconv.ParseInt(s, 10, 64)
	}
	n := strconv.FormatInt(a.length, 10)
	whole := code == http.StatusOK ||
		code == http.StatusPartialContent && h.Get("Content-Range") == "bytes 0-"+strconv.FormatInt(a.length-1, 10)+"/"+n
	coding := h.Get("Content-Encoding")
	return whole && a.length <= maxPlaylist && (coding == "" || strings.EqualFold(coding, "identity"))
}

// Write implements io.Writer.
func (a *answer) Write(b []byte) (n int, err error) {
	a.begin(http.StatusOK)
	if a.pace == nil || len(b) == 0 {
		n, err = a.ResponseWriter.Write(b)
		a.copy(b[:n], err)
		return n, err
	}
	for len(b) > n && err == nil {
		var k int64
		if k, err = a.next(int64(len(b) - n)); err == nil {
			var m int
			m, err = a.ResponseWriter.Write(b[n:][:k])
			n += m
		}
	}
	return n, err
}

// copy keeps a playlist; one that is too long or breaks off is not learned from.
func (a *answer) copy(b []byte, err error) {
	if !a.learns {
		return
	}
	if err != nil || len(a.copied)+len(b) > maxPlaylist {
		a.learns, a.copied = false, nil
		return
	}
	a.copied = append(a.copied, b...)
}

// A copier is where a body that is read goes, too.
type copier answer

// Write implements io.Writer.
func (c *copier) Write(b []byte) (int, error) {
	(*answer)(c).copy(b, nil)
	return len(b), nil
}

// end is called when the answer is complete.
func (a *answer) end() {
	a.begin(http.StatusOK) // as net/http does for a handler that said nothing
	if a.learns && (a.length < 0 || a.length == int64(len(a.copied))) {
		a.w.streams.learn(a.path, a.copied)
	}
}

// ReadFrom implements io.ReaderFrom, so that files still go from disk to socket
// without a copy (net/http's own ReadFrom); paced ones in pieces.
func (a *answer) ReadFrom(src io.Reader) (n int64, err error) {
	a.begin(http.StatusOK)
	switch {
	case a.learns:
		n, err = io.Copy(a.ResponseWriter, io.TeeReader(src, (*copier)(a)))
		a.copy(nil, err)
		return n, err
	case a.pace == nil:
		return io.Copy(a.ResponseWriter, src)
	}
	return a.readPieces(src)
}

// readPieces takes a limit on src apart and puts its own in the place: net looks
// for a file below one limit, not below two.
func (a *answer) readPieces(src io.Reader) (n int64, err error) {
	limit, ok := src.(*io.LimitedReader)
	if !ok {
		limit = &io.LimitedReader{R: src, N: 1<<63 - 1}
	}
	for limit.N > 0 {
		k, err := a.next(limit.N)
		if err != nil {
			return n, err
		}
		m, err := io.Copy(a.ResponseWriter, &io.LimitedReader{R: limit.R, N: k})
		n += m
		limit.N -= m
		if err != nil || m < k {
			return n, err
		}
	}
	return n, nil
}

// Flush implements http.Flusher.
func (a *answer) Flush() { _ = a.FlushError() } // what went wrong is said by the next write

// FlushError is for http.ResponseController.
func (a *answer) FlushError() error {
	a.begin(http.StatusOK)
	return a.rc.Flush()
}

// SetWriteDeadline is for http.ResponseController: time that pacing takes is not
// the viewer's.
func (a *answer) SetWriteDeadline(t time.Time) error {
	a.deadline = t
	return a.rc.SetWriteDeadline(t)
}
