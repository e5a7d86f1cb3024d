package passthrough

import (
	"flag"
	"strings"
	"time"

	"weir/proxy"
)

// AgentOptions are the flags of an agent that concern the origin beside it.
type AgentOptions struct {
	// RTSP, RTSPS, HTTP and HTTPS are host:port of the origin's services, as this
	// machine reaches them. At least one is needed.
	RTSP, RTSPS, HTTP, HTTPS string
	// Advertise is where edges reach the services: HOST for all, PROTO=HOST:PORT for
	// one. By default it is the address of gossip, with the service's port, or the
	// service's own address if that is not one of loopback.
	Advertise words
	// Paths are prefixes that the origin serves; none for all. Weight is its share
	// against others.
	Paths  words
	Weight int // default 1, at most 1000
	// Probes are PROTO=PROBE: how a service is asked whether it is well.
	Probes words // default rtsp=rtsp rtsps=rtsp http=tcp https=tcp
	// Check is the time between two probes of a service, a fifth of it, but at least
	// 200 ms, while one fails.
	Check time.Duration // default 1s
	// Rise and Fall are how many probes in a row must work or fail before a service
	// counts as well or unwell. If the first of all works it is well.
	Rise, Fall int // default 2, 3
	// Timeout is how long one probe may take.
	Timeout time.Duration // default 2s
	// Capacity is how many connections the origin takes at once, for its load.
	Capacity int // default 0, not known
	// Bandwidth is what the machine's line can carry, for its load.
	Bandwidth proxy.BitRate // default 0, not known
	// Interface names the network interface that is measured, on Linux.
	Interface string // default all but loopback
	// AgentCheck is host:port for the agent checks of HAProxy.
	AgentCheck string // default none
}

// AgentFlags declares the flags of an agent.
func AgentFlags(fs *flag.FlagSet) *AgentOptions {
	o := &AgentOptions{}
	for _, s := range []struct {
		proto string
		addr  *string
	}{{"rtsp", &o.RTSP}, {"rtsps", &o.RTSPS}, {"http", &o.HTTP}, {"https", &o.HTTPS}} {
		fs.StringVar(s.addr, s.proto, "", "`host:port` at which this machine reaches the origin's "+strings.ToUpper(s.proto)+", e.g. 127.0.0.1:"+defaultPorts[s.proto]+"; empty: it has none")
	}
	fs.Var(&o.Advertise, "advertise", "`HOST or PROTO=HOST:PORT`: where edges reach the services, all of them or one; may be given more than once; "+
		"by default at the address of gossip, with the port that the service has here, or at the service's own address if that is not on loopback")
	fs.Var(&o.Paths, "path", "`prefix` of the paths that the origin serves, such as /vod/; may be given more than once; none: all")
	fs.IntVar(&o.Weight, "weight", 1, "the origin's share of viewers against other origins', 1 to 1000")
	fs.Var(&o.Probes, "probe", "`PROTO=PROBE`: how a service is asked whether it is well: tcp, rtsp, describe:/path, http:/path, http:/path=200-399 or hls:/path (a playlist that must advance), e.g. rtsp=describe:/live/clock; "+
		"may be given more than once; by default rtsp for rtsp and rtsps, tcp for http and https; certificates are not checked, that is up to the edges")
	fs.DurationVar(&o.Check, "check", time.Second, "time between two probes of a service, a fifth of it while one fails; too little bothers the origin, too much finds out late")
	fs.IntVar(&o.Rise, "rise", 2, "how many probes in a row must work before a service that was unwell is told to be well; too few flap, too many keep it idle")
	fs.IntVar(&o.Fall, "fall", 3, "how many probes in a row must fail before a service is told to be unwell; too few flap, too many are slow")
	fs.DurationVar(&o.Timeout, "timeout", 2*time.Second, "how long one probe may take; too little takes a busy origin for a dead one, too much finds out late that one hangs")
	fs.IntVar(&o.Capacity, "capacity", 0, "how many connections the origin takes at once; told to the edges, and with it those there are count as load; 0: not known")
	fs.Var(&o.Bandwidth, "bandwidth", "what this machine's line can carry, as a `rate` like 10Gbit/s; with it what is sent counts as load; 0: not known")
	fs.StringVar(&o.Interface, "interface", "", "`name` of the network interface on which what is sent is measured; empty: all but loopback, which counts twice what goes through a bridge or a bond as well")
	fs.StringVar(&o.AgentCheck, "agent-check", "", "`host:port` for the agent checks of HAProxy (agent-check agent-addr … agent-port …): ready, drain or down, with a weight of 100% less the load; down is said when no service is well; "+
		"anybody who can connect may read it; empty: none")
	return o
}

// words is a flag that collects words: repeated, or with blanks between them.
type words []string

// Set implements flag.Value.
func (w *words) Set(s string) error {
	*w = append(*w, strings.Fields(s)...)
	return nil
}

// String implements flag.Value.
func (w *words) String() string { return strings.Join(*w, " ") }
