package admission

import (
	"strings"
	"testing"
)

// Secrets of tests, each of 32 characters.
var (
	secretA = strings.Repeat("a1b2", 8)
	secretB = strings.Repeat("c3d4", 8)
)

func TestKeysParse(t *testing.T) {
	f := func(text, ids, wantErr string) {
		t.Helper()
		k, err := parseKeys([]byte(text))
		if wantErr != "" {
			if err == nil || !strings.Contains(err.Error(), wantErr) {
				t.Errorf("%q: %v, want %s", text, err, wantErr)
			}
			return
		}
		if err != nil || k.ids() != ids {
			t.Errorf("%q: %s %v, want %s", text, k.ids(), err, ids)
		}
	}
	f("k1 "+secretA, "k1", "")
	f("# ours\n\n  k2\t"+secretB+" # the old one\r\nk1 "+secretA+"\r\n", "k2, k1", "")
	f("", "", "no key in it")
	f("# nothing\n", "", "no key in it")
	f("k1\n", "", "line 1: the secret is missing")
	f("\nk1 "+secretA[1:], "", "line 2: the secret of key k1 is shorter than 32")
	f("k1 "+secretA+" "+secretB, "", "secrets have no blanks")
	f("k/1 "+secretA, "", "a key's name has")
	f("\ufeffk1 "+secretA, "", "a key's name has")
	f(strings.Repeat("k", 33)+" "+secretA, "", "a key's name has")
	f("k1 "+secretA+"\nk1 "+secretB, "", "line 2: key k1 is there twice")
}

// Keys that are taken can be used, and no mistake in the file shows a secret in a
// log.
func FuzzParseKeys(f *testing.F) {
	f.Add(string(keysText))
	f.Add("k1 " + secretA[1:])
	f.Add(secretA + secretB + " k1")
	f.Add("k1 " + secretA + " # old\n\nk1 " + secretB)
	f.Fuzz(func(t *testing.T, text string) {
		all, err := parseKeys([]byte(text))
		for _, k := range all {
			if len(k.secret) < minSecret || !isKeyID(k.id) {
				t.Errorf("%q has key %q", text, k.id)
			}
		}
		for _, word := range strings.Fields(text) {
			if err != nil && len(word) > maxKeyID && strings.Contains(err.Error(), word) {
				t.Errorf("%q: %v", text, err)
			}
		}
		if err == nil && len(all) == 0 {
			t.Errorf("%q: no key, and no error", text)
		}
	})
}
