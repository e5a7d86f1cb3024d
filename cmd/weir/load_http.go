package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// loadPatience bounds a dial, and how long a server may think about a request.
	loadPatience = 10 * time.Second
	// loadTries is how often a request may fail one time after another, until its
	// viewer gives up.
	loadTries = 4
	// loadRetry is the time between them.
	loadRetry = time.Second
	// loadTook is how many requests are remembered with their time, of all viewers.
	loadTook = 1 << 20
)

// An httpSeat is a viewer over HTTP, with connections and cookies of its own. A
// playlist is played, any other file is fetched again and again.
type httpSeat struct {
	url    *url.URL
	client *http.Client
	buf    []byte
	keep   int // requests to remember with their time
	began  time.Time
	media  bool // some has come

	bytes atomic.Uint64
	mu    sync.Mutex
	saw   loadSeen
	due   time.Time // when the next segment is to be played; zero if none is awaited
}

func newHTTPSeat(u *url.URL, secure *tls.Config, keep int) *httpSeat {
	jar, _ := cookiejar.New(nil) // it knows of no error
	return &httpSeat{url: u, keep: keep, client: &http.Client{Jar: jar, Transport: &http.Transport{
		DialContext:     (&net.Dialer{Timeout: loadPatience}).DialContext,
		TLSClientConfig: secure, ForceAttemptHTTP2: true, DisableCompression: true, MaxIdleConnsPerHost: 1,
		TLSHandshakeTimeout: loadPatience, ResponseHeaderTimeout: loadPatience,
	}}}
}

// progress implements loadSeat.
func (s *httpSeat) progress() (opened bool, bytes uint64) {
	n := s.bytes.Load()
	return n > 0, n
}

// seen implements loadSeat.
func (s *httpSeat) seen() loadSeen {
	s.mu.Lock()
	defer s.mu.Unlock()
	saw := s.saw
	saw.took = append([]time.Duration(nil), saw.took...)
	saw.errors = reasons(nil)
	for why, n := range s.saw.errors {
		saw.errors = saw.errors.with(why, n)
	}
	if now := time.Now(); !s.due.IsZero() && now.After(s.due) { // it waits
		saw.late++
		saw.waited += now.Sub(s.due)
	}
	return saw
}

// note changes what was seen.
func (s *httpSeat) note(change func(saw *loadSeen)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(&s.saw)
}

// moment notes when something was seen first.
func (s *httpSeat) moment(which int) {
	s.note(func(saw *loadSeen) {
		if saw.after[which] == 0 {
			saw.after[which] = time.Since(s.began)
		}
	})
}

// watch implements loadSeat.
func (s *httpSeat) watch(ctx context.Context) error {
	defer s.client.CloseIdleConnections()
	s.began, s.buf = time.Now(), make([]byte, warmPiece)
	first, err := s.get(ctx, wanted{url: s.url, playlist: true})
	switch {
	case err != nil:
	case first.playlist == nil:
		s.moment(loadWhole)
		err = s.again(ctx)
	default:
		err = (&hlsPlayer{httpSeat: s}).play(ctx, first)
	}
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// again fetches a file for as long as ctx lasts.
func (s *httpSeat) again(ctx context.Context) error {
	var t tries
	for ctx.Err() == nil {
		_, err := s.get(ctx, wanted{url: s.url})
		if err := t.after(ctx, err); err != nil {
			return err
		}
	}
	return nil
}

// tries counts failures that follow one another.
type tries int

// after returns an error when it is time to give up; after a failure it waits. It
// returns nil when ctx is done.
func (t *tries) after(ctx context.Context, err error) error {
	if err == nil {
		*t = 0
		return nil
	}
	if *t++; *t >= loadTries {
		return err
	}
	sleep(ctx, loadRetry)
	return nil
}

// wanted is what to ask for.
type wanted struct {
	url           *url.URL
	offset, limit int64 // bytes of it, where limit is not 0
	playlist      bool  // it may be one, which is kept
	what          string
}

// A got answer.
type got struct {
	url      *url.URL // after redirects
	playlist []byte   // nil if it is none
}

// get asks for something and takes all of it.
func (s *httpSeat) get(ctx context.Context, w wanted) (g got, err error) {
	began := time.Now()
	g, err = s.fetch(ctx, w)
	if ctx.Err() != nil {
		return g, ctx.Err()
	}
	if err != nil && w.what != "" {
		err = fmt.Errorf("%s: %w", w.what, err)
	}
	took := time.Since(began)
	s.note(func(saw *loadSeen) {
		saw.requests++
		switch {
		case err != nil:
			saw.errors = saw.errors.with(reasonOf(err, s.url), 1)
		case len(saw.took) < s.keep:
			saw.took = append(saw.took, took)
		default:
			saw.took[saw.requests%uint64(s.keep)] = took
		}
	})
	return g, err
}

func (s *httpSeat) fetch(ctx context.Context, w wanted) (g got, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	alive := time.AfterFunc(warmStall, func() { cancel(errStalled) })
	defer alive.Stop()
	res, err := s.client.Do(w.request(ctx))
	if err != nil {
		if u, ok := errors.AsType[*url.Error](err); ok {
			err = u.Err // without the URL, which may have a token
		}
		return g, err
	}
	defer res.Body.Close()
	body := &reading{ctx, res.Body, alive, &pace{}}
	if err := w.check(res); err != nil {
		return g, err
	}
	g.url = res.Request.URL
	if w.playlist && isPlaylist(res.Header.Get("Content-Type"), g.url.Path) {
		g.playlist, err = s.whole(body)
		return g, err
	}
	return g, s.discard(body)
}

func (w *wanted) request(ctx context.Context) *http.Request {
	r := (&http.Request{Method: http.MethodGet, URL: w.url, Header: http.Header{"User-Agent": {loadAgent}}}).WithContext(ctx)
	if w.limit > 0 {
		r.Header.Set("Range", fmt.Sprintf("bytes=%d-%d", w.offset, w.offset+w.limit-1))
	}
	return r
}

func (w *wanted) check(res *http.Response) error {
	want := http.StatusOK
	if w.limit > 0 {
		want = http.StatusPartialContent
	}
	if res.StatusCode == want {
		return nil
	}
	if w.limit > 0 && res.StatusCode == http.StatusOK {
		return errors.New("200 OK to a request for a range")
	}
	return errors.New(res.Status)
}

// whole reads a playlist.
func (s *httpSeat) whole(body io.Reader) ([]byte, error) {
	var b bytes.Buffer
	n, err := b.ReadFrom(io.LimitReader(body, maxPlaylist+1))
	s.bytes.Add(uint64(n))
	if err == nil && n > maxPlaylist {
		err = fmt.Errorf("too large a playlist: over %d bytes", maxPlaylist)
	}
	return b.Bytes(), err
}

// discard reads media.
func (s *httpSeat) discard(body io.Reader) error {
	for {
		n, err := body.Read(s.buf)
		s.bytes.Add(uint64(n))
		if n > 0 && !s.media {
			s.media = true
			s.moment(loadFirst)
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}
