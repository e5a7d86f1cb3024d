package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/peterbourgon/ff/v3"
	"github.com/peterbourgon/ff/v3/ffyaml"
	"go.uber.org/zap"

	"weir/admission"
	"weir/cache"
	"weir/passthrough"
	"weir/proxy"
	"weir/proxy/admin"
	"weir/proxy/cluster"
	"weir/proxy/front"
	"weir/splitter"
)

// modes are the rungs there are. To add one: a folder, and a line here.
func modes() map[string]proxy.Register {
	return map[string]proxy.Register{
		"splitter":    splitter.Flags,
		"cache":       cache.Flags,
		"passthrough": passthrough.Flags,
	}
}

// defaultLadder is the ladder of all modes, in the order in which it makes sense.
var defaultLadder = []string{"splitter", "cache", "passthrough"}

// A config is all that flags, environment and file say.
type config struct {
	fs      *flag.FlagSet
	front   *front.Options
	gate    *admission.Options
	admin   *admin.Options
	origins *passthrough.OriginOptions
	cluster *cluster.Options
	builds  map[string]proxy.Build

	mode                string
	logLevel, logFormat string
	version             bool
	help                func()
}

func newConfig(name string, stderr io.Writer) *config {
	fs := flag.NewFlagSet(name, flag.ContinueOnError)
	fs.SetOutput(io.Discard) // mistakes are reported once, by main
	c := &config{fs: fs, front: front.Flags(fs), gate: admission.Flags(fs), admin: admin.Flags(fs), origins: passthrough.OriginFlags(fs), cluster: cluster.Flags(fs), builds: map[string]proxy.Build{}}
	for _, m := range slices.Sorted(maps.Keys(modes())) {
		c.builds[m] = modes()[m](fs)
	}
	fs.StringVar(&c.mode, "mode", strings.Join(defaultLadder, ","), "the ladder of `modes`, left to right: the first that takes a request answers it")
	fs.StringVar(&c.logLevel, "log.level", "info", "`debug|info|warn|error`; debug has a line for each viewer that leaves")
	fs.StringVar(&c.logFormat, "log.format", "", "`console|json`; console on a terminal, else json")
	fs.BoolVar(&c.version, "version", false, "say which version this is, and end")
	fs.String("config", "", "`file` in YAML with the flags' names as keys; command line and environment override it")
	fs.Usage = func() {} // a mistake is one line, not a hundred of help before it
	c.help = func() { usage(fs, stderr) }
	return c
}

// set changes a flag's default.
func (c *config) set(name, value string) {
	if err := c.fs.Set(name, value); err != nil {
		panic(fmt.Sprintf("BUG: default of -%s: %v", name, err))
	}
	c.fs.Lookup(name).DefValue = value
}

// parse reads the command line, then the environment (WEIR_SPLITTER_LINGER for
// -splitter.linger), then the file; what comes first wins.
func (c *config) parse(args []string) error {
	err := ff.Parse(c.fs, args,
		ff.WithEnvVarPrefix("WEIR"),
		ff.WithConfigFileFlag("config"), ff.WithConfigFileParser(ffyaml.Parser))
	switch {
	case errors.Is(err, flag.ErrHelp):
		c.help()
		return err
	case err != nil:
		return fmt.Errorf("%w%s (%w)", err, c.hint(err), errUsage)
	case c.fs.NArg() > 0:
		return fmt.Errorf("%q is not a flag (%w)", c.fs.Arg(0), errUsage)
	}
	return nil
}

// hint says what is missing in a duration without a unit, the commonest mistake.
func (c *config) hint(err error) (hint string) {
	c.fs.VisitAll(func(f *flag.Flag) {
		v, ok := f.Value.(flag.Getter)
		if !ok || !strings.Contains(err.Error(), " -"+f.Name+": parse error") {
			return
		}
		if _, ok := v.Get().(time.Duration); ok {
			hint = ": a duration has a unit, as in 90s or 1h30m"
		}
	})
	return hint
}

// strays are the variables of an environment that look like flags and are none. Those
// that Kubernetes sets for a service named weir are not meant as such.
func (c *config) strays(environ []string) (names []string) {
	known := map[string]bool{}
	underscores := strings.NewReplacer("-", "_", ".", "_")
	c.fs.VisitAll(func(f *flag.Flag) { known["WEIR_"+strings.ToUpper(underscores.Replace(f.Name))] = true })
	for _, e := range environ {
		name, _, _ := strings.Cut(e, "=")
		if strings.HasPrefix(name, "WEIR_") && !known[name] && !strings.HasPrefix(name, "WEIR_SERVICE_") && !strings.HasPrefix(name, "WEIR_PORT") {
			names = append(names, name)
		}
	}
	return names
}

// validate reports all mistakes together, but for those of the modes, which
// their builds report.
func (c *config) validate() error {
	errs := []error{c.front.Validate(), c.gate.Validate(), c.origins.Validate(), c.cluster.Validate()}
	if len(c.ladder()) == 0 {
		errs = append(errs, errors.New("-mode is empty: nobody would be answered"))
	}
	if _, err := zap.ParseAtomicLevel(c.logLevel); err != nil {
		errs = append(errs, fmt.Errorf("-log.level: %w", err))
	}
	if f := c.logFormat; f != "" && f != "console" && f != "json" {
		errs = append(errs, fmt.Errorf("-log.format %q: must be console or json", f))
	}
	for _, m := range c.ladder() {
		if c.builds[m] == nil {
			errs = append(errs, fmt.Errorf("-mode %s: there is no mode %q (there are: %s)", c.mode, m, strings.Join(defaultLadder, ", ")))
		}
	}
	return errors.Join(errs...)
}

// ladder is the modes in order.
func (c *config) ladder() []string {
	var l []string
	for m := range strings.SplitSeq(c.mode, ",") {
		if m = strings.TrimSpace(m); m != "" && !slices.Contains(l, m) {
			l = append(l, m)
		}
	}
	return l
}

// usage explains a command and lists its flags.
func usage(fs *flag.FlagSet, w io.Writer) {
	fs.SetOutput(w)
	defer fs.SetOutput(io.Discard)
	fmt.Fprintf(w, "Usage: %s [flags]\n\n", fs.Name())
	if fs.Name() == "weir" {
		fmt.Fprint(w, "An edge node between viewers and origins, for example:\n\n  weir -origin rtsp://10.0.0.1:554\n\n"+
			"Other commands: weir agent, weir demo, weir check, weir load, weir purge, weir warm, weir sign (each has -h).\n"+
			"Every flag can stand in the environment (WEIR_SPLITTER_LINGER=20s) or in -config.\n\n")
	}
	fs.PrintDefaults()
}
