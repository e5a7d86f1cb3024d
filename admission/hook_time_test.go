package admission

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"weir/proxy"
)

// timedHook is a hook in process, which answers what code says.
type timedHook struct {
	*hook
	code  atomic.Int64 // 0: the connection breaks
	asked atomic.Int64
	logs  *observer.ObservedLogs
}

func inHookBubble(t *testing.T, o Options, header []string, f func(t *testing.T, h *timedHook)) {
	synctest.Test(t, func(t *testing.T) {
		core, logs := observer.New(zap.DebugLevel)
		h := &timedHook{logs: logs}
		h.hook = theHook(t, "https://me:hush@id.example/auth?key=hush", o, zap.New(core))
		h.client = clientOf(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			h.asked.Add(1)
			code := int(h.code.Load())
			hookSaying(max(code, 200), header...)(w, r)
			body, err := io.ReadAll(r.Body)
			fmt.Fprintf(w, "\xff you\nsaid %s, %v; %s", body, err, strings.Repeat("x", 300))
		}))
		h.client.Transport = breakingTransport{h.client.Transport, &h.code}
		f(t, h)
		for _, e := range logs.All() {
			if text := fmt.Sprint(e.Message, e.ContextMap()); strings.Contains(text, "hush") || strings.Contains(text, "hu%20sh") {
				t.Errorf("log has a secret: %s", text)
			}
		}
	})
}

type breakingTransport struct {
	http.RoundTripper
	code *atomic.Int64
}

func (b breakingTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	if b.code.Load() == 0 {
		return nil, errors.New("connection reset")
	}
	return b.RoundTripper.RoundTrip(req)
}

// wantAsked asks a question, and checks how often the hook has been asked then.
func (h *timedHook) wantAsked(t *testing.T, q question, want int64, reason proxy.Reason) {
	t.Helper()
	_, err := h.ask(t.Context(), q)
	wantVerdict(t, fmt.Sprintf("%+v", q), err, reason)
	if n := h.asked.Load(); n != want {
		t.Errorf("%+v: hook was asked %d times by now, want %d", q, n, want)
	}
}

// TestHookForgets a yes in 30 s and a no in 2 s.
func TestHookForgets(t *testing.T) {
	inHookBubble(t, Options{}, nil, func(t *testing.T, h *timedHook) {
		q := question{Path: "a", User: "ann"}
		h.code.Store(200)
		h.wantAsked(t, q, 1, "")
		h.code.Store(403)
		time.Sleep(hookYes - time.Nanosecond)
		h.wantAsked(t, q, 1, "")
		time.Sleep(time.Nanosecond)
		h.wantAsked(t, q, 2, proxy.Forbidden)
		h.code.Store(200)
		time.Sleep(hookNo - time.Nanosecond)
		h.wantAsked(t, q, 2, proxy.Forbidden)
		time.Sleep(time.Nanosecond)
		h.wantAsked(t, q, 3, "")
	})
}

func TestHookTTL(t *testing.T) {
	f := func(header string, want time.Duration) {
		t.Helper()
		inHookBubble(t, Options{}, []string{"X-Admit-TTL", header}, func(t *testing.T, h *timedHook) {
			q := question{Path: "a"}
			h.code.Store(200)
			h.wantAsked(t, q, 1, "")
			if want > 0 {
				time.Sleep(want - time.Nanosecond)
				h.wantAsked(t, q, 1, "")
				time.Sleep(time.Nanosecond)
			}
			h.wantAsked(t, q, 2, "")
		})
	}
	f("5", 5*time.Second)
	f("0", 0)
	f("999999", hookMaxYes)
}

// TestHookBoundsWhatItKnows, and refusals do not push out those who are in.
func TestHookBoundsWhatItKnows(t *testing.T) {
	known := newHookAnswers()
	now := time.Now()
	sum := func(i int) [32]byte { return (&question{Path: fmt.Sprint(i)}).sum() }
	known.add(sum(-1), &hookAnswer{grant: &grant{}, until: now.Add(1)})
	for i := range 2 * maxHookAnswers {
		known.add(sum(i), &hookAnswer{no: hookRefuses(401, &question{}).no, until: now.Add(1)})
	}
	if n := known.no.Len(); n != maxHookAnswers {
		t.Errorf("%d refusals remembered, want %d", n, maxHookAnswers)
	}
	if known.get(sum(-1), now) == nil {
		t.Error("who is in was forgotten")
	}
	for i := range 2 * maxHookAnswers {
		known.add(sum(i), &hookAnswer{grant: &grant{}, until: now.Add(1)})
	}
	if n := known.yes.Len() + known.no.Len(); n != maxHookAnswers {
		t.Errorf("%d answers remembered, want %d", n, maxHookAnswers)
	}
}

// TestHookStumbles: a viewer whose questions make the hook fail is refused, with
// -admission.hook-open, too; all others are asked about. Two are no more than one.
func TestHookStumbles(t *testing.T) {
	f := func(clients int, open bool, down bool) {
		t.Helper()
		inHookBubble(t, Options{HookOpen: open}, nil, func(t *testing.T, h *timedHook) {
			h.code.Store(500)
			want := proxy.NoVerdict
			for n := range 20 {
				if down && open && n == hookFailures-1 {
					want = "" // from now on it is down
				}
				_, err := h.ask(t.Context(), question{Path: fmt.Sprint(n), from: addr(n % clients).Addr()})
				wantVerdict(t, fmt.Sprintf("%d clients, open %v: question %d", clients, open, n), err, want)
			}
			if asked := h.asked.Load(); down != (asked == hookFailures) || !down && asked != 20 {
				t.Errorf("%d clients: hook was asked %d times", clients, asked)
			}
			if err := h.ready(); unready(err) != (down && !open) {
				t.Errorf("%d clients, open %v: ready() = %v", clients, open, err)
			}
			h.code.Store(403)
			_, err := h.ask(t.Context(), question{Path: "a", User: "ann", from: addr(9).Addr()})
			switch {
			case !down:
				wantVerdict(t, "somebody else", err, proxy.Forbidden)
			case open:
				wantVerdict(t, "somebody else", err, "")
			default:
				wantVerdict(t, "somebody else", err, proxy.NoVerdict)
			}
		})
	}
	for _, open := range []bool{false, true} {
		f(1, open, false)
		f(hookClients-1, open, false)
		f(hookClients, open, true)
		f(20, open, true)
	}
}

// TestHookStumblesOften: failures that others' answers interrupt are no row.
func TestHookStumblesOften(t *testing.T) {
	inHookBubble(t, Options{HookOpen: true}, nil, func(t *testing.T, h *timedHook) {
		for n := range 20 {
			want := proxy.NoVerdict
			if h.code.Store(500); n%3 == 2 {
				h.code.Store(200)
				want = ""
			}
			h.wantAsked(t, question{Path: fmt.Sprint(n), from: addr(n).Addr()}, int64(n+1), want)
		}
	})
}

// TestHookPlaces: who finds no place comes in only if the hook is down. Who waits
// for one has the whole time for his answer after that.
func TestHookPlaces(t *testing.T) {
	inHookBubble(t, Options{HookOpen: true, HookTimeout: time.Second}, nil, func(t *testing.T, h *timedHook) {
		h.code.Store(200)
		for range hookPlaces {
			h.places <- struct{}{}
		}
		h.wantAsked(t, question{Path: "a"}, 0, proxy.NoVerdict)
		go func() { time.Sleep(h.timeout - 1); <-h.places }()
		h.wantAsked(t, question{Path: "b"}, 1, "")
		for range hookFailures {
			h.health.was(errUnanswered, netip.Addr{}, time.Now().Add(h.timeout))
		}
		h.places <- struct{}{}
		h.wantAsked(t, question{Path: "c"}, 1, "")
		for range hookPlaces {
			<-h.places
		}
	})
}

// TestHookFails: after five failures in a row nobody is asked for two seconds,
// then one is; the log has one line when it begins and one when it is over.
func TestHookFails(t *testing.T) {
	inHookBubble(t, Options{}, nil, func(t *testing.T, h *timedHook) {
		n := 0
		ask := func(times int, want int64, reason proxy.Reason) {
			t.Helper()
			for range times {
				n++
				_, err := h.ask(t.Context(), question{Path: fmt.Sprint(n), from: addr(n).Addr()})
				wantVerdict(t, fmt.Sprint("question ", n), err, reason)
			}
			if got := h.asked.Load(); got != want {
				t.Errorf("hook was asked %d times by now, want %d", got, want)
			}
		}
		h.code.Store(500)
		ask(4, 4, proxy.NoVerdict)
		if err := h.ready(); unready(err) {
			t.Errorf("after 4 failures: ready() = %v", err)
		}
		ask(100, 5, proxy.NoVerdict)
		if !unready(h.ready()) {
			t.Error("ready after 5 failures")
		}
		time.Sleep(hookPause - time.Nanosecond)
		ask(100, 5, proxy.NoVerdict)
		time.Sleep(time.Nanosecond)
		ask(100, 6, proxy.NoVerdict)
		time.Sleep(hookPause)
		h.code.Store(200)
		ask(100, 106, "")
		if err := h.ready(); err != nil {
			t.Errorf("it is back: ready() = %v", err)
		}
		if got := h.logs.Len(); got != 2 {
			t.Errorf("%d lines in the log, want 2: %v", got, h.logs.All())
		}
	})
}

// TestHookFlaps: failures that come and go make at most a line a minute of each
// kind, and one that lasts is always told.
func TestHookFlaps(t *testing.T) {
	inHookBubble(t, Options{}, nil, func(t *testing.T, h *timedHook) {
		for i := range 100 {
			h.code.Store(int64(i % 2 * 200))
			_, _ = h.ask(t.Context(), question{Path: fmt.Sprint(i)})
			time.Sleep(100 * time.Millisecond)
		}
		if got := h.logs.FilterMessage("the hook fails").Len(); got != 1 {
			t.Errorf("%d lines in ten seconds, want 1", got)
		}
		h.code.Store(0)
		for i := range 100 {
			_, _ = h.ask(t.Context(), question{Path: fmt.Sprint("x", i)})
			time.Sleep(time.Second)
		}
		if got := h.logs.FilterMessage("the hook fails").Len(); got != 2 {
			t.Errorf("%d lines after an outage of 100 s more, want 2", got)
		}
	})
}

// TestHookReadyAgain: without viewers nobody finds out that the hook is back, and
// viewers may come only to those who are ready.
func TestHookReadyAgain(t *testing.T) {
	inHookBubble(t, Options{}, nil, func(t *testing.T, h *timedHook) {
		for i := range hookFailures {
			_, _ = h.ask(t.Context(), question{Path: fmt.Sprint(i)})
		}
		time.Sleep(hookUnready - time.Nanosecond)
		if !unready(h.ready()) {
			t.Error("ready while the hook fails")
		}
		time.Sleep(time.Nanosecond)
		if err := h.ready(); unready(err) {
			t.Errorf("ready() = %v", err)
		}
	})
}

// TestHookTriesOne: when the pause is over, one question is asked and not all
// that are waiting.
func TestHookTriesOne(t *testing.T) {
	h := hookHealth{log: zap.NewNop()}
	now := time.Now()
	for range hookFailures {
		h.was(errUnanswered, netip.Addr{}, now)
	}
	asked := 0
	for range 100 {
		if h.mayAsk(now.Add(hookPause)) {
			asked++
		}
	}
	if asked != 1 {
		t.Errorf("%d were asked, want 1", asked)
	}
}

// TestHookSays: of what a hook says with a no, the log has a line, without what
// the viewer showed.
func TestHookSays(t *testing.T) {
	inHookBubble(t, Options{}, nil, func(t *testing.T, h *timedHook) {
		h.code.Store(403)
		h.wantAsked(t, question{User: "ann", Password: "hush \"x\"", Query: "a=1&key=hu%20sh", Path: "a"}, 1, proxy.Forbidden)
		said := h.logs.FilterMessage("the hook says no").All()
		if len(said) != 1 || said[0].Level != zap.DebugLevel {
			t.Fatalf("log = %v", said)
		}
		body, _ := said[0].ContextMap()["body"].(string)
		if !strings.HasPrefix(body, ` yousaid {"ip":"","user":"ann","password":"…","token":""`) || len(body) > hookSays {
			t.Errorf("log has %q", body)
		}
	})
}

func TestHookRedact(t *testing.T) {
	f := func(q question, said, want string) {
		t.Helper()
		if got := q.redact([]byte(said)); got != want {
			t.Errorf("redact(%q) for %+v = %q, want %q", said, q, got, want)
		}
	}
	f(question{}, "no such user\n", "no such user")
	f(question{Password: "hush"}, "hush hu\x00sh", "… …")
	f(question{Password: "hu\x01sh"}, `hu\u0001sh`, "…")
	f(question{Password: "hu", Token: "hush"}, "hush hu", "… …")
	f(question{Token: "hush"}, strings.Repeat("x", hookSays-2)+"hush", strings.Repeat("x", hookSays-2))
	f(question{Query: "a&k=hu%20sh"}, "hu%20sh hu sh", "… …")
	f(question{Token: strings.Repeat("h", maxJWT)}, strings.Repeat("h", maxHookBody), "")
}

func FuzzHookRedact(f *testing.F) {
	f.Add("hush", "hu%20sh", "you said hu\x00sh")
	f.Fuzz(func(t *testing.T, password, query, said string) {
		q := question{Password: password, Query: "k=" + query}
		got := q.redact([]byte(said))
		if len(got) > hookSays {
			t.Fatalf("%d bytes", len(got))
		}
		if len(password) > 3 && strings.Contains(got, password) {
			t.Fatalf("%q has the password", got)
		}
	})
}
