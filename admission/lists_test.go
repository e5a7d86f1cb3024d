package admission

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"weir/proxy"
)

// wantReason fails unless err is a refusal for that reason; "" is for none.
func wantReason(t *testing.T, what string, err error, want proxy.Reason) *proxy.Refusal {
	t.Helper()
	if err == nil && want == "" {
		return nil
	}
	r, ok := err.(*proxy.Refusal)
	if !ok || r.Reason != want {
		t.Fatalf("%s: %v, want reason %q", what, err, want)
	}
	return r
}

func writeList(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestLists(t *testing.T) {
	f := func(allow, deny, address string, want proxy.Reason) {
		t.Helper()
		o := &Options{Allow: strings.Fields(allow), Deny: strings.Fields(deny)}
		l, err := newLists(o, zap.NewNop())
		if err != nil {
			t.Fatal(err)
		}
		what := fmt.Sprintf("allow %q, deny %q: %s", allow, deny, address)
		wantReason(t, what, l.check(netip.MustParseAddr(address)), want)
	}
	f("", "", "10.0.0.1", "")
	f("10.0.0.0/8", "", "10.0.0.1", "")
	f("10.0.0.0/8", "", "11.0.0.1", proxy.Forbidden)
	f("10.0.0.0/8", "", "::1", proxy.Forbidden)
	f("10.1.2.3/8", "", "10.9.9.9", "") // bits behind the prefix
	f("10.0.0.1", "", "10.0.0.1", "")
	f("10.0.0.1", "", "10.0.0.2", proxy.Forbidden)
	f("", "10.0.0.0/8", "10.0.0.1", proxy.Forbidden)
	f("", "10.0.0.0/8", "11.0.0.1", "")
	f("10.0.0.0/8", "10.1.0.0/16", "10.1.0.1", proxy.Forbidden)
	f("10.1.0.0/16", "10.0.0.0/8", "10.1.0.1", proxy.Forbidden) // even by the longer prefix
	f("0.0.0.0/0", "", "1.2.3.4", "")
	f("0.0.0.0/0", "", "::1", proxy.Forbidden)
	f("::/0", "", "2001:db8::1", "")
	f("::/0", "", "1.2.3.4", proxy.Forbidden)
	f("2001:db8::/32", "", "2001:db8:ffff::1", "")

	// One address in many forms.
	f("", "10.0.0.0/8", "::ffff:10.0.0.1", proxy.Forbidden)
	f("", "::ffff:10.0.0.0/104", "10.0.0.1", proxy.Forbidden)
	f("", "::ffff:10.0.0.0/104", "11.0.0.1", "")
	f("", "::ffff:10.0.0.1", "10.0.0.1", proxy.Forbidden)
	f("", "::ffff:0:0/96", "10.0.0.1", proxy.Forbidden)
	f("", "::ffff:10.0.0.1%eth0", "10.0.0.1", proxy.Forbidden)
	f("", "10.0.0.1", "::ffff:10.0.0.1%eth0", proxy.Forbidden)
	f("", "fe80::/10", "fe80::1%eth0", proxy.Forbidden)
	f("", "fe80::1", "fe80::1%eth0", proxy.Forbidden)
	f("", "fe80::1%eth0", "fe80::1%eth1", proxy.Forbidden)
}

func TestListsInvalidAddress(t *testing.T) {
	l, err := newLists(&Options{Allow: Words{"0.0.0.0/0", "::/0"}}, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	wantReason(t, "no address", l.check(netip.Addr{}), proxy.Forbidden)
}

func TestListsFile(t *testing.T) {
	name := filepath.Join(t.TempDir(), "networks")
	writeList(t, name, "# the office\n10.0.0.0/8\r\n\n  192.168.1.7   # the printer\n2001:db8::/32")
	l, err := newLists(&Options{Allow: Words{"172.16.0.0/12", name}}, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	f := func(address string, want proxy.Reason) {
		t.Helper()
		wantReason(t, address, l.check(netip.MustParseAddr(address)), want)
	}
	f("172.16.0.1", "")
	f("10.9.9.9", "")
	f("192.168.1.7", "")
	f("192.168.1.8", proxy.Forbidden)
	f("2001:db8::9", "")
	if allow, deny := l.len(); allow != 4 || deny != 0 {
		t.Errorf("%d allowed and %d denied prefixes, want 4 and 0", allow, deny)
	}
}

// A list of which nothing is left is still one: nobody is in it.
func TestListsEmptyFile(t *testing.T) {
	name := filepath.Join(t.TempDir(), "nobody")
	writeList(t, name, "# later\n")
	f := func(o *Options, want proxy.Reason) {
		t.Helper()
		l, err := newLists(o, zap.NewNop())
		if err != nil {
			t.Fatal(err)
		}
		wantReason(t, "empty file", l.check(netip.MustParseAddr("10.0.0.1")), want)
	}
	f(&Options{Allow: Words{name}}, proxy.Forbidden)
	f(&Options{Deny: Words{name}}, "")
}

func TestListsMistakes(t *testing.T) {
	dir := t.TempDir()
	bad := filepath.Join(dir, "bad")
	writeList(t, bad, "10.0.0.0/8\n\n# fine\n10.0.0.0/33\n")
	f := func(o *Options, want ...string) {
		t.Helper()
		_, err := newLists(o, zap.NewNop())
		if err == nil {
			t.Fatalf("newLists(%v, %v) takes it", o.Allow, o.Deny)
		}
		for _, w := range want {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("newLists(%v, %v) = %q, want %q in it", o.Allow, o.Deny, err, w)
			}
		}
	}
	f(&Options{Deny: Words{bad}}, "-admission.deny", bad, "line 4", `"10.0.0.0/33"`)
	f(&Options{Allow: Words{"10.0.0.0/33"}}, "-admission.allow", "10.0.0.0/33", "no address or prefix")
	f(&Options{Allow: Words{"10.0.0.256"}}, "-admission.allow", "10.0.0.256", "no address or prefix")
	f(&Options{Allow: Words{"nowhere"}, Deny: Words{bad}}, "-admission.allow", "nowhere", "line 4") // all at once
	writeList(t, bad, strings.Repeat("x", 1<<16))
	if _, err := newLists(&Options{Deny: Words{bad}}, zap.NewNop()); err == nil || len(err.Error()) > 400 {
		t.Errorf("a long line: %.500v, want a short error", err)
	}
}

// A file is read again when it changes; one with a mistake leaves the last.
func TestListsFollowFile(t *testing.T) {
	name := filepath.Join(t.TempDir(), "deny")
	writeList(t, name, "10.0.0.1\n")
	synctest.Test(t, func(t *testing.T) {
		core, logs := observer.New(zap.InfoLevel)
		l, err := newLists(&Options{Deny: Words{name, "1.1.1.1"}}, zap.New(core))
		if err != nil {
			t.Fatal(err)
		}
		go l.run(t.Context())
		f := func(text, denied, free, logged string) {
			t.Helper()
			writeList(t, name, text)
			time.Sleep(2 * lookEvery)
			synctest.Wait()
			wantReason(t, denied, l.check(netip.MustParseAddr(denied)), proxy.Forbidden)
			wantReason(t, free, l.check(netip.MustParseAddr(free)), "")
			wantReason(t, "1.1.1.1", l.check(netip.MustParseAddr("1.1.1.1")), proxy.Forbidden)
			if n := logs.FilterMessage(logged).Len(); n != 1 {
				t.Errorf("%q was logged %d times, want once", logged, n)
			}
			logs.TakeAll()
		}
		f("10.0.0.2 # another\n", "10.0.0.2", "10.0.0.1", "file read")
		f("10.0.0.0/8\nten\n", "10.0.0.2", "10.0.0.1", "file not read, the last one goes on")
		f("10.0.0.1\n10.0.0.3\n", "10.0.0.3", "10.0.0.2", "file read")
	})
}

func TestListsNil(t *testing.T) {
	l, err := newLists(&Options{}, zap.NewNop())
	if l != nil || err != nil {
		t.Fatalf("newLists without any = %v, %v", l, err)
	}
	wantReason(t, "nil lists", l.check(netip.MustParseAddr("10.0.0.1")), "")
	l.run(t.Context())
	if allow, deny := l.len(); allow != 0 || deny != 0 {
		t.Errorf("nil lists have %d and %d prefixes", allow, deny)
	}
}

// What is read is what the lines say, and nothing else.
func FuzzListsParse(f *testing.F) {
	f.Add("10.0.0.0/8\n# no\n\n::1 # yes\r\n::ffff:1.2.3.4\n", uint32(0x0a000001))
	f.Add("0.0.0.0/0", uint32(0))
	f.Add("fe80::1%eth0\n::ffff:0:0/95\n1.2.3.4/31", uint32(0x01020305))
	f.Add("10.0.0.0/33", uint32(1))
	f.Fuzz(func(t *testing.T, text string, v4 uint32) {
		table, err := parseList([]byte(text))
		if err != nil {
			return
		}
		a := netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, v4)))
		want := false
		for line := range strings.SplitSeq(text, "\n") {
			line, _, _ = strings.Cut(line, "#")
			line = strings.TrimSpace(line)
			p, errPrefix := netip.ParsePrefix(line)
			one, errAddr := netip.ParseAddr(line)
			if line != "" && errPrefix != nil && errAddr != nil {
				t.Fatalf("line %q was taken", line)
			}
			want = want || p.Contains(a) || one.Unmap() == a || mappedContains(p, a)
		}
		if got := table.Contains(a); got != want {
			t.Fatalf("%q contains %v: %v, want %v", text, a, got, want)
		}
	})
}

// mappedContains compares bit by bit, as netip keeps 4-in-6 out of all prefixes.
func mappedContains(p netip.Prefix, a netip.Addr) bool {
	if !p.IsValid() || !p.Addr().Is4In6() || p.Bits() < 96 {
		return false
	}
	x, y := p.Addr().As16(), a.As16()
	for i := range p.Bits() {
		if (x[i/8]^y[i/8])>>(7-i%8)&1 != 0 {
			return false
		}
	}
	return true
}

// Promise: at most 200 ns at 100 000 prefixes, nothing allocated.
func BenchmarkLists(b *testing.B) {
	var text strings.Builder
	for i := range uint32(50_000) {
		ip := binary.BigEndian.AppendUint32(nil, i*85_899)
		fmt.Fprintf(&text, "%v/%d\n", netip.AddrFrom4([4]byte(ip)), 20+i%13)
		fmt.Fprintf(&text, "2001:%x:%x::/%d\n", i>>4, i<<12&0xffff, 36+i%29)
	}
	name := filepath.Join(b.TempDir(), "prefixes")
	if err := os.WriteFile(name, []byte(text.String()), 0o600); err != nil {
		b.Fatal(err)
	}
	l, err := newLists(&Options{Allow: Words{"0.0.0.0/0", "::/0"}, Deny: Words{name}}, zap.NewNop())
	if err != nil {
		b.Fatal(err)
	}
	if _, deny := l.len(); deny != 100_000 {
		b.Fatalf("%d prefixes", deny)
	}
	f := func(address string) {
		a := netip.MustParseAddr(address)
		b.Run(address, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				l.check(a)
			}
		})
	}
	f("203.0.113.9")
	f("::ffff:203.0.113.9")
	f("2001:123:4567::1")
}

func TestListsAllocateNothing(t *testing.T) {
	l, err := newLists(&Options{Allow: Words{"10.0.0.0/8", "fe80::/10"}, Deny: Words{"10.1.0.0/16"}}, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []string{"10.0.0.1", "10.1.0.1", "11.0.0.1", "::ffff:10.0.0.1", "fe80::1%eth0"} {
		a := netip.MustParseAddr(s)
		if n := testing.AllocsPerRun(100, func() { l.check(a) }); n != 0 {
			t.Errorf("check(%s) allocates %v times", s, n)
		}
	}
}
