package admission

import (
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"weir/proxy"
)

// TestUnknownClass: good credentials that name a class which is not configured let
// their viewer in, and are told of once a minute.
func TestUnknownClass(t *testing.T) {
	core, logs := observer.New(zap.DebugLevel)
	at := time.Unix(1e9, 0)
	c := &credentials{
		names: []string{"token"}, leave: &proxy.Taken{}, known: newVerified(),
		class: &unknownClasses{classes: Classes{{"gold", 100}, {"bronze", 70}}, log: zap.New(core)},
	}
	f := func(class string, after time.Duration, want int) {
		t.Helper()
		c.jwt = &fakeTokens{token: "a.b.c", grant: &grant{class: class}}
		c.known.clear()
		v := viewer("http", "/a", 1)
		v.Query = "token=a.b.c"
		if err := c.check(t.Context(), v, at.Add(after)); err != nil || v.Class != class {
			t.Errorf("%s: class %q, %v", class, v.Class, err)
		}
		if n := logs.Len(); n != want {
			t.Errorf("%q after %v: %d lines in the log, want %d", class, after, n, want)
		}
	}
	f("", 0, 0)
	f("gold", 0, 0)
	f("Gold", 0, 1)
	f("Gold", classTold-1, 1)
	f("silver", classTold-1, 1)
	f(strings.Repeat("s", 4000), classTold, 2)
	line := logs.All()[1].ContextMap()
	if class, _ := line["class"].(string); len(class) != maxClassTold || line["lowest"] != "bronze" {
		t.Errorf("log has %v", line)
	}
	c.class.classes = nil // then names mean nothing
	f("silver", time.Hour, 2)
}
