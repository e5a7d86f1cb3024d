package passthrough

import (
	"errors"
	"flag"
	"fmt"
	"maps"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"weir/proxy"
)

// OriginOptions are the flags of the way to the origins. Origins and sources are kept
// as they were written: a flag.Value that refuses a URL would have it printed,
// credentials included, by package flag.
type OriginOptions struct {
	// Origins are the URLs of static origins, tried in this order.
	Origins []string
	// Sources are PATH=URL: an RTSP origin for exactly one path.
	Sources []string
	// Timeout is how long one dial may take. Too little passes over origins on
	// long lines, too much lets viewers wait for one that is dead.
	Timeout time.Duration // default 3s
}

// Flags declares the flags of the way to the origins.
func OriginFlags(fs *flag.FlagSet) *OriginOptions {
	o := &OriginOptions{}
	fs.Var((*list)(&o.Origins), "origin", "`URL` of an origin, rtsp:// rtsps:// http:// https:// host:port[/base] (default ports 554 322 80 443; certificates are checked against the system's authorities); may be given more than once, the first that answers serves")
	// By its name a flag of the splitter, for that is who asks for cameras; but
	// it names an origin, and nobody else may know where origins are.
	fs.Var((*list)(&o.Sources), "splitter.source", "`PATH=URL`: an RTSP origin for exactly one path, e.g. /cam/door=rtsp://10.0.0.9/stream1; may be given more than once")
	fs.DurationVar(&o.Timeout, "origin.timeout", 3*time.Second, "how long one dial of an origin may take; too little passes over origins on long lines, too much lets viewers wait for a dead one")
	return o
}

// Validate reports all mistakes at once, each with its flag and without
// credentials.
func (o OriginOptions) Validate() error {
	_, err1 := o.origins()
	_, err2 := o.sources()
	var err3 error
	if o.Timeout <= 0 {
		err3 = fmt.Errorf("-origin.timeout %v: must be more than 0", o.Timeout)
	}
	return errors.Join(err1, err2, err3)
}

// origins returns the origins in order.
func (o OriginOptions) origins() (origins []*origin, err error) {
	var errs []error
	seen := map[string]bool{} // name and kind: Want.Origin must be clear
	for _, raw := range o.Origins {
		next, err := newOrigin(raw)
		if err == nil && (next.url.RawQuery != "" || strings.Contains(next.url.EscapedPath(), "@")) {
			err = errors.New("a base has no ? and no @ (in a user name or password they are written %3F and %40, and / as %2F)")
		}
		if err == nil && seen[fmt.Sprint(next.rtsp(), next.name)] {
			err = errors.New("given twice")
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("-origin %s: %w", redactText(raw), err))
			continue
		}
		seen[fmt.Sprint(next.rtsp(), next.name)] = true
		origins = append(origins, next)
	}
	return origins, errors.Join(errs...)
}

// sources returns the sources by path.
func (o OriginOptions) sources() (sources map[string]*origin, err error) {
	var errs []error
	sources = map[string]*origin{}
	for _, raw := range o.Sources {
		path, src, err := newSource(raw)
		if err == nil && sources[path] != nil {
			err = errors.New("the path is given twice")
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("-splitter.source %s: %w", redactText(raw), err))
			continue
		}
		sources[path] = src
	}
	return sources, errors.Join(errs...)
}

// defaultPorts also says which schemes there are.
var defaultPorts = map[string]string{"rtsp": "554", "rtsps": "322", "http": "80", "https": "443"}

// newOrigin reads the URL of an origin. Its errors do not quote it: what cannot
// be parsed may have a password anywhere.
func newOrigin(raw string) (*origin, error) {
	raw, options, found := strings.Cut(raw, "#")
	if found {
		return nil, fmt.Errorf("options behind '#' are not supported yet%s", optionNames(options))
	}
	u, err := url.Parse(raw)
	if err != nil {
		return nil, errors.New("not a URL (in a user name or password, write / ? # @ : and % as %2F %3F %23 %40 %3A and %25)")
	}
	port, ok := defaultPorts[u.Scheme]
	if !ok || u.Opaque != "" {
		return nil, fmt.Errorf("must begin with one of %s", strings.Join(slices.Sorted(maps.Keys(defaultPorts)), ":// ")+"://")
	}
	if u.Hostname() == "" {
		return nil, errors.New("no host")
	}
	if p := u.Port(); p != "" {
		port = p
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return nil, fmt.Errorf("port %s is not one of 1 to 65535", port)
	}
	addr := net.JoinHostPort(u.Hostname(), port)
	return &origin{name: strings.TrimSuffix(addr+u.EscapedPath(), "/"), addr: addr, url: u}, nil
}

// newSource reads PATH=URL. The source's name is its address alone: some cameras
// have their password in the path.
func newSource(raw string) (path string, o *origin, err error) {
	path, target, ok := strings.Cut(raw, "=")
	if !ok || path == "" {
		return "", nil, errors.New("must be PATH=URL")
	}
	if path, err = proxy.CleanPath(path); err != nil {
		return "", nil, err
	}
	if o, err = newOrigin(target); err != nil {
		return "", nil, err
	}
	if !o.rtsp() {
		return "", nil, errors.New("must be rtsp:// or rtsps://")
	}
	o.name, o.path = o.addr, path
	return path, o, nil
}

// optionNames lists what was asked for, without values: a header may be a secret.
func optionNames(options string) string {
	if strings.Contains(options, "@") {
		return " (a # in a user name or password is written %23)"
	}
	var names []string
	for o := range strings.FieldsFuncSeq(options, func(r rune) bool { return strings.ContainsRune(",;&# ", r) }) {
		name, _, _ := strings.Cut(o, "=")
		if name != "" && strings.Trim(name, "abcdefghijklmnopqrstuvwxyz-") == "" {
			names = append(names, name)
		}
	}
	if names == nil {
		return ""
	}
	return ": " + strings.Join(names, ", ")
}

// redactText is proxy.Redact for what may not be a URL: it leaves the scheme and
// the host. A path would say more, but some cameras have their password in it.
func redactText(raw string) string {
	scheme, rest, ok := strings.Cut(raw, "://")
	if !ok {
		scheme, rest = "", raw
	} else {
		scheme += "://"
	}
	if u, err := url.Parse("x://" + rest); err == nil && !strings.Contains(u.EscapedPath(), "@") {
		return scheme + u.Host
	}
	rest = rest[strings.LastIndexByte(rest, '@')+1:]
	if i := strings.IndexAny(rest, "/?#"); i >= 0 {
		rest = rest[:i]
	}
	return scheme + rest
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
