package passthrough

import (
	"flag"
	"strings"
	"testing"

	"weir/proxy"
	"weir/proxy/proxytest"
)

// TestRelayOptions: every mistake is named by its flag.
func TestRelayOptions(t *testing.T) {
	f := func(args string, want ...string) {
		t.Helper()
		fs := flag.NewFlagSet("", flag.ContinueOnError)
		build := Flags(fs)
		if err := fs.Parse(strings.Fields(args)); err != nil {
			t.Fatal(err)
		}
		_, err := build(proxytest.Env(t))
		if (err == nil) != (len(want) == 0) {
			t.Errorf("%s: %v", args, err)
			return
		}
		for _, flag := range want {
			if !strings.Contains(err.Error(), flag) {
				t.Errorf("%s: %v, which does not name %s", args, err, flag)
			}
		}
	}
	f("")
	f("-passthrough.udp= -passthrough.beat=0 -passthrough.timeout=100ms -passthrough.lag=100ms")
	f("-passthrough.udp=20000", "-passthrough.udp")
	f("-passthrough.udp=5-5", "-passthrough.udp")
	f("-passthrough.udp=20000-70000", "-passthrough.udp")
	f("-passthrough.udp=0-10 -passthrough.beat=2s", "-passthrough.udp", "-passthrough.beat")
	f("-passthrough.beat=-1ms -passthrough.lag=1ms -passthrough.timeout=0", "-passthrough.beat", "-passthrough.lag", "-passthrough.timeout")
}

// TestRelayReady: a relay is as ready as its way to the origins.
func TestRelayReady(t *testing.T) {
	f := newFake(t)
	if err := newEdge(t, quick, f.url()).relay.Ready(); err != nil {
		t.Error(err)
	}
	env := proxytest.Env(t)
	env.Upstream = usable{err: proxy.Degraded("one is down")}
	r, err := New(quick, env)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Ready(); err != proxy.Degraded("one is down") {
		t.Errorf("ready: %v", err)
	}
}

type usable struct {
	proxy.Upstream
	err error
}

func (u usable) Usable() error { return u.err }
