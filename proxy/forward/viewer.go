package forward

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"time"
)

// An answer is what ReverseProxy writes to. Each write has a deadline of its own
// and leaves at once. It is used by one goroutine at a time.
type answer struct {
	http.ResponseWriter
	rc          *http.ResponseController
	lag         time.Duration
	tally       Tally
	multiplexed bool // HTTP/2: a deadline ends the stream even between writes
	begun       bool // the final header is there
}

// Unwrap is for http.ResponseController.
func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

// WriteHeader implements http.ResponseWriter. An origin that gave no type is
// not corrected: net/http would guess one.
func (a *answer) WriteHeader(code int) {
	a.arm()
	defer a.disarm()
	if code >= http.StatusOK {
		a.begun = true
		if h := a.Header(); h["Content-Type"] == nil {
			h["Content-Type"] = nil
		}
	}
	if code >= http.StatusBadRequest {
		a.tally.Failed()
	}
	a.ResponseWriter.WriteHeader(code)
}

// Write implements io.Writer.
func (a *answer) Write(b []byte) (int, error) {
	a.arm()
	defer a.disarm()
	n, err := a.ResponseWriter.Write(b)
	if n > 0 {
		a.tally.Sent(n)
	}
	if err == nil {
		_ = a.rc.Flush() // what went wrong is said by the next write
	}
	return n, err
}

// FlushError implements what http.ResponseController looks for.
func (a *answer) FlushError() error {
	a.arm()
	defer a.disarm()
	return a.rc.Flush()
}

// arm and disarm: a ResponseWriter without deadlines, as proxy.Fetch has, has no
// slow viewer either. Over HTTP/1 the deadline stays for net/http's last bytes.
func (a *answer) arm() { _ = a.rc.SetWriteDeadline(time.Now().Add(a.lag)) }

func (a *answer) disarm() {
	if a.multiplexed {
		_ = a.rc.SetWriteDeadline(time.Time{})
	}
}

// Hijack implements http.Hijacker, for upgrades.
func (a *answer) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	c, buf, err := a.rc.Hijack()
	if err != nil {
		return nil, nil, err
	}
	// Only what is there already: at the end of what the viewer says, net/http's
	// reader would cancel the request, and with it the other half.
	early := io.LimitReader(buf.Reader, int64(buf.Reader.Buffered()))
	return &tunnel{Conn: c, r: io.MultiReader(early, c), lag: a.lag, tally: a.tally}, buf, nil
}

// A tunnel is a viewer's connection after an upgrade. It may be silent for ever,
// but takes what it is sent.
type tunnel struct {
	net.Conn
	r     io.Reader // has what the viewer sent too early
	lag   time.Duration
	tally Tally
}

func (t *tunnel) Read(b []byte) (int, error) { return t.r.Read(b) }

func (t *tunnel) Write(b []byte) (int, error) {
	if err := t.SetWriteDeadline(time.Now().Add(t.lag)); err != nil {
		return 0, err
	}
	n, err := t.Conn.Write(b)
	if n > 0 {
		t.tally.Sent(n)
	}
	return n, err
}

// CloseWrite passes on that the origin has said its last.
func (t *tunnel) CloseWrite() error {
	if c, ok := t.Conn.(interface{ CloseWrite() error }); ok {
		return c.CloseWrite()
	}
	return http.ErrNotSupported
}
