package cache

import (
	"net/http"
	"strings"
	"time"

	"go.uber.org/zap"
)

// A newest is the newest version of a live playlist that blocking requests have
// brought.
type newest struct {
	object *object
	is     *manifest
}

// ruled applies the rules for media to what RFC 9111 says of an answer.
func (c *Cache) ruled(cl class, is *manifest, m *meta, v verdict, a *ask) verdict {
	if !c.media(cl) && cl != secret || c.opt.Media != mediaAware {
		return v
	}
	msn, part, _, blocks := blocking(a.key.query)
	of := c.streams.of(a.key.stream())
	live := of != nil && of.Class == livePlaylist
	var target time.Duration
	if of != nil {
		target = of.Target
		if is == nil && cl >= multivariant && cl <= storedMPD && m.Status == http.StatusOK {
			is = of
		}
	}
	if blocks && m.Status == http.StatusOK {
		blocks = is != nil && is.holds(msn, part) // not if the origin has ignored it
	}
	if len(a.header["Authorization"]) > 0 && !v.Shared {
		return v // only as far as the origin has said that it is for others (RFC 9111 §3.5)
	}
	ruled := mediaVerdict(cl, is, m.Status, v, blocks, live, target)
	if is != nil && is.Class == storedPlaylist && !v.Explicit && (is.First > 0 || c.streams.lived(a.key.stream())) {
		// A live one that has ended, for now: encoders end their playlist when they
		// are restarted.
		ruled.Fresh = min(ruled.Fresh, max(plainFloor, min(is.target()/2, plainCap)))
	}
	return ruled
}

// listed draws the conclusions from a playlist that has come.
func (c *Cache) listed(o *object, is *manifest) {
	if is == nil {
		return
	}
	now, m := time.Now(), o.meta.Load()
	name, host := m.stream(), m.key().host()
	if _, _, skip, _ := blocking(m.Query); skip == "" && is.Class == livePlaylist {
		c.setNewest(name, newest{o, is})
	}
	ch := c.streams.saw(name, is, now)
	for _, t := range ch.Listed {
		c.rehabilitate(t, host)
	}
	if ch.Restarted {
		c.met.restarts.inc()
		c.log.Info("stream has begun anew", zap.String("path", m.Path))
	}
	for _, t := range ch.Stale {
		for _, o := range c.table.all(c.want(t, host).key.id) {
			o.soften()
		}
	}
	c.ahead(ch.Next[max(0, len(ch.Next)-c.opt.Prefetch):], host)
}

// setNewest remembers a version of a live playlist, unless a newer one is known:
// answers may overtake each other.
func (c *Cache) setNewest(name string, n newest) {
	old, ok := c.latest.Peek(name)
	if ok && !old.object.isDead() && old.is.First <= n.is.Last && old.is.holds(n.is.Last+1, n.is.Parts) {
		return
	}
	c.latest.Add(name, n)
}

// rehabilitate forgets that something was not there, now that a playlist lists it.
func (c *Cache) rehabilitate(t target, host string) {
	for _, o := range c.table.all(c.want(t, host).key.id) {
		if o.meta.Load().Status >= 400 {
			o.kill()
		}
	}
}

// ahead fetches what viewers of a host are about to ask for.
func (c *Cache) ahead(targets []target, host string) {
	if c.ram.limit == 0 {
		return
	}
	for _, t := range targets {
		a := c.want(t, host)
		if o, pass := c.table.find(a.key.id, a.header); o == nil && pass.IsZero() {
			if _, first := c.depart(a, a.header, nil, nil, nil, false); first {
				c.met.prefetched.inc()
			}
		}
	}
}

// newest returns a version of a live playlist that is newer than what is stored
// under a request's own key: one that has what a blocking request waits for, or
// one that was brought by a blocking request a moment ago.
func (c *Cache) newest(k key, path string, h http.Header, now time.Time) (*object, *meta) {
	if c.opt.Media != mediaAware || guess(path) != livePlaylist {
		return nil, nil
	}
	n, ok := c.latest.Get(k.stream())
	if !ok || n.object.isDead() || !n.object.matches(h) {
		return nil, nil
	}
	m := n.object.meta.Load()
	msn, part, skip, blocks := blocking(k.query)
	switch {
	case skip != "" || m.Key == k.id || m.age(now) >= m.Verdict.Fresh:
		return nil, nil
	case blocks && n.is.holds(msn, part):
		return n.object, m
	case !blocks && m.age(now) < min(n.is.Target/2, 3*time.Second):
		return n.object, m
	}
	return nil, nil
}

// key is the key that the object is stored under.
func (m *meta) key() key { return key{m.Key, m.Query} }

// stream is the name under which streams know a playlist, or look for a segment.
func (m *meta) stream() string { return m.key().stream() }

// plain is a key without what blocking requests add to it.
func plain(id string) string {
	path, query, ok := strings.Cut(id, "?")
	if !ok {
		return id
	}
	var rest []string
	for p := range strings.SplitSeq(query, "&") {
		if !strings.HasPrefix(p, "_HLS_") {
			rest = append(rest, p)
		}
	}
	if len(rest) == 0 {
		return path
	}
	return path + "?" + strings.Join(rest, "&")
}

// noticed tells the streams that somebody asks for something of theirs, and has
// what follows fetched. It is called once a second for each object at most.
func (c *Cache) noticed(o *object, m *meta, now time.Time) {
	if !c.media(m.Class) {
		return
	}
	c.streams.asked(m.stream(), now)
	if m.Class == segment {
		c.ahead(c.streams.after(m.stream(), c.opt.Prefetch), m.key().host())
	}
}

// frozen reports whether an answer with a live playlist is to be refused because
// the stream stands still.
func (c *Cache) frozen(m *meta, now time.Time) bool {
	return c.opt.Frozen == "404" && m.Class == livePlaylist && c.streams.frozen(m.stream(), now)
}

// standing are the live playlists in use that do not move.
func (c *Cache) standing(now time.Time) (names []string) {
	for _, name := range c.streams.paths() {
		if c.streams.frozen(name, now) {
			names = append(names, name)
		}
	}
	return names
}

// paths returns the playlists that are known.
func (s *streams) paths() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.known.Keys()
}
