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
	mark     mark   // when the request came: more its viewer cannot have seen
	blocks   bool   // the answer may be held back until there is something new
	scanned  bool   // its answers are playlists to be compared
}

// streamOf returns nil for what is no part of a stream or has one origin only,
// and for requests that mean a certain one.
func (b *Balancer) streamOf(q query, req *http.Request) *stream {
	if !b.opts.Failover.Has("http") || q.stick == "" || q.origin != "" || req.Method != http.MethodGet && req.Method != http.MethodHead {
		return nil
	}
	b.mu.Lock()
	p := b.pool(true, q.path)
	b.mu.Unlock()
	if p == nil || b.size(p) < 2 {
		return nil
	}
	s := &stream{pool: p, path: q.path, stick: b.memory.id(nameIn{pool: p, path: q.stick})}
	if isPlaylist(q.path) {
		name := nameIn{pool: p, path: q.path, query: playlistQuery(req.URL.RawQuery)}
		if b.opts.Host == "preserve" {
			name.host = req.Host
		}
		s.playlist = b.memory.id(name)
		s.mark = b.memory.mark(s.playlist)
		s.blocks = strings.Contains(req.URL.RawQuery, blockingPrefix+"msn=")
		s.scanned = req.Method == http.MethodGet && req.Header.Get("Range") == ""
	}
	b.memory.earn(p, time.Now())
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

// preferred puts the origin first that was ahead of the others a while ago, if it
// can be used: the playlist and what it lists come from the same one.
func (t *trip) preferred(origins []*origin) []*origin {
	if t.stream == nil {
		return origins
	}
	name := t.b.memory.holder(t.stream.stick, time.Now())
	if name == "" {
		return origins
	}
	return firstOf(origins, t.b.usable(origins), name)
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

// await says how long the next origin may be silent where others can be asked
// instead, as far as the pool's budget goes: no longer than a dial for a file of
// a stream, and for an answer that is held back on purpose three target durations,
// which is all that an origin may take (RFC 8216bis §6.2.5.2). Whoever is silent
// more often is ejected, and asked no more.
func (t *trip) await(others []*origin) {
	t.wait = wait{}
	s := t.stream
	if s == nil || len(t.b.usable(others)) == 0 || s.blocks && s.mark.target == 0 {
		return
	}
	t.wait.most = t.b.timeout
	if s.blocks {
		t.wait.most = max(t.b.timeout, 3*s.mark.target)
	}
	t.wait.may = func() bool { return t.b.memory.spend(s.pool, time.Now()) }
}

// withoutDelta asks for a whole playlist where the viewer has the rest of it from
// another origin: what an update leaves out need not be the same there.
func (t *trip) withoutDelta(o *origin, out *http.Request) {
	if s := t.stream; s == nil || s.mark.origin == "" || s.mark.origin == o.name || !strings.Contains(out.URL.RawQuery, blockingPrefix) {
		return
	}
	out.URL.RawQuery = withoutParams(out.URL.RawQuery, func(name string) bool { return name == blockingPrefix+"skip" })
}
