package admission

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/zap"

	"weir/proxy"
	"weir/proxy/proxytest"
)

// hookServer is a hook: it counts and keeps what it is asked.
type hookServer struct {
	*httptest.Server
	asked  atomic.Int64
	mu     sync.Mutex
	last   *http.Request
	body   string
	answer http.HandlerFunc
}

func newHookServer(t testing.TB, answer http.HandlerFunc) *hookServer {
	s := &hookServer{answer: answer}
	s.Server = httptest.NewServer(s)
	t.Cleanup(s.Close)
	return s
}

func (s *hookServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.asked.Add(1)
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	s.mu.Lock()
	s.last, s.body = r, string(body)
	s.mu.Unlock()
	s.answer(w, r)
}

// hookSaying answers with a status and pairs of headers.
func hookSaying(code int, header ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		for i := 0; i < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(code)
	}
}

// theHook asks url until the test ends.
func theHook(t testing.TB, url string, o Options, log *zap.Logger) *hook {
	t.Helper()
	o.Hook = url
	if o.HookTimeout == 0 {
		o.HookTimeout = 30 * time.Second
	}
	h, err := newHook(&o, log)
	if err != nil {
		t.Fatal(err)
	}
	runUntilEnd(t, h.run)
	return h
}

func TestHookNeedsNothing(t *testing.T) {
	h, err := newHook(&Options{}, zap.NewNop())
	if h != nil || err != nil {
		t.Fatalf("newHook without a URL = %v, %v, want neither", h, err)
	}
	h.run(t.Context())
	if err := h.ready(); err != nil {
		t.Errorf("ready() = %v", err)
	}
}

func TestHookURL(t *testing.T) {
	f := func(url string, want bool) {
		t.Helper()
		_, err := newHook(&Options{Hook: url, HookTimeout: time.Second}, zap.NewNop())
		if (err == nil) != want {
			t.Errorf("newHook(%s) = %v, want good: %v", url, err, want)
		}
		if strings.Contains(errorText(err), "hush") {
			t.Errorf("newHook(%s): %q shows credentials", url, err)
		}
	}
	f("http://127.0.0.1:9/auth", true)
	f("https://me:hush@id.example/auth?key=hush", true)
	f("id.example/auth", false)
	f("ftp://me:hush@id.example/auth", false)
	f("http://me:hush@:80/auth", false)
	f("http://me:hush@id.example:port/auth", false)
}

// TestHookFields are exactly those of MediaMTX.
func TestHookFields(t *testing.T) {
	s := newHookServer(t, hookSaying(http.StatusOK))
	h := theHook(t, strings.Replace(s.URL, "://", "://me:hush@", 1)+"/auth?x=1", Options{}, proxytest.Logger(t))
	q := question{
		IP: "192.0.2.1", User: "ann", Password: `p"w`, Token: "tok", Action: "read", Path: "live/a",
		Protocol: "rtsp", ID: "7", Query: "a=1&b=2", UserAgent: "player/1",
	}
	g, err := h.ask(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	if g.subject != "" || g.class != "" || g.max != 0 || !g.until.IsZero() || g.token != "tok" || g.path != "/live/a" {
		t.Errorf("grant = %+v", *g)
	}
	if !g.scope.allows("/live/a") || !g.scope.allows("/live/a/seg1.ts") || g.scope.allows("/live/b") {
		t.Error("grant is not for what was asked, or for more")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var got map[string]any
	if err := json.Unmarshal([]byte(s.body), &got); err != nil {
		t.Fatalf("%s: %v", s.body, err)
	}
	want := map[string]any{
		"ip": "192.0.2.1", "user": "ann", "password": `p"w`, "token": "tok", "action": "read", "path": "live/a",
		"protocol": "rtsp", "id": "7", "query": "a=1&b=2", "userAgent": "player/1",
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("hook was asked %v, want %v", got, want)
	}
	user, password, _ := s.last.BasicAuth()
	if s.last.Method != "POST" || s.last.URL.String() != "/auth?x=1" || user != "me" || password != "hush" {
		t.Errorf("hook was asked by %s %s as %q %q", s.last.Method, s.last.URL, user, password)
	}
	if got := s.last.Header.Get("Content-Type"); got != "application/json" {
		t.Errorf("Content-Type = %q", got)
	}
	if _, ok := s.last.Header["Idempotency-Key"]; ok {
		t.Error("Idempotency-Key was sent")
	}
}

func TestHookAnswers(t *testing.T) {
	f := func(code int, q question, want proxy.Reason) {
		t.Helper()
		s := newHookServer(t, hookSaying(code, "Location", "/elsewhere"))
		_, err := theHook(t, s.URL, Options{}, zap.NewNop()).ask(t.Context(), q)
		wantVerdict(t, fmt.Sprintf("%d to %+v", code, q), err, want)
		if n := s.asked.Load(); n != 1 {
			t.Errorf("%d: asked %d times, want 1", code, n)
		}
	}
	nobody, somebody := question{Path: "a"}, question{Path: "a", User: "ann", Password: "pw"}
	f(200, nobody, "")
	f(204, somebody, "")
	f(401, nobody, proxy.Unauthorized)
	f(403, nobody, proxy.Unauthorized)
	f(401, somebody, proxy.Unauthorized)
	f(403, somebody, proxy.Forbidden)
	f(404, question{Token: "t"}, proxy.Forbidden)
	f(302, somebody, proxy.NoVerdict)
	f(500, somebody, proxy.NoVerdict)
	f(503, nobody, proxy.NoVerdict)
}

func TestHookHeaders(t *testing.T) {
	f := func(want string, header ...string) {
		t.Helper()
		s := newHookServer(t, hookSaying(http.StatusOK, header...))
		h := theHook(t, s.URL, Options{}, zap.NewNop())
		g, err := h.ask(t.Context(), question{Path: "a"})
		got := string(proxy.Refused(err).Reason)
		if err == nil {
			got = fmt.Sprint(g.subject, " ", g.class, " ", g.max)
		}
		if got != want {
			t.Errorf("%q grants %q, want %q", header, got, want)
		}
	}
	f("  0")
	f("ann gold 3", "X-Admit-Subject", "ann", "X-Admit-Class", "gold", "X-Admit-Max-Sessions", "3", "X-Admit-TTL", "5")
	f("  0", "X-Admit-TTL", "999999999")
	f("no-verdict", "X-Admit-Max-Sessions", "three")
	f("no-verdict", "X-Admit-Max-Sessions", "-1")
	f("no-verdict", "X-Admit-TTL", "1s")
	f("no-verdict", "X-Admit-Subject", strings.Repeat("x", maxHookWord+1))
}

func TestHookSum(t *testing.T) {
	f := func(a, b question, want bool) {
		t.Helper()
		if got := a.sum() == b.sum(); got != want {
			t.Errorf("%+v and %+v are the same: %v, want %v", a, b, got, want)
		}
	}
	f(question{ID: "1", User: "a"}, question{ID: "2", User: "a"}, true)
	f(question{User: "ab"}, question{User: "a", Password: "b"}, false)
	f(question{User: "a"}, question{Password: "a"}, false)
	f(question{UserAgent: "a"}, question{UserAgent: "b"}, false)
	f(question{IP: "192.0.2.1"}, question{IP: "192.0.2.2"}, false)
	f(question{Query: "t=1&_HLS_msn=4&_HLS_part=2"}, question{Query: "t=1"}, true)
	f(question{Query: "t=1&_HLS_msn=4"}, question{Query: "t=2&_HLS_msn=4"}, false)
	f(question{Query: "x_HLS_msn=4"}, question{Query: "x_HLS_msn=5"}, false)
	f(question{Query: "t=1&CMCD=bl%3D1000"}, question{Query: "CMCD=bl%3D3000&t=1"}, true)
	f(question{Query: "t=1&CMCD=bl%3D1000"}, question{Query: "t=2&CMCD=bl%3D1000"}, false)
}

// TestHookKnown: an answer is remembered, and made for one question.
func TestHookKnown(t *testing.T) {
	s := newHookServer(t, hookSaying(http.StatusOK))
	h := theHook(t, s.URL, Options{}, zap.NewNop())
	f := func(q question, want int64) {
		t.Helper()
		if _, err := h.ask(t.Context(), q); err != nil {
			t.Error(err)
		}
		if n := s.asked.Load(); n != want {
			t.Errorf("%+v: hook was asked %d times by now, want %d", q, n, want)
		}
	}
	f(question{Path: "a", ID: "1"}, 1)
	f(question{Path: "a", ID: "2"}, 1)
	f(question{Path: "b", ID: "2"}, 2)
	f(question{Path: "a", User: "x"}, 3)
	f(question{Path: "a"}, 3)
	_, err := h.ask(t.Context(), question{Query: strings.Repeat("x", maxQuestion+1)})
	wantVerdict(t, "a long question", err, proxy.BadRequest)
}

// TestHookEqualQuestions: a thousand viewers with the same question are one
// question, also when the one who asked first has left.
func TestHookEqualQuestions(t *testing.T) {
	release, here := make(chan struct{}), make(chan struct{}, 1)
	s := newHookServer(t, func(http.ResponseWriter, *http.Request) {
		here <- struct{}{}
		<-release
	})
	h := theHook(t, s.URL, Options{}, zap.NewNop())
	first, leave := context.WithCancel(t.Context())
	left := make(chan error, 1)
	go func() {
		_, err := h.ask(first, question{Path: "a"})
		left <- err
	}()
	<-here
	errs := make(chan error, 1000)
	for range cap(errs) {
		go func() {
			_, err := h.ask(t.Context(), question{Path: "a"})
			errs <- err
		}()
	}
	leave()
	wantVerdict(t, "the viewer who left", <-left, proxy.NoVerdict)
	close(release)
	for range cap(errs) {
		if err := <-errs; err != nil {
			t.Fatal(err)
		}
	}
	if n := s.asked.Load(); n != 1 {
		t.Errorf("hook was asked %d times, want 1", n)
	}
}

// TestHookHangs: a hundred questions to a hook that hangs end with its timeout,
// and no more than hookPlaces reach it.
func TestHookHangs(t *testing.T) {
	var now, most atomic.Int64
	s := newHookServer(t, func(_ http.ResponseWriter, r *http.Request) {
		n := now.Add(1)
		for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
		}
		<-r.Context().Done()
		now.Add(-1)
	})
	const timeout = 300 * time.Millisecond
	h := theHook(t, s.URL, Options{HookTimeout: timeout}, zap.NewNop())
	began := time.Now()
	var wg sync.WaitGroup
	for i := range 100 {
		wg.Go(func() {
			_, err := h.ask(t.Context(), question{Path: fmt.Sprint(i)})
			wantVerdict(t, "a hook that hangs", err, proxy.NoVerdict)
		})
	}
	wg.Wait()
	if d := time.Since(began); d > 10*timeout { // this machine may have other things to do
		t.Errorf("that took %v, with a timeout of %v", d, timeout)
	}
	if n := most.Load(); n > hookPlaces {
		t.Errorf("%d questions at once, want at most %d", n, hookPlaces)
	}
	if !unready(h.ready()) {
		t.Error("ready while the hook hangs")
	}
}

// TestHookOneConnection: questions one after the other share a connection.
func TestHookOneConnection(t *testing.T) {
	var conns sync.Map
	s := newHookServer(t, func(w http.ResponseWriter, r *http.Request) {
		conns.Store(r.RemoteAddr, true)
		http.Error(w, "no", http.StatusForbidden)
	})
	h := theHook(t, s.URL, Options{}, zap.NewNop())
	for i := range 20 {
		_, err := h.ask(t.Context(), question{Path: fmt.Sprint(i), User: "x"})
		wantVerdict(t, "no", err, proxy.Forbidden)
	}
	n := 0
	conns.Range(func(any, any) bool { n++; return true })
	if n != 1 {
		t.Errorf("%d connections, want 1", n)
	}
}

// TestHookUnreachable: fail-closed refuses for now, fail-open lets in.
func TestHookUnreachable(t *testing.T) {
	url := "http://" + proxytest.ClosedAddr(t)
	closed := theHook(t, url, Options{}, zap.NewNop())
	open := theHook(t, url, Options{HookOpen: true}, zap.NewNop())
	for i := range 2 * hookFailures {
		q := question{Path: fmt.Sprint(i)}
		_, err := closed.ask(t.Context(), q)
		wantVerdict(t, "closed", err, proxy.NoVerdict)
		g, err := open.ask(t.Context(), q)
		wantVerdict(t, "open", err, "")
		if g != nil && (!g.scope.allows("/"+q.Path) || g.scope.allows("/other")) {
			t.Error("open: not for what was asked, or for more")
		}
	}
	if err := closed.ready(); !unready(err) || !strings.Contains(err.Error(), "fails since") {
		t.Errorf("closed: ready() = %v, want since when the hook fails", err)
	}
	wantDegraded(t, "open", open.ready(), url, "fails since")
}

// TestHookBreaksOff: a hook that closes the connection at one question, as one that
// panics does, has not failed for others, and lets nobody in.
func TestHookBreaksOff(t *testing.T) {
	s := newHookServer(t, func(_ http.ResponseWriter, r *http.Request) { panic(http.ErrAbortHandler) })
	h := theHook(t, s.URL, Options{HookOpen: true}, zap.NewNop())
	for i := range 2 * hookFailures {
		_, err := h.ask(t.Context(), question{Path: fmt.Sprint(i)})
		wantVerdict(t, "a question that breaks the hook", err, proxy.NoVerdict)
	}
	if n := s.asked.Load(); n != 2*hookFailures {
		t.Errorf("hook was asked %d times, want %d", n, 2*hookFailures)
	}
}

// TestHookGoes: a hook that has gone, and left connections behind, is down at once.
func TestHookGoes(t *testing.T) {
	s := newHookServer(t, hookSaying(http.StatusForbidden))
	h := theHook(t, s.URL, Options{HookOpen: true}, zap.NewNop())
	_, err := h.ask(t.Context(), question{Path: "a", User: "x"})
	wantVerdict(t, "a hook that is there", err, proxy.Forbidden)
	s.Close()
	_, err = h.ask(t.Context(), question{Path: "b", User: "x"})
	wantVerdict(t, "one that has gone", err, "")
}

// TestHookSlow: with -admission.hook-open who has waited for the whole time-out comes in.
func TestHookSlow(t *testing.T) {
	s := newHookServer(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	h := theHook(t, s.URL, Options{HookOpen: true, HookTimeout: 50 * time.Millisecond}, zap.NewNop())
	_, err := h.ask(t.Context(), question{Path: "a"})
	wantVerdict(t, "a hook that hangs", err, "")
}

// BenchmarkHookKnown: a known question takes 2 µs at most.
func BenchmarkHookKnown(b *testing.B) {
	s := newHookServer(b, hookSaying(http.StatusOK))
	h := theHook(b, s.URL, Options{}, zap.NewNop())
	q := question{
		IP: "2001:db8::1234", User: "ann", Password: "a password", Token: strings.Repeat("t", 100), Action: "read",
		Path: "live/channel-1", Protocol: "hls", ID: "1", Query: "a=1&b=2", UserAgent: "Mozilla/5.0 (X11; Linux x86_64)",
	}
	if _, err := h.ask(b.Context(), q); err != nil {
		b.Fatal(err)
	}
	ctx := b.Context()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := h.ask(ctx, q); err != nil {
			b.Fatal(err)
		}
	}
	if s.asked.Load() != 1 {
		b.Errorf("hook was asked %d times", s.asked.Load())
	}
}
