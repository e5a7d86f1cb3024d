package passthrough

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"weir/proxy"
	"weir/proxy/proxytest"
)

// hangsUp reads requests and hangs up, and counts them.
func hangsUp(t *testing.T) (url string, asked *atomic.Int32) {
	t.Helper()
	asked = new(atomic.Int32)
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		_, _ = io.Copy(io.Discard, r.Body)
		panic(http.ErrAbortHandler)
	}))
	t.Cleanup(s.Close)
	return s.URL, asked
}

// An origin that hangs up may have acted: another is asked only for what may be
// repeated.
func TestHTTPAnswerLost(t *testing.T) {
	bad, _ := hangsUp(t)
	b := webBalancer(t, "-origin", bad, "-origin", httpOrigin(t).URL)
	run(t, b)
	f := func(method string, body io.Reader, want string) {
		t.Helper()
		forget(b)
		res, err := b.RoundTrip(newRequest(t, method, "/x", body))
		if err != nil {
			if want != "" {
				t.Errorf("%s: %v", method, err)
			} else {
				wantRefusal(t, err, proxy.OriginBad, 5*time.Second)
			}
			return
		}
		defer res.Body.Close()
		if got := res.Header.Get("Asked"); want == "" || !strings.HasSuffix(got, want) {
			t.Errorf("%s: the origin was asked %q, want %q", method, got, want)
		}
	}
	f("GET", nil, "/x")
	f("HEAD", nil, "/x")
	f("DELETE", nil, "/x")
	f("OPTIONS", nil, "/x")
	f("PUT", strings.NewReader("again"), "again")
	f("PUT", noRewind{strings.NewReader("once")}, "")
	f("POST", strings.NewReader("once"), "")
	f("POST", nil, "")
	f("PATCH", nil, "")
}

func TestHTTPBodyCannotBeRewound(t *testing.T) {
	bad, _ := hangsUp(t)
	b := webBalancer(t, "-origin", bad, "-origin", httpOrigin(t).URL)
	run(t, b)
	req := newRequest(t, http.MethodPut, "/x", noRewind{strings.NewReader("x")})
	broken := errors.New("broken")
	req.GetBody = func() (io.ReadCloser, error) { return nil, broken }
	if _, err := b.RoundTrip(req); !errors.Is(err, broken) {
		t.Errorf("error = %v, want that of GetBody", err)
	}
}

// answers returns an origin that gives one status to everything.
func answers(t *testing.T, code int, header ...string) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for i := 0; i < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(code)
		_, _ = io.WriteString(w, http.StatusText(code))
	}))
	t.Cleanup(s.Close)
	return s.URL
}

// charges are the failures that the origins are charged with, in order.
func charges(b *Balancer) (failed []int) {
	for _, o := range b.all() {
		b.mu.Lock()
		failed = append(failed, o.health.strikes)
		b.mu.Unlock()
	}
	return failed
}

func TestHTTPBadAnswers(t *testing.T) {
	f := func(method string, want int, failed []int, codes ...int) {
		t.Helper()
		var args []string
		for _, code := range codes {
			args = append(args, "-origin", answers(t, code))
		}
		b := webBalancer(t, args...)
		run(t, b)
		res, err := b.RoundTrip(newRequest(t, method, "/x", nil))
		if err != nil {
			t.Fatalf("%s %v: %v", method, codes, err)
		}
		if body, err := io.ReadAll(res.Body); res.StatusCode != want || err != nil || method != "HEAD" && string(body) != http.StatusText(want) {
			t.Errorf("%s %v: %d %q, %v, want %d", method, codes, res.StatusCode, body, err, want)
		}
		if got := charges(b); !slices.Equal(got, failed) {
			t.Errorf("%s %v: %v failed, want %v", method, codes, got, failed)
		}
		placesAreBack(t, b)
	}
	f("GET", 200, []int{1, 0}, 503, 200)
	f("HEAD", 200, []int{1, 1, 0}, 502, 504, 200)
	f("GET", 404, []int{1, 0}, 500, 404)
	f("GET", 404, []int{0, 0}, 404, 200)
	f("GET", 501, []int{0, 0}, 501, 200)
	f("GET", 502, []int{0, 0}, 503, 502) // nobody did better
	f("GET", 503, []int{0}, 503)
	f("POST", 503, []int{0, 0}, 503, 200)
	f("PUT", 503, []int{0, 0}, 503, 200)
}

// A bad answer is better than none.
func TestHTTPBadAnswerAndNone(t *testing.T) {
	b := webBalancer(t, "-origin", answers(t, 503, "Retry-After", "7"), "-origin", "http://"+proxytest.ClosedAddr(t))
	run(t, b)
	res, err := b.RoundTrip(newRequest(t, "GET", "/x", nil))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode != 503 || res.Header.Get("Retry-After") != "7" {
		t.Errorf("answer = %s %v", res.Status, res.Header)
	}
}
