package cache

import (
	"net/url"
	"strings"
	"time"

	"weir/proxy"
)

// A manifest is what the cache needs to know of an HLS playlist or an MPD. URIs
// are resolved to targets of this host; those of others are left out.
// It never changes.
type manifest struct {
	Class       class
	Target      time.Duration // target duration; of an MPD the longest segment
	PartTarget  time.Duration // 0: no parts
	Update      time.Duration // of an MPD: minimumUpdatePeriod
	Blocks      bool          // CAN-BLOCK-RELOAD
	First, Last int64         // media sequence numbers of the segments, Last < First if there is none
	Parts       int           // how many of the segment behind Last are there
	Segments    []target      // by number, from First; none for a gap, or where it is of another host
	Pieces      []target      // parts, hinted ones and init segments
	Hint        target        // the part that comes next (EXT-X-PRELOAD-HINT)
	Variants    []target      // of a multivariant playlist: the media playlists
	Inits       []target      // init segments (EXT-X-MAP), the newest last
}

const (
	maxManifest = 4 << 20        // bytes that are read
	maxTarget   = time.Hour      // a longer target duration is a mistake
	maxSequence = int64(1) << 53 // as for players, which are written in JavaScript
)

// parse reads a playlist or MPD of a path. It is nil if the body is none, or
// longer than 4 MiB.
func parse(path string, c class, body []byte) (m *manifest) {
	if len(body) > maxManifest {
		return nil
	}
	defer func() {
		if recover() != nil { // in a library: what it cannot read is no playlist
			m = nil
		}
	}()
	switch c {
	case multivariant, livePlaylist, storedPlaylist:
		return parseHLS(path, body)
	case liveMPD, storedMPD:
		return parseMPD(body)
	}
	return nil
}

// holds reports whether a playlist has what a blocking request waits for; part
// is -1 if the whole segment is wanted. One that has ended has all there will be.
func (m *manifest) holds(msn int64, part int) bool {
	if m.Class == storedPlaylist || msn <= m.Last {
		return true
	}
	return part >= 0 && msn == m.Last+1 && part < m.Parts
}

// target is the target duration, or a usual one.
func (m *manifest) target() time.Duration {
	if m.Target <= 0 {
		return unknownTarget
	}
	return m.Target
}

// live reports whether a manifest is of a media playlist that goes on.
func (m *manifest) live() bool { return m.Class == livePlaylist }

// numbered reports whether a manifest has media sequence numbers.
func (m *manifest) numbered() bool { return m.Class == livePlaylist || m.Class == storedPlaylist }

// A resolver turns the URIs in a playlist into what the front would make of a
// request for them.
type resolver struct {
	base *url.URL
	vars []string // names, as they are used, and values by turns (EXT-X-DEFINE)
}

// resolve returns what a URI is of this host; none if it is of another, or not
// acceptable to the front.
func (r *resolver) resolve(uri string) target {
	uri = strings.TrimSpace(uri)
	if strings.Contains(uri, "{$") {
		uri = strings.NewReplacer(r.vars...).Replace(uri)
	}
	if uri == "" || strings.Contains(uri, "{$") {
		return target{}
	}
	ref, err := url.Parse(uri)
	if err != nil || ref.Scheme != "" || ref.Host != "" || ref.Opaque != "" || ref.User != nil {
		return target{}
	}
	ref.Fragment, ref.RawFragment = "", ""
	u := r.base.ResolveReference(ref)
	p, err := proxy.CleanHTTPPath(u.EscapedPath())
	if err != nil || p == r.base.Path && u.RawQuery == "" {
		return target{}
	}
	return target{p, u.RawQuery}
}

// maxVars is how many variables a playlist may have, maxVar the length of a value
// in bytes.
const (
	maxVars = 32
	maxVar  = 1024
)

// define has resolve put a value in for {$name}.
func (r *resolver) define(name, value string) {
	if name != "" && len(value) <= maxVar && len(r.vars) < 2*maxVars {
		r.vars = append(r.vars, "{$"+name+"}", value)
	}
}
