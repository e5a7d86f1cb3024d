package passthrough

import (
	"errors"
	"flag"
	"slices"
	"strings"
)

// A Failover says for what an origin that dies is replaced by another without the
// viewer being told: "live", "vod" and "http", separated by commas, or "off".
type Failover string // default live,vod,http

var _ flag.Value = (*Failover)(nil)

// defaultFailover stands for "".
const defaultFailover = Failover("live,vod,http")

// Names of flags.
const (
	failoverName = "origin.failover"
	strictName   = "origin.strict"
)

// failoverOf is what a set of flags says of failover, if it has its flags.
func failoverOf(fs *flag.FlagSet) (what Failover, strict bool) {
	what = defaultFailover
	if f := fs.Lookup(failoverName); f != nil {
		what = *f.Value.(*Failover)
	}
	if f := fs.Lookup(strictName); f != nil {
		strict = f.Value.String() == "true"
	}
	return what, strict
}

// FailoverFlag declares -origin.failover, which sets f, and -origin.strict. They are
// declared once, for all parts that heed them.
func FailoverFlag(fs *flag.FlagSet, f *Failover) {
	*f = defaultFailover
	fs.Bool(strictName, false, "another origin goes on with an RTSP stream only if its description says the same of how pictures are made (SPS, PPS, VPS), too; for recorders that read it there only. Else what differs is sent in band, before each key frame")
	fs.Var(f, failoverName, "for `what` an origin that dies is replaced under its viewers: live, vod, http, separated by commas, or off; what is not named ends, and viewers dial again")
}

// Set implements flag.Value.
func (f *Failover) Set(s string) error {
	if s == "off" {
		*f = Failover(s)
		return nil
	}
	for what := range strings.SplitSeq(s, ",") {
		if !slices.Contains([]string{"live", "vod", "http"}, what) {
			return errors.New("must be some of live,vod,http, or off")
		}
	}
	*f = Failover(s)
	return nil
}

// String implements flag.Value.
func (f *Failover) String() string {
	if f == nil || *f == "" {
		return string(defaultFailover)
	}
	return string(*f)
}

// Has reports whether what ("live", "vod", "http") goes on.
func (f *Failover) Has(what string) bool {
	return slices.Contains(strings.Split(f.String(), ","), what)
}
