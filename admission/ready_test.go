package admission

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"weir/proxy"
	"weir/proxy/proxytest"
)

// unready reports whether an error of ready keeps a node from being sent viewers.
func unready(err error) bool {
	_, degraded := errors.AsType[proxy.Degraded](err)
	return err != nil && !degraded
}

// wantDegraded wants an error that says so, with all the words in it.
func wantDegraded(t *testing.T, when string, err error, words ...string) {
	t.Helper()
	if _, ok := errors.AsType[proxy.Degraded](err); !ok {
		t.Errorf("%s: %v, want degraded", when, err)
		return
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("%s: %q says nothing of %q", when, err, w)
		}
	}
}

// TestReadyTellsOfTheHook: from the first question without an answer to the next
// with one, at once and however long it is ago.
func TestReadyTellsOfTheHook(t *testing.T) {
	g := gateOf(t, "-admission.hook=http://me:hush@"+proxytest.ClosedAddr(t)+"/auth?key=hush")
	if err := g.Ready(); err != nil {
		t.Errorf("before any question: %v", err)
	}
	if err := g.Check(t.Context(), viewer("rtsp", "/a", 1)); reason(err) != proxy.NoVerdict {
		t.Errorf("a hook that is down: %v", err)
	}
	wantDegraded(t, "after one question", g.Ready(), "-admission.hook http://127.0.0.1:", "/auth", "since")
	if err := g.Ready(); strings.Contains(errorText(err), "hush") {
		t.Errorf("%v shows credentials", err)
	}
}

func TestHookDegraded(t *testing.T) {
	f := func(open bool) {
		t.Helper()
		inHookBubble(t, Options{HookOpen: open}, nil, func(t *testing.T, h *timedHook) {
			for n := range hookFailures {
				_, _ = h.ask(t.Context(), question{Path: fmt.Sprint(n), from: addr(n).Addr()})
				if n < hookFailures-1 || open {
					wantDegraded(t, fmt.Sprint(n+1, " failures"), h.ready(), "since")
				}
			}
			if got := unready(h.ready()); got == open {
				t.Errorf("open %v: unready %v when it is down", open, got)
			}
			time.Sleep(time.Hour)
			wantDegraded(t, "an hour later", h.ready(), "since")
			h.code.Store(http.StatusForbidden)
			_, _ = h.ask(t.Context(), question{Path: "a"})
			if err := h.ready(); err != nil {
				t.Errorf("it answers again: %v", err)
			}
		})
	}
	f(false)
	f(true)
}

// TestReadyTellsOfFiles: of any that cannot be read, or is missing, until it is
// there again and good.
func TestReadyTellsOfFiles(t *testing.T) {
	f := func(flag, good, bad string) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			name := filepath.Join(t.TempDir(), "file")
			age := 100
			write := func(text string) {
				t.Helper()
				age--
				at := time.Unix(1e9-int64(age), 0)
				if err := errors.Join(os.WriteFile(name, []byte(text), 0o600), os.Chtimes(name, at, at)); err != nil {
					t.Fatal(err)
				}
			}
			write(good)
			g := gateOf(t, "-"+flag+"="+name, "-admission.shed-cpu=0", "-admission.shed-memory=0", "-admission.shed-files=0")
			runUntilEnd(t, func(ctx context.Context) { g.Run(ctx) }) //nolint:errcheck // it has none
			looks := func() { time.Sleep(patientLooks*lookEvery + lookEvery/2); synctest.Wait() }
			fine := func(when string) {
				t.Helper()
				if err := g.Ready(); err != nil {
					t.Errorf("-%s %s: %v", flag, when, err)
				}
			}
			looks()
			fine("at first")
			write(bad)
			looks()
			wantDegraded(t, "bad", g.Ready(), "-"+flag, name)
			os.Rename(name, name+".old")
			looks()
			wantDegraded(t, "missing", g.Ready(), "-"+flag, name, "missing")
			os.Rename(name+".old", name)
			looks()
			wantDegraded(t, "bad as before", g.Ready(), "-"+flag, name)
			write(good)
			looks()
			fine("good again")
			os.Rename(name, name+".old")
			looks()
			wantDegraded(t, "missing", g.Ready(), "-"+flag, name, "missing")
			os.Rename(name+".old", name)
			looks()
			fine("back as it was")
		})
	}
	f("admission.keys", string(keysText), "a short")
	f("admission.users", "ann:Weir:0123456789abcdef0123456789abcdef\n", "no colon")
	f("admission.deny", "10.0.0.0/8\n", "10.0.0.0/99")
	f("admission.allow", "10.0.0.0/8\n", "10.0.0.0/99")
	f("admission.jwt", string(publicPEM(t, rsaKeys()[0])), "no key")
}

// TestWorst: what only could be better does not hide what is not there, which
// whoever looks for a Degraded among joined errors would find first.
func TestWorst(t *testing.T) {
	down, slow := errors.New("down"), proxy.Degraded("slow")
	f := func(want string, degraded bool, errs ...error) {
		t.Helper()
		got := worst(errs...)
		if errorText(got) != want || got != nil && unready(got) == degraded {
			t.Errorf("worst(%v) = %v, want %q", errs, got, want)
		}
	}
	f("", false)
	f("", false, nil, nil)
	f("down", false, slow, down, nil)
	f("slow", true, nil, slow)
	f("slow; slow", true, slow, slow)
	f("down\ndown", false, down, worst(slow, down), slow)
}
