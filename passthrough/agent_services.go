package passthrough

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// agentProtos are the protocols of services, in the order of Services.
var agentProtos = []string{"rtsp", "rtsps", "http", "https"}

func isWeb(proto string) bool { return proto == "http" || proto == "https" }

// An AgentService is one of the origin's doors.
type AgentService struct {
	Proto string // rtsp, rtsps, http or https
	Addr  string // host:port as this machine reaches it
	Host  string // as edges reach it; empty: the address of gossip
	Port  uint16 // as edges reach it
}

// Services are the origin's doors, in the order of the bits of Report.Well.
func (o *AgentOptions) Services() (all []AgentService) {
	for i, addr := range []string{o.RTSP, o.RTSPS, o.HTTP, o.HTTPS} {
		if addr != "" {
			all = append(all, o.service(agentProtos[i], addr))
		}
	}
	return all
}

func (o *AgentOptions) service(proto, addr string) AgentService {
	s := AgentService{Proto: proto, Addr: addr, Port: portIn(addr)}
	if host, _, err := net.SplitHostPort(addr); err == nil && !local(host) {
		s.Host = host
	}
	for _, a := range o.Advertise {
		switch p, at, one := strings.Cut(a, "="); {
		case !one:
			s.Host = strings.Trim(a, "[]")
		case p == proto:
			s.Host, _, _ = net.SplitHostPort(at)
			s.Port = portIn(at)
			return s
		}
	}
	return s
}

// local reports whether a host is this machine to itself only.
func local(host string) bool {
	a, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && (a.Unmap().IsLoopback() || a.IsUnspecified())
}

// portIn is 0 where there is none.
func portIn(hostport string) uint16 {
	_, port, _ := net.SplitHostPort(hostport)
	n, _ := strconv.ParseUint(port, 10, 16)
	return uint16(n)
}

// Validate reports all mistakes at once, each with its flag.
func (o *AgentOptions) Validate() error {
	var errs []error
	must := func(ok bool, flag string, value any, want string) {
		if !ok {
			errs = append(errs, fmt.Errorf("-%s %v: must be %s", flag, value, want))
		}
	}
	if len(o.Services()) == 0 {
		errs = append(errs, errors.New("-rtsp, -rtsps, -http and -https: at least one is needed, to say where the origin is"))
	}
	o.validatePlaces(must)
	o.validateNumbers(must)
	_, err := o.probes()
	return errors.Join(append(errs, err)...)
}

func (o *AgentOptions) validatePlaces(must func(ok bool, flag string, value any, want string)) {
	for _, s := range o.Services() {
		must(complete(s.Addr), s.Proto, s.Addr, "host:port of the origin")
	}
	for _, a := range o.Advertise {
		must(o.canAdvertise(a), "advertise", a, "a host, or PROTO=HOST:PORT of a service that there is")
	}
	for _, p := range o.Paths {
		must(strings.HasPrefix(p, "/"), "path", p, "a prefix of paths, beginning with a slash")
	}
	if o.Interface != "" {
		_, err := net.InterfaceByName(o.Interface)
		must(err == nil, "interface", o.Interface, "one of this machine's interfaces")
	}
	if o.AgentCheck != "" {
		_, _, err := net.SplitHostPort(o.AgentCheck)
		must(err == nil, "agent-check", o.AgentCheck, "host:port")
	}
}

func (o *AgentOptions) validateNumbers(must func(ok bool, flag string, value any, want string)) {
	must(o.Weight >= 1 && o.Weight <= 1000, "weight", o.Weight, "from 1 to 1000")
	must(o.Check >= shortest, "check", o.Check, "at least 10ms")
	must(o.Rise >= 1, "rise", o.Rise, "at least 1")
	must(o.Fall >= 1, "fall", o.Fall, "at least 1")
	must(o.Timeout > 0, "timeout", o.Timeout, "more than 0")
	must(o.Capacity >= 0 && o.Capacity <= 1<<31-1, "capacity", o.Capacity, "0 or more")
}

// complete reports whether s is a host and a port that is not 0.
func complete(s string) bool {
	host, _, err := net.SplitHostPort(s)
	return err == nil && host != "" && portIn(s) != 0
}

func (o *AgentOptions) canAdvertise(s string) bool {
	host := strings.Trim(s, "[]")
	if proto, at, one := strings.Cut(s, "="); one {
		if !complete(at) || !slices.ContainsFunc(o.Services(), func(s AgentService) bool { return s.Proto == proto }) {
			return false
		}
		host, _, _ = net.SplitHostPort(at)
	}
	_, err := netip.ParseAddr(host)
	return host != "" && !strings.ContainsAny(host, "/@%") && (err == nil || !strings.Contains(host, ":"))
}

// probes are those of the services by protocol.
func (o *AgentOptions) probes() (map[string]Probe, error) {
	all := map[string]Probe{}
	for _, s := range o.Services() {
		kind := "tcp"
		if !isWeb(s.Proto) {
			kind = "rtsp"
		}
		all[s.Proto] = Probe{Kind: kind}
	}
	var errs []error
	given := map[string]bool{}
	for _, raw := range o.Probes {
		proto, text, _ := strings.Cut(raw, "=")
		p, err := ParseProbe(text)
		switch _, has := all[proto]; {
		case !slices.Contains(agentProtos, proto):
			err = errors.New("must begin with rtsp=, rtsps=, http= or https=")
		case !has:
			err = fmt.Errorf("there is no -%s", proto)
		case given[proto]:
			err = fmt.Errorf("%s has a probe already", proto)
		case err == nil && p.Kind != "tcp" && p.web() != isWeb(proto):
			err = fmt.Errorf("%s is no probe for %s", p.Kind, proto)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("-probe %.200s: %w", raw, err))
			continue
		}
		all[proto], given[proto] = p, true
	}
	return all, errors.Join(errs...)
}
