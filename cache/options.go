package cache

import (
	"errors"
	"flag"
	"fmt"
	"strings"
	"time"

	"weir/proxy"
)

// What -cache.media may be.
const (
	mediaAware  = "hls-aware"
	mediaOrigin = "origin"
)

// Options are the flags of the cache.
type Options struct {
	// Memory is what the RAM tier holds, in bytes: bodies, headers, and what
	// viewers are just being sent. Too little makes hits rare; 0 stores nothing.
	Memory proxy.Bytes // default 512MiB
	// Dir is the folder of the disk tier, this process' own. Empty is none.
	Dir string
	// Disk is what the disk tier may take, in bytes. It must be set with Dir.
	Disk proxy.Bytes
	// Slice is the unit in which an object is fetched that is first asked for by
	// range. Little makes many requests, much fetches what nobody wants.
	Slice proxy.Bytes // default 1MiB
	// Policy says what goes when a tier is full: "2q", which a scan of things asked for once does not
	// empty, or "lru".
	Policy string // default 2q
	// Media is "hls-aware", which gives playlists and segments the lifetimes that
	// players need, or "origin", which does only what RFC 9111 says.
	Media string // default hls-aware
	// Ignore are query parameters that are neither part of the key nor sent to the origin.
	Ignore string
	// Cookies leaves Set-Cookie in playlists and segments; what has it is not stored unless it is public.
	Cookies bool
	// Prefetch is how many segments are fetched ahead of the viewers of a stream. 0 is none.
	Prefetch int // default 1
	// Frozen is what is done with a live playlist that has not moved for three
	// target durations: "serve" it, or "404", so that players look for another
	// source.
	Frozen string // default serve
	// Timeout is how long an origin may be silent, before its header or between bytes. Little
	// refuses slow origins and low-latency playlists, which block for up to three target durations.
	Timeout time.Duration // default 30s
	// Lag is how long a viewer may take for a piece of up to 1 MiB. It is not for
	// answers at hand (proxy.Hit): who takes none of those for 30 s the front closes.
	Lag time.Duration // default 30s
}

// Flags declares the cache's flags; it is the mode's proxy.Register.
func Flags(fs *flag.FlagSet) proxy.Build {
	o := &Options{Memory: 512 << 20, Slice: 1 << 20}
	fs.Var(&o.Memory, "cache.memory", "`size` of the RAM tier; little makes hits rare, much takes from the page cache; 0 stores nothing")
	fs.StringVar(&o.Dir, "cache.dir", "", "`folder` of the disk tier, this process' own; empty is none")
	fs.Var(&o.Disk, "cache.disk", "`size` of the disk tier, needed with -cache.dir, 16MiB or more")
	fs.Var(&o.Slice, "cache.slice", "`size` of the pieces in which an object is fetched that is first asked for by range, a power of two from 64KiB to 16MiB; little makes many requests to the origin, much fetches what nobody wants")
	fs.StringVar(&o.Policy, "cache.policy", "2q", "`2q|lru`: what goes when a tier is full; 2q keeps what is asked for again and again when many things are asked for once")
	fs.StringVar(&o.Media, "cache.media", mediaAware, "`hls-aware|origin`: lifetimes of playlists, MPDs and segments by what players need (a live playlist is stored for half a target duration whatever the origin says but no-store and private, others never longer than it says); or only what the origin says")
	fs.StringVar(&o.Ignore, "cache.ignore-query", strings.Join(defaultIgnore, ","), "query `parameters` that make no difference, with commas (utm_* is a prefix): not in the key, not sent to the origin; +name adds to the default; empty is none, for origins that check tokens by themselves")
	fs.BoolVar(&o.Cookies, "cache.cookies", false, "leave Set-Cookie in playlists and segments: what has it is then stored only if the origin says public")
	fs.IntVar(&o.Prefetch, "cache.prefetch", 1, "`segments` fetched ahead of the viewers of a stream; 0 is none, much fetches what nobody may want")
	fs.StringVar(&o.Frozen, "cache.frozen", "serve", "`serve|404`: what is done with a live playlist that has not moved for three target durations; 404 makes players look for another source")
	fs.DurationVar(&o.Timeout, "cache.timeout", 30*time.Second, "how long an origin may be silent; little refuses low-latency playlists, which wait for up to three target durations")
	fs.DurationVar(&o.Lag, "cache.lag", 30*time.Second, "how long a viewer may take for a piece of up to 1 MiB before he is closed (for a small object out of RAM: 30s in which he takes none of it, whatever this is); little cuts viewers on bad lines, much lets dead ones hold memory")
	return func(env proxy.Env) (proxy.Mode, error) { return New(*o, env) }
}

// Validate reports all mistakes at once, each with its flag.
func (o *Options) Validate() error {
	var errs []error
	bad := func(wrong bool, format string, args ...any) {
		if wrong {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	bad(o.Memory != 0 && o.Memory < 4<<20, "-cache.memory %v: must be 0, or 4MiB or more", o.Memory)
	bad(o.Slice < 64<<10 || o.Slice > 16<<20 || o.Slice&(o.Slice-1) != 0, "-cache.slice %v: must be 64KiB to 16MiB, a power of two", o.Slice)
	bad(o.Dir != "" && o.Disk < 16<<20, "-cache.disk %v: -cache.dir needs 16MiB or more", o.Disk)
	bad(o.Dir == "" && o.Disk != 0, "-cache.disk %v: there is no -cache.dir", o.Disk)
	bad(o.Policy != "2q" && o.Policy != "lru", "-cache.policy %s: must be 2q or lru", o.Policy)
	bad(o.Media != mediaAware && o.Media != mediaOrigin, "-cache.media %s: must be hls-aware or origin", o.Media)
	bad(o.Frozen != "serve" && o.Frozen != "404", "-cache.frozen %s: must be serve or 404", o.Frozen)
	bad(o.Prefetch < 0 || o.Prefetch > 8, "-cache.prefetch %d: must be 0 to 8", o.Prefetch)
	bad(o.Timeout < 100*time.Millisecond, "-cache.timeout %v: must be 100ms or more", o.Timeout)
	bad(o.Lag < 100*time.Millisecond, "-cache.lag %v: must be 100ms or more", o.Lag)
	return errors.Join(errs...)
}

// slice is the unit in bytes.
func (o *Options) slice() int64 { return int64(o.Slice) }

// ignored is the list of query parameters; if all are additions, the default's too.
func (o *Options) ignored() (names []string) {
	adds := o.Ignore != ""
	for name := range strings.SplitSeq(o.Ignore, ",") {
		name, more := strings.CutPrefix(strings.ToLower(strings.TrimSpace(name)), "+")
		if adds = adds && more; name != "" {
			names = append(names, name)
		}
	}
	if adds {
		names = append(names, defaultIgnore...)
	}
	return names
}
