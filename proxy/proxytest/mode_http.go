package proxytest

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"runtime/debug"
	"strings"
	"testing"
	"time"

	"weir/proxy"
)

func httpIsAnswered(t testing.TB, build build) {
	r := start(t, build, nil, nil)
	defer r.stop()
	for _, path := range []string{
		"/", "/nobody-knows", "/folder/", "/a/b/c.m3u8", "/a.ts", "/two words", "/%2e%2e", "/50%", "/ü/\u2028",
		"/a?b#c", "/a;b=c", "/:80", "/trackID=0", "/cam/trackID=x", "/...", "/-", "/" + strings.Repeat("a", 1023),
	} {
		r.getHTTP(http.MethodGet, path)
	}
	for _, method := range []string{http.MethodHead, http.MethodPost, http.MethodPut, http.MethodDelete, http.MethodOptions, "PROPFIND"} {
		r.getHTTP(method, "/nobody-knows")
	}
}

// getHTTP asks for a canonical path and returns the answer's code. Every answer
// will do, but there must be one.
func (r *rig) getHTTP(method, path string) int {
	r.t.Helper()
	v := &proxy.Viewer{Addr: netip.MustParseAddrPort("127.0.0.1:40000"), Protocol: "http", Path: strings.TrimSuffix(path, "/")}
	if v.Path == "" {
		v.Path = "/"
	}
	ctx, cancel := context.WithCancel(proxy.WithViewer(context.Background(), v))
	defer cancel()
	req := (&http.Request{
		Method: method, URL: &url.URL{Path: path}, RequestURI: (&url.URL{Path: path}).EscapedPath(),
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: http.Header{}, Body: http.NoBody,
		Host: "edge.example", RemoteAddr: v.Addr.String(),
	}).WithContext(ctx)
	rec := &httptest.ResponseRecorder{HeaderMap: http.Header{}, Body: new(bytes.Buffer)} // Code is 0 until one is set
	panicked := make(chan string, 1)
	go serveHTTP(r.mode, rec, req, panicked)
	select {
	case p := <-panicked:
		if p != "" {
			r.t.Errorf("%s %.60q panics: %s", method, path, p)
		} else if rec.Code == 0 {
			r.t.Errorf("%s %.60q is answered by nobody", method, path)
		}
	case <-time.After(answerIn):
		r.t.Fatalf("%s %.60q is not answered within %v", method, path, answerIn)
	}
	return rec.Code
}

// serveHTTP reports how the handler panicked, "" if it did not.
func serveHTTP(h http.Handler, w http.ResponseWriter, req *http.Request, panicked chan<- string) {
	defer func() { panicked <- describePanic(recover()) }()
	h.ServeHTTP(w, req)
}

func describePanic(p any) string {
	if p == nil || p == http.ErrAbortHandler { // the latter is net/http's way to cut an answer
		return ""
	}
	return fmt.Sprintf("%v\n%s", p, debug.Stack())
}

// httpTickets: how long a place lasts is the mode's business, but not longer
// than the mode.
func httpTickets(t testing.TB, build build) {
	r := start(t, build, &Upstream{RoundTripFunc: hello}, nil)
	for range 3 {
		r.getHTTP(http.MethodGet, "/hello.ts")
	}
	r.stop()
	r.ticketsClosed()
	refused := start(t, build, &Upstream{RoundTripFunc: hello}, &Gate{RefuseAdmit: &proxy.Refusal{Reason: proxy.Full}})
	refused.getHTTP(http.MethodGet, "/hello.ts")
	refused.stop()
}

func hello(req *http.Request) (*http.Response, error) {
	if req.Body != nil {
		req.Body.Close() //nolint:errcheck // http.RoundTripper's duty
	}
	const body = "hello"
	return &http.Response{
		Status: "200 OK", StatusCode: http.StatusOK, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{"Content-Type": {"text/plain"}}, ContentLength: int64(len(body)),
		Body: io.NopCloser(strings.NewReader(body)), Request: req,
	}, nil
}

// ticketsClosed fails the test unless every ticket given has come back.
func (r *rig) ticketsClosed() {
	r.t.Helper()
	Eventually(r.t, patience, "every ticket is closed", func() bool {
		for _, ticket := range r.gate.Tickets() {
			if ticket.Closes() == 0 {
				return false
			}
		}
		return true
	})
}
