package splitter

import (
	"net/netip"
	"testing"

	"weir/proxy"
)

// A session is its connection's, and then the same viewer's. What nobody has and what
// is another's look the same.
func TestNamed(t *testing.T) {
	s := &Splitter{owners: map[string]*userData{}}
	connOf := func(path, subject, addr string) *conn {
		return &conn{s: s, viewer: &proxy.Viewer{Path: path, Subject: subject, Addr: netip.MustParseAddrPort(addr)},
			RTSPConn: &proxy.RTSPConn{Viewer: &proxy.Viewer{Path: path, Subject: subject, Addr: netip.MustParseAddrPort(addr)}}}
	}
	owner := connOf("/cam", "ann", "10.0.0.1:1")
	d := &userData{conn: owner}
	s.name(d, "abc;timeout=60")
	f := func(c *conn, id string, want *userData, ok bool) {
		t.Helper()
		if got, err := s.named(c, id); got != want || (err == nil) != ok || err != nil && proxy.Refused(err).Reason != proxy.NoSession {
			t.Errorf("%+v names %q: %v, %v", c.viewer, id, got, err)
		}
	}
	same := connOf("/cam", "ann", "10.0.0.1:2")
	f(owner, "abc", d, true)
	f(same, "abc", nil, false) // the other one is there
	f(same, "", nil, true)
	f(same, "unknown", nil, false)
	owner.gone = true
	f(same, "abc", d, true)
	f(connOf("/cam", "ann", "10.0.0.2:2"), "abc", nil, false)
	f(connOf("/cam", "bob", "10.0.0.1:2"), "abc", nil, false)
	f(connOf("/other", "ann", "10.0.0.1:2"), "abc", nil, false)
	s.unname(d)
	f(same, "abc", nil, false)
	s.name(d, "abc") // answered when it had ended
	if len(s.owners) != 0 {
		t.Errorf("%d left behind", len(s.owners))
	}
}
