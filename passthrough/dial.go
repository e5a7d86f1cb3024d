package passthrough

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"syscall"
	"time"

	"weir/proxy"
)

// DialRTSP implements proxy.Upstream. The next candidate is tried when a dial
// fails; a place is counted from before the dial until the link is closed. When all that
// looked alive are dead, those that looked dead are tried, for one may have come back.
func (b *Balancer) DialRTSP(ctx context.Context, w proxy.Want) (*proxy.Link, error) {
	q := query{path: w.Path, origin: w.Origin, avoid: w.Avoid}
	all, err := b.candidates(q)
	if err != nil {
		return nil, err
	}
	link, errs := b.dialAny(ctx, all, w.Path)
	if link == nil && len(errs) > 0 && ctx.Err() == nil && w.Origin == "" {
		q.avoid = slices.Clone(q.avoid)
		for _, o := range all {
			q.avoid = append(q.avoid, o.name)
		}
		if rest, err := b.candidates(q); err == nil {
			var more []error
			link, more = b.dialAny(ctx, rest, w.Path)
			errs = append(errs, more...)
		}
	}
	if link == nil {
		return nil, refusal(ctx, errs)
	}
	return link, nil
}

// beside is how long a dial may take before the next origin is dialed beside it: a packet
// that was lost has been sent again by then (RFC 6298 §2.1).
const beside = 1500 * time.Millisecond

// A race is dials of one origin after the other, until one answers: the next when the one
// before fails, or while it takes too long.
type race struct {
	b    *Balancer
	ctx  context.Context
	left []*origin // nobody has dialed them yet
	runs int       // dials under way
	done chan finish
}

// A finish is how a dial has ended.
type finish struct {
	o     *origin
	leave func()
	c     net.Conn
	err   error
}

// dialAny returns a link to the first origin that answers, nil if none does. Dials that are
// too late for that go on for as long as they may, for what they tell of their origins.
func (b *Balancer) dialAny(ctx context.Context, all []*origin, path string) (link *proxy.Link, errs []error) {
	dials, cancel := outlive(ctx)
	r := &race{b: b, ctx: dials, left: all, done: make(chan finish, len(all))}
	defer func() {
		if r.runs == 0 {
			cancel()
			return
		}
		go r.end(cancel)
	}()
	gone := context.AfterFunc(ctx, func() {
		if errors.Is(ctx.Err(), context.Canceled) { // else their own deadline has come
			cancel()
		}
	})
	defer gone()
	late := time.NewTimer(beside)
	defer late.Stop()
	r.start(true)
	for r.runs > 0 {
		select {
		case f := <-r.done:
			r.runs--
			if f.err == nil {
				return b.link(f.c.(*net.TCPConn), f.leave, f.o, path), nil
			}
			f.leave()
			errs = append(errs, f.err)
			if ctx.Err() != nil {
				continue
			}
		case <-late.C:
		}
		if r.start(false) {
			late.Reset(beside)
		}
	}
	return nil, errs
}

// start dials the next origin; false if there is none. first is for the best of them, who
// is counted on already.
func (r *race) start(first bool) bool {
	for len(r.left) > 0 {
		o := r.left[0]
		r.left = r.left[1:]
		leave, ok := o.claim(first)
		first = false
		if !ok {
			continue // others have filled it meanwhile
		}
		r.runs++
		go func() {
			c, err := r.b.connect(r.ctx, o)
			r.done <- finish{o, leave, c, err}
		}()
		return true
	}
	return false
}

// end waits for the dials that have lost.
func (r *race) end(cancel context.CancelFunc) {
	defer cancel()
	for range r.runs {
		f := <-r.done
		if f.leave(); f.err == nil {
			f.c.Close()
		}
	}
}

// outlive is a context with the deadline of another, whose end does not end it.
func outlive(ctx context.Context) (context.Context, context.CancelFunc) {
	end, ok := ctx.Deadline()
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	if !ok {
		return ctx, cancel
	}
	ctx, stop := context.WithDeadline(ctx, end)
	return ctx, func() { stop(); cancel() }
}

// A linkConn leaves its origin when it is closed.
type linkConn struct {
	*net.TCPConn
	b     *Balancer
	o     *origin
	leave func()
}

// Close implements net.Conn.
func (c *linkConn) Close() error {
	c.leave()
	c.b.parts(c.o, c)
	return c.TCPConn.Close()
}

func (b *Balancer) link(tcp *net.TCPConn, leave func(), o *origin, path string) *proxy.Link {
	c := &linkConn{tcp, b, o, leave}
	return &proxy.Link{
		Conn:   c,
		Leave:  b.joins(o, c, path),
		URL:    o.target((&url.URL{Path: path}).EscapedPath()),
		TLS:    o.tlsConfig(),
		Origin: o.name,
		Fail:   func(err error) { b.failed(o, err) },
	}
}

// A dialError is a connection that did not come about: the origin has seen
// nothing of the request.
type dialError struct {
	origin string
	err    error
}

func (e *dialError) Error() string { return fmt.Sprintf("origin %s: %v", e.origin, e.err) }
func (e *dialError) Unwrap() error { return e.err }

// connect dials an origin for a viewer, and takes note of how that went. Its
// errors are *dialError and hold no credentials.
func (b *Balancer) connect(ctx context.Context, o *origin) (net.Conn, error) {
	dctx, cancel := context.WithTimeout(ctx, b.timeout)
	defer cancel()
	c, err := b.dial(dctx, "tcp", o.addr)
	if err != nil {
		err = &dialError{o.name, err}
	}
	if !errors.Is(ctx.Err(), context.Canceled) { // else the viewer has gone, which says nothing of the origin
		b.dialed(o, err, err == nil || ctx.Err() == nil && !ours(err))
	}
	return c, err
}

// ours reports whether a dial failed because this machine has run out of files or
// ports.
func ours(err error) bool {
	return errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) || errors.Is(err, syscall.EADDRNOTAVAIL)
}
