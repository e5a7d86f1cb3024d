package admission

import (
	"net/netip"
	"strings"
	"testing"
	"time"
)

var usersAddr = netip.MustParseAddr("192.0.2.1")

func TestNonce(t *testing.T) {
	n, now := newNonces(), time.Unix(1e9, 999)
	nonce := n.mint(now, usersAddr)
	f := func(what, nonce string, after time.Duration, addr string, genuine, fresh bool) {
		t.Helper()
		if g, f := n.look(nonce, now.Add(after), netip.MustParseAddr(addr)); g != genuine || f != fresh {
			t.Errorf("%s: %v, %v, want %v, %v", what, g, f, genuine, fresh)
		}
	}
	f("at once", nonce, 0, "192.0.2.1", true, true)
	f("as IPv6", nonce, 0, "::ffff:192.0.2.1", true, true)
	f("just in time", nonce, nonceAge-time.Second, "192.0.2.1", true, true)
	f("too late", nonce, nonceAge, "192.0.2.1", true, false)
	f("much too late", nonce, 1000*time.Hour, "192.0.2.1", true, false)
	f("before it was made", nonce, -time.Second, "192.0.2.1", true, true)
	f("long before it was made", nonce, -nonceAge-time.Second, "192.0.2.1", true, false)
	f("from elsewhere", nonce, 0, "192.0.2.2", false, false)
	f("empty", "", 0, "192.0.2.1", false, false)
	f("short", nonce[2:], 0, "192.0.2.1", false, false)
	f("long", nonce+"00", 0, "192.0.2.1", false, false)
	f("no hexadecimal", "x"+nonce[1:], 0, "192.0.2.1", false, false)
	f("another's", newNonces().mint(now, usersAddr), 0, "192.0.2.1", false, false)
	for i := range nonce {
		c := "0"
		if nonce[i] == '0' {
			c = "1"
		}
		f("changed", nonce[:i]+c+nonce[i+1:], 0, "192.0.2.1", false, false)
	}
	if again := n.mint(now, usersAddr); again == nonce || strings.ToLower(again) != again {
		t.Errorf("the next is %s", again)
	}
}
