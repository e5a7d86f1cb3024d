package cluster

import (
	"errors"
	"flag"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
)

const (
	// defaultPort is where nodes are looked for of which no port is said.
	defaultPort = 7946
	// maxName bounds a node's name in bytes: it travels with all that is told of it.
	maxName = 63
	// maxLabel bounds -cluster.label in bytes: it stands before each packet.
	maxLabel = 64
)

// Options are the flags of the cluster.
type Options struct {
	// Listen is host:port for gossip, UDP and TCP alike. The host is an IP address,
	// localhost, or nothing for all addresses. Empty: there is no cluster.
	Listen string // default none
	// Join are host[:port] of nodes to begin with: one is enough if it is up, two
	// or three are better. Names are looked up anew each time.
	Join Nodes // default port 7946
	// Advertise is the IP address[:port] at which other nodes reach this one. Needed
	// where it does not follow from Listen: several addresses, or NAT.
	Advertise string
	// Name is this node's, the same after each start and no other node's.
	Name string // default the host's name
	// KeyFile names a file of keys, one a line in hex or base64, of 16, 24 or 32
	// bytes. The first encrypts, all decrypt. Needed unless Listen is on loopback:
	// whoever speaks to a cluster without keys is part of it.
	KeyFile string
	// Label keeps clusters apart that can reach one another.
	Label string // default weir
	// Share is whether edges ask the one of them that owns a path or an object
	// before they ask an origin: on, or off.
	Share string // default on
}

// Flags declares the cluster's flags.
func Flags(fs *flag.FlagSet) *Options {
	o := &Options{}
	fs.StringVar(&o.Listen, "cluster.listen", "", "`host:port` for gossip with the other nodes of the cluster, over UDP and TCP, e.g. :7946; empty: this node is alone")
	fs.Var(&o.Join, "cluster.join", "`host[:port]` of a node to find the others by (default port 7946); may be given more than once; asked again for ever, names are looked up each time")
	fs.StringVar(&o.Advertise, "cluster.advertise", "", "`IP[:port]` at which the other nodes reach this one; needed where -cluster.listen does not tell it: several addresses, or NAT")
	fs.StringVar(&o.Name, "cluster.name", "", "`name` of this node, the same after each start and different from all others; the host's name if empty")
	fs.StringVar(&o.KeyFile, "cluster.key-file", "", "`file` of keys, one a line in hex or base64, of 16, 24 or 32 bytes (head -c 32 /dev/urandom | base64); the first encrypts, all decrypt; read again when it changes; needed off loopback. "+
		"To change keys without a gap, on all nodes each time: add the new one behind the old one, then move it to the front, then take the old one out")
	fs.StringVar(&o.Label, "cluster.label", "weir", "`label` of the cluster; nodes with another one are not heard")
	fs.StringVar(&o.Share, "cluster.share", "on", "`on|off`: whether the edges share pulls and fills, one for all of them, or each asks the origins by itself; off costs the origins, on a hop between edges")
	return o
}

// Off reports whether there is to be no cluster.
func (o *Options) Off() bool { return o.Listen == "" }

// Validate reports all mistakes at once, each with its flag. It reads the file
// of keys.
func (o *Options) Validate() error {
	if o.Off() {
		return o.idle()
	}
	var errs []error
	listen, bad := o.listen()
	if bad == nil {
		_, err := o.advertise(listen)
		errs = append(errs, err)
	}
	errs = append(errs, bad)
	errs = append(errs, o.validateNames()...)
	if o.Share != "" && o.Share != "on" && o.Share != "off" {
		errs = append(errs, fmt.Errorf("-cluster.share %q: must be on or off", o.Share))
	}
	for _, j := range o.Join {
		if _, _, err := seed(j); err != nil {
			errs = append(errs, fmt.Errorf("-cluster.join %s: %w", j, err))
		}
	}
	switch _, err := readKeys(o.KeyFile); {
	case o.KeyFile != "":
		errs = append(errs, err)
	case bad == nil && !listen.Addr().IsLoopback():
		errs = append(errs, errors.New("-cluster.key-file: needed off loopback, since whoever reaches a cluster without keys is part of it"))
	}
	return errors.Join(errs...)
}

// idle finds flags that do nothing without a cluster.
func (o *Options) idle() error {
	var errs []error
	for _, f := range []struct {
		flag string
		set  bool
	}{{"join", len(o.Join) > 0}, {"advertise", o.Advertise != ""}, {"key-file", o.KeyFile != ""}} {
		if f.set {
			errs = append(errs, fmt.Errorf("-cluster.%s: does nothing without -cluster.listen", f.flag))
		}
	}
	return errors.Join(errs...)
}

func (o *Options) validateNames() (errs []error) {
	if _, err := o.name(); err != nil {
		errs = append(errs, err)
	}
	if len(o.Label) > maxLabel || !printable(o.Label) {
		errs = append(errs, fmt.Errorf("-cluster.label %q: must be at most %d printable characters without blanks", o.Label, maxLabel))
	}
	return errs
}

// name is the node's.
func (o *Options) name() (string, error) {
	name := o.Name
	if name == "" {
		host, err := os.Hostname()
		if err != nil {
			return "", fmt.Errorf("-cluster.name: must be given, the host's is not known: %w", err)
		}
		name = host
	}
	if !validName(name) {
		return "", fmt.Errorf("-cluster.name %q: must be 1 to %d letters, digits, dots, dashes and underscores", name, maxName)
	}
	return name, nil
}

// listen is the address to bind.
func (o *Options) listen() (netip.AddrPort, error) {
	bad := func(why string) (netip.AddrPort, error) {
		return netip.AddrPort{}, fmt.Errorf("-cluster.listen %s: %s", o.Listen, why)
	}
	host, p, err := net.SplitHostPort(o.Listen)
	if err != nil {
		return bad("must be host:port")
	}
	port, err := strconv.ParseUint(p, 10, 16)
	if err != nil {
		return bad("the port must be a number from 0 to 65535")
	}
	switch host {
	case "":
		host = "::"
	case "localhost":
		host = "127.0.0.1"
	}
	addr, err := netip.ParseAddr(host)
	if err != nil || addr.Zone() != "" {
		return bad("the host must be an IP address without a zone, localhost, or empty")
	}
	return netip.AddrPortFrom(addr.Unmap(), uint16(port)), nil
}

// Nodes is a flag that collects host[:port]: repeated, or with blanks or commas
// between them.
type Nodes []string

// Set implements flag.Value.
func (n *Nodes) Set(s string) error {
	words := strings.FieldsFunc(s, func(r rune) bool { return r == ',' || r == ' ' })
	*n = append((*n)[:len(*n):len(*n)], words...)
	return nil
}

// String implements flag.Value.
func (n *Nodes) String() string { return strings.Join(*n, " ") }

// seed takes host[:port] apart.
func seed(s string) (host string, port uint16, err error) {
	if addr, err := netip.ParseAddr(strings.Trim(s, "[]")); err == nil {
		return addr.String(), defaultPort, nil
	}
	host, p, err := net.SplitHostPort(s)
	if err != nil {
		host, p = s, strconv.Itoa(defaultPort)
	}
	n, err := strconv.ParseUint(p, 10, 16)
	if err != nil || n == 0 || host == "" || strings.ContainsAny(host, ":/@ ") && !isAddr(host) {
		return "", 0, errors.New("must be host or host:port")
	}
	return host, uint16(n), nil
}

func isAddr(s string) bool {
	_, err := netip.ParseAddr(s)
	return err == nil
}
