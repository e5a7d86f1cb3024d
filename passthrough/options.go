package passthrough

import (
	"errors"
	"flag"
	"fmt"
	"slices"
	"strings"
	"time"

	"weir/proxy"
)

// OriginOptions are the flags of the way to the origins. Origins and sources are
// kept as they were written: a flag.Value that refuses a URL would have it
// printed, credentials included, by package flag.
type OriginOptions struct {
	// Origins are URL#option,option.
	Origins []string
	// Sources are PATH=URL#option,option: an RTSP origin for exactly one path.
	Sources []string
	// Balance is how a pool shares its load: p2c, leastconn, roundrobin or hash.
	Balance string // default p2c
	// Check is the time between two probes of an origin. 0 probes none: what is
	// known comes from viewers. Too little bothers origins, too much finds out
	// late that one is back.
	Check time.Duration // default 5s
	// Rise and Fall are how many probes in a row must work or fail before an
	// origin counts as up or down. Too few flap, too many are slow.
	Rise, Fall int // default 2, 3
	// Timeout is how long one dial, one probe or one look-up may take. Too
	// little passes over origins on long lines, too much lets viewers wait for
	// one that is dead.
	Timeout time.Duration // default 3s
	// SlowStart is how long an origin that has come back takes to get its full
	// share. Too little drowns one that is still warming up.
	SlowStart time.Duration // default 30s
	// Resolve is the time between two look-ups of the origins' names. 0 looks
	// them up at the start only.
	Resolve time.Duration // default 30s
	// Handover is the time within which the live sessions of an origin that drains are
	// handed over to others. 0 leaves them where they are.
	Handover time.Duration // default 10s
	// Failover says for what an origin that dies is replaced under its viewers.
	Failover Failover // default live,vod,http
	// Host is which Host HTTP origins are asked for: origin, or preserve for
	// what the viewer asked for.
	Host string // default origin
}

// shortest is the least time between two probes or look-ups that is no mistake.
const shortest = 10 * time.Millisecond

const originOptionsText = "; options behind #, between commas (a comma in one is %2C, a blank %20): "

// OriginFlags declares the flags of the way to the origins.
func OriginFlags(fs *flag.FlagSet) *OriginOptions {
	o := &OriginOptions{}
	fs.Var((*list)(&o.Origins), "origin", "`URL` of an origin, rtsp:// rtsps:// http:// https:// host:port[/base] (default ports 554 322 80 443); may be given more than once; a name with several addresses is several origins"+
		originOptionsText+"weight=2 (1 to 1000, default 1), path=/vod/ (the pool it is in, may be repeated; the longest that a request's path begins with serves it; default /), max=500 (sessions at once), "+
		"ca=FILE or fingerprint=SHA256 (whom to trust instead of the system's authorities), header=Name: value (http only), "+
		"probe=tcp|rtsp|describe:/path|http:/path|http:/path=200-399|hls:/path|off (default rtsp, for http tcp; off for a camera that takes one connection only)")
	// By its name a flag of the splitter, for that is who asks for cameras; but
	// it names an origin, and nobody else may know where origins are.
	fs.Var((*list)(&o.Sources), "splitter.source", "`PATH=URL`: an RTSP origin for exactly one path, e.g. /cam/door=rtsp://10.0.0.9/stream1; may be given more than once"+
		originOptionsText+"always (pulled also while nobody watches), and max, ca, fingerprint and probe as for -origin")
	fs.StringVar(&o.Balance, "origin.balance", "p2c", "`p2c|leastconn|roundrobin|hash`: the less busy of two drawn by weight, the least busy of all, each in turn, or the same path always to the same origin while that has no more than 1.25 times its share")
	fs.DurationVar(&o.Check, "origin.check", 5*time.Second, "time between two probes of an origin, a fifth of it while one fails; 0 probes none; too little bothers origins, too much finds out late that one is back")
	fs.IntVar(&o.Rise, "origin.rise", 2, "how many probes in a row must work before an origin that was down gets viewers; too few flap, too many keep it idle")
	fs.IntVar(&o.Fall, "origin.fall", 3, "how many probes in a row must fail before an origin gets no more viewers (a dial that fails for a viewer is enough by itself); too few flap, too many are slow")
	fs.DurationVar(&o.Timeout, "origin.timeout", 3*time.Second, "how long one dial or probe of an origin may take; too little passes over origins on long lines, too much lets viewers wait for a dead one")
	fs.DurationVar(&o.SlowStart, "origin.slow-start", 30*time.Second, "how long an origin that has come back takes to get its full share; 0 gives it at once, too little drowns one that is still warming up")
	fs.DurationVar(&o.Resolve, "origin.resolve", 30*time.Second, "time between two look-ups of the origins' names; 0 looks them up at the start only, too much finds new addresses late")
	fs.DurationVar(&o.Handover, "origin.handover", 10*time.Second, "within what time the live sessions of an origin whose agent says that it drains are handed over to other origins; too little is a herd, too much keeps an operator waiting; 0 leaves them where they are")
	FailoverFlag(fs, &o.Failover)
	fs.StringVar(&o.Host, "origin.host", "origin", "`origin|preserve`: which Host an HTTP origin is asked for, its own or the one that the viewer asked for (origins with virtual hosts want their own)")
	return o
}

// Validate reports all mistakes at once, each with its flag and without
// credentials. It reads the files that options name.
func (o OriginOptions) Validate() error {
	_, err1 := o.origins()
	_, err2 := o.sources()
	return errors.Join(err1, err2, o.validateRest())
}

func (o OriginOptions) validateRest() error {
	var errs []error
	must := func(ok bool, flag string, value any, want string) {
		if !ok {
			errs = append(errs, fmt.Errorf("-%s %v: must be %s", flag, value, want))
		}
	}
	must(slices.Contains(strategies, o.Balance), "origin.balance", o.Balance, "one of "+strings.Join(strategies, ", "))
	must(o.Check == 0 || o.Check >= shortest, "origin.check", o.Check, "0 or at least 10ms")
	must(o.Rise >= 1, "origin.rise", o.Rise, "at least 1")
	must(o.Fall >= 1, "origin.fall", o.Fall, "at least 1")
	must(o.Timeout > 0, "origin.timeout", o.Timeout, "more than 0")
	must(o.SlowStart >= 0, "origin.slow-start", o.SlowStart, "0 or more")
	must(o.Handover >= 0, "origin.handover", o.Handover, "0 or more")
	must(o.Resolve == 0 || o.Resolve >= shortest, "origin.resolve", o.Resolve, "0 or at least 10ms")
	must(o.Host == "origin" || o.Host == "preserve", "origin.host", o.Host, "origin or preserve")
	return errors.Join(errs...)
}

// origins returns the sites of -origin in order.
func (o OriginOptions) origins() (sites []*site, err error) {
	var errs []error
	seen := map[string]bool{} // name and kind: Want.Origin must be clear
	for _, raw := range o.Origins {
		s, mistakes := newSite(raw)
		if s != nil {
			mistakes = append(mistakes, s.asOrigin(raw)...)
			key := fmt.Sprint(s.web(), strings.ToLower(s.name))
			if seen[key] {
				mistakes = append(mistakes, errors.New("given twice"))
			}
			seen[key] = true
		}
		for _, err := range mistakes {
			errs = append(errs, fmt.Errorf("-origin %s: %w", redactText(raw), err))
		}
		sites = append(sites, s)
	}
	return sites, errors.Join(errs...)
}

// sources returns the sites of -splitter.source in order.
func (o OriginOptions) sources() (sites []*site, err error) {
	var errs []error
	seen := map[string]bool{}
	for _, raw := range o.Sources {
		s, mistakes := newSource(raw)
		if s != nil && seen[s.source] {
			mistakes = append(mistakes, errors.New("the path is given twice"))
		}
		for _, err := range mistakes {
			errs = append(errs, fmt.Errorf("-splitter.source %s: %w", redactText(raw), err))
		}
		if s != nil {
			seen[s.source] = true
		}
		sites = append(sites, s)
	}
	return sites, errors.Join(errs...)
}

// newSource reads PATH=URL. The source's name is its address alone: some cameras
// have their password in the path.
func newSource(raw string) (*site, []error) {
	path, target, ok := strings.Cut(raw, "=")
	if !ok || path == "" {
		return nil, []error{errors.New("must be PATH=URL")}
	}
	path, err := proxy.CleanPath(path)
	if err != nil {
		return nil, []error{err}
	}
	s, mistakes := newSite(target)
	if s == nil {
		return nil, mistakes
	}
	s.source = path
	return s, append(mistakes, s.asSource()...)
}

// redactText is proxy.Redact for what may not be a URL: it leaves the scheme and
// the host. A path would say more, but some cameras have their password in it.
// Where a password may not have ended before the host, it leaves the scheme.
func redactText(raw string) string {
	scheme, rest, ok := strings.Cut(raw, "://")
	if ok {
		scheme += "://"
	} else {
		scheme, rest = "", raw
	}
	authority, behind := rest, ""
	if i := strings.IndexAny(rest, "/?#"); i >= 0 {
		authority, behind = rest[:i], rest[i:]
	}
	if strings.Contains(behind, "@") {
		return scheme + "***"
	}
	return scheme + authority[strings.LastIndexByte(authority, '@')+1:]
}

// A list is a flag that may be given more than once, or hold several URLs between
// blanks, as in an environment variable. An option behind a URL may hold a blank.
type list []string

// Set implements flag.Value.
func (l *list) Set(s string) error {
	words := strings.Split(strings.TrimSpace(s), " ")
	value := words[0]
	for _, w := range words[1:] {
		if strings.Contains(w, "://") {
			*l = append(*l, strings.TrimSpace(value))
			value = w
		} else {
			value += " " + w
		}
	}
	*l = append(*l, strings.TrimSpace(value))
	return nil
}

// String implements flag.Value, without credentials.
func (l *list) String() string {
	if l == nil {
		return ""
	}
	var b []string
	for _, s := range *l {
		b = append(b, redactText(s))
	}
	return strings.Join(b, " ")
}
