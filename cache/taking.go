package cache

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"time"

	"go.uber.org/zap"

	"weir/proxy"
	"weir/proxy/forward"
)

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
	if etag, old := t.res.Header.Get("Etag"), o.meta.Load().Header.Get("Etag"); etag != "" && old != "" && !weakMatch(etag, old) {
		o.kill() // it is about another than ours
		t.broken(&proxy.Refusal{Reason: proxy.OriginBad, Err: fmt.Errorf("304 for %s, asked about %s", etag, old)})
		return
	}
	forward.Response(t.res, t.c.id)
	t.res.Header.Del("Set-Cookie") // it is the one viewer's who happened to ask
	m := o.update(func(m *meta) {
		m.Header = freshened(m.Header, t.res.Header)
		m.Asked, m.Answered, m.Age = t.asked, t.answered, initialAge(t.res.Header, t.asked, t.answered)
		v := judge(t.request(t.ctx), m.Status, m.Header, t.answered)
		m.Verdict = t.c.ruled(m.Class, nil, m, v, t.ask)
	})
	if !m.Verdict.Store { // for those who wait, not for others
		defer o.kill()
	}
	t.c.purgedMeanwhile(o, m)
	t.c.met.validated.inc()
	t.object = o
	t.land(landedValidated, nil)
	if m.Class == livePlaylist && t.c.media(m.Class) {
		t.c.listed(o, t.c.streams.of(m.stream())) // it was heard of, and has not moved
	}
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
	if code := t.res.StatusCode; t.ask.less && (code == http.StatusUnauthorized || code == http.StatusForbidden) {
		t.c.hintAtTokens(t.answered)
	}
	if !m.Verdict.Store {
		t.res.Header = forwarded
		t.pass()
		return
	}
	m.Size = t.res.ContentLength
	if m.Size > 0 && t.c.huge(m.Size) && (strongValidator(m.Header) == "" || !acceptsRanges(m.Header)) {
		t.res.Header = forwarded
		t.pass()
		return
	}
	m.Sliced = m.Status == http.StatusOK && t.ask.anonymous() && strongValidator(m.Header) != "" && acceptsRanges(m.Header) && m.Size > 0
	if t.data != nil {
		m.Size, m.Sliced = int64(len(t.data)), false
	}
	m.Chunk = t.c.chunkFor(m.Size)
	if !t.fill(m, &fill{from: 0, to: -1}) {
		t.res.Header = forwarded
		t.pass()
	}
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
		t.notSliced(m, size)
		return
	}
	m.Chunk = t.c.chunkFor(size)
	f := &fill{from: s.from, to: s.to, partial: true}
	if s.from%m.Chunk != 0 { // the last bytes were asked for: the chunks before are not whole
		skip := m.Chunk - s.from%m.Chunk
		if _, err := io.CopyN(io.Discard, t.body, min(skip, s.to-s.from)); err != nil {
			t.broken(&proxy.Refusal{Reason: proxy.OriginBad, Err: why(t.ctx, err)})
			return
		}
		f.from += skip
	}
	if !t.fill(m, f) { // a piece of what was asked for is no answer
		t.land(landedForNone, t.unshared)
	}
}

// notSliced lands with a slice that is of no use: who comes next asks for all of it,
// if that can be stored, and else for his own.
func (t *taking) notSliced(m *meta, size int64) {
	switch {
	case size < 0:
		t.land(landedForNone, nil)
	case m.Verdict.Store && !t.c.huge(size):
		t.land(landedAgain, func(e *entry) { e.whole = t.answered.Add(passFor) })
	default:
		t.land(landedForNone, t.unshared)
	}
}

// meta is what an answer says of itself.
func (t *taking) meta() *meta {
	h := t.res.Header
	forward.Response(t.res, t.c.id)
	m := &meta{
		ID: rand.Uint64(), Key: t.ask.key.id, Path: t.ask.path, Query: t.ask.key.query, Host: t.ask.host,
		Status: t.res.StatusCode, Header: storable(h), Size: -1, Chunk: t.c.chunkFor(-1),
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
	names, _ := varyOf(m.Header)
	if reflects(m.Header) && !slices.Contains(names, "Origin") {
		names = append(names, "Origin")
	}
	m.Vary = slices.DeleteFunc(names, func(name string) bool { return !t.c.sends(name, t.ask.class) })
	m.Asks = http.Header{}
	for _, name := range m.Vary {
		if v, ok := t.ask.header[name]; ok {
			m.Asks[name] = v
		}
	}
	m.Variant = variantOf(m.Vary, t.ask.header)
	return m
}

// reflects reports whether an answer is for pages of one origin (WHATWG Fetch,
// CORS): such as forget to say that it varies by that.
func reflects(h http.Header) bool {
	v := h.Get("Access-Control-Allow-Origin")
	return v != "" && v != "*"
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
		v.Store, v.Why = false, lacksLength // the end of the connection may be anything
	case t.ask.header["Cookie"] != nil && !v.Shared:
		v.Store, v.Why = false, hasCookie
	case m.Header["Set-Cookie"] != nil && !v.Shared:
		v.Store, v.Why = false, setsCookie
	case t.c.ram.limit == 0:
		v.Store, v.Why = false, lacksMemory
	}
}

// passFor is how long nobody waits for others to ask for what turned out not to
// be for everybody.
const passFor = 30 * time.Second

// unshared marks a key: who comes next does not wait. What fails may be better
// next time.
func (t *taking) unshared(e *entry) {
	if t.res.StatusCode < 400 {
		e.pass = t.answered.Add(passFor)
	}
}

// pass gives the answer to the viewer who came first, if he is still there, and
// lets the others go.
func (t *taking) pass() {
	if t.was != nil && t.res.StatusCode < 400 {
		t.was.kill() // there is a newer answer, which is not to be stored
	}
	t.land(landedForOne, t.unshared)
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

// fill makes the object, lands, and reads the body. It is false if there is no
// memory to begin with: then the flight has not landed, and the body is all there.
func (t *taking) fill(m *meta, f *fill) bool {
	o := newObject(t.c, m)
	f.o = o
	o.mu.Lock()
	f.begin()
	o.mu.Unlock()
	if t.data != nil { // whoever waits finds it complete
		err := f.run(t.ctx, bytes.NewReader(t.data))
		t.ends(f, err)
		if errors.Is(err, errNoMemory) {
			return false
		}
		t.arrive(o)
		return true
	}
	if _, err := f.place(t.ctx.Done()); err != nil {
		f.end(err)
		return false
	}
	t.arrive(o)
	err := why(t.ctx, f.run(t.ctx, t.body))
	t.ends(f, err)
	if err != nil && !errors.Is(err, errAbandoned) {
		t.c.met.failures.inc()
		t.c.log.Debug("fill ended", zap.String("path", t.ask.path), zap.Error(err))
	}
	return true
}

// ends counts a fill that has brought all it should, and ends it.
func (t *taking) ends(f *fill, err error) {
	if err == nil {
		t.c.met.stored.inc()
	}
	f.end(err)
}

// arrive makes the object known and lands.
func (t *taking) arrive(o *object) {
	t.object, t.how = o, landedStored
	m := o.meta.Load()
	for _, old := range t.c.table.insert(o, t.flight) {
		old.kill()
	}
	if t.outdated {
		o.kill() // it is for those who wait
	}
	close(t.landed)
	t.c.purgedMeanwhile(o, m)
	t.c.listed(o, t.manifest)
}
