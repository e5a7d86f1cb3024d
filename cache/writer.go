package cache

import (
	"cmp"
	"io"
	"net/http"
	"time"
)

// A writer takes pieces to a viewer, each within a time.
type writer struct {
	*visit
	rc      *http.ResponseController
	growing bool
	err     error
}

// arm gives the viewer a time to take what comes next. A ResponseWriter without
// deadlines, as proxy.Fetch has, has no slow viewer either.
func (w *writer) arm() {
	deadline := time.Now().Add(w.c.opt.Lag)
	if d, ok := w.w.(interface{ SetWriteDeadline(time.Time) error }); ok {
		_ = d.SetWriteDeadline(deadline)
		return
	}
	_ = w.control().SetWriteDeadline(deadline)
}

// control is made when it is needed first: most answers need none.
func (w *writer) control() *http.ResponseController {
	if w.rc == nil {
		w.rc = http.NewResponseController(w.w)
	}
	return w.rc
}

// end leaves no deadline behind where it would end a stream between writes.
func (w *writer) end() {
	if w.req.ProtoMajor > 1 {
		_ = w.control().SetWriteDeadline(time.Time{})
	}
}

// copy takes all of a reader to the viewer, the first piece of which is there.
func (w *writer) copy(r *reader, p piece, err error) error {
	for err == nil && p.n > 0 {
		err = w.piece(&p)
		p.close()
		if err != nil || w.err != nil {
			return cmp.Or(err, w.err)
		}
		if p, err = r.next(w.req.Context()); p.n > 0 {
			w.arm()
		}
	}
	return err
}

// maxWrite is what a viewer has -cache.lag for, in bytes.
const maxWrite = 1 << 20

// piece writes a piece; the time for its first bytes runs already.
func (w *writer) piece(p *piece) error {
	if p.f != nil {
		// The header leaves by itself: net/http would else read the file's first bytes to guess a type.
		_ = w.control().Flush()
	}
	for left := p.n; left > 0; {
		n, err := w.write(p, p.n-left, min(left, maxWrite))
		w.ticket.Sent(int(n))
		if err != nil {
			return err
		}
		if left -= n; left > 0 {
			w.arm()
		}
	}
	if w.growing {
		_ = w.control().Flush() // what comes next may take a while
	}
	return nil
}

// write writes n bytes of a piece; of a file it takes those that come next.
func (w *writer) write(p *piece, from, n int64) (int64, error) {
	if p.f != nil {
		n, err := io.CopyN(w.w, p.f, n)
		w.c.met.fromDisk.add(n)
		return n, err
	}
	k, err := w.w.Write(p.b[from : from+n])
	if p.disk {
		w.c.met.fromDisk.add(int64(k))
	} else {
		w.c.met.fromRAM.add(int64(k))
	}
	return int64(k), err
}

func (w *writer) text(s string) {
	n, err := io.WriteString(w.w, s)
	w.ticket.Sent(n)
	w.err = cmp.Or(w.err, err)
}
