package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/dunglas/httpsfv"

	"weir/proxy"
)

const (
	// warmStall is how long an edge may be silent, before its answer or within it.
	warmStall = 30 * time.Second
	// warmPiece is the most read at a time, in bytes.
	warmPiece = 64 << 10
)

var errStalled = fmt.Errorf("nothing came for %v", warmStall)

// An errand is one URL to be asked for.
type errand struct {
	name  string   // as it is told
	url   *url.URL // as a viewer of the edge would have it
	depth int      // 0 from a list, 1 from a multivariant playlist, 2 from a media playlist
	err   error    // there is nothing to be asked for
}

// A fetched errand.
type fetched struct {
	errand
	bytes int64
	stock stock
	found []errand
}

// A stock is what the cache next to the viewer says it did.
type stock uint8

const (
	stockUnsaid stock = iota // there is no cache
	stockBefore              // it had it
	stockNow                 // it stores it
	stockNot                 // it does not
)

// dispatch has all errands done, and those they lead to, which come first: so few
// wait at a time, those of one playlist for each request under way. It returns when
// all are done, or soon after ctx is.
func (w *warmer) dispatch(ctx context.Context, list <-chan errand) {
	jobs, done := make(chan errand), make(chan fetched)
	var wg sync.WaitGroup
	for range w.parallel {
		wg.Go(func() { w.work(ctx, jobs, done) })
	}
	defer wg.Wait()
	defer close(jobs)
	var waiting []errand // the next one last
	busy := 0
	for list != nil || len(waiting) > 0 || busy > 0 {
		in, out, next := list, (chan<- errand)(nil), errand{}
		if n := len(waiting); n > 0 {
			in, out, next = nil, jobs, waiting[n-1]
		}
		select {
		case e, ok := <-in:
			if ok {
				waiting = append(waiting, e)
			} else {
				list = nil
			}
		case out <- next:
			waiting = waiting[:len(waiting)-1]
			busy++
		case f := <-done:
			busy--
			for _, e := range slices.Backward(f.found) {
				waiting = append(waiting, e)
			}
			w.record(f, list == nil)
		case <-ctx.Done():
			return
		}
	}
}

func (w *warmer) work(ctx context.Context, jobs <-chan errand, done chan<- fetched) {
	for e := range jobs {
		select {
		case done <- w.fetch(ctx, e):
		case <-ctx.Done():
			return
		}
	}
}

// record counts an errand and moves the bar, which is never full before the end:
// it would not move any more.
func (w *warmer) record(f fetched, listed bool) {
	t := &w.tally
	t.done++
	t.found += len(f.found)
	t.bytes += f.bytes
	if f.err == nil {
		t.stock[f.stock]++
	} else {
		t.failed++
		if len(t.failures) < warmTold {
			t.failures = append(t.failures, fmt.Sprintf("%s: %v", f.name, f.err))
		}
	}
	all := w.listed.Load() + int64(t.found)
	if !listed {
		all++
	}
	w.bar.ChangeMax64(max(all, 1))
	w.bar.Set(t.done) //nolint:errcheck // it is for show
}

// fetch asks for one URL.
func (w *warmer) fetch(ctx context.Context, e errand) (f fetched) {
	f.errand = e
	if e.err != nil {
		return f
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	alive := time.AfterFunc(warmStall, func() { cancel(errStalled) })
	defer alive.Stop()
	res, err := w.client.Do(w.request(ctx, e.url))
	if err == nil {
		defer res.Body.Close()
		f.stock = stockOf(res.Header)
		err = w.take(&f, res, &reading{ctx, res.Body, alive, &w.pace})
	}
	if err != nil {
		f.err = hinted(ctx, err, "is the edge running, and is -edge right?")
	}
	return f
}

// request asks the edge by the path, query and host name of a URL.
func (w *warmer) request(ctx context.Context, u *url.URL) *http.Request {
	at := *u
	at.Scheme, at.Host, at.User, at.Fragment = w.edge.Scheme, w.edge.Host, nil, ""
	return (&http.Request{Method: http.MethodGet, URL: &at, Host: u.Host,
		Header: http.Header{"User-Agent": {"weir warm"}}}).WithContext(ctx)
}

// take reads an answer, and what is to be followed.
func (w *warmer) take(f *fetched, res *http.Response, body io.Reader) (err error) {
	if res.StatusCode != http.StatusOK {
		return errors.New(res.Status)
	}
	var playlist bytes.Buffer
	if w.follow && f.depth < 2 && isPlaylist(res.Header.Get("Content-Type"), f.url.Path) {
		f.bytes, err = io.Copy(&playlist, io.LimitReader(body, maxPlaylist))
		if err != nil {
			return err
		}
	}
	n, err := io.Copy(io.Discard, body)
	if f.bytes += n; err == nil && n > 0 && playlist.Len() > 0 {
		return fmt.Errorf("too large a playlist to be followed: %d bytes", f.bytes)
	}
	if err == nil && playlist.Len() > 0 {
		f.found, err = links(playlist.Bytes(), f.errand)
	}
	return err
}

// stockOf reads what the cache next to the viewer says (RFC 9211 §2).
func stockOf(h http.Header) stock {
	list, err := httpsfv.UnmarshalList(h["Cache-Status"])
	if err != nil || len(list) == 0 {
		return stockUnsaid
	}
	cache, ok := list[len(list)-1].(httpsfv.Item)
	if !ok {
		return stockUnsaid
	}
	says := func(param string, v any) bool {
		got, _ := cache.Params.Get(param)
		return got == v
	}
	switch {
	case says("hit", true), says("fwd-status", int64(http.StatusNotModified)):
		return stockBefore
	case says("stored", true):
		return stockNow
	}
	return stockNot
}

// newWarmClient takes answers as they are: a redirect may lead to another server,
// and what is stored is what a viewer gets who takes no coding.
func newWarmClient(parallel int) *http.Client {
	return &http.Client{
		Transport:     &http.Transport{MaxIdleConnsPerHost: parallel, DisableCompression: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// A reading is a body that is read at a pace, and whose edge must not be silent.
type reading struct {
	ctx   context.Context // of the request; a Reader is given none
	body  io.Reader
	alive *time.Timer
	pace  *pace
}

func (r *reading) Read(b []byte) (int, error) {
	r.alive.Reset(warmStall)
	n, err := r.body.Read(b[:min(len(b), warmPiece)])
	r.alive.Stop()
	if waitErr := r.pace.wait(r.ctx, n); err == nil {
		err = waitErr
	}
	return n, err
}

// A pace is an average rate for several readers. Its methods may be called by any
// goroutine.
type pace struct {
	rate proxy.BitRate // 0: no limit

	mu   sync.Mutex
	free time.Time // when what was read so far is paid for
}

// wait is for who has read n bytes. It returns when he may read more.
func (p *pace) wait(ctx context.Context, n int) error {
	if p.rate == 0 || n == 0 {
		return nil
	}
	now := time.Now()
	p.mu.Lock()
	if p.free.Before(now) {
		p.free = now
	}
	p.free = p.free.Add(time.Duration(float64(n) * 8 / float64(p.rate) * float64(time.Second)))
	t := time.NewTimer(p.free.Sub(now))
	p.mu.Unlock()
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
