package passthrough

import (
	"bufio"
	"context"
	"io"
	"slices"

	"go.uber.org/zap"

	"weir/proxy"
	"weir/proxy/wire"
)

// read serves the origin's side until it ends, and then brings the sessions that
// are left to another origin: what knows of their media is this goroutine's.
func (l *leg) read(ctx, life context.Context) {
	defer close(l.done)
	defer l.abort()
	m, err := l.serve(ctx, life)
	if m != nil {
		l.quit(m)
	}
	l.fail(err)
	l.release()
	l.shut()
	l.move(ctx, life, m)
}

// serve reads until the connection ends, or the sessions are to leave it: then
// there is a move that has found another.
func (l *leg) serve(ctx, life context.Context) (*move, error) {
	for {
		err := l.next()
		if woken(err) {
			if m := l.turn(ctx, life); m != nil {
				return m, m.cause
			}
		} else if err != nil {
			return nil, err
		}
	}
}

// next takes what comes next: media in place, or a message.
func (l *leg) next() error {
	if err := l.open(); err != nil {
		return err
	}
	b, err := l.in.Peek(1)
	if err != nil {
		return err
	}
	if b[0] == '$' {
		return l.media()
	}
	var m any
	l.gather.undisturbed(func() { m, err = l.in.msgs.Next() })
	if woken(err) { // what has been read of it is lost
		return io.ErrUnexpectedEOF
	} else if err != nil {
		return err
	}
	switch m := m.(type) {
	case *wire.Response:
		l.response(m)
	case *wire.Request:
		l.asked(m)
	case *wire.Frame: // behind a blank line
		l.handOn(m.Channel, m.Payload)
	}
	return nil
}

// An inbox is a buffer to read into. Legs share a pool of them: one is held from
// when there is something to read until all that has been read is dealt with. It
// is then still in the processor's cache for the next leg.
type inbox struct {
	*bufio.Reader
	msgs *wire.Reader
}

func newInbox() any {
	br := bufio.NewReaderSize(nil, readBuffer)
	return &inbox{br, wire.NewReader(br)}
}

// open waits for something to read, and then has a buffer for it.
func (l *leg) open() error {
	if l.in != nil && l.in.Buffered() > 0 {
		return nil
	}
	l.shut()
	if err := l.gather.ready(); err != nil {
		return err
	}
	l.in = l.r.inboxes.Get().(*inbox)
	l.in.Reset(l.gather)
	return nil
}

// shut gives the buffer back.
func (l *leg) shut() {
	if l.in != nil {
		l.in.Reset(nil)
		l.r.inboxes.Put(l.in)
		l.in = nil
	}
}

// response finds the request that an answer is for, by its number, or by its
// place where an origin gives none.
func (l *leg) response(res *wire.Response) {
	if res.Code < 200 { // 100 Continue says nothing
		return
	}
	l.mu.Lock()
	l.answers++
	i := 0
	if n := res.Header.Get("CSeq"); n != "" {
		i = slices.IndexFunc(l.pending, func(ex *exchange) bool { return ex.cseq == n })
	}
	if i < 0 || i >= len(l.pending) {
		l.mu.Unlock()
		l.log.Debug("answer to no question", zap.Int("code", res.Code))
		return
	}
	ex := l.pending[i]
	l.pending = slices.Delete(l.pending, i, i+1)
	switch l.patience.Stop(); {
	case len(l.pending) > 0:
		l.patience.Reset(l.r.opt.Timeout)
	case l.quiet != nil:
		close(l.quiet)
		l.quiet = nil
	}
	l.mu.Unlock()
	switch {
	case res.Code == 401 && !ex.again && l.creds.Learn(res.Header):
		ex.again = true
		if err := l.send(ex); err != nil {
			l.give(ex, outcome{err: err})
		}
	case res.Code == 401 && l.own: // it is the edge that was not let in
		l.give(ex, outcome{err: &proxy.Refusal{Reason: proxy.OriginRefused}})
	case l.keeps(ex, res):
	default:
		l.give(ex, outcome{res: res})
	}
}

// give brings an outcome to whoever waits for it.
func (l *leg) give(ex *exchange, o outcome) {
	if ex.heed != nil && o.err == nil {
		ex.heed(o.res)
	}
	switch {
	case ex.done != nil:
		ex.done <- o
		return
	case ex.conn == nil:
		return
	case o.err == nil:
		o.err = l.answered(ex, o.res)
	}
	if o.err != nil {
		ex.conn.refuse(ex, proxy.Refused(o.err))
	}
}
