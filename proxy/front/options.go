package front

import (
	"errors"
	"flag"
	"fmt"
	"net/netip"
	"slices"
	"time"
)

// Options are the flags of the front.
type Options struct {
	// HTTP and RTSP are the addresses to listen on; empty turns one off.
	HTTP, RTSP string // default :8080 and :8554
	// HTTPS and RTSPS are the same under TLS.
	HTTPS, RTSPS string // default off
	// Cert and Key are files in PEM, the certificate with what links it to its
	// authority behind it. They are read again when they change.
	Cert, Key string
	// ClientCA is a file in PEM with the authorities of viewers' certificates, read
	// again when it changes; ClientAuth says whether there must be one.
	ClientCA   string
	ClientAuth string // default require; or optional
	// ProxyProtocol are the addresses whose connections may begin with a PROXY header,
	// Forwarded those whose X-Forwarded-For or Forwarded says who the viewer is. Nobody
	// else's are believed.
	ProxyProtocol, Forwarded Prefixes
	// FirstByte is how long a new connection may take to agree on TLS and to send
	// its first request. Too little refuses viewers on bad lines, too much lets silent connections pile up.
	FirstByte time.Duration // default 10s
	// Idle is how long an RTSP connection may carry nothing in either direction,
	// and an HTTP one wait for its next request. Less than 2m cuts paused players
	// between two of their keep-alives, much keeps those who have gone silently.
	Idle time.Duration // default 2m
	// DrainNotice is how long the node says that it is going before it stops
	// accepting: as long as load balancers need to see it.
	DrainNotice time.Duration // default 5s
	// DrainTimeout is how long viewers may stay after that. The last tenth of it
	// is spent closing those who are left, one by one.
	DrainTimeout time.Duration // default 5m
}

// Flags declares the front's flags.
func Flags(fs *flag.FlagSet) *Options {
	o := &Options{}
	fs.StringVar(&o.HTTP, "http", ":8080", "viewers' HTTP `address`; empty turns it off")
	fs.StringVar(&o.RTSP, "rtsp", ":8554", "viewers' RTSP `address`; empty turns it off")
	fs.StringVar(&o.HTTPS, "https", "", "viewers' HTTP `address` under TLS, with HTTP/2; empty turns it off")
	fs.StringVar(&o.RTSPS, "rtsps", "", "viewers' RTSP `address` under TLS (8322 by custom); empty turns it off")
	fs.StringVar(&o.Cert, "tls.cert", "", "`file` in PEM with the certificate for -https and -rtsps, and what links it to its authority; without that link some players refuse it; read again when it changes")
	fs.StringVar(&o.Key, "tls.key", "", "`file` in PEM with the private key of -tls.cert; read again when it changes; others who can read it can pass for this node")
	fs.StringVar(&o.ClientCA, "tls.client-ca", "", "`file` in PEM with the authorities that viewers' certificates on -https and -rtsps must come from; read again when it changes; who comes in on -http or -rtsp then needs other credentials")
	fs.StringVar(&o.ClientAuth, "tls.client-auth", "require", "`require|optional`: whether viewers must show a certificate of -tls.client-ca; optional lets in those without, for other credentials")
	fs.Var(&o.ProxyProtocol, "front.proxy-protocol", "`prefix` of load balancers' addresses whose connections may begin with a PROXY header (v1, v2), as 10.0.0.5 or 10.0.0.0/24; repeatable. Whoever can connect from there can pass for anybody")
	fs.Var(&o.Forwarded, "front.forwarded", "`prefix` of proxies' addresses whose X-Forwarded-For (or, without one, Forwarded) says who the viewer is; repeatable. Whoever can send from there can pass for anybody")
	fs.DurationVar(&o.FirstByte, "front.first-byte", 10*time.Second, "how long a new connection may take to agree on TLS and to send its first request; too little refuses viewers on bad lines, too much lets silent connections pile up")
	fs.DurationVar(&o.Idle, "front.idle", 2*time.Minute, "how long an RTSP connection may carry nothing in either direction, and an HTTP one wait for its next request; under 2m cuts paused players between keep-alives, much keeps those who have gone silently")
	fs.DurationVar(&o.DrainNotice, "drain.notice", 5*time.Second, "after SIGTERM, how long the node says it is going before it stops accepting; less than a load balancer's check interval loses viewers, more makes restarts slow")
	fs.DurationVar(&o.DrainTimeout, "drain.timeout", 5*time.Minute, "after the notice, how long viewers may stay; little cuts them, much keeps the old node; the last tenth is spent closing who is left, one by one")
	return o
}

// Validate reports all mistakes at once, each with its flag.
func (o *Options) Validate() error {
	var errs []error
	if o.HTTP == "" && o.RTSP == "" && !o.secure() {
		errs = append(errs, errors.New("-http, -rtsp, -https and -rtsps are all empty: nobody could come in"))
	}
	missing := func(name, file string) {
		if o.secure() && file == "" {
			errs = append(errs, fmt.Errorf("%s is empty: -https and -rtsps need it", name))
		}
	}
	missing("-tls.cert", o.Cert)
	missing("-tls.key", o.Key)
	if o.ClientCA != "" && !o.secure() {
		errs = append(errs, errors.New("-tls.client-ca: neither -https nor -rtsps is on"))
	}
	if o.ClientAuth == "optional" && o.ClientCA == "" {
		errs = append(errs, errors.New("-tls.client-auth optional: -tls.client-ca is empty"))
	}
	if o.ClientAuth != "" && o.ClientAuth != "require" && o.ClientAuth != "optional" {
		errs = append(errs, fmt.Errorf("-tls.client-auth %q: must be require or optional", o.ClientAuth))
	}
	check := func(bad bool, name string, d time.Duration, want string) {
		if bad {
			errs = append(errs, fmt.Errorf("%s %v: must %s", name, d, want))
		}
	}
	check(o.FirstByte <= 0, "-front.first-byte", o.FirstByte, "be more than 0")
	check(o.Idle <= 0, "-front.idle", o.Idle, "be more than 0")
	check(o.DrainNotice < 0, "-drain.notice", o.DrainNotice, "not be negative")
	check(o.DrainTimeout < 0, "-drain.timeout", o.DrainTimeout, "not be negative")
	return errors.Join(errs...)
}

// secure reports whether anything is to be served under TLS.
func (o *Options) secure() bool { return o.HTTPS != "" || o.RTSPS != "" }

// Trusted are the addresses that bring others' requests.
func (o *Options) Trusted() []netip.Prefix {
	return append(slices.Clone(o.ProxyProtocol), o.Forwarded...)
}
