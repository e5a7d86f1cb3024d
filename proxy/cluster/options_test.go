package cluster

import (
	"flag"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
)

func parse(t *testing.T, args ...string) *Options {
	t.Helper()
	fs := flag.NewFlagSet("test", flag.ContinueOnError)
	o := Flags(fs)
	if err := fs.Parse(args); err != nil {
		t.Fatal(err)
	}
	return o
}

func TestOptions(t *testing.T) {
	ok := func(args ...string) {
		t.Helper()
		if err := parse(t, args...).Validate(); err != nil {
			t.Errorf("%v: %v", args, err)
		}
	}
	keys := keyFile(t, 'k')
	ok()
	ok("-cluster.listen", "127.0.0.1:7946", "-cluster.name", "a")
	ok("-cluster.listen", "localhost:0", "-cluster.name", "a", "-cluster.label", "")
	ok("-cluster.listen", "[::1]:7946", "-cluster.name", "a", "-cluster.join", "edge1 edge2:7000", "-cluster.join", "[2001:db8::1]:7946")
	ok("-cluster.listen", ":7946", "-cluster.name", "a", "-cluster.key-file", keys, "-cluster.advertise", "192.0.2.7")
	ok("-cluster.listen", "0.0.0.0:7946", "-cluster.name", "a", "-cluster.key-file", keys, "-cluster.advertise", "[2001:db8::1]:7000")

	bad := func(want string, args ...string) {
		t.Helper()
		err := parse(t, args...).Validate()
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v, want %s", args, err, want)
		}
	}
	local := []string{"-cluster.listen", "127.0.0.1:7946", "-cluster.name", "a"}
	bad("-cluster.join: does nothing without -cluster.listen", "-cluster.join", "a")
	bad("-cluster.listen edge:7946", "-cluster.listen", "edge:7946")
	bad("-cluster.listen 127.0.0.1", "-cluster.listen", "127.0.0.1")
	bad("-cluster.listen :http", "-cluster.listen", ":http")
	bad("-cluster.key-file: needed off loopback", "-cluster.listen", "192.0.2.1:7946")
	bad("-cluster.key-file: needed off loopback", "-cluster.listen", ":7946", "-cluster.advertise", "127.0.0.1")
	bad("-cluster.key-file: open", append(local, "-cluster.key-file", "/nonexistent")...)
	bad("-cluster.name", "-cluster.listen", "127.0.0.1:1", "-cluster.name", "a b")
	bad("-cluster.label", append(local, "-cluster.label", strings.Repeat("x", maxLabel+1))...)
	for _, addr := range []string{"::", "0.0.0.0", "0.0.0.0:7946", "edge1", "224.0.0.1", "fe80::1%eth0"} {
		bad("-cluster.advertise", append(local, "-cluster.advertise", addr)...)
	}
	for _, join := range []string{"a:b:c", "edge:0", "edge:99999", "a/b", ":7946"} {
		bad("-cluster.join", append(local, "-cluster.join", join)...)
	}

	err := parse(t, "-cluster.listen", "192.0.2.1:7946", "-cluster.advertise", "x", "-cluster.name", "/", "-cluster.label", "\t", "-cluster.join", ":").Validate()
	for _, f := range []string{"advertise", "name", "label", "join", "key-file"} {
		if err == nil || !strings.Contains(err.Error(), "-cluster."+f) {
			t.Errorf("all mistakes together, but -cluster.%s is missing: %v", f, err)
		}
	}
}

// It does not guess: with two addresses, somebody must say which.
func TestOnlyAddress(t *testing.T) {
	f := func(listen, want string, all ...string) {
		t.Helper()
		var addrs []net.Addr
		for _, a := range all {
			ip, ipnet, err := net.ParseCIDR(a)
			if err != nil {
				t.Fatal(err)
			}
			ipnet.IP = ip
			addrs = append(addrs, ipnet)
		}
		got, err := only(addrs, netip.MustParseAddr(listen))
		switch {
		case want == "" && (err == nil || !strings.Contains(err.Error(), "-cluster.advertise")):
			t.Errorf("only(%v) = %v, %v, want an error", all, got, err)
		case want != "" && got.String() != want:
			t.Errorf("only(%v) = %v, %v, want %s", all, got, err, want)
		}
	}
	f("::", "10.0.0.7", "127.0.0.1/8", "::1/128", "10.0.0.7/24", "fe80::1/64", "2001:db8::7/64")
	f("0.0.0.0", "203.0.113.7", "203.0.113.7/24") // a public one is as good
	f("::", "2001:db8::7", "127.0.0.1/8", "2001:db8::7/64", "fe80::1/64")
	f("0.0.0.0", "", "127.0.0.1/8", "2001:db8::7/64")
	f("::", "", "10.0.0.7/24", "192.168.1.7/24")
	f("::", "", "127.0.0.1/8", "169.254.1.1/16")
}

func TestSeed(t *testing.T) {
	f := func(s, host string, port uint16) {
		t.Helper()
		h, p, err := seed(s)
		if h != host || p != port || err != nil {
			t.Errorf("seed(%q) = %q, %d, %v, want %q, %d", s, h, p, err, host, port)
		}
	}
	f("edge1", "edge1", 7946)
	f("edge1.example.net:7000", "edge1.example.net", 7000)
	f("10.0.0.1", "10.0.0.1", 7946)
	f("2001:db8::1", "2001:db8::1", 7946)
	f("[2001:db8::1]", "2001:db8::1", 7946)
	f("[2001:db8::1]:7000", "2001:db8::1", 7000)
}

// New says what is wrong, with the flag.
func TestNewFails(t *testing.T) {
	f := func(want string, cfg Config) {
		t.Helper()
		cfg.Log, cfg.Metrics = zap.NewNop(), prometheus.NewRegistry()
		if _, err := New(cfg); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("New = %v, want %s", err, want)
		}
	}
	busy, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close() //nolint:errcheck // the test is over
	f("-cluster.listen", Config{})
	taken := options("a")
	taken.Listen = busy.LocalAddr().String()
	f("-cluster.listen", Config{Options: taken})
	f("needs", Config{Options: options("a"), Identity: Identity{Role: Edge, Paths: slices.Repeat([]string{"/some/path/"}, 20)}})
	f("identity", Config{Options: options("a"), Identity: Identity{Role: Edge, Services: []Service{{Proto: "x", Port: 1}}}})
}
