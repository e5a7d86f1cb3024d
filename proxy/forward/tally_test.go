package forward_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
)

// A tally of what is told.
type told struct{ sent, failed atomic.Int64 }

func (o *told) Sent(n int) { o.sent.Add(int64(n)) }
func (o *told) Failed()    { o.failed.Add(1) }

// Errors are told once, whoever answers; other answers are not.
func TestTally(t *testing.T) {
	f := func(origin http.HandlerFunc, via string, failed int64) {
		t.Helper()
		h := newHandler(t, upstream(t, origin), 0)
		var o told
		req := httptest.NewRequest(http.MethodGet, "/a", nil)
		req.URL.Scheme, req.URL.Host = "", ""
		if via != "" {
			req.Header.Set("Via", via)
		}
		rec := httptest.NewRecorder()
		h.Serve(rec, req, &o)
		if o.failed.Load() != failed || int(o.sent.Load()) != rec.Body.Len() && rec.Code < 400 {
			t.Errorf("%d: %d failures and %d bytes are told, want %d and %d", rec.Code, o.failed.Load(), o.sent.Load(), failed, rec.Body.Len())
		}
	}
	code := func(code int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(code)
			w.Write([]byte(strings.Repeat("x", 100))) //nolint:errcheck // the edge sees it
		}
	}
	f(code(200), "", 0)
	f(code(302), "", 0)
	f(code(404), "", 1)
	f(code(503), "", 1)
	f(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, "", 1)
}
