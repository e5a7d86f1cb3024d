package main

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
)

// A cacheOrigin remembers what it was asked.
type cacheOrigin struct {
	*httptest.Server
	mu  sync.Mutex
	got []*http.Request
}

// newCacheOrigin serves until the test ends.
func newCacheOrigin(t testing.TB, h http.HandlerFunc) *cacheOrigin {
	o := &cacheOrigin{}
	o.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/ready" { // rivals are asked for it until they answer
			http.NotFound(w, r)
			return
		}
		o.mu.Lock()
		o.got = append(o.got, r.Clone(context.WithoutCancel(r.Context())))
		o.mu.Unlock()
		h(w, r)
	}))
	t.Cleanup(o.Close)
	return o
}

// asked returns the requests for a path so far.
func (o *cacheOrigin) asked(path string) (got []*http.Request) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, r := range o.got {
		if r.URL.Path == path {
			got = append(got, r)
		}
	}
	return got
}

// wasAsked fails the test unless that path was asked for so often.
func (o *cacheOrigin) wasAsked(t *testing.T, path string, want int) {
	t.Helper()
	got := o.asked(path)
	if len(got) == want {
		return
	}
	var what []string
	for _, r := range got {
		what = append(what, fmt.Sprint(r.Method, " ", r.URL.RawQuery, " ", r.Header.Get("Range"), r.Header.Get("If-None-Match")))
	}
	t.Errorf("%s: %d requests at the origin, want %d: %q", path, len(got), want, what)
}

// A pattern is content of which no two pieces are alike, and none is like any of
// another seed: what is cut, mixed or misplaced shows. It costs nearly nothing, and
// nothing is stored.
type pattern struct {
	size   int64
	at     int64
	key    cipher.Block
	stream cipher.Stream // nil: after a Seek
}

func newPattern(seed string, size int64) *pattern {
	sum := sha256.Sum256([]byte(seed))
	key, err := aes.NewCipher(sum[:16])
	if err != nil {
		panic(fmt.Sprintf("BUG: %v", err))
	}
	return &pattern{size: size, key: key}
}

// patternOf is a pattern from one byte up to another.
func patternOf(seed string, from, to int64) []byte {
	p, b := newPattern(seed, to), make([]byte, to-from)
	p.at = from
	p.Read(b) //nolint:errcheck // there is so much
	return b
}

// Read implements io.Reader.
func (p *pattern) Read(b []byte) (int, error) {
	if p.at >= p.size {
		return 0, io.EOF
	}
	if p.stream == nil {
		var iv [aes.BlockSize]byte
		binary.BigEndian.PutUint64(iv[8:], uint64(p.at/aes.BlockSize))
		p.stream = cipher.NewCTR(p.key, iv[:])
		skip := make([]byte, p.at%aes.BlockSize)
		p.stream.XORKeyStream(skip, skip)
	}
	b = b[:min(int64(len(b)), p.size-p.at)]
	clear(b)
	p.stream.XORKeyStream(b, b)
	p.at += int64(len(b))
	return len(b), nil
}

// Seek implements io.Seeker.
func (p *pattern) Seek(offset int64, whence int) (int64, error) {
	p.at = offset + map[int]int64{io.SeekCurrent: p.at, io.SeekEnd: p.size}[whence]
	p.stream = nil
	return p.at, nil
}
