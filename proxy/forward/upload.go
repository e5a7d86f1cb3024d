package forward

import (
	"errors"
	"io"
	"net/http"
	"sync"
	"time"

	"weir/proxy"
)

// maxDrain is how much an origin may leave unread of a body before the viewer's
// connection is not worth keeping; net/http has the same bound.
const maxDrain = 256 << 10

// minUpload is how many bytes a second a viewer has to send while he is waited
// for: who sends one now and then keeps within every deadline.
const minUpload = 1 << 10

var errTrickle = errors.New("body comes too slowly")

// An upload is a request's body. Each read has a deadline of its own, and for
// each lag's worth of waiting something has to come. The transport may be reading
// when the handler returns.
type upload struct {
	io.ReadCloser
	rc  *http.ResponseController
	lag time.Duration

	turn   sync.Mutex    // held while reading, by the transport or by drain
	err    error         // how the body ended
	waited time.Duration // for the viewer, since it was last looked at what came
	came   int           // meanwhile, in bytes

	mu    sync.Mutex
	ended bool // the deadlines are net/http's again
}

// Read implements io.Reader. Its errors are the viewer's fault, and say so.
func (u *upload) Read(b []byte) (int, error) {
	u.turn.Lock()
	defer u.turn.Unlock()
	if u.err != nil {
		return 0, u.err
	}
	began := time.Now()
	u.deadline(began.Add(u.lag))
	n, err := u.ReadCloser.Read(b)
	if err == nil && u.trickles(time.Since(began), n) {
		err = errTrickle
	}
	if err == nil || err == io.EOF {
		u.deadline(time.Time{})
	} else { // the deadline stays for net/http, which tries again
		err = &proxy.Refusal{Reason: proxy.BadRequest, Err: err}
	}
	u.err = err
	return n, err
}

// trickles counts what came in a time, and reports whether that is too little.
func (u *upload) trickles(d time.Duration, n int) bool {
	u.waited, u.came = u.waited+d, u.came+n
	if u.waited < u.lag {
		return false
	}
	little := float64(u.came) < u.waited.Seconds()*minUpload
	u.waited, u.came = 0, 0
	return little
}

func (u *upload) deadline(at time.Time) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if !u.ended {
		_ = u.rc.SetReadDeadline(at) // not supported in process
	}
}

// end is called when the handler is about to return; a has been written.
func (u *upload) end(req *http.Request, a *answer) {
	if a.begun {
		_ = a.FlushError() // the viewer may wait for it before he sends on
	}
	if req.ProtoMajor == 1 && req.Header.Get("Expect") == "" && !u.drain() {
		// net/http would take the rest for another request.
		defer panic(http.ErrAbortHandler)
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.ended = true
}

// drain reads what the origin did not want. It is false if the viewer did not
// send it.
func (u *upload) drain() bool {
	buf := make([]byte, 4<<10)
	for left := maxDrain; left > 0; {
		n, err := u.Read(buf)
		if err != nil {
			return err == io.EOF
		}
		left -= n
	}
	return true // net/http closes the connection
}
