package splitter_test

import (
	"flag"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"weir/passthrough"
	"weir/proxy/origintest"
	"weir/proxy/proxytest"
)

// A source that is always to be pulled is there before the first viewer, and comes
// back by itself.
func TestAlways(t *testing.T) {
	or := newOrigin(t, origintest.Options{})
	fs := flag.NewFlagSet("", flag.PanicOnError)
	o := passthrough.OriginFlags(fs)
	if err := fs.Set("splitter.source", "/cam="+or.URL()+"/live/clock#always"); err != nil {
		t.Fatal(err)
	}
	up := passthrough.NewBalancer(*o, prometheus.NewRegistry(), proxytest.Logger(t))
	opt := edgeOptions()
	opt.Linger, opt.Wait = 0, 0
	e := newEdge(t, opt, up)
	pulls := func(n int) func() bool { return func() bool { return or.Counts().Pulls == n } }
	proxytest.Eventually(t, 5*time.Second, "pulled unasked", pulls(1))
	or.Die()
	if err := or.Revive(); err != nil {
		t.Fatal(err)
	}
	proxytest.Eventually(t, 10*time.Second, "pulled again unasked", pulls(2))
	crowd(t, 1, e.url+"/cam", "tcp")
	if n := or.Counts().Pulls; n != 2 {
		t.Errorf("%d pulls, want the viewer to join the second", n)
	}
}
