package admission

import (
	"context"
	"encoding/binary"
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"weir/proxy"
)

// TestPasswordHashes has known vectors of bcrypt, those of Openwall. What a file
// has of argon2id TestUsersBasic makes with the library that verifies it.
func TestPasswordHashes(t *testing.T) {
	f := func(hash, password string, want bool) {
		t.Helper()
		h, err := parsePasswordHash(hash)
		if err != nil {
			t.Fatal(err)
		}
		if got := h.matches(password); got != want {
			t.Errorf("%s matches %q: %v, want %v", hash, password, got, want)
		}
	}
	const uStar = "$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"
	f("$2a"+uStar, "U*U", true)
	f("$2b"+uStar, "U*U", true)
	f("$2y"+uStar, "U*U", true)
	f("$2y"+uStar, "U*U*", false)
	f("$2a$05$CCCCCCCCCCCCCCCCCCCCC.7uG0VCzI2bS7j6ymqJi9CdcdxiRTWNy", "", true)
}

// A slowHash is as dear as can be: it waits.
type slowHash struct {
	began    chan struct{} // one for each that begins
	end      chan struct{} // closed when all may end
	password string
	now, max atomic.Int32 // at once
	all      atomic.Int32
}

func newSlowHash(password string) *slowHash {
	return &slowHash{began: make(chan struct{}, 1000), end: make(chan struct{}), password: password}
}

func (h *slowHash) matches(password string) bool {
	n := h.now.Add(1)
	defer h.now.Add(-1)
	for m := h.max.Load(); n > m && !h.max.CompareAndSwap(m, n); m = h.max.Load() {
	}
	h.all.Add(1)
	h.began <- struct{}{}
	<-h.end
	return password == h.password
}

func (h *slowHash) cost() int { return 1 }

// asked is what verify says, later.
type asked chan error

// ask is asked by the nth viewer, from the nth address.
func ask(ctx context.Context, p *passwords, n int, password string, h passwordHash) asked {
	return askAs(ctx, p, login{fmt.Sprint("name", n), password, addr(n).Addr()}, h)
}

func askAs(ctx context.Context, p *passwords, l login, h passwordHash) asked {
	a := make(asked, 1)
	go func() {
		right, err := p.verify(ctx, l, h)
		if err == nil && !right {
			err = refuse(proxy.Unauthorized, "")
		}
		a <- err
	}()
	return a
}

// queued is how many wait, in all; -1 if those of each client do not make that.
func (h *hashing) queued() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	n := 0
	for _, each := range h.each {
		n += each
	}
	if n != h.waiting || len(h.each) > h.waiting {
		return -1
	}
	return n
}

// TestPasswordTurns: hashes are computed a few at a time, 64 wait, and more are
// told to come again.
func TestPasswordTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, h := newPasswords(newHashing(nil)), newSlowHash("sesame")
		slots := cap(p.turns.slots)
		var in []asked
		for n := range slots + maxWaiting {
			in = append(in, ask(t.Context(), p, n, "sesame", h))
			synctest.Wait()
		}
		r := proxy.Refused(<-ask(t.Context(), p, -1, "sesame", h))
		if r.Reason != proxy.TooFast || r.RetryAfter < time.Second || r.RetryAfter > 5*time.Second {
			t.Errorf("one too many: %v after %v", r, r.RetryAfter)
		}
		if right, err := p.verify(t.Context(), login{name: "dee", password: "x"}, digestHash{"", md5Hex("x")}); !right || err != nil {
			t.Errorf("htdigest while all wait: %v, %v", right, err)
		}
		close(h.end)
		for _, a := range in {
			if err := <-a; err != nil {
				t.Error(err)
			}
		}
		if got := int(h.max.Load()); got != slots {
			t.Errorf("%d at once, want %d", got, slots)
		}
		if n := p.turns.queued(); n != 0 || len(p.turns.slots) != 0 {
			t.Errorf("%d waiting and %d at work in the end", n, len(p.turns.slots))
		}
	})
}

// TestPasswordWaits: who has gone waits no more and leaves his turn to others, and
// nobody waits for longer than maxWait.
func TestPasswordWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, h := newPasswords(newHashing(nil)), newSlowHash("sesame")
		var first []asked
		for n := range cap(p.turns.slots) {
			first = append(first, ask(t.Context(), p, n, "sesame", h))
		}
		synctest.Wait()
		ctx, cancel := context.WithCancel(t.Context())
		gone := ask(ctx, p, 100, "sesame", h)
		synctest.Wait()
		same := ask(t.Context(), p, 100, "sesame", h) // with the one who is about to go
		synctest.Wait()
		cancel()
		if r := proxy.Refused(<-gone); r.Reason != proxy.TooFast {
			t.Errorf("who has gone: %v", r)
		}
		synctest.Wait()
		if n := p.turns.queued(); n != 1 || len(same) != 0 {
			t.Errorf("%d waiting, want the one who wanted the same", n)
		}
		begun := time.Now()
		if r := proxy.Refused(<-same); r.Reason != proxy.TooFast || time.Since(begun) != maxWait {
			t.Errorf("after %v: %v, want %v", time.Since(begun), r, maxWait)
		}
		ctx, cancel = context.WithCancel(t.Context())
		gone = ask(ctx, p, 101, "sesame", h)
		same = ask(t.Context(), p, 101, "sesame", h)
		synctest.Wait()
		cancel()
		<-gone
		close(h.end)
		if err := <-same; err != nil {
			t.Errorf("when there is a turn: %v", err)
		}
		for _, a := range first {
			if err := <-a; err != nil {
				t.Error(err)
			}
		}
	})
}

// TestPasswordCrowd: a hundred wrong passwords from one client keep nobody else's
// right one from being verified: but a few of them are refused at once.
func TestPasswordCrowd(t *testing.T) {
	f := func(clients int, from func(n int) netip.Addr, waiting int) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			p, h := newPasswords(newHashing([]netip.Prefix{netip.MustParsePrefix("192.0.2.7/32")})), newSlowHash("sesame")
			wrong := make([]asked, 100)
			for n := range wrong {
				wrong[n] = askAs(t.Context(), p, login{"ann", fmt.Sprint("guess", n), from(n)}, h)
				synctest.Wait()
			}
			if n := p.turns.queued(); n != waiting {
				t.Errorf("%d clients: %d wait, want %d", clients, n, waiting)
			}
			ann := askAs(t.Context(), p, login{"ann", "sesame", netip.MustParseAddr("198.51.100.1")}, h)
			synctest.Wait()
			close(h.end)
			if err := <-ann; (err == nil) != (waiting < maxWaiting) {
				t.Errorf("%d clients: the right one: %v", clients, err)
			}
			busy := 0
			for _, a := range wrong {
				if r := proxy.Refused(<-a); r.Reason == proxy.TooFast && r.RetryAfter >= time.Second {
					busy++
				} else if r.Reason != proxy.Unauthorized {
					t.Error(r)
				}
			}
			if want := len(wrong) - cap(p.turns.slots) - waiting; busy != want {
				t.Errorf("%d clients: %d were refused unseen, want %d", clients, busy, want)
			}
			if n := p.turns.queued(); n != 0 {
				t.Errorf("%d wait in the end", n)
			}
		})
	}
	f(1, func(int) netip.Addr { return netip.MustParseAddr("192.0.2.1") }, maxWaitingEach)
	f(2, func(n int) netip.Addr { return addr(n % 2).Addr() }, 2*maxWaitingEach)
	f(1, func(n int) netip.Addr { return netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 15: byte(n)}) }, maxWaitingEach)
	f(1, func(int) netip.Addr { return netip.MustParseAddr("192.0.2.7") }, maxWaiting) // a balancer: it is many
}

// TestPasswordOfAnotherCrowd: who asks for the same as a client of whom too many
// wait already is not refused with him.
func TestPasswordOfAnotherCrowd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, h := newPasswords(newHashing(nil)), newSlowHash("sesame")
		id := p.id("ann", "sesame")
		full := make(chan struct{})
		crowd := p.same.DoChan(string(id[:]), func() (any, error) { <-full; return false, crowdedError{addr(1).Addr()} })
		mate := askAs(t.Context(), p, login{"ann", "sesame", addr(1).Addr()}, h)
		ann := askAs(t.Context(), p, login{"ann", "sesame", addr(2).Addr()}, h)
		synctest.Wait()
		close(full)
		<-crowd
		close(h.end)
		if err := <-ann; err != nil {
			t.Error(err)
		}
		if r := proxy.Refused(<-mate); r.Reason != proxy.TooFast {
			t.Errorf("who is one of them: %v", r)
		}
	})
}

// TestPasswordKeepsComing: who comes again in time is verified once an hour, whatever
// others try meanwhile; who stays away is verified anew.
func TestPasswordKeepsComing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPasswords(newHashing(nil))
		var hashes atomic.Int32
		f := func(want int32) {
			t.Helper()
			right, err := p.verify(t.Context(), login{"ann", "sesame", addr(1).Addr()}, countedHash{&hashes, "sesame", 1})
			if n := hashes.Load(); !right || err != nil || n != want {
				t.Errorf("%v, %v after %d hashes, want %d", right, err, n, want)
			}
		}
		f(1)
		for range knownLongest/time.Minute - 1 {
			time.Sleep(time.Minute)
			f(1)
		}
		time.Sleep(time.Minute - time.Nanosecond)
		f(1)
		time.Sleep(time.Nanosecond)
		f(2)
		time.Sleep(knownRight)
		f(3)
	})
}

// TestPasswordLeft: who goes while his password is computed is not waited for, and
// what comes out is remembered.
func TestPasswordLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, h := newPasswords(newHashing(nil)), newSlowHash("sesame")
		ctx, cancel := context.WithCancel(t.Context())
		a := ask(ctx, p, 1, "sesame", h)
		<-h.began
		cancel()
		if r := proxy.Refused(<-a); r.Reason != proxy.TooFast {
			t.Error(r)
		}
		close(h.end)
		synctest.Wait()
		if err := <-ask(t.Context(), p, 1, "sesame", h); err != nil || h.all.Load() != 1 {
			t.Errorf("%v after %d hashes, want 1", err, h.all.Load())
		}
	})
}

// TestPasswordOnce: equal ones at the same time are computed once, right or wrong.
func TestPasswordOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, password := range []string{"sesame", "wrong"} {
			p, h := newPasswords(newHashing(nil)), newSlowHash("sesame")
			var all []asked
			for range 500 {
				all = append(all, ask(t.Context(), p, 1, password, h))
			}
			synctest.Wait()
			close(h.end)
			for _, a := range all {
				if err := <-a; (err == nil) != (password == "sesame") {
					t.Errorf("%s: %v", password, err)
				}
			}
			if n := h.all.Load(); n != 1 {
				t.Errorf("%s: %d hashes, want 1", password, n)
			}
		}
	})
}

// TestPasswordBusyRace mixes everything; the race detector looks on.
func TestPasswordBusyRace(t *testing.T) {
	p := newPasswords(newHashing(nil))
	var hashes atomic.Int32
	var wg sync.WaitGroup
	for n := range 8 {
		wg.Go(func() {
			for i := range 300 {
				ctx, cancel := context.WithCancel(t.Context())
				if (n+i)%7 == 0 {
					cancel()
				}
				right, err := p.verify(ctx, login{fmt.Sprint(i / 3), "sesame", addr(n).Addr()}, countedHash{&hashes, "sesame", 1})
				if err == nil && !right {
					t.Error("a right password is wrong")
				}
				cancel()
			}
		})
	}
	wg.Wait()
	if n := hashes.Load(); n > 100 {
		t.Errorf("%d hashes of 100 passwords", n)
	}
}

// TestPasswordKnown: the table is bounded, each kind for itself.
func TestPasswordKnown(t *testing.T) {
	k, now := newKnownPasswords(), time.Unix(1e9, 0)
	id := func(n int) (id [32]byte) {
		binary.BigEndian.PutUint64(id[:], uint64(n))
		return id
	}
	k.add(id(-1), true, now)
	for n := range 3 * maxKnownPasswords {
		k.add(id(n), false, now)
	}
	if right, ok := k.get(id(-1), now.Add(knownRight-1)); !right || !ok {
		t.Error("wrong passwords have pushed a right one out")
	}
	if _, ok := k.get(id(-1), now.Add(2*knownRight-1)); ok {
		t.Error("known for too long")
	}
	if n := k.len(); n != maxKnownPasswords+1 {
		t.Errorf("%d known", n)
	}
	last := id(3*maxKnownPasswords - 1)
	if right, ok := k.get(last, now.Add(knownWrong-1)); right || !ok {
		t.Error("a wrong password is not known")
	}
	if _, ok := k.get(last, now.Add(knownWrong)); ok {
		t.Error("a wrong password is known for too long")
	}
	for n := range 3 * maxKnownPasswords {
		k.add(id(n), true, now)
	}
	if n := k.len(); n != 2*maxKnownPasswords {
		t.Errorf("%d known", n)
	}
}

// TestPasswordID: no two pairs are one, and no two readings have the same.
func TestPasswordID(t *testing.T) {
	p := newPasswords(nil)
	seen := map[[32]byte]bool{}
	for _, pair := range [][2]string{{"", ""}, {"a", "bc"}, {"ab", "c"}, {"abc", ""}, {"", "abc"}, {"a", "b"}, {"a", "b\x00"}} {
		for _, of := range []*passwords{p, newPasswords(nil)} {
			id := of.id(pair[0], pair[1])
			if seen[id] {
				t.Errorf("%q has the id of another", pair)
			}
			seen[id] = true
		}
	}
	if id := p.id("a", "b"); !seen[id] {
		t.Error("an id changes")
	}
}
