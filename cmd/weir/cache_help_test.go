package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"flag"
	"io"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"weir/proxy/proxytest"
)

// cacheSubject lets the tests of the cache try another server: it shows what others
// do, and that the tests see it.
var cacheSubject = flag.String("cache", "weir", "TestCache…: the `server` that is tested: weir, nginx or varnish")

// A cacheEdge is a process that caches what an origin has.
type cacheEdge struct {
	url    string // http://host:port
	admin  string // host:port; Weir's only
	cmd    *exec.Cmd
	viewer *http.Client
	output *cacheOutput
	killed bool
}

// startCache runs the edge in front of an origin's URL until the test ends. Then it
// must end well, and must not have seen a data race.
func startCache(t testing.TB, origin string, flags ...string) *cacheEdge {
	t.Helper()
	addr := proxytest.ClosedAddr(t)
	e := &cacheEdge{url: "http://" + addr, admin: proxytest.ClosedAddr(t), output: &cacheOutput{}}
	ready := "http://" + e.admin + "/readyz"
	switch *cacheSubject {
	case "weir": // TestMain has put it into PATH
		e.cmd = exec.Command("weir", append([]string{"-mode", "cache", "-http", addr, "-rtsp", "", "-admin", e.admin,
			"-origin", origin, "-origin.check", "0", "-drain.notice", "0s", "-log.level", "warn"}, flags...)...)
	default:
		e.cmd, ready = cacheRival(t, *cacheSubject, addr, origin, flags), e.url+"/ready"
	}
	e.run(t, ready)
	return e
}

// run starts the process and waits until it answers.
func (e *cacheEdge) run(t testing.TB, ready string) {
	t.Helper()
	e.viewer = &http.Client{
		Transport:     &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 64},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	e.cmd.Stdout, e.cmd.Stderr = e.output, e.output
	if err := e.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.end(t) })
	proxytest.Eventually(t, 20*time.Second, "an edge that answers", func() bool {
		res, err := e.viewer.Get(ready)
		if err == nil {
			res.Body.Close()
		}
		return err == nil
	})
}

// kill ends the process as a power cut would.
func (e *cacheEdge) kill(t *testing.T) {
	t.Helper()
	must(t, e.cmd.Process.Kill())
	e.killed = true
	e.cmd.Wait() //nolint:errcheck // it was killed
	e.viewer.CloseIdleConnections()
}

func (e *cacheEdge) end(t testing.TB) {
	e.viewer.CloseIdleConnections()
	var err error
	if !e.killed {
		e.cmd.Process.Signal(os.Interrupt) //nolint:errcheck // Wait tells
		last := time.AfterFunc(20*time.Second, func() { e.cmd.Process.Kill() })
		err = e.cmd.Wait()
		last.Stop()
	}
	if said := e.output.String(); err != nil || t.Failed() || strings.Contains(said, "DATA RACE") || strings.Contains(said, "panic") {
		t.Errorf("the edge ended with %v and said:\n%s", err, said)
	}
}

// A cacheOutput is what a process says; only its end is kept.
type cacheOutput struct {
	mu sync.Mutex
	b  []byte
}

func (o *cacheOutput) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.b = append(o.b, b...)
	o.b = o.b[max(0, len(o.b)-64<<10):]
	return len(b), nil
}

func (o *cacheOutput) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return string(o.b)
}

// A cacheAnswer is what a viewer got, and when.
type cacheAnswer struct {
	status      int
	header      http.Header
	body        []byte
	err         error         // it broke off, or there was none
	asked       time.Time     // when the viewer began to ask
	first, last time.Duration // since then, of the body
}

// hit reports whether the edge says that it did not ask the origin (RFC 9211 §2.1).
// Others than Weir do not say.
func (a cacheAnswer) hit() bool {
	return *cacheSubject != "weir" || strings.Contains(a.header.Get("Cache-Status"), "; hit")
}

// is fails the test unless the answer is whole and exactly this.
func (a cacheAnswer) is(t *testing.T, what string, status int, body []byte) {
	t.Helper()
	if a.err != nil || a.status != status || !bytes.Equal(a.body, body) {
		t.Errorf("%s: %d with %d bytes, %v; want %d with %d bytes (the same up to %d)",
			what, a.status, len(a.body), a.err, status, len(body), common(a.body, body))
	}
}

// common is the length of what two begin with alike.
func common(a, b []byte) int {
	n := min(len(a), len(b))
	for i := range n {
		if a[i] != b[i] {
			return i
		}
	}
	return n
}

// get asks for a path; fields are names and values of the request's header. Any
// goroutine may call it.
func (e *cacheEdge) get(ctx context.Context, path string, fields ...string) cacheAnswer {
	return e.ask(ctx, http.MethodGet, path, fields...)
}

func (e *cacheEdge) ask(ctx context.Context, method, path string, fields ...string) (a cacheAnswer) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, e.url+path, nil)
	if err != nil {
		return cacheAnswer{err: err}
	}
	for pair := range slices.Chunk(fields, 2) {
		req.Header.Set(pair[0], pair[1])
	}
	a.asked = time.Now()
	res, err := e.viewer.Do(req)
	if err != nil {
		a.err = err
		return a
	}
	defer res.Body.Close()
	a.status, a.header = res.StatusCode, res.Header
	one := make([]byte, 1)
	n, err := io.ReadFull(res.Body, one)
	a.first = time.Since(a.asked)
	if err == nil {
		a.body, err = io.ReadAll(res.Body)
		a.body = append(one[:n:n], a.body...)
	}
	a.last = time.Since(a.asked)
	if !errors.Is(err, io.EOF) { // an empty body is whole, too
		a.err = err
	}
	return a
}

// cacheFlag returns the value of one of Weir's flags, for servers that know it by
// another name.
func cacheFlag(flags []string, name, otherwise string) string {
	if i := slices.Index(flags, name); i >= 0 {
		return cmp.Or(flags[i+1], otherwise)
	}
	return otherwise
}
