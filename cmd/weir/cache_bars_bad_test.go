package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// A badCase is an answer of an origin, and what is right then.
type badCase struct {
	path, ranges string
	origin       func(net.Conn)
	// right tells whether the viewer has got what he should.
	right func(cacheAnswer) bool
	// is says what that is.
	is string
}

// cut reports whether the edge has broken an answer off, be it before its first byte. A
// viewer who lost his patience was not told anything.
func (a cacheAnswer) cut() bool {
	return a.err != nil && !errors.Is(a.err, context.DeadlineExceeded) && (a.status == http.StatusOK || a.status == 0)
}

func (a cacheAnswer) says(code int) bool { return a.err == nil && a.status == code }

func badGateway(a cacheAnswer) bool { return a.says(http.StatusBadGateway) }

// lame are answers that cannot be right as they stand, whatever they were meant to be. The
// viewer learns that it is not his fault (502, 504: RFC 9110 §15.6.3, §15.6.5), or, if he
// has got some of it already, by a connection that ends too early (RFC 9112 §8).
var lame = []badCase{
	{path: "/long.ts", origin: says(cacheable+"\nContent-Length: 1000", "half of it"), // closed then
		right: func(a cacheAnswer) bool { return a.cut() || badGateway(a) },
		is:    "cut off, or 502: it is less than it says"},
	{path: "/chunk.ts", origin: says(cacheable+"\nTransfer-Encoding: chunked", "5\r\nwhole\r\n"), // no last chunk
		right: func(a cacheAnswer) bool { return a.cut() || badGateway(a) },
		is:    "cut off, or 502: it has no end"},
	{path: "/chunks.ts", origin: says(cacheable+"\nTransfer-Encoding: chunked", "5\r\nwhole\r\nbanana\r\n"),
		right: func(a cacheAnswer) bool { return a.cut() || badGateway(a) },
		is:    "cut off, or 502: a chunk has no size"},
	{path: "/lengths.ts", origin: says(cacheable+"\nContent-Length: 5\nContent-Length: 10", "0123456789"),
		right: badGateway, is: "502: nobody knows where it ends (RFC 9112 §6.3)"},
	{path: "/partial.ts", origin: says("HTTP/1.1 206 Partial Content\nCache-Control: max-age=3600\nEtag: \"bad\"\nContent-Range: bytes 0-4/1000\nContent-Length: 5", "piece"),
		right: badGateway, is: "502: nobody asked for a range, and a piece must never pass for the whole (RFC 9110 §15.3.7)"},
	{path: "/banana.ts", ranges: "bytes=0-99", origin: says("HTTP/1.1 206 Partial Content\nCache-Control: max-age=3600\nEtag: \"bad\"\nContent-Range: bytes banana\nContent-Length: 100", strings.Repeat("x", 100)),
		right: badGateway, is: "502: nobody knows which bytes these are"},
	{path: "/backwards.ts", ranges: "bytes=0-99", origin: says("HTTP/1.1 206 Partial Content\nCache-Control: max-age=3600\nEtag: \"bad\"\nContent-Range: bytes 900-100/1000\nContent-Length: 100", strings.Repeat("x", 100)),
		right: badGateway, is: "502: there is no such range"},
	{path: "/elsewhere.ts", ranges: "bytes=0-99", origin: says("HTTP/1.1 206 Partial Content\nCache-Control: max-age=3600\nEtag: \"bad\"\nContent-Range: bytes 500-599/1000\nContent-Length: 100", strings.Repeat("x", 100)),
		right: badGateway, is: "502: these are not the bytes that were asked for"},
	{path: "/unasked.ts", origin: says("HTTP/1.1 304 Not Modified\nEtag: \"bad\"", ""),
		right: badGateway, is: "502: nothing was there that could be as it was"},
	{path: "/endless.ts", origin: endlessHeader,
		right: badGateway, is: "502: a header that is too long to be one"},
	{path: "/nothing.ts", origin: func(net.Conn) {},
		right: badGateway, is: "502: no answer at all"},
	{path: "/noise.ts", origin: says("SSH-2.0-OpenSSH_9.2", ""),
		right: badGateway, is: "502: that is not HTTP"},
	{path: "/silent.ts", origin: silent,
		right: func(a cacheAnswer) bool { return a.says(http.StatusGatewayTimeout) },
		is:    "504: the origin says nothing for -cache.timeout"},
	{path: "/stalled.ts", origin: func(c net.Conn) {
		says(cacheable+"\nContent-Length: 100000", strings.Repeat("x", 50000))(c)
		silent(c)
	}, right: func(a cacheAnswer) bool { return a.cut() || a.says(http.StatusGatewayTimeout) },
		is: "cut off, or 504: the origin says no more for -cache.timeout"},
}

// endlessBytes is what origins were let say in headers that never end.
var endlessBytes atomic.Int64

func endlessHeader(c net.Conn) {
	line := "X-Filler: " + strings.Repeat("y", 1000) + "\r\n"
	n, err := io.WriteString(c, "HTTP/1.1 200 OK\r\nCache-Control: max-age=3600\r\n")
	for err == nil {
		endlessBytes.Add(int64(n))
		n, err = io.WriteString(c, line)
	}
}

// TestCacheBarsLameOrigins: an origin that answers what cannot be. The viewer is told, soon,
// and nothing of it is stored: whoever comes next has the origin asked again.
func TestCacheBarsLameOrigins(t *testing.T) {
	t.Parallel()
	answers := map[string]func(net.Conn){}
	for _, c := range lame {
		answers[c.path] = c.origin
	}
	origin := startBadOrigin(t, answers)
	e := startCache(t, origin.url(), "-cache.memory", "64MiB", "-cache.timeout", "1s")
	for _, c := range lame {
		t.Run(strings.Trim(c.path, "/"), func(t *testing.T) {
			asked := 0
			for range 2 {
				var fields []string
				if c.ranges != "" {
					fields = []string{"Range", c.ranges}
				}
				a := e.get(t.Context(), c.path, fields...)
				t.Logf("%d, %d bytes, %v, after %v", a.status, len(a.body), a.err, time.Since(a.asked).Round(time.Millisecond))
				if !c.right(a) {
					t.Errorf("%d with %q…, %v; right is: %s", a.status, a.body[:min(20, len(a.body))], a.err, c.is)
				}
				if a.hit() && *cacheSubject == "weir" {
					t.Errorf("%q: a hit", a.header["Cache-Status"])
				}
				if n := origin.asked(c.path); n == asked {
					t.Error("the origin was not asked")
				} else {
					asked = n
				}
			}
		})
	}
	if n := endlessBytes.Load(); n > 32<<20 {
		t.Errorf("%d MB of header were read", n>>20)
	}
}

// TestCacheBarsSmuggledAnswer: what an origin sends behind the end of an answer belongs
// to no answer. The one before it is whole (RFC 9112 §6.3) and may well be stored: who says
// five bytes and sends five more has said five. It comes in one piece, and the connection
// is given up before the next request: what an origin sends when there is another request
// on it, nobody can tell from the answer to that (net/http looks for it as soon as the
// connection is idle).
func TestCacheBarsSmuggledAnswer(t *testing.T) {
	t.Parallel()
	dropped := make(chan struct{}, 10)
	more := strings.ReplaceAll(cacheable, "\n", "\r\n") + "\r\nContent-Length: 6\r\n\r\npoison"
	origin := startBadOrigin(t, map[string]func(net.Conn){
		"/short.ts": func(c net.Conn) {
			says(cacheable+"\nContent-Length: 5", "whole"+more)(c)
			silent(c) // the connection stays, and looks like a good one
			dropped <- struct{}{}
		},
		"/next.ts": says(cacheable+"\nContent-Length: 4", "next"),
	})
	e := startCache(t, origin.url(), "-cache.memory", "64MiB")
	for range 5 {
		e.get(t.Context(), "/short.ts", "Cache-Control", "no-cache").is(t, "short", http.StatusOK, []byte("whole"))
		select {
		case <-dropped:
		case <-time.After(20 * time.Second):
			t.Fatal("the connection is kept")
		}
		e.get(t.Context(), "/next.ts", "Cache-Control", "no-cache").is(t, "next", http.StatusOK, []byte("next"))
	}
}

// TestCacheBarsHeaderInjection: a CR, LF or NUL in a field is refused, or made a
// blank (RFC 9110 §5.5): never is it passed on for somebody else to read as the end
// of a line. It is looked for in the answer as it stands on the wire.
func TestCacheBarsHeaderInjection(t *testing.T) {
	t.Parallel()
	bad := map[string]string{
		"/cr.ts":   "X-Bad: a\rX-Evil: 1",
		"/nul.ts":  "X-Bad: a\x00b",
		"/name.ts": "X-\x00Evil: 1",
		"/tail.ts": "X-Bad: a\r\rX-Evil: 1",
	}
	answers := map[string]func(net.Conn){}
	for path, field := range bad {
		answers[path] = func(c net.Conn) {
			head := strings.ReplaceAll(cacheable, "\n", "\r\n") + "\r\n" + field + "\r\nContent-Length: 5\r\n\r\n"
			io.WriteString(c, head+"whole") //nolint:errcheck // the viewer says it
		}
	}
	origin := startBadOrigin(t, answers)
	e := startCache(t, origin.url(), "-cache.memory", "64MiB")
	for path := range bad {
		for _, when := range []string{"", " again"} {
			head := rawHead(t, strings.TrimPrefix(e.url, "http://"), path)
			t.Logf("%s%s: %q", path, when, head)
			if !strings.HasPrefix(head, "HTTP/1.1 50") && !strings.HasPrefix(head, "HTTP/1.1 200 ") {
				t.Errorf("%s%s: %q, want 502, or 200 without what is bad", path, when, head)
			}
			if plain := strings.ReplaceAll(head, "\r\n", ""); strings.ContainsAny(plain, "\r\n\x00") || strings.Contains(head, "\nX-Evil") {
				t.Errorf("%s%s: it is passed on: %q", path, when, head)
			}
		}
	}
}

// rawHead returns the header of an answer, byte by byte as it comes.
func rawHead(t *testing.T, addr, path string) string {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	must(t, err)
	defer c.Close()
	must(t, c.SetDeadline(time.Now().Add(10*time.Second)))
	fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: edge\r\nConnection: close\r\n\r\n", path)
	all, err := io.ReadAll(c)
	must(t, err)
	head, _, _ := bytes.Cut(all, []byte("\r\n\r\n"))
	return string(head)
}

// TestCacheBarsRedirect: a redirect is the viewer's to follow. Without a lifetime of
// its own it is not stored either (RFC 9110 §15.4.3).
func TestCacheBarsRedirect(t *testing.T) {
	t.Parallel()
	origin := newCacheOrigin(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/there.ts" {
			t.Error("the edge has followed")
		}
		w.Header().Set("Location", map[string]string{"/near.ts": "/there.ts", "/far.ts": "http://elsewhere.invalid/x?y"}[r.URL.Path])
		w.WriteHeader(http.StatusFound)
	})
	e := startCache(t, origin.URL, "-cache.memory", "64MiB")
	f := func(path, want string) {
		t.Helper()
		for n := range 2 {
			a := e.get(t.Context(), path)
			if !a.says(http.StatusFound) || a.header.Get("Location") != want {
				t.Errorf("%s: %d, %v, Location %q, want 302 to %q", path, a.status, a.err, a.header.Get("Location"), want)
			}
			origin.wasAsked(t, path, n+1)
		}
	}
	f("/near.ts", "/there.ts")
	f("/far.ts", "http://elsewhere.invalid/x?y")
}

// TestCacheBarsGzipBomb: what is encoded passes as it is. It is a good answer, and may be
// stored; but it is never decoded, so that its size is what came over the wire.
func TestCacheBarsGzipBomb(t *testing.T) {
	t.Parallel()
	var bomb bytes.Buffer
	z := gzip.NewWriter(&bomb)
	_, err := io.CopyN(z, zeros{}, 16<<20)
	must(t, err)
	must(t, z.Close())
	origin := newCacheOrigin(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		w.Header().Set("Content-Type", "application/dash+xml") // which the edge would like to read
		w.Header().Set("Cache-Control", "max-age=3600")
		w.Header().Set("Vary", "Accept-Encoding")
		w.Write(bomb.Bytes()) //nolint:errcheck // the viewer says it
	})
	e := startCache(t, origin.URL, "-cache.memory", "64MiB")
	f := func(fields ...string) {
		t.Helper()
		a := e.get(t.Context(), "/bomb.mpd", fields...)
		a.is(t, "the bomb", http.StatusOK, bomb.Bytes())
		if got := a.header.Get("Content-Encoding"); got != "gzip" {
			t.Errorf("Content-Encoding: %q, want gzip", got)
		}
	}
	f("Accept-Encoding", "gzip")
	f("Accept-Encoding", "gzip")
	f() // not asked for, and the origin sends it all the same
}

// zeros are without end.
type zeros struct{}

func (zeros) Read(b []byte) (int, error) {
	clear(b)
	return len(b), nil
}
