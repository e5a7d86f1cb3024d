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

// failoverName is the flag's.
const failoverName = "origin.failover"

// failoverOf is what a set of flags says, if it has the flag.
func failoverOf(fs *flag.FlagSet) Failover {
	if f := fs.Lookup(failoverName); f != nil {
		return *f.Value.(*Failover)
	}
	return defaultFailover
}

// FailoverFlag declares -origin.failover, which sets f. It is declared once, for all
// parts that heed it.
func FailoverFlag(fs *flag.FlagSet, f *Failover) {
	*f = defaultFailover
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
