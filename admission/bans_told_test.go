package admission

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
)

func TestBansOnTheWire(t *testing.T) {
	told := []toldBan{{netip.MustParseAddr("2001:db8:1:2::"), 3600}, {netip.MustParseAddr("192.0.2.1"), 61}, {netip.MustParseAddr("10.0.0.1"), 1}}
	b := encodeBans(0x0102030405060708, told)
	const want = "01" + "0102030405060708" + "02" + "c0000201" + "003d" + "0a000001" + "0001" + "20010db800010002" + "0e10"
	if got := hex.EncodeToString(b); got != want {
		t.Errorf("on the wire %s, want %s", got, want)
	}
	boot, back, ok := decodeBans(b)
	if !ok || boot != 0x0102030405060708 || !reflect.DeepEqual(back, append(told[1:3:3], told[0])) {
		t.Errorf("read as %x %v %v", boot, back, ok)
	}
}

// What is not exactly a message is none at all.
func TestGarbledBans(t *testing.T) {
	f := func(what, message string) {
		t.Helper()
		b, err := hex.DecodeString(strings.ReplaceAll(message, " ", ""))
		if err != nil {
			t.Fatal(err)
		}
		if _, told, ok := decodeBans(b); ok || told != nil {
			t.Errorf("%s: read as %v", what, told)
		}
	}
	const head = "01 0000000000000001 "
	f("nothing", "")
	f("another version", "02 0000000000000001 01 c0000201003d")
	f("no number", head)
	f("cut", head+"01 c000020100")
	f("fewer than said", head+"02 c0000201003d")
	f("more than said", head+"01 c0000201003d c0000202003d")
	f("over", head+"01 c00002010000")
	f("longer than any", head+"01 c00002010e11")
	f("one twice", head+"02 c0000201003d c0000201003e")
	f("a /64 cut", head+"00 20010db800010002 0e")
	long := head + "00"
	for n := range 100 {
		long += fmt.Sprintf("20010db80001%04x003d", n)
	}
	f("too long", long)
}

// A message has those with the longest to go, as many as fit, whatever they are.
func TestBansToldFit(t *testing.T) {
	f := func(address func(n uint32) netip.Addr, want int) {
		t.Helper()
		b := newBans(1, nil, zap.NewNop())
		for n := range uint32(400) {
			b.mu.Lock()
			b.banned.Add(client(address(n)), ban{until: noon.Add(time.Duration(n+1) * time.Second)})
			b.mu.Unlock()
		}
		m := encodeBans(1, b.told(noon))
		_, told, ok := decodeBans(m)
		if !ok || len(m) > maxGauge || len(told) != want {
			t.Fatalf("%d bytes with %d of %d, read %v", len(m), len(told), want, ok)
		}
		for i, one := range told {
			if one.client != client(address(uint32(399-i))) || one.left != uint16(400-i) {
				t.Fatalf("number %d is %v", i, one)
			}
		}
	}
	f(addr4, 165)
	f(func(n uint32) netip.Addr {
		return netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 4: byte(n >> 8), 5: byte(n), 15: 1})
	}, 99)
}

// FuzzBansTold gives an edge what others might tell it: it is read as it is meant, or
// not at all.
func FuzzBansTold(f *testing.F) {
	f.Add(encodeBans(7, []toldBan{{addr4(1), 60}, {netip.MustParseAddr("2001:db8::"), 3600}}))
	f.Add(encodeBans(7, nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		boot, told, ok := decodeBans(b)
		if !ok {
			if told != nil {
				t.Errorf("refused, and read as %v", told)
			}
			return
		}
		if again := encodeBans(boot, told); !bytes.Equal(again, b) {
			t.Errorf("%x is read as %v, which is %x", b, told, again)
		}
		for _, one := range told {
			if one.client != client(one.client) || one.left == 0 || one.left > 3600 {
				t.Errorf("read %v", one)
			}
		}
	})
}
