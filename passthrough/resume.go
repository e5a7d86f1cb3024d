package passthrough

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"
)

const (
	// resumeTries is how many origins are asked to go on before the viewer is
	// told. A MiB further on they are forgotten: only an origin that breaks off
	// all the time is to be given up.
	resumeTries    = 3
	resumeProgress = 1 << 20

	// An origin may keep silent in the middle of a stored file for quietTimes the
	// longest it was before, in this file or others, from leastQuiet to patience, until another is asked
	// to go on; each time that was for silence the least is doubled, lest a body
	// wander about where it is the way to all of them that is at fault. Nothing
	// but trouble makes one pause there; bodies that wait for new media have no
	// length and are left alone.
	leastQuiet = time.Second
	quietTimes = 5
	patience   = 10 * time.Second

	// clockSkew is how much older than its answer a file must be for its date to
	// be a strong validator (RFC 9110 §8.8.2.2).
	clockSkew = time.Minute
)

// An extent is a run of bytes of a file: from first to last, both included.
type extent struct{ first, last, total int64 }

// parseContentRange reads the field of a 206 (RFC 9110 §14.4). What does not say
// exactly which bytes there are, and of how many, is no use here.
func parseContentRange(s string) (e extent, ok bool) {
	unit, rest, ok1 := strings.Cut(s, " ")
	run, total, ok2 := strings.Cut(rest, "/")
	first, last, ok3 := strings.Cut(run, "-")
	if !ok1 || !ok2 || !ok3 || !strings.EqualFold(unit, "bytes") {
		return extent{}, false
	}
	for _, n := range []struct {
		text string
		to   *int64
	}{{first, &e.first}, {last, &e.last}, {total, &e.total}} {
		v, err := strconv.ParseUint(n.text, 10, 63) // digits only
		if err != nil {
			return extent{}, false
		}
		*n.to = int64(v)
	}
	return e, e.first <= e.last && e.last < e.total
}

// A pin is what a body must still be when another origin goes on with it.
type pin struct {
	extent
	etag     string // strong
	modified string // where there is no etag
	encoding string
}

// pinned returns the pin of an answer, if a part of it is known to fit another
// answer's part: stored, of known length, and with a strong validator.
func pinned(req *http.Request, res *http.Response) (pin, bool) {
	e, ok := extentOf(res)
	if !ok || req.Method != http.MethodGet || res.ContentLength != e.last-e.first+1 || len(res.Trailer) > 0 {
		return pin{}, false
	}
	p := pin{extent: e, etag: res.Header.Get("Etag"), encoding: res.Header.Get("Content-Encoding")}
	if p.etag != "" {
		return p, strings.HasPrefix(p.etag, `"`)
	}
	p.modified = strongDate(res.Header)
	return p, p.modified != ""
}

func extentOf(res *http.Response) (extent, bool) {
	switch {
	case res.StatusCode == http.StatusOK && res.ContentLength > 0:
		return extent{0, res.ContentLength - 1, res.ContentLength}, true
	case res.StatusCode == http.StatusPartialContent:
		return parseContentRange(res.Header.Get("Content-Range"))
	}
	return extent{}, false
}

// strongDate is Last-Modified if it is strong, else "".
func strongDate(h http.Header) string {
	modified, err1 := http.ParseTime(h.Get("Last-Modified"))
	date, err2 := http.ParseTime(h.Get("Date"))
	if err1 != nil || err2 != nil || date.Sub(modified) < clockSkew {
		return ""
	}
	return h.Get("Last-Modified")
}

// goesOn reports whether an answer is exactly the rest of the pinned one from
// offset next on.
func (p pin) goesOn(res *http.Response, next int64) bool {
	e, ok := parseContentRange(res.Header.Get("Content-Range"))
	return ok && res.StatusCode == http.StatusPartialContent &&
		e == extent{next, p.last, p.total} && res.ContentLength == p.last-next+1 && len(res.Trailer) == 0 &&
		res.Header.Get("Etag") == p.etag && (p.etag != "" || res.Header.Get("Last-Modified") == p.modified) &&
		res.Header.Get("Content-Encoding") == p.encoding
}

// request asks for the rest; the viewer's own conditions have been met.
func (p pin) request(req *http.Request, next int64) *http.Request {
	out := req.Clone(req.Context())
	for _, name := range []string{"If-Match", "If-None-Match", "If-Modified-Since", "If-Unmodified-Since"} {
		out.Header.Del(name)
	}
	out.Header.Set("Range", fmt.Sprintf("bytes=%d-%d", next, p.last))
	if p.etag != "" {
		out.Header.Set("If-Range", p.etag)
	} else {
		out.Header.Set("If-Range", p.modified)
	}
	out.Body, out.ContentLength = nil, 0
	return out
}

// resumable lets the body of an answer go on elsewhere if it can.
// Silence is trouble only where others, when it is asked, has somebody to go to.
func resumable(b *Balancer, req *http.Request, o *origin, res *http.Response, others func() []*origin) {
	if !b.opts.Failover.Has("http") {
		return
	}
	p, ok := pinned(req, res)
	src, open := res.Body.(*answerBody)
	if !ok || !open { // a playlist has been read already
		return
	}
	r := &resumedBody{b: b, req: req, others: others, pin: p, next: p.first, mark: p.first, watched: len(others()) > 0}
	_ = r.attach(o, src) // it cannot be closed yet
	res.Body = r
}

// A resumedBody is read as one body and may come from several origins. Close may
// be called while Read waits.
type resumedBody struct {
	b       *Balancer
	req     *http.Request
	others  func() []*origin
	pin     pin
	watched bool // silence is not waited out

	next  int64 // offset of the byte to come
	mark  int64 // where the tries began
	tries int
	err   error
	from  *origin
	watch *time.Timer   // nil unless watched
	gap   time.Duration // the longest silence that was none too long
	usual time.Duration // and in other files of this origin
	moves int           // because of silence

	mu     sync.Mutex
	src    *answerBody
	closed bool
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
	if r.watched {
		r.watch = time.AfterFunc(patience, src.silence)
		r.watch.Stop()
	}
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
	if r.watch == nil {
		return r.src.Read(p)
	}
	began := time.Now()
	r.watch.Reset(r.quiet())
	n, err := r.src.Read(p)
	r.watch.Stop()
	if err == nil {
		r.gap = max(r.gap, time.Since(began))
	}
	return n, err
}

// quiet is how long the origin may be silent.
func (r *resumedBody) quiet() time.Duration {
	return min(max(leastQuiet<<min(r.moves, 4), quietTimes*max(r.gap, r.usual)), patience)
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
	if errors.Is(cause, errSilent) {
		r.moves++
	}
	r.b.failed(r.from, cause)
	r.src.Close() //nolint:errcheck // it is broken
	if r.next-r.mark >= resumeProgress {
		r.mark, r.tries = r.next, 0
	}
	errs := []error{fmt.Errorf("origin %s: %w", r.from.name, cause)}
	var slow []*origin
	try := func(o *origin, most time.Duration) (gone bool) {
		err := r.reopen(o, most)
		if err == nil {
			r.b.log.Debug("body resumed", zap.String("origin", r.from.name), zap.Int64("at", r.next), zap.NamedError("cause", cause))
			r.b.resumed.Add(1)
			return true
		}
		if errors.Is(err, errSilent) {
			slow = append(slow, o)
		}
		errs = append(errs, fmt.Errorf("origin %s: %w", o.name, err))
		return false
	}
	for _, o := range append(r.others(), r.from) {
		if r.tries++; r.tries > resumeTries || ctx.Err() != nil {
			break
		}
		if try(o, o.answers.late(patience)) {
			return nil
		}
	}
	for _, o := range slices.Clone(slow) { // who was only slow is better than nobody
		if ctx.Err() == nil && try(o, patience) {
			return nil
		}
	}
	return brokenOff(ctx, r, errs)
}

func brokenOff(ctx context.Context, r *resumedBody, errs []error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return fmt.Errorf("%w: at byte %d of %d: %w", io.ErrUnexpectedEOF, r.next, r.pin.total, errors.Join(errs...))
}

var errOther = errors.New("does not have the rest of the same file")

// reopen asks an origin for the rest, and waits that long for its answer.
func (r *resumedBody) reopen(o *origin, most time.Duration) error {
	res, err := r.b.ask(o, r.b.outgoing(r.pin.request(r.req, r.next), o), wait{most: most})
	if err != nil {
		return err
	}
	if src, ok := res.Body.(*answerBody); ok && r.pin.goesOn(res, r.next) {
		return r.attach(o, src)
	}
	res.Body.Close() //nolint:errcheck // nobody reads it
	return errOther
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
	return r.src.Close()
}
