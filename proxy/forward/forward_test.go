package forward_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/textproto"
	"strconv"
	"strings"
	"testing"

	"weir/proxy"
	"weir/proxy/proxytest"
)

func TestBodiesOfAnyLengthPassBothWays(t *testing.T) {
	echo := func(w http.ResponseWriter, r *http.Request) {
		if err := http.NewResponseController(w).EnableFullDuplex(); err != nil {
			t.Error(err)
		}
		if r.ContentLength >= 0 {
			w.Header().Set("Content-Length", strconv.FormatInt(r.ContentLength, 10))
		}
		_, _ = io.Copy(w, r.Body)
	}
	f := func(n int, chunked, http2 bool) {
		t.Helper()
		e := startEdge(t, newHandler(t, upstream(t, echo), 0), http2)
		want := bytes.Repeat([]byte("0123456789abcdef"), n/16)
		var body io.Reader = bytes.NewReader(want)
		if chunked {
			body = io.MultiReader(body)
		}
		res := e.do(t, "POST", "/echo", body)
		if got := readAll(t, res.Body); got != string(want) {
			t.Errorf("%d bytes, chunked %v, HTTP/2 %v: %d came back", n, chunked, http2, len(got))
		}
		if known := res.ContentLength >= 0; known == chunked && n > 1<<20 {
			t.Errorf("%d bytes, chunked %v: Content-Length %d", n, chunked, res.ContentLength)
		}
		if sent := <-e.sent; sent != n {
			t.Errorf("%d bytes counted, want %d", sent, n)
		}
	}
	for _, http2 := range []bool{false, true} {
		f(0, false, http2)
		f(16, false, http2)
		f(16, true, http2)
		f(32<<20, false, http2)
		f(32<<20, true, http2)
	}
}

// What one side says, the other hears before anything more is said.
func TestEachChunkLeavesAtOnce(t *testing.T) {
	f := func(http2 bool, length string) {
		t.Helper()
		next := make(chan struct{})
		e := startEdge(t, newHandler(t, upstream(t, func(w http.ResponseWriter, r *http.Request) {
			if length != "" {
				w.Header().Set("Content-Length", length)
			}
			rc := http.NewResponseController(w)
			_ = rc.Flush() // the header alone
			for i := range 3 {
				<-next
				fmt.Fprintf(w, "chunk %d", i)
				_ = rc.Flush()
			}
		}), 0), http2)
		res := e.do(t, "GET", "/live.mp3", nil)
		for i := range 3 {
			next <- struct{}{}
			b := make([]byte, len("chunk 0"))
			if _, err := io.ReadFull(res.Body, b); err != nil || string(b) != fmt.Sprintf("chunk %d", i) {
				t.Fatalf("read %q, %v", b, err)
			}
		}
	}
	f(false, "")
	f(true, "")
	f(false, "21")
	f(true, "21")
}

func TestTrailersPass(t *testing.T) {
	e := newEdge(t, func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		if r.Header.Get("Te") == "trailers" {
			w.Header().Set("Trailer", "X-Announced")
			defer w.Header().Set("X-Announced", "yes")
		}
		fmt.Fprintf(w, "%s %s", b, r.Trailer.Get("X-Sum"))
		w.Header().Set(http.TrailerPrefix+"X-Surprise", "yes")
	})
	req, err := http.NewRequest("POST", e.URL+"/x", io.MultiReader(strings.NewReader("body")))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("TE", "trailers")
	req.Trailer = http.Header{"X-Sum": {"42"}}
	res := e.send(t, req)
	if got := readAll(t, res.Body); got != "body 42" {
		t.Errorf("the origin read %q", got)
	}
	if res.Trailer.Get("X-Announced") != "yes" || res.Trailer.Get("X-Surprise") != "yes" {
		t.Errorf("trailers = %v", res.Trailer)
	}
}

func TestRangesAndConditionsAreTheOrigins(t *testing.T) {
	content := strings.Repeat("0123456789", 1000)
	e := newEdge(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Etag", `"v1"`)
		http.ServeContent(w, r, "a.ts", proxytestTime, strings.NewReader(content))
	})
	f := func(code int, contentRange, body string, header ...string) {
		t.Helper()
		res := e.do(t, "GET", "/a.ts", nil, header...)
		if got := readAll(t, res.Body); res.StatusCode != code || res.Header.Get("Content-Range") != contentRange || body != "*" && got != body {
			t.Errorf("%v: %d, Content-Range %q, body %.40q", header, res.StatusCode, res.Header.Get("Content-Range"), got)
		}
	}
	f(206, "bytes 5-14/10000", "5678901234", "Range", "bytes=5-14")
	f(206, "bytes 9999-9999/10000", "9", "Range", "bytes=-1")
	f(206, "", "*", "Range", "bytes=0-1,5-6")
	f(416, "bytes */10000", "*", "Range", "bytes=20000-")
	f(200, "", content, "Range", "bytes=0-1", "If-Range", `"v2"`)
	f(304, "", "", "If-None-Match", `"v1"`)
	f(412, "", "*", "If-Match", `"v2"`)
}

func TestHeadersPass(t *testing.T) {
	e := newEdge(t, func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Date", "Mon, 02 Jan 2006 15:04:05 GMT")
		h.Set("Server", "origin/1")
		h.Set("Content-Length", "1234")
		h["Content-Type"] = nil
		h["Set-Cookie"] = []string{"a=1", "b=2"}
		h.Set("Asked", fmt.Sprint(r.Method, r.Host, r.URL, r.UserAgent(), r.Header.Get("Connection")))
	})
	res := e.do(t, "HEAD", "/x%20y?a;b=%zz&c", nil, "User-Agent", "", "Connection", "close")
	want := "HEAD" + e.Listener.Addr().String() + "/x%20y?a;b=%zz&c"
	if got := res.Header.Get("Asked"); got != want {
		t.Errorf("the origin was asked %q, want %q", got, want)
	}
	if h := res.Header; h.Get("Date") != "Mon, 02 Jan 2006 15:04:05 GMT" || h.Get("Server") != "origin/1" || res.ContentLength != 1234 ||
		len(h["Set-Cookie"]) != 2 || h["Content-Type"] != nil || h.Get("Via") != "1.1 weir-a" {
		t.Errorf("answer = %d bytes, %v", res.ContentLength, h)
	}
}

func TestContinueComesFromTheOrigin(t *testing.T) {
	f := func(path string, wantContinue bool, wantCode int) {
		t.Helper()
		asked := make(chan struct{}, 1)
		e := newEdge(t, func(w http.ResponseWriter, r *http.Request) {
			asked <- struct{}{}
			if path == "/refused" {
				w.WriteHeader(http.StatusExpectationFailed)
				return
			}
			_, _ = io.Copy(w, r.Body)
		})
		c := e.raw(t)
		fmt.Fprintf(c, "POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n", path)
		<-asked // before a byte of the body was sent
		br := bufio.NewReader(c)
		line, err := br.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.HasPrefix(line, "HTTP/1.1 100 "); got != wantContinue {
			t.Errorf("%s: first line %q", path, line)
		}
		if !wantContinue {
			return
		}
		_, _ = br.ReadString('\n')
		fmt.Fprint(c, "body")
		res, err := http.ReadResponse(br, nil)
		if err != nil {
			t.Fatal(err)
		}
		if got := readAll(t, res.Body); res.StatusCode != wantCode || got != "body" {
			t.Errorf("%s: %d %q", path, res.StatusCode, got)
		}
	}
	f("/taken", true, 200)
	f("/refused", false, 417)
}

func TestEarlyHintsPass(t *testing.T) {
	f := func(http2 bool) {
		t.Helper()
		hinted := make(chan struct{})
		e := startEdge(t, newHandler(t, upstream(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Link", "</seg1.ts>; rel=preload")
			w.WriteHeader(http.StatusEarlyHints)
			<-hinted // the viewer has it while the answer is still being made
			w.Header().Del("Link")
			_, _ = io.WriteString(w, "done")
		}), 0), http2)
		req, err := http.NewRequest("GET", e.URL+"/x", nil)
		if err != nil {
			t.Fatal(err)
		}
		trace := &httptrace.ClientTrace{Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
			if code == 103 && h.Get("Link") != "" {
				close(hinted)
			}
			return nil
		}}
		res := e.send(t, req.WithContext(httptrace.WithClientTrace(t.Context(), trace)))
		if got := readAll(t, res.Body); got != "done" || res.Header.Get("Link") != "" {
			t.Errorf("%q, Link %q", got, res.Header.Get("Link"))
		}
	}
	f(false)
	f(true)
}

func TestHTTP2Viewer(t *testing.T) {
	e := startEdge(t, newHandler(t, upstream(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Keep-Alive", "timeout=5")
		fmt.Fprint(w, r.Proto, " ", r.Header.Get("Via"), " ", r.Header.Get("X-Forwarded-Proto"))
	}), 0), true)
	res := e.do(t, "GET", "/x", nil)
	if got := readAll(t, res.Body); got != "HTTP/1.1 2.0 weir-a https" || res.ProtoMajor != 2 {
		t.Errorf("HTTP/%d: the origin saw %q", res.ProtoMajor, got)
	}
	if res.Header.Get("Keep-Alive") != "" || res.Header.Get("Connection") != "" {
		t.Errorf("header = %v", res.Header)
	}
}

func TestLoopEnds(t *testing.T) {
	e := newEdge(t, func(http.ResponseWriter, *http.Request) { t.Error("the origin was asked") })
	if res := e.do(t, "GET", "/x", nil, "Via", "1.1 weir-a, 1.1 weir-b"); res.StatusCode != http.StatusLoopDetected {
		t.Errorf("status = %s, want 508", res.Status)
	}
}

func TestMaxForwards(t *testing.T) {
	e := newEdge(t, func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.Header.Get("Max-Forwards")) })
	f := func(method, hops string, code int, body string) {
		t.Helper()
		res := e.do(t, method, "/x", nil, "Max-Forwards", hops)
		if got := readAll(t, res.Body); res.StatusCode != code || code == 200 && got != body {
			t.Errorf("%s, Max-Forwards %s: %d %q, want %d %q", method, hops, res.StatusCode, got, code, body)
		}
	}
	f("OPTIONS", "3", 200, "2")
	f("OPTIONS", "0", 204, "")
	f("TRACE", "0", 501, "")
	f("OPTIONS", "x", 400, "")
	f("GET", "0", 200, "0")
}

func TestErrorsOfTheUpstream(t *testing.T) {
	f := func(err error, code int, retry string) {
		t.Helper()
		up := &proxytest.Upstream{RoundTripFunc: func(*http.Request) (*http.Response, error) { return nil, err }}
		e := startEdge(t, newHandler(t, up, 0), false)
		res := e.do(t, "GET", "/x", nil)
		if b := readAll(t, res.Body); res.StatusCode != code || res.Header.Get("Retry-After") != retry || strings.Contains(b, "secret") {
			t.Errorf("%v: %d, Retry-After %q, %q", err, res.StatusCode, res.Header.Get("Retry-After"), b)
		}
	}
	f(&proxy.Refusal{Reason: proxy.NoOrigin, Err: errors.New("secret")}, 404, "")
	f(&proxy.Refusal{Reason: proxy.OriginBad}, 502, "")
	f(errors.New("secret"), 503, "5")
}

// An answer that breaks off is never a clean end, over a socket or in process.
func TestBrokenAnswerIsVisible(t *testing.T) {
	f := func(length string) {
		t.Helper()
		f := newHandler(t, upstream(t, func(w http.ResponseWriter, r *http.Request) {
			if length != "" {
				w.Header().Set("Content-Length", length)
			}
			_, _ = io.WriteString(w, "half")
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		}), 0)
		for _, http2 := range []bool{false, true} {
			res := startEdge(t, f, http2).do(t, "GET", "/x", nil)
			if b, err := io.ReadAll(res.Body); err == nil || string(b) != "half" {
				t.Errorf("length %q, HTTP/2 %v: read %q and a clean end", length, http2, b)
			}
		}
		res, err := proxy.Fetch(rung{f}).RoundTrip(httptest.NewRequest("GET", "/x", nil))
		if err != nil {
			t.Fatal(err)
		}
		if b, err := io.ReadAll(res.Body); err == nil {
			t.Errorf("length %q, in process: read %q and a clean end", length, b)
		}
	}
	f("")
	f("8")
}
