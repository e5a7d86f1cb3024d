package proxy_test

import (
	"context"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"net/http/httptest"
	"strconv"
	"testing"
	"time"

	"weir/proxy"
	"weir/proxy/wire"
)

// reasons reads the list of constants from the source.
func reasons(t *testing.T) (all []proxy.Reason) {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "refusal.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok {
			return true
		}
		if typ, ok := spec.Type.(*ast.Ident); ok && typ.Name == "Reason" {
			for _, v := range spec.Values {
				s, err := strconv.Unquote(v.(*ast.BasicLit).Value)
				if err != nil {
					t.Fatal(err)
				}
				all = append(all, proxy.Reason(s))
			}
		}
		return true
	})
	if len(all) < 10 {
		t.Fatalf("only %d reasons found in refusal.go", len(all))
	}
	return all
}

func TestEveryReasonHasCodes(t *testing.T) {
	seen := map[proxy.Reason]bool{}
	for _, reason := range reasons(t) {
		if seen[reason] {
			t.Errorf("%s is there twice", reason)
		}
		seen[reason] = true
		r := &proxy.Refusal{Reason: reason}
		rtsp, phrase := r.RTSP()
		http, sentence := r.HTTP()
		if rtsp < 400 || rtsp > 599 || http < 400 || http > 599 || phrase == "" || sentence == "" {
			t.Errorf("%s: RTSP %d %q, HTTP %d %q", reason, rtsp, phrase, http, sentence)
		}
		if r.Error() != string(reason) {
			t.Errorf("%s: error %q", reason, r.Error())
		}
	}
}

func TestCodes(t *testing.T) {
	f := func(reason proxy.Reason, rtsp, http int) {
		t.Helper()
		r := &proxy.Refusal{Reason: reason}
		gotRTSP, _ := r.RTSP()
		gotHTTP, _ := r.HTTP()
		if gotRTSP != rtsp || gotHTTP != http {
			t.Errorf("%s: RTSP %d, HTTP %d, want %d, %d", reason, gotRTSP, gotHTTP, rtsp, http)
		}
	}
	f(proxy.Unauthorized, 401, 401)
	f(proxy.Forbidden, 403, 403)
	f(proxy.Full, 453, 503)
	f(proxy.TooMany, 453, 429)
	f(proxy.TooFast, 503, 429)
	f(proxy.NoOrigin, 404, 404)
	f(proxy.OriginSlow, 504, 504)
	f(proxy.BadTransport, 461, 400)
	f(proxy.UnknownFeature, 551, 501)
	f(proxy.WrongState, 455, 400)
	f(proxy.NotAggregate, 459, 400)
	f(proxy.OnlyAggregate, 460, 400)
}

func TestRefused(t *testing.T) {
	full := &proxy.Refusal{Reason: proxy.Full}
	f := func(err error, want proxy.Reason, retry time.Duration) {
		t.Helper()
		got := proxy.Refused(err)
		if got.Reason != want || got.RetryAfter != retry || !errors.Is(got, err) && !errors.Is(err, got) {
			t.Errorf("Refused(%v) = %+v, want %s, retry after %v", err, got, want, retry)
		}
	}
	f(full, proxy.Full, 0)
	f(fmt.Errorf("admit: %w", full), proxy.Full, 0)
	f(errors.Join(errors.New("x"), full), proxy.Full, 0)
	f(context.DeadlineExceeded, proxy.OriginSlow, 5*time.Second)
	f(fmt.Errorf("dial: %w", context.DeadlineExceeded), proxy.OriginSlow, 5*time.Second)
	f(errors.New("connection refused"), proxy.OriginDown, 5*time.Second)
}

func TestRefusalError(t *testing.T) {
	cause := errors.New("no route")
	r := &proxy.Refusal{Reason: proxy.OriginDown, Err: cause}
	if r.Error() != "origin-down: no route" || !errors.Is(r, cause) {
		t.Errorf("error = %q", r)
	}
}

func TestRefusalResponse(t *testing.T) {
	req := &wire.Request{Method: "DESCRIBE", URL: "*", Header: wire.Header{{Name: "cseq", Value: "7"}}}
	f := func(r *proxy.Refusal, req *wire.Request, want string) {
		t.Helper()
		r.Err = errors.New("secret") // for the log only
		if got := string(r.Response(req).Append(nil)); got != want {
			t.Errorf("%+v: %q, want %q", r, got, want)
		}
	}
	f(&proxy.Refusal{Reason: proxy.Full}, req, "RTSP/1.0 453 No Place Left\r\nCSeq: 7\r\n\r\n")
	f(&proxy.Refusal{Reason: proxy.NotFound}, nil, "RTSP/1.0 404 Not Found\r\n\r\n")
	f(&proxy.Refusal{Reason: proxy.Draining, RetryAfter: 5 * time.Second}, req, "RTSP/1.0 503 Going Away\r\nCSeq: 7\r\nRetry-After: 5\r\n\r\n")
	f(&proxy.Refusal{Reason: proxy.TooFast, RetryAfter: 1}, req, "RTSP/1.0 503 Too Many Requests\r\nCSeq: 7\r\nRetry-After: 1\r\n\r\n")
}

func TestRefusalWriteHTTP(t *testing.T) {
	f := func(r *proxy.Refusal, code int, retry, body string) {
		t.Helper()
		r.Err = errors.New("secret")
		w := httptest.NewRecorder()
		r.WriteHTTP(w)
		if w.Code != code || w.Header().Get("Retry-After") != retry || w.Body.String() != body {
			t.Errorf("%+v: %d, Retry-After %q, %q, want %d, %q, %q", r, w.Code, w.Header().Get("Retry-After"), w.Body, code, retry, body)
		}
	}
	f(&proxy.Refusal{Reason: proxy.NotFound}, 404, "", "Not Found\n")
	f(&proxy.Refusal{Reason: proxy.Full, RetryAfter: 1500 * time.Millisecond}, 503, "2", "No Place Left\n")
	f(&proxy.Refusal{Reason: proxy.TooFast, RetryAfter: time.Second}, 429, "1", "Too Many Requests\n")
}
