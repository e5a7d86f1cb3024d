package passthrough

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
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
	out.Body, out.ContentLength, out.TransferEncoding = nil, 0, nil
	return out
}

// resumable lets the body of an answer go on elsewhere if it can.
func resumable(b *Balancer, req *http.Request, o *origin, res *http.Response, others func() []*origin) {
	if !b.opts.Failover.Has("http") {
		return
	}
	p, ok := pinned(req, res)
	src, open := res.Body.(*answerBody)
	if !ok || !open { // a playlist has been read already
		return
	}
	r := &resumedBody{b: b, req: req, others: others, pin: p, next: p.first, mark: p.first}
	_ = r.attach(o, src) // it cannot be closed yet
	res.Body = r
}
