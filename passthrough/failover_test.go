package passthrough

import (
	"flag"
	"io"
	"testing"
)

func TestFailoverFlag(t *testing.T) {
	f := func(args []string, want string, has ...string) {
		t.Helper()
		fs := flag.NewFlagSet("", flag.ContinueOnError)
		fs.SetOutput(io.Discard)
		var got Failover
		FailoverFlag(fs, &got)
		if err := fs.Parse(args); (err != nil) != (want == "") || err == nil && got.String() != want {
			t.Errorf("%v: %s, %v; want %q", args, got.String(), err, want)
			return
		}
		for _, what := range has {
			if !got.Has(what) {
				t.Errorf("%v does not have %s", args, what)
			}
		}
		if want == "off" && (got.Has("live") || got.Has("off") && got.Has("vod")) {
			t.Error("off is not off")
		}
	}
	f(nil, "live,vod,http", "live", "vod", "http")
	f([]string{"-origin.failover=off"}, "off")
	f([]string{"-origin.failover=vod,http"}, "vod,http", "vod", "http")
	f([]string{"-origin.failover="}, "")
	f([]string{"-origin.failover=live,off"}, "")
	f([]string{"-origin.failover=live, vod"}, "")
	if zero := Failover(""); !zero.Has("live") || !zero.Has("vod") || !zero.Has("http") {
		t.Errorf("without a flag: %s", zero.String())
	}
}
