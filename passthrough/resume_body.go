package passthrough

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"
)

// A resumedBody is read as one body and may come from several origins. Close may
// be called while Read waits.
type resumedBody struct {
	b      *Balancer
	req    *http.Request
	others func() []*origin
	pin    pin

	next  int64 // offset of the byte to come
	mark  int64 // where the tries began
	tries int
	err   error
	from  *origin
	gap   time.Duration // the longest silence that was none too long
	usual time.Duration // and in other files of this origin

	mu     sync.Mutex
	src    *answerBody
	closed bool
	watch  *time.Timer      // calls look
	reads  int              // so far
	waits  bool             // the last one; next, gap and usual stay as they are meanwhile
	looks  bool             // look is at work
	moves  int              // silences for which others were asked
	unlike map[*origin]bool // have another file
	found  *answerBody      // the rest, where the source is silent
	owner  *origin          // of that
}

// attach goes on with the body of an origin.
func (r *resumedBody) attach(o *origin, src *answerBody) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		src.Close() //nolint:errcheck // nobody reads it
		return http.ErrBodyReadAfterClose
	}
	r.from, r.src, r.usual = o, src, time.Duration(o.pauses.ns.Load())
	return nil
}

// Read implements io.Reader. It never ends well before the last byte.
func (r *resumedBody) Read(p []byte) (int, error) {
	for r.err == nil {
		n, err := r.read(p)
		r.next += int64(n)
		switch {
		case r.next > r.pin.last:
			r.err = io.EOF
			r.from.pauses.note(r.gap)
			return n, r.err
		case n > 0 || len(p) == 0:
			return n, nil // an error comes again
		case err != nil:
			r.err = r.resume(err)
		}
	}
	return 0, r.err
}

func (r *resumedBody) read(p []byte) (int, error) {
	began := time.Now()
	r.mu.Lock()
	r.waits = true
	r.reads++
	if r.watch == nil {
		r.watch = time.AfterFunc(r.quiet(), r.look)
	} else {
		r.watch.Reset(r.quiet())
	}
	r.mu.Unlock()
	n, err := r.src.Read(p)
	r.mu.Lock()
	r.waits = false
	r.watch.Stop()
	if n > 0 {
		r.drop()
	}
	r.mu.Unlock()
	if err == nil {
		r.gap = max(r.gap, time.Since(began))
	}
	return n, err
}

// drop gives up what was found; mu is held.
func (r *resumedBody) drop() {
	if r.found != nil {
		r.found.Close() //nolint:errcheck // nobody reads it
		r.found = nil
	}
}

// quiet is how long the origin may be silent; mu is held.
func (r *resumedBody) quiet() time.Duration {
	return min(max(leastQuiet<<min(r.moves, 4), quietTimes*max(r.gap, r.usual)), patience)
}

// look is called when the origin has been silent for too long. It is left only if
// somebody has the rest: many pause, and nobody else may have the same file.
func (r *resumedBody) look() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.waits || r.looks || r.closed {
		return
	}
	r.moves++
	r.looks = true
	read, at, looks := r.reads, r.next, r.moves
	r.mu.Unlock()
	o, found := r.seek(at, looks)
	r.mu.Lock()
	r.looks = false
	switch still := r.waits && r.reads == read && !r.closed; {
	case found != nil && still:
		r.found, r.owner = found, o
		r.src.silence()
		return
	case found != nil:
		found.Close() //nolint:errcheck // nobody reads it
	}
	if r.waits && !r.closed {
		r.watch.Reset(r.quiet())
	}
}

// seek asks others for the rest from an offset on; each time with more patience.
func (r *resumedBody) seek(at int64, looks int) (*origin, *answerBody) {
	for _, o := range r.others() {
		if r.over() || r.req.Context().Err() != nil {
			break
		}
		if r.unlike[o] {
			continue
		}
		src, err := r.reopen(o, at, wait{most: min(o.answers.late(patience)<<min(2*looks-2, 8), patience)})
		if err == nil {
			return o, src
		}
		if errors.Is(err, errOther) {
			if r.unlike == nil {
				r.unlike = map[*origin]bool{}
			}
			r.unlike[o] = true
		}
	}
	return nil, nil
}

// resume finds somebody to go on after the body broke off. The origin it came
// from is asked last: it may be back already.
func (r *resumedBody) resume(cause error) error {
	ctx := r.req.Context()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if r.over() {
		return http.ErrBodyReadAfterClose
	}
	if cause == io.EOF { // an end without having come to the end
		cause = io.ErrUnexpectedEOF
	}
	r.b.failed(r.from, cause)
	r.src.Close() //nolint:errcheck // it is broken
	r.mu.Lock()
	o, found := r.owner, r.found
	r.found = nil
	r.mu.Unlock()
	if found != nil {
		r.resumed(cause)
		return r.attach(o, found)
	}
	if r.next-r.mark >= resumeProgress {
		r.mark, r.tries = r.next, 0
	}
	errs := []error{fmt.Errorf("origin %s: %w", r.from.name, cause)}
	var slow []*origin
	try := func(o *origin, most time.Duration) (ok bool) {
		src, err := r.reopen(o, r.next, wait{most: most})
		if err == nil {
			r.resumed(cause)
			err = r.attach(o, src)
			return err == nil
		}
		if errors.Is(err, errSilent) {
			slow = append(slow, o)
		}
		errs = append(errs, fmt.Errorf("origin %s: %w", o.name, err))
		return false
	}
	for _, o := range append(r.others(), r.from) {
		if r.tries++; r.tries > resumeTries || ctx.Err() != nil || r.over() {
			break
		}
		if try(o, o.answers.late(patience)) {
			return nil
		}
	}
	for _, o := range slices.Clone(slow) { // who was only slow is better than nobody
		if ctx.Err() == nil && !r.over() && try(o, patience) {
			return nil
		}
	}
	return brokenOff(ctx, r, errs)
}

func (r *resumedBody) resumed(cause error) {
	r.b.log.Debug("body resumed", zap.String("origin", r.from.name), zap.Int64("at", r.next), zap.NamedError("cause", cause))
	r.b.resumed.Add(1)
}

func brokenOff(ctx context.Context, r *resumedBody, errs []error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return fmt.Errorf("%w: at byte %d of %d: %w", io.ErrUnexpectedEOF, r.next, r.pin.total, errors.Join(errs...))
}

var errOther = errors.New("does not have the rest of the same file")

// reopen asks an origin for the rest from an offset on.
func (r *resumedBody) reopen(o *origin, at int64, w wait) (*answerBody, error) {
	res, err := r.b.ask(o, r.b.outgoing(r.pin.request(r.req, at), o), w)
	if err != nil {
		return nil, err
	}
	if src, ok := res.Body.(*answerBody); ok && r.pin.goesOn(res, at) {
		return src, nil
	}
	res.Body.Close() //nolint:errcheck // nobody reads it
	return nil, errOther
}

// over reports whether the body was closed: that it breaks off then is nobody's
// fault.
func (r *resumedBody) over() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.closed
}

// Close implements io.Closer.
func (r *resumedBody) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	r.drop()
	return r.src.Close()
}
