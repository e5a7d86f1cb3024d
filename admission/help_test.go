package admission

import (
	"context"
	"encoding/binary"
	"flag"
	"io"
	"net/netip"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"weir/proxy"
)

// gateOf is a Gate with the given flags, as "-admission.viewers=2".
func gateOf(t testing.TB, flags ...string) *Gate {
	t.Helper()
	fs := flag.NewFlagSet("gate", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	o := Flags(fs)
	if err := fs.Parse(flags); err != nil {
		t.Fatal(err)
	}
	g, err := New(Config{Options: *o, Peers: proxy.Alone, Metrics: prometheus.NewRegistry(), Log: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// addr is the nth address.
func addr(n int) netip.AddrPort {
	b := [4]byte{10}
	binary.BigEndian.PutUint32(b[:], 10<<24|uint32(n))
	return netip.AddrPortFrom(netip.AddrFrom4(b), 5000)
}

// viewer asks for a path from the nth address.
func viewer(protocol, path string, n int) *proxy.Viewer {
	return &proxy.Viewer{Addr: addr(n), Protocol: protocol, Path: path, Method: "GET"}
}

// admit checks and admits, as front and modes do.
func (g *Gate) admit(v *proxy.Viewer) (proxy.Ticket, error) {
	if err := g.Check(context.Background(), v); err != nil {
		return nil, err
	}
	return g.Admit(context.Background(), v)
}

// reason is why err refuses; "" for nil.
func reason(err error) proxy.Reason {
	if err == nil {
		return ""
	}
	return proxy.Refused(err).Reason
}
