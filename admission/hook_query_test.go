package admission

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
)

func TestWithoutTracking(t *testing.T) {
	f := func(in, want string) {
		t.Helper()
		if got := withoutTracking(in); got != want {
			t.Errorf("withoutTracking(%q) = %q, want %q", in, got, want)
		}
	}
	f("", "")
	f("a=1&b=2", "a=1&b=2")
	f("CMCD=br%3D800%2Cbl%3D2000", "")
	f("a=1&CMCD=br%3D800&b=2", "a=1&b=2")
	f("CMCD=1&a=1", "a=1")
	f("a=1&_HLS_msn=4&_HLS_part=2", "a=1")
	f("utm_source=x&utm_=&utm=3&autm_x=4&fbclid=1&gclid=2&t=5", "utm=3&autm_x=4&t=5")
	f("CMCD", "")
	f("a=CMCD&CMCDX=1&XCMCD=2", "a=CMCD&CMCDX=1&XCMCD=2")
	f("%43MCD=1", "%43MCD=1") // in another writing it is another question, no more
	f("a=1&&b=2&", "a=1&&b=2&")
	f("token=x&sid=2&v=3&_=4", "token=x&sid=2&v=3&_=4") // hooks may decide by these
}

// Whatever is left out or stays, pairs that are no tracking stay as they are, in
// their order.
func FuzzWithoutTracking(f *testing.F) {
	f.Add("a=1&CMCD=2&b=3")
	f.Add("&&utm_x&=")
	f.Fuzz(func(t *testing.T, query string) {
		got := withoutTracking(query)
		if again := withoutTracking(got); again != got {
			t.Fatalf("%q: %q, then %q", query, got, again)
		}
		rest := got
		for pair := range strings.SplitSeq(query, "&") {
			if isTracking(pair) {
				continue
			}
			var ok bool
			if rest, ok = strings.CutPrefix(strings.TrimPrefix(rest, "&"), pair); !ok {
				t.Fatalf("%q became %q: %q is not there", query, got, pair)
			}
		}
	})
}

// TestHookTracking: segments whose query says each time what the player has
// reached are one question in the time for which its answer is remembered, and the
// hook sees the query as it is.
func TestHookTracking(t *testing.T) {
	s := newHookServer(t, hookSaying(http.StatusOK))
	c, err := newCredentials(&Options{Hook: s.URL, HookTimeout: 30 * time.Second, Cookie: "weir-token"}, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	runUntilEnd(t, c.run)
	f := func(path, query string, want int64) {
		t.Helper()
		v := viewer("http", path, 1)
		v.Query = query
		if err := c.check(t.Context(), v, time.Now()); err != nil {
			t.Error(err)
		}
		if n := s.asked.Load(); n != want {
			t.Errorf("%s?%s: the hook was asked %d times by now, want %d", path, query, n, want)
		}
	}
	for n := range 100 {
		f(fmt.Sprintf("/live/seg%d.ts", n), fmt.Sprintf("CMCD=bl%%3D%d&c=7", 1000*n), 1)
	}
	f("/live/seg1.ts", "CMCD=bl%3D3000&c=8", 2)
	s.mu.Lock()
	defer s.mu.Unlock()
	if !strings.Contains(s.body, `"query":"CMCD=bl%3D3000\u0026c=8"`) {
		t.Errorf("the hook was asked %s", s.body)
	}
}
