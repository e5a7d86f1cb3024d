package splitter

import (
	"errors"
	"flag"
	"fmt"
	"time"

	"weir/proxy"
)

// Options are the flags of the splitter.
type Options struct {
	// UDP is the even port of the pair from which viewers over UDP are served;
	// empty turns UDP off.
	UDP string // default :8000
	// Linger is how long a pull outlives its last viewer. Zero ends it at once,
	// which makes zapping dear for the origin; too much pulls what nobody watches.
	Linger time.Duration // default 10s
	// Wait is how long viewers outlive their source. Too little drops them when
	// an origin restarts, too much leaves them before a still picture.
	Wait time.Duration // default 30s
	// Lag is how long a viewer may take nothing before he is closed. Too little
	// cuts viewers on bad lines, too much keeps those who have gone silently.
	Lag time.Duration // default 5s
	// Start is what a new viewer gets first. With instant he gets the last key frame and
	// what followed, with time stamps so close together that he stands at the live
	// edge at once; with burst the same with true time stamps, which leaves him
	// as far behind as the key frame is old; with keyframe nothing until the next one.
	// Streams with several video tracks, and transport streams, start with burst at best.
	Start string // default instant
	// Past bounds what all feeds together keep for new viewers to start with. Zero
	// is no bound: each feed keeps up to 8 MiB. Too little makes new viewers wait
	// for a key frame, those of feeds that nobody watches first; with less than 16 MiB
	// they might wait for ever, and it is refused.
	Past proxy.Bytes // default 512MiB
	// Timeout is how long the origin may take for each answer, and how long it
	// may send nothing before it is asked again. Too little refuses slow cameras,
	// too much keeps viewers of a dead one waiting: to describe the stream may
	// take twice that, to start it again as much.
	Timeout time.Duration // default 5s
	// Transport is how media comes from the origin: tcp, udp, or auto (UDP, and
	// TCP if nothing comes within three seconds).
	Transport string // default tcp
	// Strict has a feed go on with another source only if that says the same of how
	// pictures are made, too; else what differs is sent in band.
	Strict bool
}

// minPast is the least bound of the past, in bytes: twice what one feed may keep.
const minPast = 2 * maxGroup

// Flags declares the splitter's flags; it is the mode's proxy.Register.
func Flags(fs *flag.FlagSet) proxy.Build {
	o := &Options{}
	fs.StringVar(&o.UDP, "splitter.udp", ":8000", "`address` of the UDP port pair for viewers (even, and the next); empty turns UDP off")
	fs.DurationVar(&o.Linger, "splitter.linger", 10*time.Second, "how long a pull outlives its last viewer; 0 makes zapping dear for the origin, much pulls what nobody watches")
	fs.DurationVar(&o.Wait, "splitter.wait", 30*time.Second, "how long viewers outlive their source; little drops them when an origin restarts, much leaves them before a still picture")
	fs.DurationVar(&o.Lag, "splitter.lag", 5*time.Second, "how long a viewer may take nothing before he is closed; little cuts viewers on bad lines, much keeps those who have gone silently")
	fs.StringVar(&o.Start, "splitter.start", startInstant, "what a new viewer gets first: `instant|burst|keyframe`; the last key frame and what followed, shown at once so that he is live; the same with true time stamps, which leaves most players as far behind; or nothing until the next key frame")
	o.Past = 512 << 20
	fs.Var(&o.Past, "splitter.past", "how many `bytes` all feeds together keep for new viewers to start with; little makes viewers wait for a key frame, those of feeds that nobody watches first; 16MiB at least, or 0 for no bound but 8MiB for each feed")
	fs.DurationVar(&o.Timeout, "splitter.timeout", 5*time.Second, "how long the origin may take for each answer, and send nothing before it is asked again; little refuses slow cameras, much keeps viewers of a dead one waiting")
	fs.StringVar(&o.Transport, "splitter.transport", "tcp", "how media comes from the origin: `tcp|udp|auto`; auto tries UDP and costs 3s where it is blocked")
	return func(env proxy.Env) (proxy.Mode, error) {
		if f := fs.Lookup("origin.strict"); f != nil { // a flag of the origins, that the relay heeds, too
			o.Strict = f.Value.String() == "true"
		}
		return New(*o, env)
	}
}

// Validate reports all mistakes at once, each with its flag.
func (o *Options) Validate() error {
	var errs []error
	bad := func(flag string, v any, want string) {
		errs = append(errs, fmt.Errorf("-splitter.%s %v: must be %s", flag, v, want))
	}
	if o.Linger < 0 {
		bad("linger", o.Linger, "0 or more")
	}
	if o.Wait < 0 {
		bad("wait", o.Wait, "0 or more")
	}
	if o.Lag < 100*time.Millisecond {
		bad("lag", o.Lag, "100ms or more")
	}
	if o.Timeout < 100*time.Millisecond {
		bad("timeout", o.Timeout, "100ms or more")
	}
	if o.Past != 0 && o.Past < minPast {
		bad("past", o.Past, "0, or 16MiB or more")
	}
	switch o.Start {
	case startInstant, startBurst, startKeyframe:
	default:
		bad("start", o.Start, "instant, burst or keyframe")
	}
	switch o.Transport {
	case "tcp", "udp", "auto":
	default:
		bad("transport", o.Transport, "tcp, udp or auto")
	}
	return errors.Join(errs...)
}
