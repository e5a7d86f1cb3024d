package passthrough

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"weir/proxy"
)

// A site is one -origin or -splitter.source as it was configured. Its host may
// stand for several addresses, each an origin of its own. It does not change.
type site struct {
	name   string   // for people and Want.Origin: host:port, and the base if there is one
	port   string   //
	url    *url.URL // with credentials; the path is the base, or a source's own
	source string   // the one path that a source is for; "" for an origin of many

	paths  []string // of the pools it is in, canonical
	weight int
	max    int         // sessions at once; 0 is no limit
	header http.Header // for HTTP; a Host among them is asked for instead of the URL's
	probe  Probe
	trust  trust
	always bool
	found  bool // it was discovered, not configured

	given []string // names of the options that were given
}

// defaultPorts also says which schemes there are.
var defaultPorts = map[string]string{"rtsp": "554", "rtsps": "322", "http": "80", "https": "443"}

// newSite reads a URL and the options behind it. The mistakes do not quote it:
// what cannot be parsed may have a password anywhere. The site is nil where there
// is no URL to go on with.
func newSite(raw string) (*site, []error) {
	raw, options, _ := strings.Cut(raw, "#")
	if strings.Contains(options, "@") {
		return nil, []error{errors.New("a # in a user name or password is written %23, an @ in an option %40")}
	}
	u, err := url.Parse(raw)
	if err != nil {
		return nil, []error{errors.New("not a URL (in a user name or password, write / ? # @ : and % as %2F %3F %23 %40 %3A and %25)")}
	}
	port, ok := defaultPorts[u.Scheme]
	if !ok || u.Opaque != "" {
		return nil, []error{fmt.Errorf("must begin with one of %s", strings.Join(slices.Sorted(maps.Keys(defaultPorts)), ":// ")+"://")}
	}
	if u.Hostname() == "" {
		return nil, []error{errors.New("no host")}
	}
	if p := u.Port(); p != "" {
		port = p
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return nil, []error{fmt.Errorf("port %s is not one of 1 to 65535", port)}
	}
	s := &site{url: u, port: port, weight: 1}
	s.name = strings.TrimSuffix(s.hostport()+u.EscapedPath(), "/")
	return s, s.readOptions(options)
}

func (s *site) hostport() string { return net.JoinHostPort(s.url.Hostname(), s.port) }
func (s *site) web() bool        { return strings.HasPrefix(s.url.Scheme, "http") }
func (s *site) probed() bool     { return s.probe.Kind != "off" }
func (s *site) secure() bool     { return s.url.Scheme == "rtsps" || s.url.Scheme == "https" }

// asOrigin checks what only an -origin must keep to, and completes it.
func (s *site) asOrigin(raw string) (mistakes []error) {
	raw, _, _ = strings.Cut(raw, "#")
	if s.url.RawQuery != "" || s.url.ForceQuery || strings.Contains(s.url.EscapedPath(), "@") || strings.HasSuffix(raw, "?") {
		mistakes = append(mistakes, errors.New("a base has no ? and no @ (in a user name or password they are written %3F and %40, and / as %2F)"))
	}
	if s.probe.Kind == "describe" && s.probe.Path == "" {
		mistakes = append(mistakes, errors.New("probe: describe needs a path, as in describe:/live/clock"))
	}
	if s.always {
		mistakes = append(mistakes, errors.New("always: only a -splitter.source can be"))
	}
	if len(s.paths) == 0 {
		s.paths = []string{"/"}
	}
	return mistakes
}

// asSource checks what only a -splitter.source must keep to, and completes it.
func (s *site) asSource() (mistakes []error) {
	s.name = s.hostport()
	if s.web() {
		mistakes = append(mistakes, errors.New("must be rtsp:// or rtsps://"))
	}
	for _, name := range []string{"weight", "path"} {
		if slices.Contains(s.given, name) {
			mistakes = append(mistakes, fmt.Errorf("%s: a source has none, it is alone on its path", name))
		}
	}
	return mistakes
}

// repeatableOptions are those that may be given more than once.
var repeatableOptions = []string{"path", "header"}

func (s *site) readOptions(options string) (mistakes []error) {
	s.probe.Kind = "rtsp"
	if s.web() {
		s.probe.Kind = "tcp"
	}
	for option := range strings.SplitSeq(options, ",") {
		name, value, hasValue := strings.Cut(option, "=")
		if name = strings.TrimSpace(name); name == "" && !hasValue {
			continue
		}
		value, err := url.PathUnescape(value)
		switch {
		case err != nil:
			err = errors.New("a % in it is written %25")
		case slices.Contains(s.given, name) && !slices.Contains(repeatableOptions, name):
			err = errors.New("given twice")
		default:
			err = s.set(name, value, hasValue)
		}
		s.given = append(s.given, name)
		if err != nil {
			mistakes = append(mistakes, fmt.Errorf("%s: %w", optionName(name), err))
		}
	}
	if err := s.trust.check(s.secure()); err != nil {
		mistakes = append(mistakes, err)
	}
	return mistakes
}

// set reads one option. Its errors quote no values: a header may be a secret.
func (s *site) set(name, value string, hasValue bool) (err error) {
	switch name {
	case "always":
		if hasValue {
			return errors.New("takes no value")
		}
		s.always = true
	case "weight":
		s.weight, err = number(value, 1000)
	case "max":
		s.max, err = number(value, 1e6)
	case "path":
		err = s.addPath(value)
	case "header":
		err = s.addHeader(value)
	case "ca":
		err = s.trust.readCA(value)
	case "fingerprint":
		err = s.trust.readFingerprint(value)
	case "probe":
		err = s.setProbe(value)
	default:
		return errors.New("there is no such option (there are weight, path, max, ca, fingerprint, header, probe and always)")
	}
	return err
}

// optionName is a name that may be printed: what looks like none may be anything.
func optionName(name string) string {
	if name == "" || len(name) > 20 || strings.Trim(name, "abcdefghijklmnopqrstuvwxyz-") != "" {
		return "an option"
	}
	return name
}

func number(value string, most int) (int, error) {
	n, err := strconv.Atoi(value)
	if err != nil || n < 1 || n > most {
		return 0, fmt.Errorf("must be a number from 1 to %d", most)
	}
	return n, nil
}

func (s *site) addPath(value string) error {
	path, err := proxy.CleanPath((&url.URL{Path: value}).EscapedPath())
	if err != nil || !strings.HasPrefix(value, "/") {
		return errors.New("must be a path like /vod/")
	}
	if slices.Contains(s.paths, path) {
		return errors.New("the same path twice")
	}
	s.paths = append(s.paths, path)
	return nil
}

// framing are the headers that are not for an operator to set.
var framing = []string{"Connection", "Content-Length", "Keep-Alive", "Te", "Trailer", "Transfer-Encoding", "Upgrade"}

func (s *site) addHeader(value string) error {
	name, content, ok := strings.Cut(value, ":")
	name, content = http.CanonicalHeaderKey(strings.TrimSpace(name)), strings.Trim(content, " \t")
	switch {
	case !s.web():
		return errors.New("only for http:// and https://")
	case !ok || !isToken(name) || strings.ContainsFunc(content, control):
		return errors.New("must be Name: value")
	case slices.Contains(framing, name):
		return errors.New("this one is the connection's own")
	}
	if s.header == nil {
		s.header = http.Header{}
	}
	s.header.Add(name, content)
	return nil
}

// isToken is RFC 9110 §5.6.2.
func isToken(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return r <= ' ' || r >= 0x7f || strings.ContainsRune(`"(),/:;<=>?@[\]{}`, r)
	})
}

func (s *site) setProbe(value string) error {
	if value == "off" {
		s.probe = Probe{Kind: value}
		return nil
	}
	p, err := ParseProbe(value)
	if err != nil {
		return err
	}
	if p.Kind != "tcp" && p.web() != s.web() {
		return fmt.Errorf("%s is not for %s://", p.Kind, s.url.Scheme)
	}
	s.probe = p
	return nil
}
