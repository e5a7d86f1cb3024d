package cache

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"time"

	"weir/proxy"
	"weir/proxy/forward"
)

// A flight is a request on its way to the origin, until what comes of it is
// known. Whoever asks for the same meanwhile waits for it.
type flight struct {
	c     *Cache
	ask   *ask
	was   *object // what was found, and is not good enough; nil: nothing
	stale *object // the same, if it can be validated
	span  *span   // what is wanted of an object that nothing is known of; nil: all
	hints chan http.Header
	lead  chan *http.Response // takes the answer that is for the first viewer only
	left  chan struct{}       // closed when he does not wait any more; nil: there is none

	landed  chan struct{} // closed when the rest is known
	object  *object       // the answer; nil: everybody asks for himself
	status  int           // the origin's; 0: it was not reached
	stored  bool          // the object is a new one
	why     string        // why nothing was stored
	again   bool          // everybody looks again: the next flight asks for all of it
	failed  error         // there is no answer
	errored bool          // the object is stale, and used for want of a better answer
}

// newFlight prepares a flight; leader says that a viewer waits for it.
func (c *Cache) newFlight(a *ask, stale *object, want *span, leader bool) *flight {
	f := &flight{c: c, ask: a, stale: stale, span: want, landed: make(chan struct{}), hints: make(chan http.Header, 4)}
	if leader {
		f.lead, f.left = make(chan *http.Response), make(chan struct{})
	}
	return f
}

// depart joins the flight for an ask, or begins one. seen and of are what was found before:
// if that has changed meanwhile there is no flight, and the caller looks again.
func (c *Cache) depart(a *ask, req http.Header, seen *object, of *meta, want *span, leader bool) (f *flight, first bool) {
	c.table.change(a.key.id, func(e *entry) {
		if now := choose(e.objects, req); now != seen || now != nil && now.meta.Load() != of {
			return
		}
		for _, f = range e.flights {
			if f.ask.secret == a.secret {
				return
			}
		}
		if e.whole.After(time.Now()) {
			want = nil
		}
		stale := seen
		if stale != nil && validation(of.Header) == nil {
			stale = nil
		}
		f, first = c.newFlight(a, stale, want, leader), true
		f.was = seen
		e.flights = append(e.flights, f)
	})
	if first && !c.spawn(f.fly) {
		f.land(func(e *entry) { f.failed = &proxy.Refusal{Reason: proxy.Draining} })
	}
	return f, first
}

// fly asks the origin, tells what has come of it, and reads the body if it is
// stored. It outlives whoever asked.
func (f *flight) fly() {
	ctx, cancel := context.WithCancel(f.c.base)
	defer cancel()
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{Got1xxResponse: f.hint})
	ctx, w := newWatch(ctx, f.c.opt.Timeout)
	defer w.stop()
	asked := time.Now()
	res, err := f.c.trip(f.request(ctx))
	if err != nil {
		f.broken(why(ctx, err))
		return
	}
	defer res.Body.Close() //nolint:errcheck // read from only
	f.status = res.StatusCode
	t := &taking{flight: f, ctx: ctx, res: res, body: w.body(res.Body), asked: asked, answered: time.Now()}
	t.take()
}

// hint passes on 103, to whoever waits at that moment.
func (f *flight) hint(code int, h textproto.MIMEHeader) error {
	if code == http.StatusEarlyHints && f.lead != nil {
		select {
		case f.hints <- http.Header(h):
		default: // more than anybody needs
		}
	}
	return nil
}

// request is what the origin is asked.
func (f *flight) request(ctx context.Context) *http.Request {
	req := f.ask.request(ctx)
	if f.stale != nil {
		for name, v := range validation(f.stale.meta.Load().Header) {
			req.Header[name] = v
		}
	}
	if f.span != nil {
		req.Header["Range"] = []string{rangeField(*f.span)}
	}
	if f.ask.direct.noCache {
		req.Header["Cache-Control"] = []string{"no-cache"} // other caches on the way are asked, too
	}
	return req
}

// rangeField renders a Range of one span; from is -1 for the last to bytes.
func rangeField(s span) string {
	if s.from < 0 {
		return fmt.Sprintf("bytes=-%d", s.to)
	}
	return fmt.Sprintf("bytes=%d-%d", s.from, s.to-1)
}

// land makes known what has become of the flight; change is called with the
// lock of the table held.
func (f *flight) land(change func(e *entry)) {
	f.c.table.change(f.ask.key.id, func(e *entry) {
		change(e)
		e.land(f)
	})
	close(f.landed)
}

// broken lands a flight that has got no answer, or one that must not be used.
func (f *flight) broken(err error) {
	f.c.met.failures.inc()
	if f.rescue(true) {
		return
	}
	f.land(func(*entry) { f.failed = err })
}

// rescue lands with what is stored, if the origin's trouble allows for that.
func (f *flight) rescue(gone bool) bool {
	o := f.was
	if o == nil || o.isDead() {
		return false
	}
	m := o.meta.Load()
	if !m.Verdict.onError(m.age(time.Now()), f.ask.direct, gone) {
		return false
	}
	f.land(func(*entry) { f.object, f.errored = o, true })
	return true
}

// A taking is an answer that has come.
type taking struct {
	*flight
	ctx             context.Context
	res             *http.Response
	body            io.Reader
	asked, answered time.Time
	manifest        *manifest
	data            []byte // of a playlist: its body
}

// take decides what is done with it.
func (t *taking) take() {
	code := t.res.StatusCode
	switch {
	case code == http.StatusNotModified && t.stale != nil:
		t.validated()
	case code == http.StatusNotModified, code == http.StatusPartialContent && t.span == nil, code < 200:
		t.broken(&proxy.Refusal{Reason: proxy.OriginBad, Err: fmt.Errorf("%s was not asked for", t.res.Status)})
	case code == http.StatusPartialContent:
		t.partial()
	case code >= 500 && t.rescue(false):
	default:
		t.whole()
	}
}

// validated is for a 304 (RFC 9111 §4.3.4).
func (t *taking) validated() {
	o := t.stale
	if etag, old := t.res.Header.Get("Etag"), o.meta.Load().Header.Get("Etag"); etag != "" && old != "" && weakly(etag) != weakly(old) {
		o.kill() // it is about another than ours
		t.broken(&proxy.Refusal{Reason: proxy.OriginBad, Err: fmt.Errorf("304 for %s, asked about %s", etag, old)})
		return
	}
	forward.Response(t.res, t.c.id)
	m := o.update(func(m *meta) {
		m.Header = freshened(m.Header, t.res.Header)
		m.Asked, m.Answered, m.Age = t.asked, t.answered, initialAge(t.res.Header, t.asked, t.answered)
		v := judge(t.request(t.ctx), m.Status, m.Header, t.answered)
		m.Verdict = t.c.ruled(m.Class, nil, m, v, t.ask)
	})
	if !m.Verdict.Store { // for those who wait, not for others
		defer o.kill()
	}
	t.c.met.validated.inc()
	t.land(func(*entry) { t.object = o })
	if m.Class == livePlaylist && t.c.media(m.Class) {
		t.c.listed(o, t.c.streams.of(m.stream())) // it was heard of, and has not moved
	}
}

func weakly(etag string) string {
	if len(etag) > 2 && etag[:2] == "W/" {
		return etag[2:]
	}
	return etag
}

// whole is for an answer that is all there is, error or not.
func (t *taking) whole() {
	forwarded := t.res.Header.Clone() // for one who may get it for himself
	m := t.meta()
	if err := t.parse(m); err != nil {
		t.broken(&proxy.Refusal{Reason: proxy.OriginBad, Err: why(t.ctx, err)})
		return
	}
	t.judge(m, t.res.StatusCode)
	if !m.Verdict.Store {
		t.res.Header = forwarded
		t.pass(m)
		return
	}
	m.Size = t.res.ContentLength
	if m.Size > 0 && t.c.huge(m.Size) && (strongValidator(m.Header) == "" || !acceptsRanges(m.Header)) {
		t.res.Header = forwarded
		m.Verdict.Why = "too large"
		t.pass(m)
		return
	}
	m.Sliced = m.Status == http.StatusOK && t.ask.anonymous() && strongValidator(m.Header) != "" && acceptsRanges(m.Header) && m.Size > 0
	if t.data != nil {
		m.Size, m.Sliced = int64(len(t.data)), false
	}
	m.Slice = t.c.chunkFor(m.Size)
	t.fill(m, &fill{from: 0, to: -1})
}

func acceptsRanges(h http.Header) bool { return h.Get("Accept-Ranges") == "bytes" }

// partial is for the slice of an object that nothing was known of.
func (t *taking) partial() {
	s, size, ok := parseContentRange(t.res.Header.Get("Content-Range"))
	asked := *t.span
	if asked.from < 0 {
		asked = span{max(0, size-asked.to), size}
	}
	if !ok || size >= 0 && (s.from != asked.from || s.to != min(asked.to, size)) || t.res.ContentLength >= 0 && t.res.ContentLength != s.to-s.from {
		t.broken(&proxy.Refusal{Reason: proxy.OriginBad, Err: fmt.Errorf("asked for %s, got Content-Range %q", rangeField(*t.span), t.res.Header.Get("Content-Range"))})
		return
	}
	m := t.meta()
	t.judge(m, http.StatusOK)
	m.Status, m.Size = http.StatusOK, size
	m.Sliced = t.ask.anonymous() && strongValidator(m.Header) != ""
	if whole := size >= 0 && s.to-s.from == size; !m.Verdict.Store || size < 0 || !m.Sliced && !whole {
		// One piece of what cannot be put together, or still grows (RFC 8673).
		t.land(func(e *entry) { t.notSliced(e, m, size) })
		return
	}
	m.Slice = t.c.chunkFor(size)
	f := &fill{from: s.from, to: s.to, slice: true}
	if s.from%m.Slice != 0 { // the last bytes were asked for: the chunks before are not whole
		skip := m.Slice - s.from%m.Slice
		if _, err := io.CopyN(io.Discard, t.body, min(skip, s.to-s.from)); err != nil {
			t.broken(&proxy.Refusal{Reason: proxy.OriginBad, Err: why(t.ctx, err)})
			return
		}
		f.from += skip
	}
	t.fill(m, f)
}

// notSliced is for a slice that is of no use: who comes next asks for all of it,
// if that can be stored, and else for his own.
func (t *taking) notSliced(e *entry, m *meta, size int64) {
	switch {
	case size < 0:
	case m.Verdict.Store && !t.c.huge(size):
		e.whole = t.answered.Add(passFor)
		t.again = true
	default:
		t.unshared(e, m)
	}
}

// meta is what an answer says of itself.
func (t *taking) meta() *meta {
	h := t.res.Header
	forward.Response(t.res, t.c.id)
	m := &meta{
		ID: rand.Uint64(), Key: t.ask.key.id, Path: t.ask.path, Query: t.ask.key.query, Host: t.ask.host,
		Status: t.res.StatusCode, Header: storable(h), Size: -1, Slice: t.c.chunkFor(-1),
		Asked: t.asked, Answered: t.answered, Age: initialAge(h, t.asked, t.answered),
		Class: classify(t.ask.path, h), Tags: tagsOf(h),
	}
	if m.Header["Date"] == nil { // RFC 9110 §6.6.1
		m.Header["Date"] = []string{t.answered.UTC().Format(http.TimeFormat)}
	}
	if m.Status >= 400 { // an error page's type says nothing
		m.Class = t.ask.class
	}
	if t.c.media(m.Class) {
		unsite(m.Header)
		if !t.c.opt.Cookies {
			delete(m.Header, "Set-Cookie")
		}
	}
	m.Vary, _ = varyOf(m.Header)
	m.Asks = http.Header{}
	for _, name := range m.Vary {
		if v, ok := t.ask.header[name]; ok {
			m.Asks[name] = v
		}
	}
	m.Variant = variantOf(m.Vary, t.ask.header)
	return m
}

// parse reads the body of a playlist, whole, and what it says.
func (t *taking) parse(m *meta) error {
	playlist := m.Class >= multivariant && m.Class <= storedMPD
	if !playlist || m.Status != http.StatusOK || !t.c.media(m.Class) || t.res.ContentLength > maxManifest || m.Header.Get("Content-Encoding") != "" {
		return nil
	}
	data, err := io.ReadAll(io.LimitReader(t.body, maxManifest+1))
	if err != nil {
		return err
	}
	if len(data) > maxManifest {
		t.body = io.MultiReader(bytes.NewReader(data), t.body)
		t.res.Body = readCloser{t.body, t.res.Body}
		return nil
	}
	t.data, t.body = data, bytes.NewReader(data)
	t.res.Body = readCloser{bytes.NewReader(data), t.res.Body}
	if t.manifest = parse(t.ask.path, m.Class, data); t.manifest != nil {
		m.Class = t.manifest.Class
	}
	return nil
}

type readCloser struct {
	io.Reader
	io.Closer
}

// judge sets the verdict.
func (t *taking) judge(m *meta, status int) {
	v := judge(t.ask.request(t.ctx), status, m.Header, t.answered)
	m.Verdict = t.c.ruled(m.Class, t.manifest, m, v, t.ask)
	switch v := &m.Verdict; {
	case !v.Store:
	case t.res.ContentLength < 0 && len(t.res.TransferEncoding) == 0 && t.data == nil:
		v.Store, v.Why = false, "no length" // the end of the connection may be anything
	case t.ask.header["Cookie"] != nil && !v.Shared:
		v.Store, v.Why = false, "cookie"
	case m.Header["Set-Cookie"] != nil && !v.Shared:
		v.Store, v.Why = false, "set-cookie"
	case t.c.ram.limit == 0:
		v.Store, v.Why = false, "no memory"
	}
}

// passFor is how long nobody waits for others to ask for what turned out not to
// be for everybody.
const passFor = 30 * time.Second

// unshared marks a key: who comes next does not wait. What fails may be better
// next time.
func (t *taking) unshared(e *entry, m *meta) {
	if t.res.StatusCode < 400 {
		e.pass = t.answered.Add(passFor)
	}
}

// pass gives the answer to the viewer who came first, if he is still there, and
// lets the others go.
func (t *taking) pass(m *meta) {
	if t.was != nil && t.res.StatusCode < 400 {
		t.was.kill() // there is a newer answer, which is not to be stored
	}
	t.why = m.Verdict.Why
	t.land(func(e *entry) { t.unshared(e, m) })
	if t.lead == nil {
		return
	}
	read := make(chan struct{})
	t.res.Body = &handed{Reader: t.body, done: read}
	select {
	case t.lead <- t.res:
		<-read // until he closes it
	case <-t.left:
	}
}

// handed is a body that somebody else reads; its reader says when he is done.
type handed struct {
	io.Reader
	done   chan struct{}
	closed bool
}

func (h *handed) Close() error {
	if !h.closed {
		h.closed = true
		close(h.done)
	}
	return nil
}

// fill makes the object, lands, and reads the body.
func (t *taking) fill(m *meta, f *fill) {
	o := newObject(t.c, m)
	f.o = o
	o.mu.Lock()
	f.begin()
	o.mu.Unlock()
	if t.data != nil { // whoever waits finds it complete
		f.end(f.run(t.ctx, t.body))
		t.arrive(o)
		return
	}
	t.arrive(o)
	err := why(t.ctx, f.run(t.ctx, t.body))
	f.end(err)
	if err != nil && !errors.Is(err, errAbandoned) {
		t.c.met.failures.inc()
		t.c.log.Debug("fill ended", pathField(t.ask.path), errField(err))
	}
}

// arrive makes the object known and lands.
func (t *taking) arrive(o *object) {
	t.object, t.stored = o, true
	m := o.meta.Load()
	for _, old := range t.c.table.insert(o, t.flight) {
		old.kill()
	}
	close(t.landed)
	t.c.met.stored.inc()
	t.c.purgedMeanwhile(o, m)
	t.c.listed(o, t.manifest)
}
