package cache

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"net/http"
	"strconv"
	"time"

	"weir/proxy"
)

// veryLarge is one behind the last byte that is asked for when a range has no
// end (RFC 8673 §2.1: 2^53-1).
const veryLarge = 1 << 53

// A body is what of an object goes into an answer.
type body struct {
	o         *object
	spans     []span // one, or several with parts; its to is -1 if the end is not known
	parts     *multipart
	code      int
	length    int64 // -1: not known
	rangeInfo string
}

// answer answers with an object, or with what it is at that moment. It is false
// if the object turned out not to be usable before a byte was sent: then the visit looks again.
func (v *visit) answer(o *object, m *meta, now time.Time) (done bool) {
	v.c.use(o, m, now)
	if v.c.frozen(m, now) {
		v.refuse(http.StatusNotFound, "Stream Stands Still")
		return true
	}
	b := body{o: o, code: m.Status, length: m.Size, spans: []span{{0, m.Size}}}
	if m.Status == http.StatusOK {
		switch conditions(v.req.Header, m.Header) {
		case notModified:
			b = body{code: http.StatusNotModified, length: -1}
		case preconditionFailed:
			b = body{code: http.StatusPreconditionFailed}
		default:
			if !v.ranges(&b, o, m) {
				return true
			}
			m = o.meta.Load()
		}
	}
	if b.code == http.StatusOK || m.Status != http.StatusOK {
		b.length = m.Size
		b.spans = []span{{0, m.Size}}
	}
	if v.req.Method == http.MethodHead || len(b.spans) == 0 || b.length == 0 {
		v.header(m, &b, now)
		v.w.WriteHeader(b.code)
		return true
	}
	return v.send(m, &b, now)
}

// use notes that an object is asked for.
func (c *Cache) use(o *object, m *meta, now time.Time) {
	if second := now.Unix(); o.used.Swap(second) != second {
		c.noticed(o, m, now)
	}
}

// ranges looks at what is asked of an object; it may wait for a growing one. It is
// false if the viewer has gone.
func (v *visit) ranges(b *body, o *object, m *meta) bool {
	fields := v.req.Header["Range"]
	if len(fields) != 1 || v.req.Method != http.MethodGet || !rangeHolds(v.req.Header, m.Header) {
		return true
	}
	specs, ok := parseRange(fields[0])
	if !ok {
		return true
	}
	if m.Size < 0 {
		if len(specs) > 1 || specs[0].from < 0 || specs[0].to < 0 {
			return true // Range may be ignored: what is not there yet cannot be counted
		}
		var err error
		if m, err = o.await(v.req.Context(), specs[0]); err != nil {
			v.fail(err)
			return false
		}
	}
	if m.Size < 0 {
		b.growing(span(specs[0]))
	} else {
		b.ranges(specs, m)
	}
	return true
}

// growing makes the answer a range of an object whose size is not known.
func (b *body) growing(s span) {
	b.code, b.spans, b.length = http.StatusPartialContent, []span{s}, s.to-s.from
	b.rangeInfo = contentRange(s, -1)
	if s.to == veryLarge {
		b.spans[0].to, b.length = -1, -1
	}
}

// ranges makes the answer what of an object was asked for.
func (b *body) ranges(specs []rangeSpec, m *meta) {
	spans, whole := resolve(specs, m.Size)
	switch {
	case whole:
	case len(spans) == 0:
		*b = body{code: http.StatusRequestedRangeNotSatisfiable, rangeInfo: "bytes */" + strconv.FormatInt(m.Size, 10)}
	case len(spans) == 1:
		b.code, b.spans, b.length = http.StatusPartialContent, spans, spans[0].to-spans[0].from
		b.rangeInfo = contentRange(spans[0], m.Size)
	default:
		b.parts = newMultipart(spans, m.Size, m.Header.Get("Content-Type"))
		b.code, b.spans, b.length = http.StatusPartialContent, spans, b.parts.length
	}
}

// await waits until a growing object has what a range asks for, or has ended.
func (o *object) await(ctx context.Context, want rangeSpec) (*meta, error) {
	need := want.to
	if need == veryLarge {
		need = want.from + 1
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	for {
		m := o.meta.Load()
		if m.Size >= 0 || o.has(need) {
			return m, nil
		}
		if len(o.fills) == 0 {
			return nil, cmp.Or(o.err, errGone)
		}
		if err := o.wait(ctx); err != nil {
			return nil, err
		}
	}
}

// has reports whether a growing object has got that far. mu is held.
func (o *object) has(need int64) bool {
	for _, f := range o.fills {
		if f.pos >= need {
			return true
		}
	}
	return false
}

// fields fills in what each answer with an object has.
func (c *Cache) fields(h http.Header, m *meta) {
	maps.Copy(h, m.Header)
	if m.Header["Content-Type"] == nil {
		h["Content-Type"] = nil // nothing is guessed
	}
	if c.media(m.Class) {
		exposed(h)
	}
}

// header fills in the answer's fields. It is called once for each answer.
func (v *visit) header(m *meta, b *body, now time.Time) {
	switch met := v.c.met; {
	case !v.status.hit:
		met.misses.inc()
	case v.status.stale:
		met.stale.inc()
	default:
		met.hits.inc()
	}
	if b.code >= http.StatusBadRequest {
		v.ticket.Failed()
	}
	h := v.w.Header()
	v.c.fields(h, m)
	age := m.age(now)
	values := [4]string{strconv.FormatInt(int64(age/time.Second), 10)}
	h["Age"] = values[0:1:1]
	h["Cache-Status"] = v.status.append(m.Header["Cache-Status"], v.c.id, m.Verdict.Fresh-age)
	if b.length >= 0 && b.code != http.StatusNotModified {
		values[1] = strconv.FormatInt(b.length, 10)
		h["Content-Length"] = values[1:2:2]
	}
	if b.rangeInfo != "" {
		values[2] = b.rangeInfo
		h["Content-Range"] = values[2:3:3]
	}
	switch {
	case b.parts != nil:
		h["Content-Type"] = []string{b.parts.contentType}
	case b.code == http.StatusRequestedRangeNotSatisfiable || b.code == http.StatusPreconditionFailed:
		delete(h, "Content-Type")
		h["Content-Length"] = []string{"0"}
	case b.code == http.StatusNotModified:
		delete(h, "Content-Type")
		delete(h, "Content-Encoding")
	}
}

// send writes header and body. The first bytes are at hand before the header
// goes, so that what fails at once is an answer of its own.
func (v *visit) send(m *meta, b *body, now time.Time) (done bool) {
	o := b.o
	out := writer{visit: v}
	for i, s := range b.spans {
		r := o.read(s.from, s.to)
		p, err := r.next(v.req.Context())
		if i == 0 {
			if err != nil {
				r.close()
				return v.unusable(o, err)
			}
			out.arm()
			out.growing = r.follows
			v.status.found(r, o.lacks(r.off, s.to))
			v.header(m, b, now)
			v.w.WriteHeader(b.code)
		}
		if err == nil && b.parts != nil {
			out.text(b.parts.heads[i])
		}
		err = out.copy(r, p, err)
		r.close()
		if err != nil {
			v.c.met.broken.inc()
			panic(http.ErrAbortHandler) // an answer that breaks off must not look whole
		}
	}
	if b.parts != nil {
		out.text(b.parts.tail)
	}
	out.end()
	return true
}

// unusable is for an object whose first bytes are not to be had: if another may
// be, the visit looks again.
func (v *visit) unusable(o *object, err error) (done bool) {
	if v.req.Context().Err() != nil {
		panic(http.ErrAbortHandler)
	}
	if errors.Is(err, errNoMemory) {
		v.pass("partial", nil)
		return true
	}
	o.kill()
	if err == errGone || err == errChanged {
		return false
	}
	var refused *proxy.Refusal
	if !errors.As(err, &refused) {
		err = &proxy.Refusal{Reason: proxy.OriginBad, Err: err} // it has answered, but badly
	}
	v.fail(err)
	return true
}
