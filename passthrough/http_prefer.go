package passthrough

import (
	"net/http"
	"slices"
	"strings"
	"time"
)

// A stream is what a request is about where more than one origin has it.
type stream struct {
	pool     *pool
	path     string
	stick    uint64 // what its folder is known by
	playlist uint64 // what it is itself known by; not if it is no playlist
	text     uint64 // what its text is known by, which may be this viewer's only; 0: it is not kept
	mark     mark   // when the request came: more its viewer cannot have seen
	blocks   bool   // the answer may be held back until there is something new
	special  bool   // it asks for more than the playlist as it is
	scanned  bool   // its answers are playlists to be compared
}

// alternatives returns the pool of those who may be asked for the same; nil where
// that is one only, for requests that mean a certain one, and for what is not safe.
func (b *Balancer) alternatives(q query, req *http.Request) *pool {
	if !b.opts.Failover.Has("http") || q.origin != "" || req.Method != http.MethodGet && req.Method != http.MethodHead {
		return nil
	}
	b.mu.Lock()
	p := b.pool(true, q.path)
	b.mu.Unlock()
	if p == nil || b.size(p) < 2 {
		return nil
	}
	b.memory.earn(p, time.Now())
	return p
}

// streamOf returns nil for what is no part of a stream, or has no alternatives.
func (b *Balancer) streamOf(p *pool, q query, req *http.Request) *stream {
	if p == nil || q.stick == "" {
		return nil
	}
	s := &stream{pool: p, path: q.path, stick: b.memory.id(nameIn{pool: p, path: q.stick})}
	if isPlaylist(q.path) {
		name := nameIn{pool: p, path: q.path, query: playlistQuery(req.URL.RawQuery)}
		if b.opts.Host == "preserve" {
			name.host = req.Host
		}
		s.playlist = b.memory.id(name)
		if req.Header.Get("Authorization") == "" && req.Header.Get("Cookie") == "" {
			name.query = withoutParams(req.URL.RawQuery, func(name string) bool { return strings.HasPrefix(name, blockingPrefix) })
			s.text = b.memory.id(name)
		}
		s.mark = b.memory.mark(s.playlist)
		s.special = strings.Contains(req.URL.RawQuery, blockingPrefix)
		s.blocks = strings.Contains(req.URL.RawQuery, blockingPrefix+"msn=")
		s.scanned = req.Method == http.MethodGet && req.Header.Get("Range") == ""
	}
	return s
}

// size is how many origins a pool has.
func (b *Balancer) size(p *pool) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(p.origins)
}

// usable returns the origins that are neither down nor ejected.
func (b *Balancer) usable(origins []*origin) (usable []*origin) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	for _, o := range origins {
		if o.health.settle(now); o.health.usable() {
			usable = append(usable, o)
		}
	}
	return usable
}

// firstOf returns origins with the one of that name first, if it is one of the
// usable.
func firstOf(origins, usable []*origin, name string) []*origin {
	named := func(o *origin) bool { return o.name == name }
	i := slices.IndexFunc(usable, named)
	if i < 0 {
		return origins
	}
	return append([]*origin{usable[i]}, slices.DeleteFunc(slices.Clone(origins), named)...)
}

// withoutDelta asks for a whole playlist where the viewer has the rest of it from
// another origin: what an update leaves out need not be the same there.
func (t *trip) withoutDelta(o *origin, out *http.Request) {
	if s := t.stream; s == nil || s.mark.origin == "" || s.mark.origin == o.name || !strings.Contains(out.URL.RawQuery, blockingPrefix) {
		return
	}
	out.URL.RawQuery = withoutParams(out.URL.RawQuery, func(name string) bool { return name == blockingPrefix+"skip" })
}
