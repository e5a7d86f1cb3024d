package passthrough

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"
)

// mostScanned is how long a playlist may be, in bytes, to be read whole and
// compared; a day of segments of 6 s is 1 MB. Longer ones pass as they are.
const mostScanned = 1 << 20

// A scannedBody is a playlist that has been read whole.
type scannedBody struct {
	*bytes.Reader
	scan scan
	text []byte
}

// Close implements io.Closer.
func (scannedBody) Close() error { return nil }

// scanOf returns what is known of an answer's playlist, if it is a live one that
// can be compared.
func scanOf(res *http.Response) (s scan, ok bool) {
	body, ok := res.Body.(*scannedBody)
	if ok {
		s = body.scan
	}
	return s, ok
}

// read reads an answer whole if it is a playlist that is to be compared. An error
// is the origin's, and another may be asked.
func (t *trip) read(o *origin, out *http.Request, res *http.Response, watched bool) error {
	if t.stream == nil || !t.stream.scanned || !canCompare(res) {
		return nil
	}
	quiet := time.Duration(0)
	switch {
	case watched && t.stream.blocks: // it may have said hello already, and be held back
		quiet = patience
	case watched:
		quiet = min(max(leastQuiet, quietTimes*time.Duration(o.pauses.ns.Load())), patience)
	}
	err := readPlaylist(res, quiet)
	if err != nil {
		res.Body.Close() //nolint:errcheck // it is broken
		return t.b.blame(out.Context(), o, err)
	}
	return nil
}

// canCompare goes by what is said of an answer. Encoded ones are not decoded, and
// one that is made for one viewer says nothing of those of others.
func canCompare(res *http.Response) bool {
	h := res.Header
	return res.StatusCode == http.StatusOK && res.ContentLength <= mostScanned && h.Get("Set-Cookie") == "" &&
		slices.Contains([]string{"", "identity"}, strings.ToLower(h.Get("Content-Encoding"))) &&
		!strings.Contains(strings.ToLower(h.Get("Cache-Control")), "private")
}

// readPlaylist makes the body of an answer one that has been read, if it is a
// media playlist of no more than mostScanned bytes; else it leaves it as it was.
// Silence for as long as quiet is an error, if that is not 0.
func readPlaylist(res *http.Response, quiet time.Duration) error {
	src, ok := res.Body.(*answerBody)
	if !ok {
		return nil
	}
	inner := src.ReadCloser
	watch := &watchedReader{Reader: inner, most: quiet}
	if quiet > 0 {
		watch.call = src.call
	}
	r := bufio.NewReaderSize(watch, 16)
	head, err := r.Peek(playlistHead)
	if err != nil && err != io.EOF {
		src.end()
		return src.reason(err)
	}
	src.ReadCloser = partRead{r, inner}
	if !isPlaylistHead(head) {
		watch.call = nil
		return nil
	}
	text, err := io.ReadAll(io.LimitReader(src, mostScanned+1))
	if err != nil {
		return err
	}
	s, ok := scanPlaylist(text)
	if len(text) > mostScanned || !ok {
		watch.call = nil
		src.ReadCloser = partRead{io.MultiReader(bytes.NewReader(text), r), inner}
		return nil
	}
	src.Close() //nolint:errcheck // it was read to its end
	res.Body = &scannedBody{bytes.NewReader(text), s, text}
	return nil
}

// A partRead is a body of which something has been read ahead.
type partRead struct {
	io.Reader
	io.Closer
}

// A watchedReader breaks its call off when a read takes too long.
type watchedReader struct {
	io.Reader
	call *call // nil: nobody watches
	most time.Duration
}

func (w *watchedReader) Read(p []byte) (int, error) {
	if w.call != nil {
		defer time.AfterFunc(w.most, w.call.silence).Stop()
	}
	return w.Reader.Read(p)
}
