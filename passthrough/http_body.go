package passthrough

import (
	"context"
	"errors"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
)

// A heldBody is a request's body that may have to go to more than one origin. A
// transport closes what it was given even where it could not dial; what has not
// been read by then is still good.
type heldBody struct {
	body io.ReadCloser
	used atomic.Bool // read from

	mu     sync.Mutex
	kept   bool // the transport that has it now may close it
	closed bool // as far as the transport is concerned
	copied bool // GetBody's bodies go instead
}

// hold takes over a request's body; nil and http.NoBody are the same.
func hold(body io.ReadCloser) *heldBody {
	if body == nil {
		body = http.NoBody
	}
	return &heldBody{body: body}
}

func (h *heldBody) empty() bool { return h.body == http.NoBody }
func (h *heldBody) fresh() bool { return h.empty() || !h.used.Load() }

// next returns the body for the next origin.
func (h *heldBody) next(again func() (io.ReadCloser, error)) (io.ReadCloser, error) {
	switch {
	case h.empty():
		return nil, nil // tells the transport that it may repeat by itself
	case h.fresh():
		h.mu.Lock()
		h.closed = false // by a transport that has not begun to send it
		h.mu.Unlock()
		return h, nil
	case again == nil:
		return nil, errSpent
	}
	h.mu.Lock()
	h.copied = true
	h.mu.Unlock()
	return again()
}

var errSpent = errors.New("the request's body has been sent already")

// Read implements io.Reader.
func (h *heldBody) Read(p []byte) (int, error) {
	h.used.Store(true)
	return h.body.Read(p)
}

// Close implements io.Closer, for transports.
func (h *heldBody) Close() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = true
	if !h.kept {
		return nil
	}
	return h.body.Close()
}

// release ends the search for an origin. If one has answered, its transport may
// still be reading.
func (h *heldBody) release(answered bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !answered || h.closed || h.copied || h.empty() {
		h.body.Close() //nolint:errcheck // http.RoundTripper's duty
		return
	}
	h.kept = true
}

// Why a call was broken off by us: it counts against the origin, or another was only faster.
var (
	errSilent = errors.New("silent for too long")
	errLate   = errors.New("later than another")
)

// A call is one request at one origin, until its answer's body has ended.
type call struct {
	cancel context.CancelFunc
	leave  func()
	once   sync.Once
	silent atomic.Bool
	mild   atomic.Bool // that is not held against the origin
}

// end gives the place at the origin back.
func (e *call) end() {
	e.once.Do(func() {
		e.cancel()
		e.leave()
	})
}

// silence breaks the call off because the origin says nothing.
func (e *call) silence() {
	e.silent.Store(true)
	e.cancel()
}

// reason is why a read or a wait has ended.
func (e *call) reason(err error) error {
	switch {
	case e.silent.Load() && e.mild.Load():
		return errLate
	case e.silent.Load():
		return errSilent
	}
	return err
}

// body ends the call with the answer's body.
func (e *call) body(body io.ReadCloser) io.ReadCloser {
	if rw, ok := body.(io.ReadWriteCloser); ok {
		return &switched{rw, e}
	}
	return &answerBody{body, e}
}

type answerBody struct {
	io.ReadCloser
	*call
}

func (b *answerBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil {
		b.end()
		err = b.reason(err)
	}
	return n, err
}

func (b *answerBody) Close() error {
	defer b.end()
	return b.ReadCloser.Close()
}

// switched is the body of a 101: a connection whose halves end one by one.
type switched struct {
	io.ReadWriteCloser
	*call
}

func (s *switched) Close() error {
	defer s.end()
	return s.ReadWriteCloser.Close()
}

// CloseWrite is what a proxy looks for to pass on the end of one half.
func (s *switched) CloseWrite() error {
	if c, ok := s.ReadWriteCloser.(interface{ CloseWrite() error }); ok {
		return c.CloseWrite()
	}
	return http.ErrNotSupported
}
