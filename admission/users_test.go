package admission

import (
	"context"
	"encoding/base64"
	"fmt"
	"hash/maphash"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"golang.org/x/crypto/argon2"
	"golang.org/x/crypto/bcrypt"

	"weir/proxy"
)

// bcryptLine is what htpasswd -B would write.
func bcryptLine(t testing.TB, name, password string) string {
	t.Helper()
	hash, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	return name + ":$2y" + string(hash[3:])
}

func argonLine(name, password string) string {
	salt := []byte("sodiumchloride")
	b64 := base64.RawStdEncoding.EncodeToString
	return fmt.Sprintf("%s:$argon2id$v=19$m=64,t=2,p=2$%s$%s", name, b64(salt), b64(argon2.IDKey([]byte(password), salt, 2, 64, 2, 32)))
}

// htdigestLine is what htdigest would write.
func htdigestLine(name, password string) string {
	return name + ":Weir:" + md5Hex(name+":Weir:"+password)
}

// usersOf has a file of these lines.
func usersOf(t testing.TB, lines ...string) *users {
	t.Helper()
	name := filepath.Join(t.TempDir(), "users")
	writeUsers(t, name, lines...)
	u, err := newUsers(&Options{Users: name, Realm: "Weir"}, func() {}, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func writeUsers(t testing.TB, name string, lines ...string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(strings.Join(lines, "\n")), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestUsersNone(t *testing.T) {
	u, err := newUsers(&Options{Realm: "Weir"}, nil, zap.NewNop())
	if u != nil || err != nil {
		t.Fatal(u, err)
	}
	u.run(context.Background())
	if _, err := newUsers(&Options{Users: "no/such/file"}, nil, zap.NewNop()); err == nil || !strings.HasPrefix(err.Error(), "-admission.users: ") {
		t.Error(err)
	}
}

func TestUsersBasic(t *testing.T) {
	long := strings.Repeat("p", 72)
	u := usersOf(t, bcryptLine(t, "bea", "sesame"), bcryptLine(t, "lea", long), argonLine("ada", "sesame"), argonLine("len", long+"q"),
		htdigestLine("dee", "sesame"), htdigestLine("max", strings.Repeat("m", 1024)), bcryptLine(t, "zoë", "пароль"))
	f := func(name, password string, in bool) {
		t.Helper()
		for range 2 { // computed, and remembered
			g, err := u.basic(t.Context(), login{name: name, password: password})
			switch {
			case in && (err != nil || g.subject != name):
				t.Errorf("%s %.20q: %v, %v", name, password, g, err)
			case !in && (g != nil || err == nil || proxy.Refused(err).Reason != proxy.Unauthorized):
				t.Errorf("%s %.20q: %v, %v, want unauthorized", name, password, g, err)
			}
		}
	}
	for _, name := range []string{"bea", "ada", "dee"} {
		f(name, "sesame", true)
		f(name, "", false)
		f(name, "Sesame", false)
		f(name, "sesame ", false)
		f(strings.ToUpper(name), "sesame", false)
	}
	f("zoë", "пароль", true)
	f("lea", long, true)
	f("lea", long[1:], false)
	f("lea", long+"q", false) // bcrypt does not see the q
	f("len", long+"q", true)
	f("len", long, false)
	f("max", strings.Repeat("m", 1024), true)
	f("max", strings.Repeat("m", 1025), false)
	f("bea", strings.Repeat("p", 1<<20), false)
	f(strings.Repeat("n", 1<<20), "sesame", false)
	f("", "", false)
	f("nobody", long, false) // right for the hash that nobody's is compared with, or another
	f("nobody", "sesame", false)
	f("nobody", long+"q", false)
}

// A countedHash counts how often it is computed.
type countedHash struct {
	n        *atomic.Int32
	password string
	weight   int
}

func (h countedHash) matches(password string) bool { h.n.Add(1); return password == h.password }
func (h countedHash) cost() int                    { return h.weight }

// TestUsersCost: a name that is not there costs as many hashes as a wrong
// password, the first time and when it is known.
func TestUsersCost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var cheap, dear atomic.Int32
		u := usersOf(t, bcryptLine(t, "ann", "x"))
		l := u.file.get()
		l.byName["ann"].hash = countedHash{&dear, "sesame", 100}
		l.byName["bob"] = &user{grant: &grant{subject: "bob"}, hash: countedHash{&cheap, "sesame", 10}}
		l.strangers = []passwordHash{nobodys{countedHash{&dear, "sesame", 100}}}
		f := func(name, password string, wantDear, wantCheap int32) {
			t.Helper()
			dear.Store(0)
			cheap.Store(0)
			if g, err := u.basic(t.Context(), login{name: name, password: password}); (err == nil) != (password == "sesame" && name != "eve") {
				t.Errorf("%s %s: %v, %v", name, password, g, err)
			}
			if dear.Load() != wantDear || cheap.Load() != wantCheap {
				t.Errorf("%s %s: %d dear and %d cheap hashes, want %d and %d", name, password, dear.Load(), cheap.Load(), wantDear, wantCheap)
			}
		}
		both := func(password string, want int32) {
			t.Helper()
			f("ann", password, want, 0)
			f("eve", password, want, 0)
		}
		both("wrong", 1)
		both("wrong", 0)
		both("other", 1)
		time.Sleep(knownWrong)
		both("wrong", 1)
		f("eve", "sesame", 1, 0)
		f("ann", "sesame", 1, 0)
		f("ann", "sesame", 0, 0)
		f("bob", "sesame", 0, 1)
		time.Sleep(knownRight - 1)
		f("ann", "sesame", 0, 0)
		time.Sleep(knownRight)
		f("ann", "sesame", 1, 0)
	})
}

// TestUsersStrangers: names that are not there are compared with the kinds of hashes
// that there are, as often as these are there, and always with the same; also when
// the file has been read anew.
func TestUsersStrangers(t *testing.T) {
	var lines []string
	for n := range 60 {
		lines = append(lines, htdigestLine(fmt.Sprint("dee", n), "x"))
	}
	for n := range 40 {
		lines = append(lines, bcryptLine(t, fmt.Sprint("bea", n), "x"))
	}
	u := usersOf(t, lines...)
	kind := func(name string) int { return u.file.get().stranger(maphash.String(u.seed, name)).cost() }
	const names = 10000
	digests, kinds := 0, make([]int, names)
	for n := range names {
		if kinds[n] = kind(fmt.Sprint("name", n)); kinds[n] == 0 {
			digests++
		}
	}
	if digests < names*55/100 || digests > names*65/100 {
		t.Errorf("%d of %d strangers are as users of Digest, of whom there are 60 %%", digests, names)
	}
	writeUsers(t, u.file.name, lines[1:]...)
	if err := u.file.read(); err != nil {
		t.Fatal(err)
	}
	changed := 0
	for n := range names {
		if kind(fmt.Sprint("name", n)) != kinds[n] {
			changed++
		}
	}
	if changed > names*2/100 {
		t.Errorf("%d of %d strangers have become others with one user", changed, names)
	}
	for n := range 100 {
		if _, err := u.basic(t.Context(), login{name: fmt.Sprint("name", n), password: "x"}); reason(err) != proxy.Unauthorized {
			t.Errorf("a stranger with somebody's password: %v", err)
		}
	}
}

func TestUsersChallenges(t *testing.T) {
	now := time.Unix(1e9, 0)
	digest, bcrypt := htdigestLine("dee", "x"), bcryptLine(t, "bea", "x")
	f := func(protocol, want string, lines ...string) {
		t.Helper()
		var got []string
		for _, c := range usersOf(t, lines...).challenges(protocol, now, usersAddr) {
			before, after, ok := strings.Cut(c, `nonce="`)
			if ok {
				after = `nonce="N` + after[strings.IndexByte(after, '"'):]
			}
			got = append(got, before+after)
		}
		if s := strings.Join(got, "|"); s != want {
			t.Errorf("%s: %s, want %s", protocol, s, want)
		}
	}
	f("rtsp", `Digest realm="Weir", nonce="N"|Basic realm="Weir"`, digest)
	f("http", `Digest realm="Weir", nonce="N", qop="auth", algorithm=MD5|Basic realm="Weir", charset="UTF-8"`, digest)
	f("rtsp", `Basic realm="Weir"`, bcrypt)
	f("http", `Basic realm="Weir", charset="UTF-8"`, bcrypt)
	f("rtsp", `Basic realm="Weir"`, bcrypt, digest) // or bea could not come in
	f("http", `Basic realm="Weir", charset="UTF-8"`, digest, bcrypt)
}

// TestUsersReread: what the file says counts within a second, also against what
// is remembered; a broken file changes nothing.
func TestUsersReread(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		name := filepath.Join(t.TempDir(), "users")
		age := time.Hour // so that each writing has another time
		write := func(lines ...string) {
			age -= time.Minute
			writeUsers(t, name, lines...)
			if err := os.Chtimes(name, time.Time{}, time.Now().Add(-age)); err != nil {
				t.Fatal(err)
			}
		}
		write(bcryptLine(t, "ann", "old"), bcryptLine(t, "bob", "bob"))
		changes := 0
		u, err := newUsers(&Options{Users: name, Realm: "Weir"}, func() { changes++ }, zap.NewNop())
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { u.run(ctx); close(done) }()
		f := func(name, password string, in bool) {
			t.Helper()
			if _, err := u.basic(ctx, login{name: name, password: password}); (err == nil) != in {
				t.Errorf("%s %s: %v", name, password, err)
			}
		}
		f("ann", "old", true)
		f("ann", "new", false)
		f("bob", "bob", true)
		was := u.file.get()
		write(bcryptLine(t, "ann", "new"))
		time.Sleep(lookEvery)
		synctest.Wait()
		f("ann", "old", false)
		f("ann", "new", true)
		f("bob", "bob", false)
		if n := was.passwords.known.len(); n != 3 || changes != 1 {
			t.Errorf("the last reading knows %d, want 3; %d changes, want 1", n, changes)
		}
		write("ann:plain")
		time.Sleep(lookEvery)
		synctest.Wait()
		f("ann", "new", true)
		write(htdigestLine("ann", "newer"))
		time.Sleep(lookEvery)
		synctest.Wait()
		f("ann", "newer", true)
		f("ann", "new", false)
		if changes != 2 {
			t.Errorf("%d changes, want 2", changes)
		}
		cancel()
		<-done
	})
}

// TestUsersRereadMeanwhile: a password that was withdrawn while it was computed is
// not right for those who ask after that.
func TestUsersRereadMeanwhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		name := filepath.Join(t.TempDir(), "users")
		writeUsers(t, name, bcryptLine(t, "ann", "x"))
		u, err := newUsers(&Options{Users: name, Realm: "Weir"}, nil, zap.NewNop())
		if err != nil {
			t.Fatal(err)
		}
		slow := newSlowHash("old")
		u.file.get().byName["ann"].hash = slow
		early := make(chan error)
		go func() { _, err := u.basic(t.Context(), login{name: "ann", password: "old"}); early <- err }()
		<-slow.began
		writeUsers(t, name, bcryptLine(t, "ann", "newer"), "")
		if err := u.file.read(); err != nil {
			t.Fatal(err)
		}
		late := make(chan error)
		go func() { _, err := u.basic(t.Context(), login{name: "ann", password: "old"}); late <- err }()
		synctest.Wait()
		close(slow.end)
		if err := <-early; err != nil {
			t.Errorf("who asked before: %v", err)
		}
		if err := <-late; err == nil {
			t.Error("the old password is good after it was withdrawn")
		}
		if _, err := u.basic(t.Context(), login{name: "ann", password: "old"}); err == nil {
			t.Error("and is remembered")
		}
	})
}

// BenchmarkBasicKnown: a password that is remembered takes 2 µs at most.
func BenchmarkBasicKnown(b *testing.B) {
	u := usersOf(b, bcryptLine(b, "ann", "correct horse battery staple"))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := u.basic(b.Context(), login{name: "ann", password: "correct horse battery staple"}); err != nil {
			b.Fatal(err)
		}
	}
}
