package splitter

import (
	"net/netip"
	"testing"

	"weir/proxy"
)

// TestMayName: a session is its connection's, and then the same viewer's.
func TestMayName(t *testing.T) {
	s := &Splitter{owners: map[string]*conn{}}
	connOf := func(path, subject, addr string) *conn {
		return &conn{s: s, viewer: &proxy.Viewer{Path: path, Subject: subject, Addr: netip.MustParseAddrPort(addr)},
			RTSPConn: &proxy.RTSPConn{Viewer: &proxy.Viewer{Path: path, Subject: subject, Addr: netip.MustParseAddrPort(addr)}}}
	}
	owner := connOf("/cam", "ann", "10.0.0.1:1")
	d := &userData{conn: owner}
	s.name(d, "abc;timeout=60")
	f := func(c *conn, field string, want bool) {
		t.Helper()
		if got := s.mayName(c, field); got != want {
			t.Errorf("%+v names %q: %v, want %v", c.viewer, field, got, want)
		}
	}
	same := connOf("/cam", "ann", "10.0.0.1:2")
	f(owner, "abc", true)
	f(same, "abc", false) // the other one is there
	f(same, " abc ;timeout=60", false)
	f(same, "", true)
	f(same, "unknown", true) // to be refused by gortsplib
	owner.gone = true
	f(same, "abc", true)
	f(connOf("/cam", "ann", "10.0.0.2:2"), "abc", false)
	f(connOf("/cam", "bob", "10.0.0.1:2"), "abc", false)
	f(connOf("/other", "ann", "10.0.0.1:2"), "abc", false)
	s.unname(d)
	f(connOf("/other", "ann", "10.0.0.1:2"), "abc", true)
	s.name(d, "abc") // answered when it had ended
	if len(s.owners) != 0 {
		t.Errorf("%d left behind", len(s.owners))
	}
}
