package splitter

import (
	"flag"
	"strings"
	"testing"
	"time"

	"weir/proxy"
	"weir/proxy/proxytest"
)

// mentions fails unless an error says all of these words.
func mentions(t *testing.T, err error, words ...string) {
	t.Helper()
	for _, w := range words {
		if err == nil || !strings.Contains(err.Error(), w) {
			t.Errorf("error %v does not say %q", err, w)
		}
	}
}

// build parses flags and makes what they say.
func build(t *testing.T, args ...string) (proxy.Mode, error) {
	t.Helper()
	fs := flag.NewFlagSet("", flag.ContinueOnError)
	mode := Flags(fs)
	if err := fs.Parse(args); err != nil {
		t.Fatal(err)
	}
	return mode(proxytest.Env(t))
}

// All mistakes are reported at once, each with its flag.
func TestValidate(t *testing.T) {
	f := func(flag, value string) {
		t.Helper()
		_, err := build(t, "-splitter.udp=", flag, value)
		mentions(t, err, flag+" "+value)
		if err != nil && strings.Count(err.Error(), "-splitter.") != 1 {
			t.Errorf("%s %s: %v", flag, value, err)
		}
	}
	f("-splitter.linger", "-1s")
	f("-splitter.wait", "-1ns")
	f("-splitter.lag", "99ms")
	f("-splitter.timeout", "0s")
	f("-splitter.transport", "quic")
	f("-splitter.start", "now")
	f("-splitter.past", "1KiB")
	f("-splitter.past", "16383KiB")

	_, err := build(t, "-splitter.linger=-1s", "-splitter.wait=-1s", "-splitter.lag=0", "-splitter.timeout=1ms", "-splitter.transport=")
	mentions(t, err, "-splitter.linger", "-splitter.wait", "-splitter.lag", "-splitter.timeout", "-splitter.transport")
	_, err = build(t, "-splitter.udp", "127.0.0.1:20001")
	mentions(t, err, "-splitter.udp", "even")
}

func TestFlags(t *testing.T) {
	m, err := build(t, "-splitter.udp=", "-splitter.transport=auto", "-splitter.linger=0")
	if err != nil {
		t.Fatal(err)
	}
	want := Options{Wait: 30 * time.Second, Lag: 5 * time.Second, Start: "instant", Past: 512 << 20, Timeout: 5 * time.Second, Transport: "auto"}
	if got := m.(*Splitter).opt; got != want {
		t.Errorf("options %+v, want %+v", got, want)
	}
	for _, past := range []string{"0", "16MiB"} {
		if _, err := build(t, "-splitter.udp=", "-splitter.past", past); err != nil {
			t.Error(err)
		}
	}
	var o Options
	if err := o.Validate(); err == nil {
		t.Error("blank options are good")
	}
}
