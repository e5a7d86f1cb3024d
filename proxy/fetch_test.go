package proxy_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"weir/proxy"
)

// handler is a proxy.Handler of HTTP only.
type handler struct{ http.HandlerFunc }

func (handler) ServeRTSP(context.Context, *proxy.RTSPConn) {}

func fetch(t *testing.T, ctx context.Context, method string, body io.Reader, h http.HandlerFunc) (*http.Response, error) {
	t.Helper()
	req, err := http.NewRequestWithContext(ctx, method, "/x", body)
	if err != nil {
		t.Fatal(err)
	}
	return proxy.Fetch(handler{h}).RoundTrip(req)
}

func get(t *testing.T, h http.HandlerFunc) *http.Response {
	t.Helper()
	res, err := fetch(t, t.Context(), http.MethodGet, nil, h)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { res.Body.Close() })
	return res
}

func readAll(t *testing.T, r io.Reader) string {
	t.Helper()
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatalf("read %q: %v", b, err)
	}
	return string(b)
}

func TestFetchAnswers(t *testing.T) {
	f := func(code int, status, body string, h http.HandlerFunc) {
		t.Helper()
		res := get(t, h)
		if got := readAll(t, res.Body); res.StatusCode != code || res.Status != status || got != body {
			t.Errorf("%d %q, body %q, want %d %q, %q", res.StatusCode, res.Status, got, code, status, body)
		}
	}
	f(200, "200 OK", "", func(http.ResponseWriter, *http.Request) {})
	f(200, "200 OK", "hello", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello") })
	f(404, "404 Not Found", "gone\n", func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "gone", 404) })
	f(206, "206 Partial Content", "", func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusEarlyHints) // for the wire only
		w.WriteHeader(206)
		w.WriteHeader(500) // too late
	})
}

func TestFetchStreams(t *testing.T) {
	next := make(chan struct{})
	res := get(t, func(w http.ResponseWriter, _ *http.Request) {
		for range 3 {
			_, _ = io.WriteString(w, "part")
			<-next
		}
	})
	for range 3 {
		b := make([]byte, 4)
		if _, err := io.ReadFull(res.Body, b); err != nil || string(b) != "part" {
			t.Fatalf("read %q, %v", b, err)
		}
		next <- struct{}{} // the handler has not gone on before this
	}
	if rest := readAll(t, res.Body); rest != "" {
		t.Errorf("rest = %q", rest)
	}
}

func TestFetchFlushBeginsTheAnswer(t *testing.T) {
	release := make(chan struct{})
	res := get(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("A", "1")
		if err := http.NewResponseController(w).Flush(); err != nil {
			t.Error(err)
		}
		<-release
	})
	if res.StatusCode != 200 || res.Header.Get("A") != "1" {
		t.Errorf("%d, A %q", res.StatusCode, res.Header.Get("A"))
	}
	close(release)
	readAll(t, res.Body)
}

func TestFetchHeaderIsASnapshot(t *testing.T) {
	res := get(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("A", "1")
		w.WriteHeader(200)
		w.Header().Set("A", "2")
		w.Header().Set("B", "2")
		_, _ = io.WriteString(w, "x")
	})
	readAll(t, res.Body)
	if res.Header.Get("A") != "1" || res.Header.Get("B") != "" {
		t.Errorf("header = %v, want what it was when the answer began", res.Header)
	}
}

func TestFetchCloseEndsTheHandler(t *testing.T) {
	ended := make(chan error, 1)
	res := get(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "x")
		<-r.Context().Done()
		_, err := io.WriteString(w, "too late")
		ended <- err
	})
	if err := res.Body.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err == nil {
		t.Error("the handler could write after the body was closed")
	}
}

func TestFetchAskerLeaves(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	_, err := fetch(t, ctx, http.MethodGet, nil, func(w http.ResponseWriter, r *http.Request) {
		defer close(ended)
		cancel()
		<-r.Context().Done()
		_, _ = io.WriteString(w, "nobody reads this") // must not block
	})
	if !errors.Is(err, context.Canceled) && err != nil {
		t.Errorf("error = %v, want context.Canceled", err)
	}
	<-ended
}

func TestFetchPanicIsVisible(t *testing.T) {
	res := get(t, func(http.ResponseWriter, *http.Request) { panic("oops") })
	if _, err := io.ReadAll(res.Body); res.StatusCode != 500 || !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("panic before the answer: %d, %v, want 500 and an unexpected end", res.StatusCode, err)
	}
	res = get(t, func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "half")
		panic(http.ErrAbortHandler)
	})
	if b, err := io.ReadAll(res.Body); res.StatusCode != 200 || string(b) != "half" || !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("panic in the answer: %d, %q, %v, want 200, half and an unexpected end", res.StatusCode, b, err)
	}
}

type body struct {
	io.Reader
	closed chan struct{}
}

func (b body) Close() error { close(b.closed); return nil }

// A handler's request has a body, and a RoundTripper closes its own.
func TestFetchRequestBody(t *testing.T) {
	b := body{strings.NewReader("hello"), make(chan struct{})}
	echo := func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(w, r.Body) }
	res, err := fetch(t, t.Context(), http.MethodPost, b, echo)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if got := readAll(t, res.Body); got != "hello" {
		t.Errorf("echo = %q", got)
	}
	<-b.closed
	if got := readAll(t, get(t, echo).Body); got != "" {
		t.Errorf("echo of nothing = %q", got)
	}
}
