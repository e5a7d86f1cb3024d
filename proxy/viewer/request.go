package viewer

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"weir/proxy/wire"
)

// A StatusError is a server's no.
type StatusError struct {
	Method     string // of the request
	Code       int
	Phrase     string
	RetryAfter time.Duration // as the server says; 0 if it says nothing

	location string // of a redirect
}

// Error implements error.
func (e *StatusError) Error() string {
	return strings.TrimSpace(fmt.Sprintf("%s: %d %s", e.Method, e.Code, e.Phrase))
}

// A request is one that waits for its answer.
type request struct {
	method string
	answer chan *wire.Response // buffered: who waited may have left
}

// Pause sends PAUSE. An answer other than 2xx is a *StatusError.
func (v *Viewer) Pause(ctx context.Context) error {
	_, err := v.must(ctx, "PAUSE", v.url, nil)
	return err
}

// Play sends PLAY with a Range, "" for none: go on where it was paused. The
// gap in numbering that the answer brings about is not counted as loss.
func (v *Viewer) Play(ctx context.Context, rang string) error {
	var h wire.Header
	if rang != "" {
		h.Add("Range", rang)
	}
	_, err := v.must(ctx, "PLAY", v.url, h)
	return err
}

// must is Request for answers other than 2xx being errors.
func (v *Viewer) must(ctx context.Context, method, uri string, h wire.Header) (*wire.Response, error) {
	res, err := v.Request(ctx, method, uri, h, nil)
	if err != nil {
		return nil, err
	}
	if res.Code < 300 {
		return res, nil
	}
	e := &StatusError{Method: method, Code: res.Code, Phrase: res.Phrase}
	if n, err := strconv.ParseUint(res.Header.Get("Retry-After"), 10, 31); err == nil {
		e.RetryAfter = time.Duration(n) * time.Second
	}
	if res.Code < 400 {
		e.location = res.Header.Get("Location")
	}
	return nil, e
}

// Request sends any request in the session and returns its answer, whatever
// that says. uri "" stands for URL. CSeq, User-Agent, Session and Authorization
// are added to the header. After a 401 it tries once more, with credentials.
//
// While Run runs, a request that is not answered within Options.Timeout leaves
// the viewer as it is. Before that it ends the viewer.
func (v *Viewer) Request(ctx context.Context, method, uri string, h wire.Header, body []byte) (*wire.Response, error) {
	if uri == "" {
		uri = v.url
	}
	req := &wire.Request{Method: method, URL: uri, Header: h, Body: body}
	res, err := v.exchange(ctx, req)
	if err == nil && res.Code == 401 && v.creds.Learn(res.Header) {
		res, err = v.exchange(ctx, req)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", method, err)
	}
	return res, nil
}

// exchange sends one request and waits for its answer.
func (v *Viewer) exchange(ctx context.Context, req *wire.Request) (*wire.Response, error) {
	ctx, cancel := context.WithTimeout(ctx, v.o.Timeout)
	defer cancel()
	cseq := int(v.cseq.Add(1))
	p := request{req.Method, make(chan *wire.Response, 1)}
	v.mu.Lock()
	v.pending[cseq] = p
	v.mu.Unlock()
	defer v.forget(cseq)

	if req.Method == "PLAY" {
		v.plays.Add(1) // over UDP, media may come before the answer
	}
	deadline, _ := ctx.Deadline()
	if err := v.write(v.dress(req, cseq).Append(nil), deadline); err != nil {
		return nil, err
	}
	return v.await(ctx, p.answer)
}

// dress returns req as it goes out.
func (v *Viewer) dress(req *wire.Request, cseq int) *wire.Request {
	h := wire.Header{{Name: "CSeq", Value: strconv.Itoa(cseq)}, {Name: "User-Agent", Value: v.o.UserAgent}}
	if v.session != "" && req.Header.Count("Session") == 0 {
		h.Add("Session", v.session)
	}
	if a := v.creds.Authorization(req.Method, req.URL); a != "" {
		h.Add("Authorization", a)
	}
	return &wire.Request{Method: req.Method, URL: req.URL, Header: append(h, req.Header...), Body: req.Body}
}

// write writes one message by one call, which net.Conn keeps in one piece. A
// message cut short leaves the server out of step, so it ends the viewer.
func (v *Viewer) write(b []byte, deadline time.Time) error {
	err := v.conn.SetWriteDeadline(deadline)
	if err == nil {
		_, err = v.conn.Write(b)
	}
	if err != nil {
		v.fail(err)
		return v.cause
	}
	return nil
}

// await waits for the answer. If nobody reads the connection, which is so
// before Run, it reads.
func (v *Viewer) await(ctx context.Context, answer <-chan *wire.Response) (*wire.Response, error) {
	select {
	case res := <-answer:
		return res, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("no answer: %w", context.Cause(ctx))
	case <-v.dead:
	case v.reading <- struct{}{}:
		defer func() { <-v.reading }()
		v.readUntil(ctx, answer)
	}
	select {
	case res := <-answer: // the last word before the connection ended
		return res, nil
	default:
		return nil, v.cause
	}
}

// readUntil returns when there is an answer, or the connection has ended. Time
// running out ends it: half a message read is of no use to the next reader.
func (v *Viewer) readUntil(ctx context.Context, answer <-chan *wire.Response) {
	stop := context.AfterFunc(ctx, func() { v.fail(fmt.Errorf("no answer: %w", context.Cause(ctx))) })
	defer stop()
	for len(answer) == 0 {
		if err := v.next(); err != nil {
			v.fail(err)
			return
		}
	}
}

func (v *Viewer) forget(cseq int) {
	v.mu.Lock()
	defer v.mu.Unlock()
	delete(v.pending, cseq)
}

// deliver hands an answer to who waits for it. Answers that came too late, or
// that nobody asked for, are dropped.
func (v *Viewer) deliver(res *wire.Response) {
	if res.Code < 200 {
		return // 100 Continue: the answer is yet to come
	}
	p, ok := v.claim(res.Header.Get("CSeq"))
	if !ok {
		return
	}
	if p.method == "PLAY" && res.Code < 300 {
		v.playAfter.CompareAndSwap(0, int64(time.Since(v.start)))
		v.played.Store(res)
		v.plays.Add(1)
	}
	p.answer <- res
}

// claim takes the request that an answer belongs to. Some servers forget CSeq
// when they refuse; that is no riddle while one request waits.
func (v *Viewer) claim(cseq string) (request, bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	n, err := strconv.Atoi(cseq)
	if cseq == "" && len(v.pending) == 1 {
		for n = range v.pending {
			err = nil
		}
	}
	p, ok := v.pending[n]
	if err != nil || !ok {
		return request{}, false
	}
	delete(v.pending, n)
	return p, true
}

// serve answers a server's request: it may ask what we can do, or whether we
// are still there.
func (v *Viewer) serve(req *wire.Request) error {
	res := &wire.Response{Code: 501, Phrase: "Not Implemented"}
	switch req.Method {
	case "OPTIONS", "GET_PARAMETER", "SET_PARAMETER":
		res.Code, res.Phrase = 200, "OK"
	}
	res.Header.Add("CSeq", req.Header.Get("CSeq"))
	if s := req.Header.Get("Session"); s != "" {
		res.Header.Add("Session", s)
	}
	return v.write(res.Append(nil), time.Now().Add(v.o.Timeout))
}
