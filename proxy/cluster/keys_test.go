package cluster

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/memberlist"

	"weir/proxy/proxytest"
)

func TestParseKeys(t *testing.T) {
	f := func(text string, want ...string) {
		t.Helper()
		keys, err := parseKeys([]byte(text))
		var got []string
		for _, k := range keys {
			got = append(got, string(k))
		}
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("parseKeys(%q) = %q, %v, want %q", text, got, err, want)
		}
	}
	k16, k24, k32 := "0123456789abcdef", "0123456789abcdef01234567", "0123456789abcdef0123456789abcdef"
	b64 := func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
	f(hex.EncodeToString([]byte(k16)), k16)
	f(strings.ToUpper(hex.EncodeToString([]byte(k24)))+"\n", k24)
	f(b64(k32)+"\r\n\n# old\n  "+strings.TrimRight(b64(k16), "=")+"  \n"+b64(k24), k32, k16, k24)

	bad := func(text string) {
		t.Helper()
		_, err := parseKeys([]byte(text))
		if err == nil {
			t.Errorf("parseKeys(%q) is taken", text)
		} else if s := strings.TrimSpace(text); s != "" && strings.Contains(err.Error(), s) {
			t.Errorf("the error tells the key: %v", err)
		}
	}
	bad("")
	bad("# nothing\n")
	bad("secret")
	bad(b64(k32 + "x"))
	bad(hex.EncodeToString([]byte(k16)) + "\n" + b64(k16))
	var many strings.Builder
	for i := range maxKeys + 1 {
		fmt.Fprintf(&many, "%032x\n", i)
	}
	bad(many.String())
}

// Whatever the ring had, in the end it has the keys of the file, and the first one
// encrypts; keys that stay are there all the time.
func TestInstall(t *testing.T) {
	key := func(b byte) []byte { return bytes.Repeat([]byte{b}, 16) }
	rng := rand.New(rand.NewPCG(1, 2))
	for range 500 {
		var was, is [][]byte
		for _, b := range rng.Perm(6)[:1+rng.IntN(4)] {
			was = append(was, key(byte(b)))
		}
		for _, b := range rng.Perm(6)[:1+rng.IntN(4)] {
			is = append(is, key(byte(b)))
		}
		ring, err := memberlist.NewKeyring(was, was[0])
		if err != nil {
			t.Fatal(err)
		}
		if err := install(ring, is); err != nil {
			t.Fatalf("install(%v) on %v: %v", is, was, err)
		}
		got := ring.GetKeys()
		if !bytes.Equal(got[0], is[0]) || len(got) != len(is) {
			t.Errorf("install(%v) on %v = %v", is, was, got)
		}
		for _, k := range is {
			if !slices.ContainsFunc(got, func(x []byte) bool { return bytes.Equal(x, k) }) {
				t.Errorf("install(%v) on %v = %v", is, was, got)
			}
		}
	}
}

// Packets are decrypted while keys change; the race detector looks on.
func TestInstallWhileInUse(t *testing.T) {
	a, b, c := bytes.Repeat([]byte{1}, 16), bytes.Repeat([]byte{2}, 16), bytes.Repeat([]byte{3}, 16)
	ring, err := memberlist.NewKeyring([][]byte{a, b, c}, a)
	if err != nil {
		t.Fatal(err)
	}
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			for _, k := range ring.GetKeys() {
				if len(k) != 16 {
					t.Error("half a key")
				}
			}
			select {
			case <-stop:
				return
			default:
			}
		}
	}()
	for range 200 {
		for _, keys := range [][][]byte{{a, c}, {a, b, c}, {b, c}, {c}, {a, b, c}} {
			if err := install(ring, keys); err != nil {
				t.Error(err)
			}
		}
	}
	close(stop)
	<-done
}

// Who has no key, or another one, sees nobody and is seen by nobody.
func TestWrongKeyStaysOut(t *testing.T) {
	f := func(name string, in, out []byte) {
		t.Helper()
		keys := func(k []byte) Options {
			if k == nil {
				return Options{}
			}
			return Options{KeyFile: keyFile(t, k...)}
		}
		a := setup{name: "a", options: keys(in)}.make(t).run()
		b := setup{name: "b", join: []*peer{a}, options: keys(in)}.make(t).run()
		meet(t, a, b)
		a.Tell("t", []byte("secret"), time.Minute)
		hears(t, b, "t", "a=secret")
		alien := setup{name: "alien", join: []*peer{a, b}, options: keys(out)}.make(t).run()
		alien.Tell("t", []byte("forged"), time.Minute)
		proxytest.Eventually(t, patient, "the alien has tried", func() bool { return a.transport.tcpIn.Load() > 0 && alien.transport.tcpOut.Load() > 1000 })
		a.Tell("t", []byte("more"), time.Minute)
		hears(t, b, "t", "a=more")
		for _, p := range []*peer{a, b} {
			if got := p.alive(); !slices.Equal(got, []string{"a", "b"}) {
				t.Errorf("%s: %s sees %v", name, p.self.Name, got)
			}
		}
		if got := alien.alive(); !slices.Equal(got, []string{"alien"}) || alien.told("t") != "" {
			t.Errorf("%s: the alien sees %v and heard %q", name, got, alien.told("t"))
		}
		for _, p := range []*peer{alien, b, a} {
			p.end()
		}
	}
	f("another key", []byte{'k'}, []byte{'x'})
	f("no key", []byte{'k'}, nil)
	f("a key where there are none", nil, []byte{'x'})
}

// Keys are changed in three steps, each node by itself: at any time all hear all,
// nobody is taken for dead, and in the end the old key is worth nothing.
func TestRotation(t *testing.T) {
	var all []*peer
	var files []string
	for i, name := range []string{"a", "b", "c"} {
		files = append(files, keyFile(t, 'o'))
		all = append(all, setup{name: name, join: all[:min(i, 1)], options: Options{KeyFile: files[i]}}.make(t).run())
	}
	meet(t, all...)
	since := all[0].node("c").Since
	n := 0
	for _, step := range []string{"on", "no", "n"} {
		for i, p := range all {
			writeKeys(t, files[i], []byte(step)...)
			if err := p.Reload(); err != nil {
				t.Fatal(err)
			}
			for j, teller := range all { // in the middle of a step too
				n++
				body := fmt.Sprint(n)
				teller.Tell("t"+teller.self.Name, []byte(body), time.Minute)
				for k, p := range all {
					if k != j {
						hears(t, p, "t"+teller.self.Name, teller.self.Name+"="+body)
					}
				}
			}
		}
	}
	if now := all[0].node("c").Since; !now.Equal(since) {
		t.Error("a node was taken for dead meanwhile")
	}
	old := setup{name: "old", join: all, options: Options{KeyFile: keyFile(t, 'o')}}.make(t).run()
	young := setup{name: "young", join: all, options: Options{KeyFile: keyFile(t, 'n')}}.make(t).run()
	meet(t, append(all, young)...)
	if got := old.alive(); !slices.Equal(got, []string{"old"}) {
		t.Errorf("who has the old key only sees %v", got)
	}
}

// The file is watched; what cannot be read leaves the keys as they are; all see what
// keys a node has.
func TestKeysAreWatched(t *testing.T) {
	file := keyFile(t, 'o')
	a := setup{name: "a", options: Options{KeyFile: file}}.make(t).run()
	b := setup{name: "b", join: []*peer{a}, options: Options{KeyFile: keyFile(t, 'o')}}.make(t).run()
	meet(t, a, b)
	shown := func(p *peer, node string) []string {
		for _, n := range p.Status().(status).Nodes {
			if n.Name == node {
				return n.Keys
			}
		}
		return nil
	}
	writeKeys(t, file, 'o', 'n')
	proxytest.Eventually(t, patient, "the new key is there", func() bool { return len(shown(b, "a")) == 2 })
	if err := os.WriteFile(file, []byte("nonsense"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := a.Reload(); err == nil {
		t.Error("a file without keys was taken")
	}
	if got := len(a.ring.GetKeys()); got != 2 {
		t.Errorf("%d keys after a bad file, want 2", got)
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if err := a.Reload(); err == nil || !strings.Contains(err.Error(), "-cluster.key-file") {
		t.Errorf("without a file: %v", err)
	}
	a.Tell("t", []byte("x"), time.Minute)
	hears(t, b, "t", "a=x")
}
