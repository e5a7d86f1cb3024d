package cluster

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// keyed is a peer with keys, the first of which signs.
func keyed(t *testing.T, name string, keys ...string) *peer {
	t.Helper()
	file := filepath.Join(t.TempDir(), "keys")
	if err := os.WriteFile(file, []byte(strings.Join(keys, "\n")), 0o600); err != nil {
		t.Fatal(err)
	}
	p := setup{name: name, options: Options{KeyFile: file}}.make(t)
	t.Cleanup(func() { p.kill() })
	return p
}

func TestMark(t *testing.T) {
	const old, fresh, strange = "00112233445566778899aabbccddeeff", "ffeeddccbbaa99887766554433221100", "0123456789abcdef0123456789abcdef"
	a, b, rotated, stranger := keyed(t, "a", old), keyed(t, "b", old), keyed(t, "c", fresh, old), keyed(t, "d", strange)
	now := time.Now()
	f := func(from *peer, path string, at time.Time, want bool) {
		t.Helper()
		if got := b.verify(from.mark("/cam", at), path, now); got != want {
			t.Errorf("mark of %s for /cam, made %v ago, shown for %s: verified %v, want %v", from.self.Name, now.Sub(at), path, got, want)
		}
	}
	f(a, "/cam", now, true)
	f(a, "/cam", now.Add(-20*time.Second), true)
	f(a, "/cam", now.Add(-40*time.Second), false)
	f(a, "/cam", now.Add(40*time.Second), false)
	f(a, "/cam2", now, false)
	f(stranger, "/cam", now, false)
	f(rotated, "/cam", now, false) // signs with a key that b has not got yet
	if !rotated.verify(a.mark("/cam", now), "/cam", now) {
		t.Error("the key that goes does not verify any more")
	}
}

func TestMarkIsForged(t *testing.T) {
	b := keyed(t, "b", "00112233445566778899aabbccddeeff")
	good := b.Mark("/cam")
	for _, mark := range []string{"", ",", ",,", "a", good[:len(good)-2], good + "00", "x" + good, strings.Replace(good, "b,", "c,", 1),
		strings.ToUpper(good[:1]) + good[1:], strings.Repeat("a", 1000) + good, "b,99999999999999999999," + good[len(good)-64:]} {
		if b.Verify(mark, "/cam") {
			t.Errorf("verified %q", mark)
		}
	}
}

func TestMarkWithoutKeys(t *testing.T) {
	a := setup{name: "a"}.make(t)
	t.Cleanup(func() { a.kill() })
	if m := a.Mark("/cam"); m != "" || a.Verify("a,1,00", "/cam") {
		t.Errorf("without keys there is a mark, %q, or anybody is believed", m)
	}
}
