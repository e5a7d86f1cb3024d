package admission

import (
	"errors"
	"flag"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"weir/proxy"
)

// Options are the flags of the gate. A limit of zero is none.
type Options struct {
	// Viewers is how many there may be at once, PerClient from one address (of IPv6: one
	// /64), PerStream of one stream, PerSubject with the same name in their credentials.
	Viewers, PerClient, PerStream, PerSubject int
	// Rate is how many viewers may begin in a second, ClientRate of one address. Short
	// bursts of as many as come in a second pass.
	Rate, ClientRate float64
	// Bandwidth is what all viewers together may need.
	Bandwidth proxy.BitRate
	// Assume is what somebody is taken to need of whom nothing is known yet, and of
	// downloads for as long as they last; these at most a quarter of Bandwidth.
	Assume proxy.BitRate // default 2Mbit/s
	// Classes give the share of Viewers and Bandwidth, in percent, that each class may
	// fill: "gold=100,silver=85". Who has none of them is in the lowest; credentials that
	// name another are told of in the log, once a minute.
	Classes Classes
	// Window is how long a viewer over HTTP is one after it was last seen. Less
	// than the length of two segments counts a viewer more than once.
	Window time.Duration // default 30s
	// Connections is how many there may be at once, ClientConnections from one address
	// that is no edge's.
	Connections, ClientConnections int
	// ShedCPU, ShedMemory and ShedFiles are the percentages of this process's CPUs, memory
	// and file descriptors from which on no new viewers are let in.
	ShedCPU, ShedMemory, ShedFiles int // default 95, 90, 90

	// Allow and Deny are prefixes of addresses, or files of them. Deny wins; if
	// there is any Allow, others are refused.
	Allow, Deny Words
	// Ban is how many refusals for bad credentials or malformed input within a minute
	// shut an address out; half as many if another edge tells that it has banned it.
	Ban int // default 0: never

	// Keys is a file of keys for signed URLs.
	Keys string
	// JWT is the URL of a JWKS, or a file with one, or with a key in PEM; JWTAlgorithms are
	// the ones accepted (RFC 7518 §3.1); JWTIssuer and JWTAudience what iss and aud must be.
	JWT, JWTAlgorithms, JWTIssuer, JWTAudience string
	// Users is a file of names and passwords, Realm what viewers are told that they are for.
	Users, Realm string
	// Hook is the URL that is asked with MediaMTX's fields, HookTimeout how long it may
	// take, HookOpen whether viewers come in while it is down.
	Hook        string
	HookTimeout time.Duration
	HookOpen    bool
	// Tokens are the names of parameters that carry a token.
	Tokens Words // none: token and jwt
	// Carry is how the token of a playlist's or page's URL comes with what is asked for
	// next: "cookie", "query" (in the URIs of playlists of HLS), or "off".
	Carry string // default cookie
	// Cookie is the name of the cookie that carries a token.
	Cookie string // default weir-token

	// Cluster is "sum" to count the viewers of all edges and to tell of bans, or "off".
	Cluster string
	// Pace is the rate of each download that is neither live nor in segments, once Burst bytes
	// have gone at full speed.
	Pace  proxy.BitRate
	Burst proxy.Bytes // default 8MiB

	certificates bool           // Config.Certificates
	trusted      []netip.Prefix // Config.Trusted
}

// Flags declares the gate's flags.
func Flags(fs *flag.FlagSet) *Options {
	o := &Options{}
	fs.IntVar(&o.Viewers, "admission.viewers", 0, "how many viewers there may be at once; 0 for no limit")
	fs.IntVar(&o.PerClient, "admission.per-client", 0, "how many viewers one address (one /64 of IPv6) may be at once; too few shuts out offices and mobile networks that share one; 0 for no limit")
	fs.IntVar(&o.PerStream, "admission.per-stream", 0, "how many viewers a stream may have at once; 0 for no limit")
	fs.IntVar(&o.PerSubject, "admission.per-subject", 0, "how many viewers may share the name in their credentials; 0 for no limit")
	fs.Float64Var(&o.Rate, "admission.rate", 0, "how many viewers may begin in a second, bursts of a second aside; protects origins from herds; 0 for no limit")
	fs.Float64Var(&o.ClientRate, "admission.client-rate", 0, "how many viewers may begin in a second from one address (one /64 of IPv6); 0 for no limit")
	fs.Var(&o.Bandwidth, "admission.bandwidth", "`rate` that all viewers together may need, as 8Gbit/s; more than the network has makes all of them stutter; 0 for no limit")
	o.Assume = 2e6
	fs.Var(&o.Assume, "admission.assume", "`rate` that a viewer counts with -admission.bandwidth for whose stream says nothing and was not measured yet, for ten seconds, and at most for a download without -admission.pace, while it lasts; too little lets in too many at once")
	fs.Var(&o.Classes, "admission.class", "`classes` of viewers and the share of -admission.viewers, .per-stream and .bandwidth that each may fill, in percent, rounded up, as gold=100,silver=85,bronze=70; credentials name the class, who has none or one that is not here is in the lowest, the latter with a warning in the log")
	fs.DurationVar(&o.Window, "admission.window", 30*time.Second, "how long a viewer over HTTP counts after its last request; less than two segments counts one viewer twice, much keeps places of those who have gone")
	fs.IntVar(&o.Connections, "admission.connections", 0, "how many connections there may be at once, those of other edges of the cluster with them; 0 for no limit")
	fs.IntVar(&o.ClientConnections, "admission.client-connections", 0, "how many connections one address (one /64 of IPv6) may have; browsers take six each; other edges of the cluster, which take many, are not limited by it; 0 for no limit")
	fs.IntVar(&o.ShedCPU, "admission.shed-cpu", 95, "`percent` of the CPUs this process may use from which on, over five seconds, new viewers are refused; 0 for never")
	fs.IntVar(&o.ShedMemory, "admission.shed-memory", 90, "`percent` of memory (of the control group, or of the machine) from which on new viewers are refused; 0 for never")
	fs.IntVar(&o.ShedFiles, "admission.shed-files", 90, "`percent` of file descriptors from which on new viewers are refused; 0 for never")
	fs.Var(&o.Allow, "admission.allow", "`prefix` of addresses that may come in, as 10.0.0.0/8, or a file with one a line that is read again when it changes; repeatable; if there is any, all others are refused")
	fs.Var(&o.Deny, "admission.deny", "`prefix` of addresses that may not come in, or a file of them; repeatable; wins over -admission.allow")
	fs.IntVar(&o.Ban, "admission.ban", 0, "how many bad credentials or malformed requests within a minute shut an address (a /64 of IPv6) out, for a minute at first and an hour at last; few punishes typing errors; never an edge of the cluster or a proxy that the front trusts; with -admission.cluster sum half as many do it for an address that another edge has banned; 0 for never")
	fs.StringVar(&o.Keys, "admission.keys", "", "`file` of keys for signed URLs, a line each: a name and at least 32 characters; weir sign makes such URLs with the first; read again when it changes")
	fs.StringVar(&o.JWT, "admission.jwt", "", "`URL` of a JWKS, or a file with one, or a file with a public key in PEM, for JSON Web Tokens")
	fs.StringVar(&o.JWTAlgorithms, "admission.jwt-algorithms", "RS256,ES256,EdDSA", "`algorithms` accepted in JSON Web Tokens")
	fs.StringVar(&o.JWTIssuer, "admission.jwt-issuer", "", "what iss must be in JSON Web Tokens; empty takes any")
	fs.StringVar(&o.JWTAudience, "admission.jwt-audience", "", "what aud must have in JSON Web Tokens; empty takes any")
	fs.StringVar(&o.Users, "admission.users", "", "`file` of users, a line each as htpasswd and htdigest write them; for Basic and Digest; read again when it changes")
	fs.StringVar(&o.Realm, "admission.realm", "Weir", "`name` under which viewers are asked for a password; htdigest lines are made for one")
	fs.StringVar(&o.Hook, "admission.hook", "", "`URL` that is asked by POST, with the fields that MediaMTX sends, whether a viewer may come in: 2xx is yes")
	fs.DurationVar(&o.HookTimeout, "admission.hook-timeout", 2*time.Second, "how long -admission.hook may take; much makes viewers wait when it hangs")
	fs.BoolVar(&o.HookOpen, "admission.hook-open", false, "let viewers in while -admission.hook is down: cannot be reached, takes too long, or fails for several viewers in a row; an error to one question refuses its viewer in any case")
	fs.Var(&o.Tokens, "admission.tokens", "`names` of URL parameters that carry a token, which never go upstream; token and jwt if none are given")
	fs.StringVar(&o.Carry, "admission.carry", "cookie", "`cookie|query|off`: how the token in the URL of a playlist or page comes with the segments: query writes it into the URIs of HLS playlists, for players without cookies and pages of other hosts")
	fs.StringVar(&o.Cookie, "admission.cookie", "weir-token", "`name` of the cookie that carries a token")
	fs.StringVar(&o.Cluster, "admission.cluster", "off", "`off|sum`: whether limits count the viewers of all edges of the cluster, and edges tell each other of bans; limits may be exceeded by as many viewers as begin on the other edges within two seconds, four where it is less than a twentieth of theirs; of streams and names the largest ones are counted, 75 of each edge, 13 of each of twenty")
	fs.Var(&o.Pace, "admission.pace", "`rate` of each download of a whole file, after -admission.burst; never of live streams and segments; 0 for as fast as it goes")
	o.Burst = 8 << 20
	fs.Var(&o.Burst, "admission.burst", "`size` that each paced download gets at full speed; less than a player's buffer makes starts slow")
	return o
}

// Validate reports all mistakes at once, each with its flag. What is wrong with
// files, New says.
func (o *Options) Validate() error {
	var errs []error
	bad := func(is bool, format string, args ...any) {
		if is {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	for _, n := range []struct {
		flag string
		n    int
	}{
		{"viewers", o.Viewers}, {"per-client", o.PerClient}, {"per-stream", o.PerStream}, {"per-subject", o.PerSubject},
		{"connections", o.Connections}, {"client-connections", o.ClientConnections}, {"ban", o.Ban},
	} {
		bad(n.n < 0, "-admission.%s %d: must not be negative", n.flag, n.n)
	}
	for _, n := range []struct {
		flag    string
		percent int
	}{{"shed-cpu", o.ShedCPU}, {"shed-memory", o.ShedMemory}, {"shed-files", o.ShedFiles}} {
		bad(n.percent < 0 || n.percent > 100, "-admission.%s %d: must be from 0 to 100", n.flag, n.percent)
	}
	bad(!(o.Rate >= 0), "-admission.rate %v: must not be negative", o.Rate)
	bad(!(o.ClientRate >= 0), "-admission.client-rate %v: must not be negative", o.ClientRate)
	bad(o.Bandwidth > 0 && o.Bandwidth < 1000, "-admission.bandwidth %v: no viewer needs so little; was it to be %d Mbit/s?", o.Bandwidth, int64(o.Bandwidth))
	bad(o.Window < time.Second, "-admission.window %v: must be at least 1s", o.Window)
	bad(o.Hook != "" && o.HookTimeout <= 0, "-admission.hook-timeout %v: must be more than 0", o.HookTimeout)
	bad(o.Cluster != "off" && o.Cluster != "sum", "-admission.cluster %q: must be off or sum", o.Cluster)
	bad(o.Carry != "cookie" && o.Carry != "query" && o.Carry != "off", "-admission.carry %q: must be cookie, query or off", o.Carry)
	bad(o.Cookie == "" || strings.ContainsAny(o.Cookie, "=;, \t\""), "-admission.cookie %q: is not a name", o.Cookie)
	bad(strings.ContainsAny(o.Realm, "\"\\"), "-admission.realm %q: must have neither quotes nor backslashes", o.Realm)
	return errors.Join(errs...)
}

// asksCredentials reports whether any source of credentials is configured.
func (o *Options) asksCredentials() bool {
	return o.certificates || o.Keys != "" || o.JWT != "" || o.Users != "" || o.Hook != ""
}

// tokens are the names of parameters that carry a token.
func (o *Options) tokens() []string {
	if len(o.Tokens) == 0 {
		return []string{"token", "jwt"}
	}
	return o.Tokens
}
