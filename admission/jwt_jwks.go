package admission

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"weir/proxy"
)

const (
	// jwksEvery is how often keys are fetched, jwksTimeout how long that may take.
	jwksEvery   = 5 * time.Minute
	jwksTimeout = 10 * time.Second
	// jwksRetryMin and jwksRetryMax bound the pause after a fetch that failed; it
	// doubles from one to the next.
	jwksRetryMin = time.Second
	jwksRetryMax = time.Minute
	// jwksUnknownEvery is the least time between the beginnings of two fetches when
	// tokens name keys that are not known: anybody can make up such a token.
	jwksUnknownEvery = 10 * time.Second
	// jwksPatience is how long such a token waits for the fetch.
	jwksPatience = 2 * time.Second
	// jwksRetryAfter is told to viewers who come before there are keys.
	jwksRetryAfter = 5 * time.Second

	maxJWKS = 1 << 20 // bytes
)

// A jwks are keys that are fetched from a URL. The last good ones go on while
// that fails.
type jwks struct {
	url     *url.URL
	client  *http.Client
	log     *zap.Logger
	changed func()

	keys  atomic.Pointer[jwtKeys]
	asked chan struct{} // a token with an unknown key wakes run up
	ended chan struct{} // closed when run has

	mu    sync.Mutex
	began time.Time     // of the last fetch
	done  chan struct{} // closed at the end of the fetch that is asked for or in progress; nil for none
	err   error         // of the last fetch

	text []byte // of the last good fetch; for the goroutine of run
}

func newJWKS(text string, algorithms []string, log *zap.Logger) (*jwks, error) {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" {
		return nil, errors.New("-admission.jwt: not a URL with a host") // err would show credentials
	}
	for _, a := range algorithms {
		if strings.HasPrefix(a, "HS") {
			return nil, fmt.Errorf("-admission.jwt-algorithms: %s is for a secret in a file, not for the public keys of a URL, with which it would let everybody in", a)
		}
	}
	client := &http.Client{
		Transport:     &http.Transport{Proxy: http.ProxyFromEnvironment, DisableKeepAlives: true}, // it is used too rarely
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return &jwks{url: u, client: client, log: log, asked: make(chan struct{}, 1), ended: make(chan struct{})}, nil
}

// get is nil before the first keys.
func (s *jwks) get() jwtKeys {
	if keys := s.keys.Load(); keys != nil {
		return *keys
	}
	return nil
}

// why says why there are no keys.
func (s *jwks) why() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return fmt.Errorf("keys for JSON Web Tokens from %s: %w", proxy.Redact(s.url), s.err)
	}
	return errJWTNoKeys
}

// run fetches keys until ctx is done. A nil jwks is one that is not configured.
func (s *jwks) run(ctx context.Context) {
	if s == nil {
		return
	}
	defer close(s.ended)
	for retry := jwksRetryMin; ctx.Err() == nil; {
		s.begin()
		err := s.fetch(ctx)
		s.end(ctx, err)
		pause := jwksEvery
		if err != nil {
			pause, retry = retry, min(2*retry, jwksRetryMax)
		} else {
			retry = jwksRetryMin
		}
		s.sleep(ctx, pause)
	}
}

func (s *jwks) sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-s.asked:
	case <-t.C:
	}
}

// begin makes the fetch that is about to begin the one that everybody waits for.
func (s *jwks) begin() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.began = time.Now()
	if s.done == nil {
		s.done = make(chan struct{})
	}
	select {
	case <-s.asked: // the timer was quicker
	default:
	}
}

func (s *jwks) end(ctx context.Context, err error) {
	if ctx.Err() != nil {
		return // those who wait see that run ends
	}
	s.mu.Lock()
	before := s.err
	s.err = err
	close(s.done)
	s.done = nil
	s.mu.Unlock()
	switch where := zap.String("url", proxy.Redact(s.url)); {
	case err != nil && before == nil:
		s.log.Warn("keys for tokens not fetched", where, zap.Error(err))
	case err == nil && before != nil:
		s.log.Info("keys for tokens fetched again", where)
	}
}

// renewed waits for a fetch, and reports whether one has ended. None is begun if
// the last began less than jwksUnknownEvery ago.
func (s *jwks) renewed() bool {
	if s == nil {
		return false
	}
	done := s.ask()
	if done == nil {
		return false
	}
	patience := time.NewTimer(jwksPatience)
	defer patience.Stop()
	select {
	case <-done:
		return true
	case <-s.ended:
	case <-patience.C:
	}
	return false
}

func (s *jwks) ask() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.done == nil {
		if time.Since(s.began) < jwksUnknownEvery {
			return nil
		}
		s.done = make(chan struct{})
		s.asked <- struct{}{} // has room: begin emptied it before done was nil again
	}
	return s.done
}

// fetch asks for the keys. What it returns has no credentials in it.
func (s *jwks) fetch(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, jwksTimeout)
	defer cancel()
	text, err := s.download(ctx)
	if err != nil {
		return withoutURL(err)
	}
	keys, err := parseJWKS(text)
	if err != nil {
		return err
	}
	s.keys.Store(&keys)
	if bytes.Equal(text, s.text) {
		return nil
	}
	s.text = text
	s.log.Info("keys for tokens fetched", zap.String("url", proxy.Redact(s.url)), zap.Int("keys", len(keys)))
	if s.changed != nil {
		s.changed()
	}
	return nil
}

func (s *jwks) download(ctx context.Context) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url.String(), nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "application/jwk-set+json, application/json") // RFC 7517 §8.5
	res, err := s.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("answers %d", res.StatusCode)
	}
	text, err := io.ReadAll(io.LimitReader(res.Body, maxJWKS+1))
	if len(text) > maxJWKS {
		return nil, fmt.Errorf("answers more than %d bytes", maxJWKS)
	}
	return text, err
}
